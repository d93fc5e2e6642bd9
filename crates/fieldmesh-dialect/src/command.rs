//! What a request means, in the words of the field: one small set of commands for all dialects.
//!
//! Whoever executes a command knows nothing of HTTP, and a dialect knows nothing of stores. A
//! command says everything that the contract decides (which record, built on what, which rules
//! refuse), and leaves everything that only the store can decide (is it there, what is it now, who
//! may).

use serde::Serialize;

use crate::name::Name;

mod conflict;
mod fleet;
mod journal;
mod pull;
mod push;
mod rejected;
mod session;

pub use conflict::{ConflictQuery, Resolution, Resolve};
pub use fleet::FleetQuery;
pub use journal::{JournalQuery, Queue, Queued, Retry, Then, Whose};
pub use pull::{Condition, Pull, Test, Wanted};
pub use push::{
    Action, Base, Copied, Device, Identity, NameForm, Operation, Push, Reference, Refused,
};
pub use rejected::RejectedQuery;
pub use session::{
    Login, PasswordChange, PasswordReset, PhotoUpload, Refresh, ResetCodeOrder, Secret,
    TrafficQuery,
};

/// What a request means.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    /// Say whether requests can be served.
    Health,
    /// Open a session for a person with a password.
    Login(Login),
    /// Renew a session.
    Refresh(Refresh),
    /// Give the caller another password.
    ChangePassword(PasswordChange),
    /// Make a code by which somebody who forgot his password chooses another one.
    MakeResetCode(ResetCodeOrder),
    /// Give a person with such a code another password.
    ResetPassword(PasswordReset),
    /// Write what a device did.
    Push(Push),
    /// Read what a device has not seen.
    Pull(Pull),
    /// Write first, then read what others did; the page leaves out what was just written.
    Exchange {
        /// What to write.
        push: Push,
        /// What to read.
        pull: Pull,
    },
    /// Send what happens from now on, as long as the client listens.
    Follow(Pull),
    /// Say how far a device has read.
    Reading {
        /// The device.
        device: String,
    },
    /// Put operations into the journal, and process them if so wanted.
    Queue(Queue),
    /// Process entries of the journal; those that were processed answer the same again.
    Process {
        /// The entries, by the id of the journal or the client's.
        entries: Vec<String>,
    },
    /// List entries of the journal.
    Journal(JournalQuery),
    /// Process failed entries again.
    Retry(Retry),
    /// Count the entries of the journal by state.
    Tally(Whose),
    /// The caller's devices, journal and conflicts at a glance.
    Overview,
    /// List the caller's devices.
    Devices,
    /// Make a device known.
    Register {
        /// The device.
        device: Device,
        /// Its public key, as the client writes it.
        public_key: Option<String>,
        /// Whose it is, where an admin says so; else the caller's.
        user: Option<String>,
    },
    /// Let a device sync no more; doing so again changes nothing.
    Unregister {
        /// The device.
        device: String,
        /// Whose it is, where an admin says so.
        user: Option<String>,
    },
    /// List conflicts that are open.
    Conflicts(ConflictQuery),
    /// Settle a conflict.
    Resolve(Resolve),
    /// Forget rendered answers.
    Invalidate {
        /// Of these collections; of all where there are none.
        collections: Vec<String>,
        /// Of these records; of all where there are none.
        records: Vec<Name>,
    },
    /// Keep a photo.
    StorePhoto(PhotoUpload),
    /// Give out a photo.
    LoadPhoto {
        /// The SHA-256 of its bytes in hex.
        id: String,
    },
    /// How much devices sent and received.
    Traffic(TrafficQuery),
    /// List the devices of the tenant.
    Fleet(FleetQuery),
    /// List what devices sent and nobody could store.
    Rejected(RejectedQuery),
}
