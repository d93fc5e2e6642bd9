//! The control messages.
//!
//! Postcard, one encoding per message, nothing behind it; hashes stand as raw bytes. `Equal` is
//! the empty frame, so a comparison of equal roots costs 13 bytes there and 1 byte back.

use fieldmesh_model::TenantTag;
use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::interface::Set;
use crate::limits::{
    ERROR_TEXT_MAX, FILTER_PREFIX_LENGTH_MAX, FILTER_PREFIXES_MAX, KEYS_PER_MESSAGE_MAX,
    PARTIALS_MAX, RECEIPT_LENGTH_MAX, RECEIPTS_PER_MESSAGE_MAX, UNPROVEN_MAX,
};

/// Bytes in the key of one batch or policy item.
const KEY_LENGTH: usize = fieldmesh_trie::KEY_LENGTH;

/// The set that a comparison is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireSet {
    /// Signed policy items.
    Policy,
    /// Signed batches.
    Data,
    /// Signed batches that the policy excludes; from version 2 on.
    Quarantine,
}

impl From<Set> for WireSet {
    fn from(set: Set) -> Self {
        match set {
            Set::Policy => Self::Policy,
            Set::Data => Self::Data,
            Set::Quarantine => Self::Quarantine,
        }
    }
}

impl From<WireSet> for Set {
    fn from(set: WireSet) -> Self {
        match set {
            WireSet::Policy => Self::Policy,
            WireSet::Data => Self::Data,
            WireSet::Quarantine => Self::Quarantine,
        }
    }
}

/// The first message of each side; the accepting side's is an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The oldest and the newest version spoken; in an answer both are the chosen one.
    pub(crate) versions: (u16, u16),
    /// Extensions, one bit each.
    pub(crate) features: u64,
    /// The tenant.
    pub(crate) tenant: TenantTag,
    /// The dialler's number of this conversation; of two the higher one is newer.
    pub(crate) conversation: u64,
    /// The store and how often it was restored.
    pub(crate) store: ([u8; 16], u64),
    /// The sender's clock, milliseconds since 1970; for display only.
    pub(crate) clock_millis: i64,
    /// Keyed root and count of the policy items.
    pub(crate) policy: ([u8; 8], u64),
    /// Keyed root and count of the batches, zero towards a peer that may not read them.
    pub(crate) data: ([u8; 8], u64),
    /// Key prefixes wanted, in an answer granted; empty means all.
    pub(crate) filter: Vec<Vec<u8>>,
    /// Bytes of frames that the sender takes before they are durable.
    pub(crate) ingest_window: u32,
    /// Whether new batches are to be pushed.
    pub(crate) live: bool,
}

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The dialler begins.
    Hello(Hello),
    /// The accepting side answers the hello; `Equal`, `Nodes` or `Again` follows.
    HelloAck(Hello),
    /// The dialler compares: a keyed hash of both roots, and the front of the policy root, which
    /// tells the other side what to describe first.
    Root {
        /// Keyed hash over both roots.
        both: [u8; 8],
        /// The front of the keyed policy root.
        policy: [u8; 3],
    },
    /// One turn of an exchange.
    Nodes {
        /// What the exchange is about.
        set: WireSet,
        /// How many items the sender sends because of the turn before.
        sends: u32,
        /// Described nodes; none ends the exchange.
        nodes: Vec<u8>,
        /// Bitmaps over the ids of the turn before.
        wants: Vec<u8>,
    },
    /// So many items that were promised or asked for cannot be sent.
    Short {
        /// How many.
        count: u32,
    },
    /// The accepting side asks the dialler to compare: it was busy, or something changed.
    Again,
    /// The accepting side cannot compare at the moment; it says `Again` when it can.
    Busy,
    /// Batches that the sender holds and does not push.
    Have {
        /// Keys, 46 bytes each.
        keys: Vec<u8>,
    },
    /// Batches of an offer that are wanted.
    WantId {
        /// Keys, 46 bytes each.
        keys: Vec<u8>,
    },
    /// So many received frames are durable or judged.
    Credit {
        /// Frames since the last credit.
        frames: u32,
        /// Their bytes.
        bytes: u64,
        /// How many of those that were passed on were here already.
        repeated: u32,
    },
    /// Asks for a sign of life.
    Ping,
    /// The sign of life.
    Pong,
    /// The sender ends the conversation because of a fault.
    Error {
        /// The fault; see [`crate::CloseReason::code`].
        code: u16,
        /// The fault in words.
        text: String,
    },
    /// The sender ends the conversation without a fault.
    Bye {
        /// The cause; see [`crate::CloseReason::code`].
        code: u16,
    },
    /// Compares like `Root` where the sender has set batches aside.
    RootAside {
        /// Keyed hash over both roots.
        both: [u8; 8],
        /// The front of the keyed policy root.
        policy: [u8; 3],
        /// The front of the keyed root of what is set aside.
        quarantine: [u8; 3],
    },
    /// The sender has the beginnings of these batches: id, length in all, length here.
    Resume {
        /// At most [`PARTIALS_MAX`].
        partials: Vec<([u8; 32], u32, u32)>,
    },
    /// Batches for which the sender has no receipt of the other side.
    Unproven {
        /// Keys, 46 bytes each.
        keys: Vec<u8>,
    },
    /// Signed receipts.
    Receipts {
        /// Each as it was signed.
        receipts: Vec<Vec<u8>>,
    },
    /// The roots are equal. Written as the empty frame.
    #[serde(skip)]
    Equal,
}

