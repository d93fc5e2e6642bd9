//! Entries of the journal and their numbers.

use fieldmesh_model::{Fields, Moment};
use serde::Deserialize;

use super::{Conflict, DeviceState, Reason, Record};
use crate::command::Action;
use crate::name::Name;
use crate::payload::plain;

/// Where an entry stands; X-22 settles what the dialects call it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It waits.
    Pending,
    /// It is stored; the record as it is now.
    Synced(Box<Record>),
    /// It waits for someone to settle a conflict.
    Conflict(Box<Conflict>),
    /// It cannot be stored.
    Failed(Reason),
}

/// An operation in the journal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The id of the entry.
    pub id: String,
    /// The user as the client called him.
    pub user: String,
    /// What was done.
    pub action: Action,
    /// The collection.
    pub collection: String,
    /// The record, if it has a name.
    #[serde(default)]
    pub name: Option<Name>,
    /// The fields that were sent.
    #[serde(default, deserialize_with = "plain::deserialize")]
    pub fields: Fields,
    /// When it was done, by the clock of the device.
    pub at: Moment,
    /// How often processing it has failed.
    #[serde(default)]
    pub retries: u32,
    /// Whether an earlier request put it here.
    #[serde(default)]
    pub known: bool,
    /// Where it stands.
    pub state: State,
}

/// What became of failed entries that were processed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Retried {
    /// Those that are stored.
    pub synced: u64,
    /// Those that failed again.
    pub failed: u64,
    /// Those that are in conflict.
    pub conflicts: u64,
}

/// Entries by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// They wait.
    pub pending: u64,
    /// They are being processed.
    #[serde(default)]
    pub syncing: u64,
    /// They are stored.
    pub synced: u64,
    /// They failed.
    pub failed: u64,
    /// They are in conflict.
    pub conflicts: u64,
    /// Since when the oldest of those that wait does so.
    #[serde(default)]
    pub oldest_pending: Option<Moment>,
}

/// A user at a glance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Overview {
    /// His devices.
    pub devices: Vec<DeviceState>,
    /// His entries of the journal.
    pub tally: Tally,
    /// How many of his conflicts are open.
    pub conflicts: u64,
    /// How many records of the feed his devices have not read, all together.
    pub backlog: u64,
    /// When this was counted.
    pub at: Moment,
}
