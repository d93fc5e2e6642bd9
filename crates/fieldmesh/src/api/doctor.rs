//! What was found wrong with a home, in plain words.

use serde::{Deserialize, Serialize};

use super::{Record, Remaking};

/// Everything that was found, what is open first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// Whether something is to be done, by somebody or by the next sync.
    pub open: bool,
    /// How much of the check of everything that is stored is done, in percent, while one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checking: Option<u64>,
    /// How far the records have come that are made anew from the log; until then damage that is
    /// found meanwhile is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaking: Option<Remaking>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// A word for programs, such as `lost-change`.
    pub kind: String,
    /// Whether something is to be done.
    pub open: bool,
    /// What was found.
    pub what: String,
    /// What it means.
    pub means: String,
    /// What was done about it.
    pub done: String,
    /// What a person can do; empty where there is nothing.
    pub next: String,
    /// The record that it is about, as it was shown last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<Record>>,
}
