//! The journal: operations that were taken in and have a state until they are settled.

use serde::Serialize;

use super::{Operation, Refused};

/// Puts operations into the journal.
///
/// An operation whose key is in the journal already is that entry, with its present state.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// The operations.
    pub operations: Vec<Queued>,
    /// What of the request is no operation, to be kept once and listed for a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// What to do next.
    pub then: Then,
}

/// An operation on its way into the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    /// The client's id of the operation, which becomes that of the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose it is, as the client calls him.
    pub user: String,
    /// From which device.
    pub device: String,
    /// What was done.
    pub operation: Operation,
}

/// What to do with operations that are in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// Leave them until they are asked for.
    Wait,
    /// Process them.
    Process,
}

/// Which pending entries to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalQuery {
    /// Those of this user.
    pub user: String,
    /// Those of this device.
    pub device: String,
}

/// Which failed entries to process again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Those of this user.
    pub user: String,
    /// Those of this device; of all where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Only these; all that failed where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
}

/// Whose entries to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Whose {
    /// A user's.
    User(String),
    /// Everyone's in the tenant.
    Tenant,
}
