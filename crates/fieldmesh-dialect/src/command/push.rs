//! What a device did, to be written.

use fieldmesh_model::{Fault, Fields, Moment};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Resolution;
use crate::name::Name;
use crate::payload::{plain, unpack};

/// What a device did, in the order in which it is to be written.
///
/// Each operation stands for itself: one that is refused does not stop the others. The fields may
/// break rules of their collection; such a record is stored and listed as a violation, because
/// what the contract itself refuses never gets here.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// The device; one that is not known becomes so, one that is revoked is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// What it did.
    pub operations: Vec<Operation>,
    /// What settles a conflict at once; without one it is the policy of the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The most operations that may be written anew; the rest is put off. What is stored already
    /// does not count, so a long queue gets on though its first part stays in conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stores_max: Option<usize>,
    /// What of the request is no operation, to be kept once and listed for a person: documented
    /// clients do not read which part was refused, and take all of it for stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// A part of a request that is refused while others are taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refused {
    /// The JSON that was sent.
    pub content: String,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// With which device it was made, where it says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Refused {
    /// A part of a request, and what is wrong with it.
    pub(crate) fn new(json: &Json, faults: Vec<Fault>) -> Self {
        Self { content: json.to_string(), faults, device: None }
    }

    /// An operation that no journal takes. What names it comes first, because the end may be cut off.
    pub fn of(operation: &Operation, faults: Vec<Fault>) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'a> {
            operation: Action,
            r#type: &'a str,
            entity_id: Option<Json>,
            timestamp: Moment,
            content: Json,
        }
        let text = |text: &String| Json::from(text.as_str());
        let shown = Shown {
            operation: operation.action,
            r#type: &operation.collection,
            entity_id: match &operation.identity {
                Identity::Named(name) => Some(name.to_json()),
                Identity::Temporary { name, .. } => Some(text(name)),
                Identity::Key | Identity::Unnamed { .. } => operation.key.as_ref().map(text),
            },
            timestamp: operation.at,
            content: Json::Object(unpack(&operation.fields)),
        };
        // Nothing of it is a map with other keys than texts, so it can be written.
        let content = serde_json::to_string(&shown).unwrap_or_default();
        Self { content, faults, device: None }
    }
}

/// A device as its app describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The app's stable id of it.
    pub id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The version of the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
}

/// One thing that a device did to one record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Which record.
    pub identity: Identity,
    /// What was done.
    pub action: Action,
    /// The collection of the record.
    pub collection: String,
    /// The fields that were written; null clears one, absent ones are left alone.
    #[serde(serialize_with = "plain::serialize")]
    pub fields: Fields,
    /// What the device knew of the record.
    pub base: Base,
    /// When it was done, by the device's clock.
    pub at: Moment,
    /// What the client calls this operation whenever it sends it. One whose key is known is
    /// answered as that one stands; fields that differ go into the inbox, so nothing is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The fields that name other records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// Which record an operation is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Identity {
    /// A name that holds in the whole tenant, or else one that the device used before the record
    /// had that. A create under a new name makes it an alias.
    Named(Name),
    /// A name that only this device, or this user, uses until the record has a lasting one. The
    /// same name again is the same record.
    Temporary {
        /// The name.
        name: String,
        /// The form of the lasting one.
        wants: NameForm,
    },
    /// The natural key of the collection, in the fields.
    Key,
    /// The store names it.
    Unnamed {
        /// The form of the name.
        wants: NameForm,
    },
}

/// The form of names that a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NameForm {
    /// Whole numbers.
    Number,
    /// Texts.
    Text,
    /// Unknown: as the client was answered before, texts where it never was.
    Unsaid,
}

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// Made. One that is there with equal fields is the same; with other fields it is a conflict.
    Create,
    /// Changed. Only fields that differ from the base count as changed.
    Update,
    /// Deleted: a tombstone.
    Delete,
}

/// What a device knew of a record when it wrote.
///
/// An operation on an old base is written as a change concurrent with what came since. It is a
/// conflict only where both changed one field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Base {
    /// Nothing: the record is new.
    New,
    /// This version; one above the current version means the current one.
    Version(u64),
    /// This version and no other: anything else is refused as stale.
    Exactly(u64),
    /// What the device last got of the record: in a page it pulled, or in a conflict answered to it
    /// not later than `at`. Where neither is known, the version that stood at `at`.
    Seen {
        /// When the device wrote, by its own clock.
        at: Moment,
    },
    /// Whatever is current.
    Current,
}

/// A field that names a record of another collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The field.
    pub key: String,
    /// The collection.
    pub collection: String,
    /// Whether the operation is refused if there is no such record; otherwise that is listed as a
    /// violation.
    pub must_exist: bool,
    /// A field that is copied from the other record when this one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<Copied>,
}

/// A field that a record takes from one that it refers to; a record that lacks it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// The field of the other record.
    pub from: String,
    /// The field of the record itself.
    pub to: String,
}

impl Action {
    /// The words of all dialects for it, read in whatever case.
    pub(crate) const WORDS: [(&'static str, Self); 3] =
        [("CREATE", Self::Create), ("UPDATE", Self::Update), ("DELETE", Self::Delete)];

    /// The word for it in upper case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl Device {
    /// A device of which only the id is known.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }
}

impl Reference {
    pub(crate) fn new(key: &str, collection: &str, must_exist: bool) -> Self {
        Self { key: key.to_owned(), collection: collection.to_owned(), must_exist, copied: None }
    }
}
