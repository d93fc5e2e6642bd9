//! What is shown is being made anew from the log, and how far that has come.

use serde::{Deserialize, Serialize};

/// How far the records have come that are made anew from the log; until the end some are missing
/// and others are as they were once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remaking {
    /// Entries of the log that have been read for it.
    pub done: u64,
    /// Entries of the log.
    pub of: u64,
}

impl Remaking {
    /// How much of it is done, in percent; never all of it.
    pub fn percent(&self) -> u64 {
        (self.done.saturating_mul(100) / self.of.max(1)).min(99)
    }

    /// What people are told.
    pub fn words(&self) -> String {
        format!(
            "the records are being made readable again from the log, {} % so far: until then some \
             are missing and others are not up to date; nothing is lost",
            self.percent()
        )
    }
}
