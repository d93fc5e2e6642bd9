//! What a node writes into its log: the disk format of entries.
//!
//! The kinds are numbers for ever. A batch and a policy item are kept as they were signed; a local
//! change waits here until a batch seals it; a fact is known to this device alone.

use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, Moment, Scope, StoreId};
use fieldmesh_store::{Entry as LogEntry, Place};
use serde::{Deserialize, Serialize};

use crate::harm::Harm;
use crate::keep::{Kept, LetGo};

const KIND_ITEM: u8 = 1;
const KIND_BATCH: u8 = 2;
const KIND_CHANGE: u8 = 3;
const KIND_FACT: u8 = 4;
const KIND_NOTE: u8 = 30;

/// Batches that one fact names; a fact must not grow with a device's past.
pub(crate) const FACT_BATCHES_MAX: usize = 256;

/// The bytes before a local change: document 16, scope 8, epoch 8, time 8.
const CHANGE_HEADER_LENGTH: usize = 40;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A signed policy item.
    Item(Vec<u8>),
    /// A sealed batch, own or foreign.
    Batch(Vec<u8>),
    /// A change made here that no batch holds so far.
    Change(LocalChange),
    /// Something only this device knows.
    Fact(Fact),
    /// Something only a gateway on this device knows.
    Note(Note),
}

/// What a gateway has to know again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Rows of the view in the gateway's own words; none deletes one.
    pub(crate) rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whatever lies before this in the log had arrived by then.
    pub(crate) at: Option<Moment>,
}

/// A change made here, durable and not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalChange {
    pub(crate) document: DocumentId,
    pub(crate) scope: Scope,
    /// The epoch whose actor wrote it.
    pub(crate) epoch: Epoch,
    pub(crate) at: Moment,
    pub(crate) change: Vec<u8>,
}

/// Something only this device knows.
///
/// Of most kinds the last fact holds; of batches and receipts each adds to those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// The epoch of this device's chains from here on.
    Epoch(u64),
    /// The invitations it issued, as the enrolment book serialises them.
    Invitations(Vec<u8>),
    /// Addresses of peers, as the address book serialises them.
    Addresses(Vec<u8>),
    /// When a peer was last in step.
    LastSync(Moment),
    /// A hash of the damage that this device knows of and has drawn the consequences from.
    Damage([u8; 16]),
    /// Damage that was found at an open, in words, until the user accepts it.
    Found(Vec<String>),
    /// Batches that do not count from here on, whether they lie before this or behind it.
    Aside(Vec<BatchId>),
    /// Batches that were aside and count again.
    Admitted(Vec<BatchId>),
    /// A receipt that was verified, as it was signed.
    Receipt(Vec<u8>),
    /// A store of another device was restored: its receipts of earlier epochs are void.
    Restored { device: DeviceId, store: StoreId, epoch: u64 },
    /// How often this store has lost something that it had acknowledged; the last fact holds.
    Restores(u64),
    /// Receipts of this store may have been signed for moments up to this one.
    Signed(Moment),
    /// What a store of another device signed in this epoch up to a moment is void.
    Doubted { device: DeviceId, store: StoreId, epoch: u64, until: Moment },
    /// When this device learned that it was revoked.
    Revoked(Moment),
    /// When each device was last spoken with, whoever dialled.
    Met(Vec<(DeviceId, Moment)>),
    /// When it last showed that another home signs with this device's key.
    Twice(Moment),
    /// Entries of the log that are damaged; of one place the last word holds.
    Harmed(Vec<Harm>),
    /// What lay at these damaged places is here once more.
    Healed { places: Vec<Place>, from: Option<DeviceId>, at: Moment },
    /// The user knows what is lost at these places and has given it up.
    Settled { places: Vec<Place>, at: Moment },
    /// How far the check of everything that is stored has come; the last fact holds.
    Scrubbed(Scrub),
    /// From which month on this home wants what goes by time; the last fact holds.
    Kept(Kept),
    /// What of one scope lies before this in the log is not here any more.
    LetGo(LetGo),
    /// What these purges name is in no entry up to this one; the last fact holds.
    Swept(Sweep),
    /// What the last check found damaged that does not mend by itself, in words.
    Checked(Vec<String>),
    /// When a relay was last found to have lost something; the last fact holds.
    RelayLost(Moment),
    /// What was found wrong with files of the home and was mended, and when; the last fact holds.
    Mended(Vec<(String, Moment)>),
    /// When devices of which changes wait here held the same as this one, and up to where the log
    /// was read for that; the last fact holds.
    Agreed(Vec<(DeviceId, Moment, Place)>),
}

