//! What became of a command, as whoever executed it tells.
//!
//! A record in an outcome names itself and others as the clients of the asking dialect do: the
//! executor looks names up in the alias table before it answers.

use fieldmesh_model::{Fault, Moment};
use serde::Deserialize;

use crate::command::Resolution;
use crate::name::Name;
use crate::refusal::Refusal;

mod conflict;
mod fleet;
mod journal;
mod record;
mod rejected;
mod session;

pub use conflict::{Asked, Conflict, ConflictKind, ConflictPage, Resolved, Review, Side};
pub use fleet::{FleetDevice, FleetKind, FleetPage};
pub use journal::{Entry, Overview, Retried, State, Tally};
pub use record::{Happened, Item, Page, Record};
pub use rejected::{Rejected, RejectedContent, RejectedPage};
pub use session::{DeviceState, Reading, Session, Traffic, Unread, User};

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Nothing was done.
    Refused(Refusal),
    /// Requests can be served.
    Healthy {
        /// When this was said.
        at: Moment,
        /// The version of the program.
        version: String,
    },
    /// A session was opened or renewed.
    Session(Session),
    /// Of [`crate::command::Command::Push`].
    Pushed(Pushed),
    /// Of [`crate::command::Command::Pull`] and the first page of a follow.
    Page(Page),
    /// Of an exchange.
    Exchanged {
        /// What became of what was written.
        pushed: Pushed,
        /// What others did.
        page: Page,
    },
    /// How far a device has read.
    Reading(Reading),
    /// Entries of the journal: those that a command named, in its order and with `None` for those
    /// that are not there, or those that a query found.
    Entries(Vec<Option<Entry>>),
    /// What became of failed entries that were processed again.
    Retried(Retried),
    /// Entries by state.
    Tally(Tally),
    /// The caller at a glance.
    Overview(Overview),
    /// Devices: of a list, or the one that was registered.
    Devices(Vec<DeviceState>),
    /// Done, and nothing more to say.
    Done,
    /// A code by which a person chooses another password.
    ResetCode {
        /// The code.
        code: String,
        /// Until when it is good.
        until: Moment,
    },
    /// Open conflicts.
    Conflicts(ConflictPage),
    /// A conflict is settled, or waits for someone with more rights.
    Resolved(Resolved),
    /// How many rendered answers were forgotten.
    Invalidated {
        /// So many.
        count: u64,
    },
    /// A photo is kept.
    PhotoKept {
        /// The SHA-256 of its bytes in hex.
        id: String,
        /// How many bytes are here.
        size: u64,
        /// Its type.
        content_type: String,
        /// Whether it was here before, as a whole.
        known: bool,
        /// Whether all of it is here.
        complete: bool,
    },
    /// A photo.
    Photo {
        /// Its type.
        content_type: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// What devices sent and received.
    Traffic(Vec<Traffic>),
    /// Devices of the tenant.
    Fleet(FleetPage),
    /// What could not be stored.
    Rejected(RejectedPage),
}

/// What became of what was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// One fate for each operation, in order.
    pub fates: Vec<Fate>,
    /// When the last of it arrived in the feed.
    pub at: Moment,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Fate {
    /// It is stored, by this request or an earlier one.
    Stored(Box<Stored>),
    /// Another record says the same already.
    Duplicate {
        /// The other record.
        name: Name,
    },
    /// It is stored, and the conflict that it met was settled at once.
    Settled {
        /// What took effect: of last-write-wins, whoever won.
        by: Resolution,
        /// The conflict.
        conflict: Box<Conflict>,
    },
    /// It is stored beside other values, and someone has to settle that.
    Conflict(Box<Conflict>),
    /// It is not stored.
    Rejected(Reason),
    /// It is not stored because there is too much at once; it may come again.
    Deferred,
}

/// A record after an operation on it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Whether an earlier request stored it.
    #[serde(default)]
    pub again: bool,
}

/// Why an operation was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Reason {
    /// Its fields cannot be stored at all: too large, not finite.
    Invalid {
        /// What is wrong.
        faults: Vec<Fault>,
    },
    /// A record that it refers to is not there.
    NoReference {
        /// The field that refers to it.
        key: String,
    },
    /// A record that it refers to lacks a field that is copied from it.
    IncompleteReference {
        /// The field that refers to it.
        key: String,
        /// The field that is missing there.
        lacks: String,
    },
    /// The record is not there.
    NoRecord,
    /// The record changed since, and the request wanted to know.
    Stale {
        /// Its version now.
        version: u64,
    },
    /// The caller may not write this.
    Forbidden {
        /// Why, for people.
        why: String,
    },
    /// Bytes arrived damaged.
    Damaged,
    /// Something broke here; the operation may come again.
    Failed,
}
