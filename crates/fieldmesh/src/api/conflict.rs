//! What is told of the sides of a conflict and of its end.

use fieldmesh_model::{DeviceId, DocumentId, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Choice, ConflictQuery, Problem};

/// What the author of one side had seen of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SightReport {
    /// The labels of the sides that he had seen.
    pub sides: Vec<String>,
    /// How many changes of the record he had not seen that were made beside his.
    pub unseen: u64,
    /// When the newest of these was made, by the clock of its device.
    pub unseen_last: Option<Moment>,
}

/// What somebody said about an item of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentReport {
    /// What he said.
    pub text: String,
    /// Who said it.
    pub user: Option<String>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Moment,
}

/// What is to be said about an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// The words.
    pub text: String,
}

/// The end of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndReport {
    /// Whether somebody settled it; otherwise he wrote over it and may never have seen it.
    pub settled: bool,
    /// The change, as the history of the record names it.
    pub change: String,
    /// Who made it.
    pub user: Option<String>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Moment,
    /// What it left in the field; of records that are alike, the ids of those that stayed.
    pub left: Json,
    /// Whether it ended as the record was deleted: it is there again once that is brought back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The fields of the record that was kept that were given a value with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
}

/// What is to become of what is quarantined, or of a deleted record that somebody edited meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The batch counts with all before it, by a statement that every device follows; the deleted
    /// record is there once more, with the edit.
    Adopt,
    /// The record stays deleted, everywhere. What is quarantined is listed on this device no more;
    /// it is kept, and other devices list it.
    Discard,
    /// What was discarded on this device is listed here once more.
    Reopen,
}

/// A verdict on one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVerdict {
    /// What is to become of it.
    pub verdict: Verdict,
}

/// Who discarded an item on this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardReport {
    /// Who.
    pub user: Option<String>,
    /// When, by this device's clock.
    pub at: Moment,
}

/// All open items that a query gives, settled alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveAll {
    /// Which items. Records that are alike, and those that were deleted and edited, are meant only
    /// where its kind says so: nobody deletes records or brings them back who asks for values.
    #[serde(default)]
    pub query: ConflictQuery,
    /// Which side wins.
    pub choice: Choice,
    /// Only show what would come of it; write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Write nothing unless exactly so many items would be settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u64>,
    /// The items that somebody has looked at: no other is settled. Another value that competes
    /// makes another item, so they read as they did. Every one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<String>>,
}

impl ResolveAll {
    /// Every open item with values that compete, settled by this choice.
    pub fn of(choice: Choice) -> Self {
        let query = ConflictQuery::default();
        Self { query, choice, dry_run: false, expect: None, seen: None }
    }
}

/// What settling many items alike came to, or would come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveAllReport {
    /// What was settled, item by item.
    pub settled: Vec<SettledItem>,
    /// What was not, and why.
    pub left: Vec<LeftItem>,
    /// What came to an end with another one, or by somebody else since it was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<LeftItem>,
    /// Whether anything was written.
    pub written: bool,
    /// What kept the rest from being tried, after some were settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Problem>,
}

impl ResolveAllReport {
    /// The items that are settled, to be told as those that were looked at.
    pub fn seen(&self) -> Vec<String> {
        self.settled.iter().map(|item| item.id.clone()).collect()
    }
}

/// An item that was settled, or would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettledItem {
    /// The item.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The record; of records that are alike the one that is kept, or the first where all are.
    pub record: DocumentId,
    /// What people call the record.
    pub name: String,
    /// The field; empty where the record as a whole is meant.
    pub field: String,
    /// What the field showed before; null where the record as a whole is meant.
    pub before: Json,
    /// The label of the side that was taken; empty where all are.
    pub taken: String,
    /// The value of that side.
    pub after: Json,
    /// Records that are alike, all of them; empty where a field or one record is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<SettledRecord>,
    /// How many more of them there are, which are left as they are.
    #[serde(default)]
    pub more: u32,
}

/// One of several records that are alike, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettledRecord {
    /// The label of its side.
    pub label: String,
    /// The record.
    pub record: DocumentId,
    /// Whether it stays; the others are deleted for those that do.
    pub kept: bool,
    /// Whether it is deleted as it is looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// What it holds of that in which the records differ.
    pub values: Map<String, Json>,
}

/// An item that was not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftItem {
    /// The item.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The record.
    pub record: DocumentId,
    /// What people call the record.
    pub name: String,
    /// The field; empty where the record as a whole is meant.
    pub field: String,
    /// Why.
    pub reason: String,
}