impl Message {
    /// The content of a frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if *self == Self::Equal {
            return Vec::new();
        }
        postcard::to_stdvec(self).expect("invariant: plain enums always serialize into memory")
    }

    /// Reads the content of one frame.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Ok(Self::Equal);
        }
        let (message, rest) =
            postcard::take_from_bytes::<Self>(bytes).map_err(|_| WireError::Message)?;
        if !rest.is_empty() {
            return Err(WireError::Rest { length: rest.len() });
        }
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Hello(hello) | Self::HelloAck(hello) => hello.check(),
            Self::Error { text, .. } if text.len() > ERROR_TEXT_MAX => Err(WireError::Message),
            Self::Have { keys } | Self::WantId { keys }
                if !keys.len().is_multiple_of(KEY_LENGTH)
                    || keys.len() > KEYS_PER_MESSAGE_MAX * KEY_LENGTH =>
            {
                Err(WireError::Message)
            }
            Self::Unproven { keys }
                if !keys.len().is_multiple_of(KEY_LENGTH)
                    || keys.len() > UNPROVEN_MAX * KEY_LENGTH =>
            {
                Err(WireError::Message)
            }
            Self::Resume { partials } if partials.len() > PARTIALS_MAX => Err(WireError::Message),
            Self::Receipts { receipts }
                if receipts.len() > RECEIPTS_PER_MESSAGE_MAX
                    || receipts.iter().any(|receipt| receipt.len() > RECEIPT_LENGTH_MAX) =>
            {
                Err(WireError::Message)
            }
            Self::RootAside { .. }
            | Self::Resume { .. }
            | Self::Unproven { .. }
            | Self::Receipts { .. }
            | Self::Have { .. }
            | Self::WantId { .. }
            | Self::Error { .. }
            | Self::Root { .. }
            | Self::Nodes { .. }
            | Self::Short { .. }
            | Self::Again
            | Self::Busy
            | Self::Credit { .. }
            | Self::Ping
            | Self::Pong
            | Self::Bye { .. }
            | Self::Equal => Ok(()),
        }
    }
}

