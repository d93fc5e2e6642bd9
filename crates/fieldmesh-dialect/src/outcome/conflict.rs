//! Conflicts as they are shown, and what became of settling them.

use std::borrow::Cow;

use fieldmesh_model::{Fields, Moment};
use serde::Deserialize;

use super::Record;
use crate::command::Resolution;
use crate::name::Name;
use crate::payload::plain;

/// What contradicts what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConflictKind {
    /// Two values of one field.
    Field,
    /// Two records of one fact.
    Duplicate,
    /// Deleted here, edited there.
    DeletedAndEdited,
}

/// Two versions that contradict each other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The same on every replica: derived from the record and the changes that compete.
    pub id: String,
    /// What contradicts what.
    pub kind: ConflictKind,
    /// The collection.
    pub collection: String,
    /// The record that the operation is about.
    pub name: Name,
    /// What the operation brought.
    pub client: Side,
    /// What the store had.
    pub server: Side,
    /// The fields in which they differ.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Since when there is a conflict.
    pub since: Moment,
    /// What somebody asked others to do about it.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// The other conflicts that the same operation met.
    #[serde(default)]
    pub beside: Vec<Self>,
}

impl Conflict {
    /// This one and those beside it as one, for contracts that tell of one for each operation. Of
    /// several records that say the same one is told, and the others are listed.
    pub(crate) fn whole(&self) -> Cow<'_, Self> {
        let mut whole = Cow::Borrowed(self);
        let is_field = |it: &&Self| it.kind == ConflictKind::Field && self.kind == it.kind;
        for other in self.beside.iter().filter(is_field) {
            let one = whole.to_mut();
            one.client.fields.extend(other.client.fields.clone());
            one.server.fields.extend(other.server.fields.clone());
            let news = other.keys.iter().filter(|key| !self.keys.contains(key));
            one.keys.extend(news.cloned());
        }
        whole
    }
}

/// A wish that others settle a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// For what it waits.
    pub review: Review,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Moment,
}

/// One of two versions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Its record, where the sides are two records.
    #[serde(default)]
    pub name: Option<Name>,
    /// Its version; of the client's side the one it was based on.
    pub version: u64,
    /// The fields.
    #[serde(default, deserialize_with = "plain::deserialize")]
    pub fields: Fields,
    /// When it was written, by the clock of its device.
    #[serde(default)]
    pub at: Option<Moment>,
    /// When the last of it arrived, where that is known and the contract tells.
    #[serde(default)]
    pub arrived_at: Option<Moment>,
    /// Who wrote it.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether it is a deletion.
    #[serde(default)]
    pub deleted: bool,
}

/// Open conflicts, oldest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConflictPage {
    /// The conflicts.
    pub conflicts: Vec<Conflict>,
    /// The place to go on from, if there are more.
    #[serde(default)]
    pub next: Option<u64>,
}

/// What became of settling a conflict.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The conflict, or the entry of the journal.
    pub id: String,
    /// How it was settled, or is to be.
    pub resolution: Resolution,
    /// For what it waits, if it is not settled yet.
    #[serde(default)]
    pub review: Option<Review>,
    /// Who settled it.
    #[serde(default)]
    pub by: Option<String>,
    /// When it was settled.
    #[serde(default)]
    pub at: Option<Moment>,
    /// Since when it was open; nothing where it was settled before it was asked for.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Why it took effect without the approval that it would have needed.
    #[serde(default)]
    pub emergency: Option<String>,
    /// The record now.
    #[serde(default)]
    pub record: Option<Record>,
}

/// For what a conflict waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Review {
    /// Somebody has to approve the resolution.
    Approval,
    /// Somebody has to give the values.
    Manual,
}
