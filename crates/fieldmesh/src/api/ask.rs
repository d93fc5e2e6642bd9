//! What a caller asks of a node.

use std::time::Duration;

use fieldmesh_model::{Moment, Role};
use serde::{Deserialize, Serialize};

use super::ListQuery;

/// A record to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewRecord {
    /// The collection's name, `field_entry` for one.
    pub collection: String,
    /// The fields as nested JSON, as the requirements write them.
    #[serde(default)]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Assignments from a command line, applied after `fields`: `oilVolume=82.3`.
    #[serde(default)]
    pub assignments: Vec<String>,
    /// The time the record is about, where the collection has one; the device's clock otherwise.
    #[serde(default)]
    pub at: Option<Moment>,
}

/// Changes to one record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Edits {
    /// New values as nested JSON; null clears a field.
    #[serde(default)]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Assignments from a command line: `notes=checked`, `partsReplaced+=valve`, `cost=`.
    #[serde(default)]
    pub assignments: Vec<String>,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One JSON record a line.
    #[default]
    Jsonl,
    /// A header and one line a record; lists are JSON in one cell.
    Csv,
}

/// What to export.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportQuery {
    /// Which records; they are written in order of id, so that equal stores export equal bytes.
    pub list: ListQuery,
    /// Further collections, of which the same is asked; all are written as of one moment, one
    /// collection after the other.
    #[serde(default)]
    pub also: Vec<String>,
    /// How.
    #[serde(default)]
    pub format: ExportFormat,
    /// Every revision of every record instead of its present state.
    #[serde(default)]
    pub history: bool,
}

/// How to read an import file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportOptions {
    /// The collection of the rows, where no mapping says it.
    pub collection: Option<String>,
    /// The text of the mapping file.
    pub mapping: Option<String>,
    /// Edit the record that is there already with the natural key or the unique values of a row;
    /// it is refused where it says otherwise without this. What a row says nothing of stays.
    #[serde(default)]
    pub update: bool,
    /// Check everything, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// An invitation to issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InviteOptions {
    /// The role of whoever joins.
    pub role: Role,
    /// The e-mail address of the person; the device is theirs.
    pub user: Option<String>,
    /// How long the invitation is good for.
    pub valid: Duration,
    /// How many invitations; each is good for one device.
    pub count: u32,
}

/// One pass of synchronisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncOptions {
    /// Addresses, or names or ids of devices; everyone reachable where empty.
    #[serde(default)]
    pub with: Vec<String>,
    /// How long to try in all.
    pub timeout: Duration,
    /// Whether to look for nearby devices by mDNS.
    pub mdns: bool,
    /// The part of the tenant's records to exchange, as `COLLECTION[/PARTITION][@YYYY-MM]` each;
    /// what the node was opened with where empty. A node that was opened with another part refuses.
    #[serde(default)]
    pub only: Vec<String>,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self { with: Vec::new(), timeout: Duration::from_secs(30), mdns: true, only: Vec::new() }
    }
}

/// How to revoke a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeOptions {
    /// Why, for the others; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Whether the device is to erase itself when it learns of it.
    #[serde(default)]
    pub wipe: bool,
}

/// Which items of the conflict inbox to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConflictQuery {
    /// Only this kind: `field`, `duplicate`, `deleted-and-edited`, `rule`, `parallel`, `quarantine`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Also what has ended, and what merged by itself.
    #[serde(default)]
    pub closed: bool,
    /// Only items behind the one with this id.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many, and never more than [`CONFLICTS_MAX`].
    #[serde(default)]
    pub limit: Option<u64>,
}

/// The most items of the inbox that are listed at once.
pub const CONFLICTS_MAX: u64 = 1_000;

/// Which side of a conflict wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The value with this label.
    Label(String),
    /// This device's own value.
    Client,
    /// The value of the others.
    Server,
    /// The value written last by its author's clock.
    Latest,
    /// Both of two records that were made for one thing: each is meant.
    Both,
}

/// How to settle a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// Take one side.
    Take(Choice),
    /// Set values given by hand, as assignments.
    Set(Vec<String>),
}
