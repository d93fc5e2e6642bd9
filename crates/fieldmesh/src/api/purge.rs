//! Purges: what is asked, what each came to, and what was purged so far.

use fieldmesh_model::{DocumentId, Moment};
use serde::{Deserialize, Serialize};

/// Which records are to be purged, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PurgeOptions {
    /// The records: ids, endings of them, or unique names.
    pub records: Vec<String>,
    /// Why, for the others; may be empty. It stays readable for good.
    #[serde(default)]
    pub reason: String,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What the purge of one record came to on the device where it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgeReport {
    /// The record.
    pub id: DocumentId,
    /// Its collection.
    pub collection: String,
    /// What people called it; empty where it has no name.
    pub name: String,
    /// How many changes of it were here.
    pub changes: u64,
    /// Whether it was purged, and not only looked at.
    pub purged: bool,
    /// Whether it is erased here; otherwise the device goes on with it by itself.
    pub erased: bool,
}

/// A record that was purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgedRecord {
    /// The record.
    pub id: DocumentId,
    /// Who purged it, in words.
    pub by: String,
    /// When, by the clock of whoever did.
    pub at: Moment,
    /// Why; may be empty.
    pub reason: String,
    /// Whether nothing of it is left in what this home can read.
    pub erased: bool,
}
