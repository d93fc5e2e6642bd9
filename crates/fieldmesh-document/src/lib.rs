//! Reads, edits and merges one record as an Automerge document, gates foreign changes, surfaces
//! conflicts.
//!
//! This is the only crate that names Automerge. It does no IO and reads no clock; a change is
//! bytes that others sign, store and carry.

mod actor;
mod ancestry;
mod approval;
mod breach;
mod chunk;
mod closing;
pub mod comment;
pub mod conflict;
pub mod create;
mod decision;
pub mod document;
mod edit;
mod first;
pub mod gate;
mod guard;
pub mod history;
mod keys;
mod kinship;
mod merge;
mod parallel;
mod part;
mod scalar;
pub mod view;
mod written;

pub use actor::actor;
pub use approval::{Answer, Approval, REASON_MAX, Ruling, Standing};
pub use breach::{BREACHES_MAX, Breach, faults, is_breach_id};
pub use chunk::{ChunkError, Peeked, peek};
pub use closing::{CLOSINGS_FIELDS_MAX, CLOSINGS_LOOK_MAX, CLOSINGS_MAX, Closing, Closings};
pub use comment::{COMMENT_MAX, COMMENTS_MAX, Comment};
pub use conflict::{ConflictKind, ConflictValue, FieldConflict, Resolution};
pub use create::{CreateError, CreateRecord, Identity, RootChange, identify, root_change};
pub use decision::{Decision, Outcome, alike_id};
pub use document::{Document, EditError, LoadError};
pub use gate::{Accepted, Refusal, judge};
pub use guard::Panicked;
pub use history::{FieldChange, Revision};
pub use kinship::Kinship;
pub use merge::LATEST_SPREAD_MAX_MILLIS;
pub use parallel::{STRANDS_MAX, Sight};
pub use view::{Deletion, ReadError, RecordView};
pub use written::{written, written_for};

#[cfg(test)]
mod tests;
