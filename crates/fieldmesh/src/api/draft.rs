//! Records that are not finished: kept on this device alone until they are submitted.

use fieldmesh_model::Moment;
use fieldmesh_model::validate::Fault;
use serde::{Deserialize, Serialize};

use super::{Edits, NewRecord};

/// What is to become of a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum DraftChange {
    /// A new one, of what there is so far.
    New(NewRecord),
    /// Values of one are changed.
    Edit {
        /// Its id, or the beginning of it.
        id: String,
        /// The new values.
        edits: Edits,
    },
    /// One goes for good.
    Discard {
        /// Its id, or the beginning of it.
        id: String,
    },
}

/// A record that is not finished. No other device has it, and nothing counts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// Its id, 32 hex digits; the record gets another one.
    pub id: String,
    /// The collection of the record.
    pub collection: String,
    /// The values so far, as nested JSON.
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// When it was begun; the record is about that time where the values say no other.
    pub begun_at: Moment,
    /// When it was changed last.
    pub saved_at: Moment,
    /// What keeps it from being submitted as it is.
    pub faults: Vec<Fault>,
}
