//! What a home takes of the disk.

use serde::{Deserialize, Serialize};

/// What a home takes of the disk, in bytes, and what the disk has left for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskReport {
    /// The log: everything that was recorded here or came from others.
    pub log: u64,
    /// The view, which can be made again from the log.
    pub view: u64,
    /// What was damaged and is kept aside.
    pub quarantine: u64,
    /// What is given up on a full disk.
    pub reserve: u64,
    /// What of the disk is free; `None` where the system cannot tell.
    pub free: Option<u64>,
    /// Whether so little is free that recording may soon be refused.
    pub low: bool,
    /// Whether so little is free that recording is refused.
    pub full: bool,
    /// Whether there are old records that `evict` may let go.
    #[serde(default)]
    pub may_free: bool,
}

/// What making a store smaller has done; sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompactReport {
    /// The log before.
    pub log_before: u64,
    /// The log after.
    pub log_after: u64,
    /// The view before.
    pub view_before: u64,
    /// The view after.
    pub view_after: u64,
    /// Parts of the log that were written anew.
    pub segments: u64,
    /// Entries that nothing needs any more.
    pub dropped: u64,
    /// What could not be made smaller, in words.
    pub faults: Vec<String>,
}
