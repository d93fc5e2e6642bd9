//! What the gateway's notes say: the disk format of conflicts, devices and the journal.

use std::collections::BTreeSet;

use fieldmesh::gateway::NOTE_SIZE_MAX;
use fieldmesh_dialect::command::{
    Action, Base, Copied, Identity, NameForm, Operation, Reference, Resolution,
};
use fieldmesh_dialect::outcome::{Asked, Review};
use fieldmesh_dialect::{Dialect, Name};
use fieldmesh_model::{DocumentId, Fields, Moment};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What contradicts what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Field,
    Duplicate,
    DeletedAndEdited,
}

/// One of two versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SideRow {
    pub(crate) document: DocumentId,
    pub(crate) version: u64,
    pub(crate) fields: Fields,
    pub(crate) at: Option<Moment>,
    pub(crate) user: Option<String>,
    pub(crate) deleted: bool,
}

/// A conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConflictRow {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) collection: u16,
    pub(crate) client: SideRow,
    pub(crate) server: SideRow,
    pub(crate) keys: Vec<String>,
    pub(crate) since: Moment,
    pub(crate) settled: Option<Settled>,
    /// The contracts over which it came, parted by spaces; none where devices found it, or where the
    /// first gateways, which did not note that, did.
    pub(crate) contract: Option<String>,
}

impl ConflictRow {
    /// The contracts over which it came, where that is known.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = Dialect> {
        self.contract.iter().flat_map(|names| names.split(' ')).filter_map(Dialect::named)
    }

    /// Decodes a note, also one of the first gateways.
    pub(crate) fn decode(note: &[u8]) -> Result<Self, fieldmesh::Error> {
        decode(note).or_else(|_| {
            let (id, sequence, kind, collection, client, server, keys, since, settled) =
                decode(note)?;
            let contract = None;
            Ok(Self {
                id,
                sequence,
                kind,
                collection,
                client,
                server,
                keys,
                since,
                settled,
                contract,
            })
        })
    }
}

/// How a conflict was settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub(crate) by: String,
    pub(crate) resolution: Word,
    pub(crate) at: Moment,
    /// Why it took effect without the approval that it would have needed.
    pub(crate) emergency: Option<String>,
}

/// What somebody asked others to do about a conflict, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AskedRow {
    review: ReviewRow,
    by: String,
    at: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ReviewRow {
    Approval,
    Manual,
}

impl From<&Asked> for AskedRow {
    fn from(asked: &Asked) -> Self {
        let review = match asked.review {
            Review::Approval => ReviewRow::Approval,
            Review::Manual => ReviewRow::Manual,
        };
        Self { review, by: asked.by.clone(), at: asked.at }
    }
}

impl From<AskedRow> for Asked {
    fn from(row: AskedRow) -> Self {
        let review = match row.review {
            ReviewRow::Approval => Review::Approval,
            ReviewRow::Manual => Review::Manual,
        };
        Self { review, by: row.by, at: row.at }
    }
}

/// A resolution as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    ClientWins,
    ServerWins,
    LastWriteWins,
    Merge,
    Manual,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceRow {
    pub(crate) device: String,
    pub(crate) user: String,
    pub(crate) label: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) app_version: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) synced_at: Option<Moment>,
    pub(crate) active: bool,
    /// Who unregistered it, where it is not active and that is known.
    pub(crate) shut_by: Option<String>,
}

impl DeviceRow {
    /// One that is used for the first time.
    pub(crate) fn new(user: &str, device: &str) -> Self {
        Self {
            device: device.to_owned(),
            user: user.to_owned(),
            label: None,
            platform: None,
            app_version: None,
            public_key: None,
            synced_at: None,
            active: true,
            shut_by: None,
        }
    }

    /// Decodes a note, also one of the first gateways, which did not say who unregistered it.
    pub(crate) fn decode(note: &[u8]) -> Result<Self, fieldmesh::Error> {
        decode(note).or_else(|_| {
            let (device, user, label, platform, app_version, public_key, synced_at, active) =
                decode(note)?;
            let shut_by = None;
            Ok(Self {
                device,
                user,
                label,
                platform,
                app_version,
                public_key,
                synced_at,
                active,
                shut_by,
            })
        })
    }
}

/// How far somebody has read with a device, and when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) feed: [u8; 8],
    /// Up to where the last page went. Its answer may have been lost.
    pub(crate) place: u64,
    pub(crate) at: Moment,
    /// Up to where the device has everything, by what it said when it asked for that page.
    pub(crate) sure: u64,
}

impl Read {
    /// Decodes a note, also one that the first gateway wrote, which did not tell the two apart.
    pub(crate) fn decode(note: &[u8]) -> Result<Self, fieldmesh::Error> {
        decode(note).or_else(|_| {
            let (feed, place, at) = decode(note)?;
            Ok(Self { feed, place, at, sure: place })
        })
    }
}

/// What a client wrote of a record without having read it again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct WrittenRow {
    pub(crate) fields: Fields,
    /// Its last edits, oldest first.
    pub(crate) edits: Vec<OwnEdit>,
}

