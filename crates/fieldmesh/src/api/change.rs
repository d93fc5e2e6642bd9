//! What has changed, in the order in which it arrived here.

use fieldmesh_model::DocumentId;
use serde::{Deserialize, Serialize};

/// Which changes are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesQuery {
    /// Goes on behind an earlier page, whose `next` this was; from the beginning where absent.
    #[serde(default)]
    pub after: Option<String>,
    /// Only records of this collection.
    #[serde(default)]
    pub collection: Option<String>,
    /// At most so many; at most a thousand in any case.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A page of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesPage {
    /// Records that have changed, each once, at the place of its last change.
    pub changes: Vec<ChangeReport>,
    /// The cursor behind this page, also where nothing has changed. It outlives restarts.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
    /// Whether records have left this device since the page before: by a purge, because old months
    /// were let go, or because what made them counts no longer. Nothing tells of each: whoever keeps
    /// a copy lists anew.
    #[serde(default)]
    pub vanished: bool,
}

/// A record that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// The record.
    pub id: DocumentId,
    /// Its collection.
    pub collection: String,
    /// What has become of it since the cursor.
    pub kind: ChangeKind,
    /// What it reads as now; see [`super::Record::version`].
    pub version: String,
}

/// What has become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// It was not here at the cursor.
    Created,
    /// It was here at the cursor. Who has not come to the end of the feed so far may not have been
    /// given it, as it has moved on: put it in place either way.
    Changed,
    /// It is deleted, or does not count because its collection asks for an approval that it lacks.
    Deleted,
}
