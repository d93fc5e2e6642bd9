//! What is told of the sides of a conflict and of its end.

use fieldmesh_model::{DeviceId, Moment};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What the author of one side had seen of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SightReport {
    /// The labels of the sides that he had seen.
    pub sides: Vec<String>,
    /// How many changes of the record he had not seen that were made beside his.
    pub unseen: u64,
    /// When the newest of these was made, by the clock of its device.
    pub unseen_last: Option<Moment>,
}

/// What somebody said about an item of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentReport {
    /// What he said.
    pub text: String,
    /// Who said it.
    pub user: Option<String>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Moment,
}

/// What is to be said about an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// The words.
    pub text: String,
}

/// The end of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndReport {
    /// Whether somebody settled it; otherwise he wrote over it and may never have seen it.
    pub settled: bool,
    /// The change, as the history of the record names it.
    pub change: String,
    /// Who made it.
    pub user: Option<String>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// When, by that device's clock.
    pub at: Moment,
    /// What it left in the field.
    pub left: Json,
}