/// An edit as a client sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OwnEdit {
    /// The version of the record that it made.
    pub(crate) version: u64,
    /// When it was made, as the client says; its clock may be ahead.
    pub(crate) at: Moment,
    /// A hash of what it asked for.
    pub(crate) content: Vec<u8>,
}

impl WrittenRow {
    /// The version that its last edit made.
    pub(crate) fn last(&self) -> u64 {
        self.edits.last().map_or(0, |edit| edit.version)
    }

    /// Whether it made every version after `from`, up to `to`.
    pub(crate) fn is_own(&self, from: u64, to: u64) -> bool {
        let own = self.edits.iter().map(|edit| edit.version);
        let own: BTreeSet<u64> = own.filter(|version| from < *version && *version <= to).collect();
        own.len() as u64 == to.saturating_sub(from)
    }
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) operation: OperationRow,
    pub(crate) retries: u32,
    pub(crate) state: StateRow,
    /// The contract over which it came; the first gateways did not note that.
    pub(crate) contract: Option<String>,
}

impl EntryRow {
    /// Decodes a note, also one of the first gateways.
    pub(crate) fn decode(note: &[u8]) -> Result<Self, fieldmesh::Error> {
        decode(note).or_else(|_| {
            let (id, sequence, user, device, operation, retries, state) = decode(note)?;
            let contract = None;
            Ok(Self { id, sequence, user, device, operation, retries, state, contract })
        })
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum StateRow {
    Pending,
    Synced(DocumentId),
    Conflict(String),
    Failed(ReasonRow),
}

/// Why an entry failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ReasonRow {
    Invalid(Vec<(String, String)>),
    NoReference(String),
    IncompleteReference(String, String),
    NoRecord,
    Stale(u64),
    Forbidden(String),
    Failed,
}

impl StateRow {
    pub(crate) const PENDING: u8 = 0;
    pub(crate) const SYNCED: u8 = 1;
    pub(crate) const CONFLICT: u8 = 2;
    pub(crate) const FAILED: u8 = 3;

    pub(crate) fn number(&self) -> u8 {
        match self {
            Self::Pending => Self::PENDING,
            Self::Synced(_) => Self::SYNCED,
            Self::Conflict(_) => Self::CONFLICT,
            Self::Failed(_) => Self::FAILED,
        }
    }
}

/// An operation as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OperationRow {
    identity: IdentityRow,
    action: u8,
    pub(crate) collection: String,
    pub(crate) fields: Fields,
    base: BaseRow,
    pub(crate) at: Moment,
    key: Option<String>,
    references: Vec<ReferenceRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum IdentityRow {
    Number(i64),
    Text(String),
    Temporary(String, FormRow),
    Key,
    Unnamed(FormRow),
}

/// The form of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FormRow {
    Number,
    Text,
    Unsaid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum BaseRow {
    New,
    Version(u64),
    Exactly(u64),
    Seen(Moment),
    Current,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ReferenceRow {
    key: String,
    collection: String,
    must_exist: bool,
    copied: Option<(String, String)>,
}

impl From<NameForm> for FormRow {
    fn from(form: NameForm) -> Self {
        match form {
            NameForm::Number => Self::Number,
            NameForm::Text => Self::Text,
            NameForm::Unsaid => Self::Unsaid,
        }
    }
}

impl From<FormRow> for NameForm {
    fn from(form: FormRow) -> Self {
        match form {
            FormRow::Number => Self::Number,
            FormRow::Text => Self::Text,
            FormRow::Unsaid => Self::Unsaid,
        }
    }
}

impl From<Resolution> for Word {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::ClientWins => Self::ClientWins,
            Resolution::ServerWins => Self::ServerWins,
            Resolution::LastWriteWins => Self::LastWriteWins,
            Resolution::Merge => Self::Merge,
            Resolution::Manual => Self::Manual,
        }
    }
}

impl From<Word> for Resolution {
    fn from(word: Word) -> Self {
        match word {
            Word::ClientWins => Self::ClientWins,
            Word::ServerWins => Self::ServerWins,
            Word::LastWriteWins => Self::LastWriteWins,
            Word::Merge => Self::Merge,
            Word::Manual => Self::Manual,
        }
    }
}

const ACTIONS: [Action; 3] = [Action::Create, Action::Update, Action::Delete];

impl From<&Operation> for OperationRow {
    fn from(operation: &Operation) -> Self {
        let action = ACTIONS.iter().position(|action| *action == operation.action);
        let reference = |it: &Reference| ReferenceRow {
            key: it.key.clone(),
            collection: it.collection.clone(),
            must_exist: it.must_exist,
            copied: it.copied.as_ref().map(|copied| (copied.from.clone(), copied.to.clone())),
        };
        Self {
            identity: match &operation.identity {
                Identity::Named(Name::Number(number)) => IdentityRow::Number(*number),
                Identity::Named(Name::Text(text)) => IdentityRow::Text(text.clone()),
                Identity::Temporary { name, wants } => {
                    IdentityRow::Temporary(name.clone(), (*wants).into())
                }
                Identity::Key => IdentityRow::Key,
                Identity::Unnamed { wants } => IdentityRow::Unnamed((*wants).into()),
            },
            action: action.and_then(|action| u8::try_from(action).ok()).unwrap_or(0),
            collection: operation.collection.clone(),
            fields: operation.fields.clone(),
            base: match operation.base {
                Base::New => BaseRow::New,
                Base::Version(version) => BaseRow::Version(version),
                Base::Exactly(version) => BaseRow::Exactly(version),
                Base::Seen { at } => BaseRow::Seen(at),
                Base::Current => BaseRow::Current,
            },
            at: operation.at,
            key: operation.key.clone(),
            references: operation.references.iter().map(reference).collect(),
        }
    }
}

