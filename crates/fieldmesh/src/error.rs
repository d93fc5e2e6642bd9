//! Why a node could not do what it was asked, in words that say what to do.

use std::path::PathBuf;

use fieldmesh_model::validate::Fault;
use fieldmesh_model::{DocumentId, Moment};
use fieldmesh_store::AppendError;

use crate::api::{Class, Problem};

/// Why a node could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no home in the folder: create a tenant or join one first.
    #[error(
        "there is no fieldmesh home in {}; create one with `tenant create` or `join`", folder.display()
    )]
    NoHome {
        /// The folder.
        folder: PathBuf,
    },
    /// The device was revoked with the order to erase itself, and has done so.
    #[error("{reason}")]
    Erased {
        /// Who was revoked and why.
        reason: String,
    },
    /// The folder holds a home already: use another one.
    #[error("{} already holds a home; choose another folder with --home", folder.display())]
    HomeExists {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use the home {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The home is locked by a passphrase or key that was not given.
    #[error("{reason}")]
    Locked {
        /// What is missing or wrong, and what to do.
        reason: String,
    },
    /// What opens the home is damaged: put it back from a copy.
    #[error("{reason}")]
    Damaged {
        /// What is damaged, and what to do.
        reason: String,
    },
    /// Another process holds the home.
    #[error("the home {} is in use by another process{}", folder.display(), holder(*.pid))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, where known.
        pid: Option<u32>,
    },
    /// The store failed; nothing that was acknowledged is lost.
    #[error("the store failed: {reason}")]
    Store {
        /// What failed and what to do.
        reason: String,
    },
    /// Nothing more can be stored: the disk is full, or all is taken that is granted. Nothing of what
    /// was given is lost where it came from; give it again when there is room.
    #[error("nothing more can be stored: {reason}")]
    Full {
        /// How much there is, and what to do.
        reason: String,
    },
    /// A newer program wrote what should be opened, and nothing of it was changed: use that one.
    #[error(
        "{what} has version {version}, this program reads up to {reads}: a newer fieldmesh wrote \
         it, and nothing was changed; update this program and try again"
    )]
    Newer {
        /// The file or folder.
        what: String,
        /// Its version.
        version: u16,
        /// The newest version that can be read.
        reads: u16,
    },
    /// No collection has this name.
    #[error("there is no collection {name:?}; the collections are {known}")]
    UnknownCollection {
        /// What was asked for.
        name: String,
        /// Those that exist, separated by commas.
        known: String,
    },
    /// The contents are not valid; nothing was written.
    #[error("{}", faults_text(.faults))]
    Invalid {
        /// Everything that is wrong.
        faults: Vec<Fault>,
    },
    /// Records are being made anew from the log, and what was asked for needs all of them; nothing
    /// was written.
    #[error(
        "what is recorded here is being made readable again from the log, {percent} % so far; \
         {reason}; nothing is lost, and nothing was changed: try again later"
    )]
    Remaking {
        /// How far it has come.
        percent: u64,
        /// Why it matters.
        reason: String,
    },
    /// The schema of a collection is not valid, or would lose something; nothing was applied.
    #[error("{}", faults_text(.faults))]
    Schema {
        /// Everything that is wrong.
        faults: Vec<Fault>,
    },
    /// A record with the same natural key exists.
    #[error(
        "this {collection} exists already as {id}{}; edit it instead",
        if *.deleted { " (deleted; `restore-record` brings it back)" } else { "" }
    )]
    Taken {
        /// The record.
        id: DocumentId,
        /// Its collection.
        collection: String,
        /// Whether it is deleted.
        deleted: bool,
    },
    /// The record is another than whoever changes it has read: read it again, then decide.
    #[error("record {id} was changed since it was read; its version is {version} by now")]
    Stale {
        /// The record.
        id: DocumentId,
        /// What it reads as now.
        version: String,
    },
    /// Other records would change than whoever asks has looked at: look again, then decide.
    #[error(
        "{found} records would change, and {expected} were expected; nothing was written: look again"
    )]
    Unexpected {
        /// How many were expected.
        expected: u64,
        /// How many it would be.
        found: u64,
    },
    /// Other than so many conflicts would be settled.
    #[error(
        "conflicts that would be settled: {found}, expected: {expected}; nothing was written: look \
         again"
    )]
    UnexpectedItems {
        /// How many were expected.
        expected: u64,
        /// How many it would be.
        found: u64,
    },
    /// The conflict has ended, or was settled by somebody meanwhile: look how, then change the record.
    #[error("{reason}")]
    Settled {
        /// Who ended it, and when.
        reason: String,
    },
    /// Nothing has this id or name.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// What was looked for: `record`, `device`, `conflict`.
        kind: &'static str,
        /// What was given.
        name: String,
    },
    /// The record was let go from this device; others hold it.
    #[error("{reason}")]
    LetGo {
        /// When, where it is safe, and how to get it back.
        reason: String,
    },
    /// The record was purged, and so is whatever would get its id: one with the same key.
    #[error(
        "record {id} was purged by {by} on {}{}; it cannot come back, and nothing can be recorded \
         under the same time and key",
        day(*.at), because(.reason)
    )]
    Purged {
        /// The record.
        id: DocumentId,
        /// Who purged it.
        by: String,
        /// When.
        at: Moment,
        /// Why; may be empty.
        reason: String,
    },
    /// Several things have this name.
    #[error("{name:?} can mean more than one: {}; give more of the id", candidates.join(", "))]
    Ambiguous {
        /// What was given.
        name: String,
        /// Some of those it fits.
        candidates: Vec<String>,
    },
    /// The role of this device's user does not allow it.
    #[error("{reason}")]
    NotAllowed {
        /// What is not allowed, and who may.
        reason: String,
    },
    /// The invitation is of no use.
    #[error("{reason}")]
    Invitation {
        /// Why, and what to do.
        reason: String,
    },
    /// No peer or relay could be reached.
    #[error("{reason}")]
    Unreachable {
        /// Who was tried and what happened.
        reason: String,
    },
    /// The address to listen on is in use or not this device's.
    #[error("{reason}")]
    Listen {
        /// Which address, and what the operating system says.
        reason: String,
    },
    /// The same of the address for TCP.
    #[error("{reason}")]
    ListenTcp {
        /// Which address, and what the operating system says.
        reason: String,
    },
    /// A file or stream could not be read or written.
    #[error("{what}")]
    File {
        /// What was being done to what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is no import file, or the mapping is wrong; no row was read.
    #[error("{reason}")]
    Import {
        /// What is wrong and where.
        reason: String,
    },
    /// A backup is none, is damaged, or is opened by another key.
    #[error("{reason}")]
    Backup {
        /// Which one, and what to do.
        reason: String,
    },
    /// A condition or an order of a query is not understood; nothing was read.
    #[error("{field}: {reason}")]
    Condition {
        /// The field, as it was given.
        field: String,
        /// What is wrong, and what may have been meant.
        reason: String,
    },
    /// A cursor cannot be used: begin with the first page.
    #[error("{reason}")]
    Cursor {
        /// Why.
        reason: String,
    },
    /// So much was written since a snapshot was taken that it could not be kept: take another one.
    #[error("too much was written while this was read; begin again")]
    SnapshotLost,
    /// A record does not have the form of the type that it was asked for as.
    #[error("{collection} {id} cannot be read as {wanted}: {reason}; make its fields optional")]
    Shape {
        /// The record.
        id: DocumentId,
        /// Its collection.
        collection: String,
        /// The type.
        wanted: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The request makes no sense.
    #[error("{reason}")]
    Usage {
        /// Why.
        reason: String,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl Error {
    /// What kind of failure this is.
    pub fn class(&self) -> Class {
        match self {
            Self::NoHome { .. }
            | Self::NotFound { .. }
            | Self::UnknownCollection { .. }
            | Self::LetGo { .. }
            | Self::Purged { .. } => Class::NotFound,
            Self::Ambiguous { .. }
            | Self::Invalid { .. }
            | Self::Schema { .. }
            | Self::Taken { .. }
            | Self::Stale { .. }
            | Self::Unexpected { .. }
            | Self::UnexpectedItems { .. }
            | Self::Condition { .. }
            | Self::Shape { .. }
            | Self::Import { .. } => Class::Invalid,
            Self::Locked { .. }
            | Self::Damaged { .. }
            | Self::InUse { .. }
            | Self::Store { .. }
            | Self::Full { .. }
            | Self::Newer { .. }
            | Self::Backup { .. } => Class::Store,
            Self::Remaking { .. } => Class::Later,
            Self::NotAllowed { .. } | Self::Invitation { .. } | Self::Erased { .. } => {
                Class::Refused
            }
            Self::Unreachable { .. } => Class::Unreachable,
            Self::HomeExists { .. }
            | Self::Cursor { .. }
            | Self::Settled { .. }
            | Self::Usage { .. } => Class::Usage,
            Self::Folder { .. }
            | Self::File { .. }
            | Self::Listen { .. }
            | Self::ListenTcp { .. }
            | Self::SnapshotLost
            | Self::ShuttingDown => Class::Failed,
        }
    }

    /// The failure as the value that goes over a socket.
    pub fn problem(&self) -> Problem {
        // The faults stand beside the detail, so it need not repeat them.
        let detail = match self {
            Self::Invalid { .. } => "the record is not valid".into(),
            Self::Schema { .. } => "the schema is not valid".into(),
            _ => with_causes(self),
        };
        let faults = match self {
            Self::Invalid { faults } | Self::Schema { faults } => faults.clone(),
            _ => Vec::new(),
        };
        Problem { class: self.class(), detail, faults }
    }

    /// A single fault of one field.
    pub(crate) fn fault(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { faults: vec![Fault { field: field.into(), message: message.into() }] }
    }

    /// What was not appended, with the words of its cause.
    pub(crate) fn append(error: &AppendError) -> Self {
        let reason = with_causes(error);
        match error {
            AppendError::DiskFull { .. } | AppendError::QuotaUsed { .. } => Self::Full { reason },
            _ => Self::Store { reason },
        }
    }

    /// A failure of the store with the words of its cause.
    pub(crate) fn store(error: &dyn std::error::Error) -> Self {
        Self::Store { reason: with_causes(error) }
    }
}

/// An error's words with those of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn faults_text(faults: &[Fault]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    format!("the record is not valid; {}", lines.join("; "))
}

/// The day of a moment.
fn day(at: Moment) -> String {
    at.to_string().chars().take_while(|letter| *letter != 'T').collect()
}

/// A reason that may be missing.
fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!(" (process {pid}); stop it, or let it run and use its socket"),
        None => "; stop it first".into(),
    }
}