impl Hello {
    fn check(&self) -> Result<(), WireError> {
        let long = self.filter.iter().any(|prefix| prefix.len() > FILTER_PREFIX_LENGTH_MAX);
        if long || self.filter.len() > FILTER_PREFIXES_MAX {
            return Err(WireError::Filter { prefixes: self.filter.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Golden bytes: what stands here never changes within a protocol version.

    use super::*;

    fn hello() -> Hello {
        Hello {
            versions: (1, 1),
            features: 0,
            tenant: TenantTag::from_bytes([0xaa; 16]),
            conversation: 7,
            store: ([0xbb; 16], 2),
            clock_millis: 1_000,
            policy: ([0xcc; 8], 3),
            data: ([0xdd; 8], 300),
            filter: vec![vec![1, 2]],
            ingest_window: 1 << 20,
            live: true,
        }
    }

    fn golden() -> Vec<(Message, String)> {
        let hello_hex = format!(
            "010100{}07{}02d00f{}03{}ac020102{}80804001",
            "aa".repeat(16),
            "bb".repeat(16),
            "cc".repeat(8),
            "dd".repeat(8),
            "0102"
        );
        let root = Message::Root { both: [1, 2, 3, 4, 5, 6, 7, 8], policy: [9, 10, 11] };
        let nodes = vec![5, 6];
        let turn = Message::Nodes { set: WireSet::Data, sends: 130, nodes, wants: vec![0x80] };
        vec![
            (Message::Hello(hello()), format!("00{hello_hex}")),
            (Message::HelloAck(hello()), format!("01{hello_hex}")),
            (root, "020102030405060708090a0b".into()),
            (turn, "030182010205060180".into()),
            (Message::Short { count: 2 }, "0402".into()),
            (Message::Again, "05".into()),
            (Message::Busy, "06".into()),
            (Message::Have { keys: vec![1; 46] }, format!("072e{}", "01".repeat(46))),
            (Message::WantId { keys: vec![1; 46] }, format!("082e{}", "01".repeat(46))),
            (Message::Credit { frames: 3, bytes: 900, repeated: 1 }, "0903840701".into()),
            (Message::Ping, "0a".into()),
            (Message::Pong, "0b".into()),
            (Message::Error { code: 4, text: "no".into() }, "0c04026e6f".into()),
            (Message::Bye { code: 1 }, "0d01".into()),
            (
                Message::RootAside { both: [1; 8], policy: [2; 3], quarantine: [3; 3] },
                format!("0e{}{}{}", "01".repeat(8), "02".repeat(3), "03".repeat(3)),
            ),
            (
                Message::Resume { partials: vec![([4; 32], 300, 5)] },
                format!("0f01{}ac0205", "04".repeat(32)),
            ),
            (Message::Unproven { keys: vec![1; 46] }, format!("102e{}", "01".repeat(46))),
            (Message::Receipts { receipts: vec![vec![7, 8]] }, "1101020708".into()),
            (Message::Equal, String::new()),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_message_has_its_golden_bytes() {
        for (message, wanted) in golden() {
            let bytes = message.encode();
            assert_eq!(hex(&bytes), wanted, "{message:?}");
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
        }
    }

    #[test]
    fn nothing_may_follow_a_message_and_nothing_may_lack() {
        for (message, _) in golden() {
            let mut bytes = message.encode();
            if bytes.is_empty() {
                continue;
            }
            bytes.push(0);
            assert!(Message::decode(&bytes).is_err(), "{message:?}");
            bytes.pop();
            bytes.pop();
            assert_ne!(Message::decode(&bytes).ok(), Some(message));
        }
    }

    #[test]
    fn an_idle_check_costs_thirteen_bytes_and_one() {
        let mut stream = Vec::new();
        let root = Message::Root { both: [0; 8], policy: [0; 3] };
        crate::wire::control::write(&root, &mut stream).unwrap();
        assert_eq!(stream.len(), 13);
        stream.clear();
        crate::wire::control::write(&Message::Equal, &mut stream).unwrap();
        assert_eq!(stream, [0]);
    }

    #[test]
    fn each_list_may_be_as_long_as_its_limit_and_no_longer() {
        let partial = ([1; 32], 9, 3);
        let lists: [&dyn Fn(usize) -> Message; 3] = [
            &|over| Message::Unproven { keys: vec![1; (UNPROVEN_MAX + over) * KEY_LENGTH] },
            &|over| Message::Resume { partials: vec![partial; PARTIALS_MAX + over] },
            &|over| Message::Receipts {
                receipts: vec![vec![1; 9]; RECEIPTS_PER_MESSAGE_MAX + over],
            },
        ];
        for list in lists {
            assert_eq!(Message::decode(&list(0).encode()), Ok(list(0)));
            assert_eq!(Message::decode(&list(1).encode()), Err(WireError::Message));
        }
        let receipt =
            |over| Message::Receipts { receipts: vec![vec![1; RECEIPT_LENGTH_MAX + over]] };
        assert!(Message::decode(&receipt(0).encode()).is_ok());
        assert!(Message::decode(&receipt(1).encode()).is_err());
        let hello = |over| {
            Message::Hello(Hello {
                filter: vec![vec![1; 2]; FILTER_PREFIXES_MAX + over],
                ..hello()
            })
        };
        assert!(Message::decode(&hello(0).encode()).is_ok());
        assert!(Message::decode(&hello(1).encode()).is_err());
    }
}
