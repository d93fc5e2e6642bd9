//! Whether a record counts, where its collection asks for approval.

use fieldmesh_document::Answer;
use fieldmesh_model::{DeviceId, Moment};
use serde::{Deserialize, Serialize};

/// Where a record stands whose collection asks for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ApprovalState {
    /// Some of it was seen by nobody who may approve: it does not count.
    Awaiting,
    /// It counts: somebody has approved it, or nobody but people who may has written in it.
    Approved,
    /// Somebody has refused it: it does not count until it is put right and approved.
    Refused,
}

/// Whether a record counts, and by whose word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalReport {
    /// Where it stands.
    pub state: ApprovalState,
    /// Whether this person may approve it.
    pub mine: bool,
    /// What was said last by somebody who may approve; where the record awaits approval, something
    /// was written since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruling: Option<RulingReport>,
}

impl ApprovalReport {
    /// Whether the record is in lists, counts and exports.
    pub fn counts(&self) -> bool {
        self.state == ApprovalState::Approved
    }
}

/// What somebody said of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulingReport {
    /// The change that says it, in hex.
    pub change: String,
    /// Who said it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// On which device.
    pub device: DeviceId,
    /// When, by its clock.
    pub at: Moment,
    /// Whether it approves the record.
    pub approved: bool,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a change says that approves a record or refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruled {
    /// Whether it approves the record.
    pub approved: bool,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its author may approve; otherwise nothing follows from it.
    pub counts: bool,
}

impl Ruled {
    pub(crate) fn new(answer: &Answer, counts: bool) -> Self {
        let reason = match answer {
            Answer::Approved => None,
            Answer::Refused(reason) => Some(reason.clone()),
        };
        Self { approved: reason.is_none(), reason, counts }
    }
}

/// An answer about a record that waits for approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRuling {
    /// Why it is refused; approved where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<String>,
    /// What it was read as by whoever decides: if it reads otherwise by now, nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