/// A search of the log for what was purged that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// A hash of all that purges named.
    pub(crate) purges: [u8; 32],
    /// The last entry that was looked at.
    pub(crate) until: Place,
}

/// How far a check of everything that is stored has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Scrub {
    /// The last entry that was looked at; none at the beginning.
    pub(crate) at: Option<Place>,
    /// When the last check came to its end.
    pub(crate) finished: Option<Moment>,
    /// Whether one is under way.
    pub(crate) is_open: bool,
}

/// An entry that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// A newer version of the program wrote it.
    #[error("log entry of unknown kind {kind}")]
    UnknownKind { kind: u8 },
    /// Its contents do not fit its kind.
    #[error("log entry of kind {kind} is malformed")]
    Malformed { kind: u8 },
}

impl Entry {
    pub(crate) fn encode(&self) -> LogEntry {
        match self {
            Self::Item(bytes) => LogEntry { kind: KIND_ITEM, bytes: bytes.clone() },
            Self::Batch(bytes) => LogEntry { kind: KIND_BATCH, bytes: bytes.clone() },
            Self::Change(local) => LogEntry { kind: KIND_CHANGE, bytes: local.encode() },
            Self::Fact(fact) => LogEntry {
                kind: KIND_FACT,
                bytes: postcard::to_allocvec(fact).expect("a fact holds nothing unserialisable"),
            },
            Self::Note(note) => LogEntry {
                kind: KIND_NOTE,
                bytes: postcard::to_allocvec(note).expect("a note holds nothing unserialisable"),
            },
        }
    }

    /// The bytes of the batch that an entry is, without a copy of them.
    pub(crate) fn as_batch(entry: &LogEntry) -> Option<&[u8]> {
        (entry.kind == KIND_BATCH).then_some(entry.bytes.as_slice())
    }

    pub(crate) fn decode(entry: &LogEntry) -> Result<Self, EntryError> {
        let kind = entry.kind;
        let malformed = EntryError::Malformed { kind };
        match kind {
            KIND_ITEM => Ok(Self::Item(entry.bytes.clone())),
            KIND_BATCH => Ok(Self::Batch(entry.bytes.clone())),
            KIND_CHANGE => LocalChange::decode(&entry.bytes).map(Self::Change).ok_or(malformed),
            KIND_FACT => postcard::from_bytes(&entry.bytes).map(Self::Fact).map_err(|_| malformed),
            KIND_NOTE => postcard::from_bytes(&entry.bytes).map(Self::Note).map_err(|_| malformed),
            kind => Err(EntryError::UnknownKind { kind }),
        }
    }
}

