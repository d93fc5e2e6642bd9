//! Letting old records go from a device: what is asked, and what was done.

use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

/// Which old records this device lets go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "what")]
pub enum Evict {
    /// All before a month, like `2026-03`.
    Before {
        /// The first month that stays.
        month: String,
    },
    /// All but those of the last months, the present one among them.
    KeepMonths {
        /// How many months stay.
        months: u16,
    },
    /// The same whenever a month has ended, from here on; `None` ends that.
    Auto {
        /// How many months stay.
        months: Option<u16>,
    },
    /// Wants what was let go from this month on once more; the next sync brings it.
    BackTo {
        /// The first month that is wanted.
        month: String,
    },
}

/// What is asked about old records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictOptions {
    /// Which.
    pub evict: Evict,
    /// Whether it is only told what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// From which month on this device holds records that go by time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptReport {
    /// The first month; `None` where nothing was let go.
    pub since: Option<String>,
    /// When that was decided.
    pub at: Option<Moment>,
    /// The collections that it is about.
    pub collections: Vec<String>,
    /// How many months are kept without anybody asking, the present one among them.
    pub auto: Option<u16>,
}

/// What letting old records go has done; sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictReport {
    /// From which month on the device holds records now.
    pub kept: KeptReport,
    /// Whether nothing was done, only looked.
    pub dry_run: bool,
    /// The first month that was to stay; `None` where nothing was to go.
    pub asked: Option<String>,
    /// Records that were let go, or would be.
    pub records: u64,
    /// Batches that were let go, or would be.
    pub batches: u64,
    /// What keeps months from being let go, the oldest first.
    pub held_back: Vec<HeldMonth>,
    /// The log before.
    pub log_before: u64,
    /// The log after.
    pub log_after: u64,
    /// The view before.
    pub view_before: u64,
    /// The view after.
    pub view_after: u64,
    /// What could not be made smaller so far, in words.
    pub faults: Vec<String>,
}

/// A month that cannot be let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldMonth {
    /// The month.
    pub month: String,
    /// Why, in words.
    pub reason: String,
}
