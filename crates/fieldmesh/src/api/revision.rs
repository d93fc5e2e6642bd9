//! One change of a record as people and programs see it.

use fieldmesh_model::{DeviceId, DocumentId, Moment};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Ruled;

/// One change of a record's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The record.
    pub id: DocumentId,
    /// The change's hash, in hex.
    pub change: String,
    /// When, by the author's clock.
    pub at: Moment,
    /// The device that wrote it, where known.
    pub device: Option<DeviceId>,
    /// That device's name.
    pub device_name: Option<String>,
    /// The person, where known: of a change that a gateway made for somebody, that one.
    pub user: Option<String>,
    /// The id of the person for whom a gateway made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<String>,
    /// The fields it changed.
    pub fields: Vec<FieldChange>,
    /// The conflicts that it settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<String>,
    /// The conflicts that it wrote over without settling them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overwritten: Vec<String>,
    /// The record that was kept instead, where this change gave this one up for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<DocumentId>,
    /// The records that were given up for this one with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<DocumentId>,
    /// The records beside which it says that this one is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart_from: Vec<DocumentId>,
    /// Who had it count again after its device was shut out before anybody knew of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_by: Option<String>,
    /// What it says of the record, if it approves or refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruling: Option<Ruled>,
}

/// One field of a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's flat key.
    pub field: String,
    /// The value before; null where there was none.
    pub before: Json,
    /// The value after; null where it was cleared.
    pub after: Json,
}
