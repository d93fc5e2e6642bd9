//! What became of somebody's own work by the hand of others.

use fieldmesh_model::{DocumentId, Moment};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NoticeKind {
    /// Another value of the field was taken where his competed with it or broke a rule; without a
    /// field, another record was kept instead of his.
    Overwritten,
    /// His change could not be applied.
    Refused,
    /// A batch of his does not count.
    Excluded,
    /// A record that he has written in was refused by somebody who approves such records.
    Declined,
}

/// Something that whoever wrote it should hear of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The notice's id, the same on every device of the person.
    pub id: String,
    /// What became of his work.
    pub kind: NoticeKind,
    /// The record; of a batch the first one that it is about.
    pub record: DocumentId,
    /// The record's collection.
    pub collection: String,
    /// What people call the record.
    pub name: String,
    /// The field; empty where more than one, or the record, is meant.
    pub field: String,
    /// The item of the inbox that tells all of it; empty where the record does.
    pub item: String,
    /// Who did it, where somebody did.
    pub by: Option<String>,
    /// When, by the clock of whoever did it; of a batch, its newest change.
    pub at: Option<Moment>,
    /// What he wrote.
    pub wrote: Json,
    /// What the field holds since.
    pub left: Json,
    /// Why, for what does not count, and that the record was deleted where a broken rule ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it was marked as seen, on this device.
    pub seen: bool,
}

/// Notices to be marked as seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenNotices {
    /// Their ids or endings of them; all that there are where absent.
    #[serde(default)]
    pub ids: Option<Vec<String>>,
}