impl LocalChange {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHANGE_HEADER_LENGTH + self.change.len());
        bytes.extend_from_slice(self.document.as_bytes());
        bytes.extend_from_slice(&self.scope.to_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.at.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.change);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (document, rest) = bytes.split_first_chunk::<16>()?;
        let (scope, rest) = rest.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (at, change) = rest.split_first_chunk::<8>()?;
        Some(Self {
            document: DocumentId::from_bytes(*document),
            scope: Scope::from_bytes(*scope),
            epoch: Epoch(u64::from_be_bytes(*epoch)),
            at: Moment::from_millis(i64::from_be_bytes(*at)),
            change: change.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harm::{Harmed, Outcome};
    use crate::keep::LetGoChain;

    #[test]
    fn every_kind_survives_the_log() {
        let entries = [
            Entry::Item(vec![1, 2]),
            Entry::Batch(vec![3]),
            Entry::Change(LocalChange {
                document: DocumentId::from_bytes([1; 16]),
                scope: Scope { collection: 3, partition: 2, month: 24_000 },
                epoch: Epoch(6),
                at: Moment::from_millis(-5),
                change: vec![9; 10],
            }),
            Entry::Fact(Fact::Epoch(7)),
            Entry::Note(Note {
                rows: vec![(vec![1], Some(vec![2])), (vec![3], None)],
                at: Some(Moment::from_millis(4)),
            }),
        ];
        for entry in entries {
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn the_format_of_a_local_change_is_fixed() {
        let change = LocalChange {
            document: DocumentId::from_bytes([1; 16]),
            scope: Scope { collection: 3, partition: 2, month: 24_000 },
            epoch: Epoch(6),
            at: Moment::from_millis(1),
            change: vec![0xee, 0xff],
        };
        let bytes = Entry::Change(change).encode().bytes;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "01010101010101010101010101010101\
             0003000002005dc0\
             0000000000000006\
             0000000000000001\
             eeff"
        );
    }

    /// The bytes that earlier versions wrote: a home outlives the program that made it.
    fn let_go(author: DeviceId, at: Moment) -> (String, LetGo) {
        let id = BatchId::from_bytes([9; 32]);
        let head = LetGoChain { author, epoch: Epoch(2), sequence: 3, head: id, last: at };
        let let_go = LetGo {
            scope: Scope { collection: 3, partition: 0, month: 7 },
            at,
            holders: 2,
            chains: vec![head],
            records: vec![[4; 8]],
            is_last: true,
        };
        let (author, head, record) = ("07".repeat(32), "09".repeat(32), "04".repeat(8));
        (format!("150300070a0201{author}0203{head}0a01{record}01"), let_go)
    }

    #[test]
    fn a_home_of_an_earlier_version_keeps_its_facts() {
        let ids = vec![BatchId::from_bytes([7; 32])];
        let id = format!("01{}", "07".repeat(32));
        let (device, store) = (DeviceId::from_bytes([7; 32]), StoreId::from_bytes([8; 16]));
        let restored = format!("09{}{}03", "07".repeat(32), "08".repeat(16));
        let doubted = format!("0c{}{}0305", "07".repeat(32), "08".repeat(16));
        let until = Moment::from_millis(-3);
        let met = format!("0e01{}0a", "07".repeat(32));
        let harm = Harm {
            place: Place(3),
            found: Moment::from_millis(5),
            what: Harmed::Unknown,
            outcome: Outcome::Open,
        };
        let at = Moment::from_millis(5);
        let places = vec![Place(3)];
        let scrub = Scrub { at: Some(Place(3)), finished: None, is_open: true };
        let kept = Kept { since: 3, at, auto: Some(2), is_swept: true };
        let (gone, let_go) = let_go(device, at);
        let swept = format!("16{}03", "09".repeat(32));
        let sweep = Sweep { purges: [9; 32], until: Place(3) };
        let agreed = format!("1a01{}0a03", "07".repeat(32));
        let written: [(&str, Fact); 27] = [
            ("0007", Fact::Epoch(7)),
            ("01020102", Fact::Invitations(vec![1, 2])),
            ("020103", Fact::Addresses(vec![3])),
            ("030a", Fact::LastSync(Moment::from_millis(5))),
            ("0409090909090909090909090909090909", Fact::Damage([9; 16])),
            ("0501026869", Fact::Found(vec!["hi".into()])),
            (&format!("06{id}"), Fact::Aside(ids.clone())),
            (&format!("07{id}"), Fact::Admitted(ids)),
            ("080104", Fact::Receipt(vec![4])),
            (&restored, Fact::Restored { device, store, epoch: 3 }),
            ("0a02", Fact::Restores(2)),
            ("0b0a", Fact::Signed(Moment::from_millis(5))),
            (&doubted, Fact::Doubted { device, store, epoch: 3, until }),
            ("0d0a", Fact::Revoked(Moment::from_millis(5))),
            (&met, Fact::Met(vec![(device, Moment::from_millis(5))])),
            ("0f0a", Fact::Twice(Moment::from_millis(5))),
            ("1001030a0100", Fact::Harmed(vec![harm])),
            ("110103000a", Fact::Healed { places: places.clone(), from: None, at }),
            ("1201030a", Fact::Settled { places, at }),
            ("1301030001", Fact::Scrubbed(scrub)),
            ("14030a010201", Fact::Kept(kept)),
            (&gone, Fact::LetGo(let_go)),
            (&swept, Fact::Swept(sweep)),
            ("1701026869", Fact::Checked(vec!["hi".into()])),
            ("180a", Fact::RelayLost(Moment::from_millis(5))),
            ("19010268690a", Fact::Mended(vec![("hi".into(), at)])),
            (&agreed, Fact::Agreed(vec![(device, at, Place(3))])),
        ];
        for (hex, fact) in written {
            let entry = Entry::Fact(fact).encode();
            let found: String = entry.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, hex);
            assert_eq!(Entry::decode(&entry).map(|entry| entry.encode().bytes), Ok(entry.bytes));
        }
    }

    #[test]
    fn a_damaged_entry_is_an_error() {
        let short = LogEntry { kind: KIND_CHANGE, bytes: vec![0; 20] };
        assert_eq!(Entry::decode(&short), Err(EntryError::Malformed { kind: KIND_CHANGE }));
        let unknown = LogEntry { kind: 99, bytes: vec![] };
        assert_eq!(Entry::decode(&unknown), Err(EntryError::UnknownKind { kind: 99 }));
    }
}