impl From<&OperationRow> for Operation {
    fn from(row: &OperationRow) -> Self {
        let reference = |it: &ReferenceRow| Reference {
            key: it.key.clone(),
            collection: it.collection.clone(),
            must_exist: it.must_exist,
            copied: it.copied.clone().map(|(from, to)| Copied { from, to }),
        };
        Self {
            identity: match row.identity.clone() {
                IdentityRow::Number(number) => Identity::Named(Name::Number(number)),
                IdentityRow::Text(text) => Identity::Named(Name::Text(text)),
                IdentityRow::Temporary(name, wants) => {
                    Identity::Temporary { name, wants: wants.into() }
                }
                IdentityRow::Key => Identity::Key,
                IdentityRow::Unnamed(wants) => Identity::Unnamed { wants: wants.into() },
            },
            action: row.action(),
            collection: row.collection.clone(),
            fields: row.fields.clone(),
            base: match row.base {
                BaseRow::New => Base::New,
                BaseRow::Version(version) => Base::Version(version),
                BaseRow::Exactly(version) => Base::Exactly(version),
                BaseRow::Seen(at) => Base::Seen { at },
                BaseRow::Current => Base::Current,
            },
            at: row.at,
            key: row.key.clone(),
            references: row.references.iter().map(reference).collect(),
        }
    }
}

/// Whether the journal can keep an operation, whatever comes of it.
pub(crate) fn is_too_large(operation: &Operation) -> bool {
    encode(&OperationRow::from(operation)).len() > NOTE_SIZE_MAX / 2
}

impl OperationRow {
    pub(crate) fn action(&self) -> Action {
        ACTIONS[usize::from(self.action).min(ACTIONS.len() - 1)]
    }

    pub(crate) fn name(&self) -> Option<Name> {
        match &self.identity {
            IdentityRow::Number(number) => Some(Name::Number(*number)),
            IdentityRow::Text(text) => Some(Name::Text(text.clone())),
            IdentityRow::Temporary(..) | IdentityRow::Key | IdentityRow::Unnamed(_) => None,
        }
    }
}

/// Encodes a note.
pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_allocvec(row).expect("a note holds nothing unserialisable")
}

/// Decodes a note.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, fieldmesh::Error> {
    postcard::from_bytes(bytes).map_err(|error| fieldmesh::Error::Store {
        reason: format!("a note of the gateway is damaged ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_noted_before_contracts_were_is_read() {
        let operation = OperationRow {
            identity: IdentityRow::Text("p1".into()),
            action: 1,
            collection: "patient".into(),
            fields: Fields::new(),
            base: BaseRow::Version(1),
            at: Moment::ZERO,
            key: None,
            references: Vec::new(),
        };
        let state = StateRow::Failed(ReasonRow::NoRecord);
        let before = encode(&("e1", 7_u64, "ann", "d", &operation, 2_u32, &state));
        let row = EntryRow::decode(&before).unwrap();
        assert_eq!((row.id.as_str(), row.sequence, row.retries), ("e1", 7, 2));
        assert_eq!((&row.operation, &row.state, &row.contract), (&operation, &state, &None));
        let noted = EntryRow { contract: Some("health".into()), ..row };
        assert_eq!(EntryRow::decode(&encode(&noted)).unwrap(), noted);
    }

    #[test]
    fn a_conflict_that_was_noted_before_contracts_were_is_read() {
        let side = SideRow {
            document: DocumentId::from_bytes([7; 16]),
            version: 3,
            fields: Fields::from([("title".to_owned(), "Oil".into())]),
            at: Some(Moment::from_millis(5)),
            user: Some("ann".into()),
            deleted: false,
        };
        let settled = Settled {
            by: "bob".into(),
            resolution: Word::Merge,
            at: Moment::from_millis(9),
            emergency: None,
        };
        for settled in [None, Some(settled)] {
            let (keys, since) = (vec!["title".to_owned()], Moment::from_millis(8));
            let before = ("c1", 4_u64, Kind::Field, 64_u16, &side, &side, &keys, since, &settled);
            let row = ConflictRow::decode(&encode(&before)).unwrap();
            assert_eq!((row.id.as_str(), row.sequence, &row.contract), ("c1", 4, &None));
            assert_eq!((&row.client, &row.keys, &row.settled), (&side, &keys, &settled));
            let noted = ConflictRow { contract: Some("asset".into()), ..row };
            assert_eq!(ConflictRow::decode(&encode(&noted)).unwrap(), noted);
        }
    }
}
