//! A change of many records alike: what is asked, what would come of it, what came of it.

use fieldmesh_model::DocumentId;
use serde::{Deserialize, Serialize};

use super::{Edits, FieldChange, ListQuery};

/// A change of many records alike.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkEdit {
    /// Which records.
    pub list: ListQuery,
    /// What is changed of each.
    pub edits: Edits,
    /// Only show what would change; write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Write nothing unless exactly so many records would change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u64>,
    /// The records that somebody has looked at, as they were then: no other is changed, and none of
    /// them that reads otherwise by now. Whatever fits where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<BulkSeen>>,
}

/// A record that somebody has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkSeen {
    /// The record.
    pub id: DocumentId,
    /// What it read as; see [`super::Record::version`].
    pub version: String,
}

/// What a change of many records did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkReport {
    /// What changes, record by record.
    pub changed: Vec<BulkChange>,
    /// How many records have these values already.
    pub unchanged: u64,
    /// Why some cannot be changed; then none was.
    pub refused: Vec<BulkRefusal>,
    /// Why some were passed over while others were changed: they are others than were looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<BulkRefusal>,
    /// Whether anything was written.
    pub written: bool,
}

impl BulkReport {
    /// The records that change, as they were looked at.
    pub fn seen(&self) -> Vec<BulkSeen> {
        let seen = |it: &BulkChange| BulkSeen { id: it.id, version: it.version.clone() };
        self.changed.iter().map(seen).collect()
    }
}

/// What changes of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkChange {
    /// The record.
    pub id: DocumentId,
    /// What people call it, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it reads as before the change; see [`super::Record::version`].
    pub version: String,
    /// Its fields before and after.
    pub fields: Vec<FieldChange>,
}

/// A record that cannot be changed so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkRefusal {
    /// The record.
    pub id: DocumentId,
    /// Why.
    pub reason: String,
}
