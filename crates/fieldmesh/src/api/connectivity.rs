//! Automatic sync and connectivity: what is set, what is shown and what is told.

use std::collections::BTreeMap;

use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

use super::ConflictReport;

/// What kind of way leads to a peer.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LinkClass {
    /// Bytes cost nothing worth counting.
    #[default]
    Unmetered,
    /// Each byte is paid for.
    Metered,
    /// Each byte is dear and slow.
    Satellite,
    /// A device in the same place, found by mDNS.
    Nearby,
}

/// What may travel, dearest to the crew first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freight {
    /// Critical entries and the policy.
    Critical,
    /// What was recorded lately.
    Recent,
    /// Old entries that the other side never had.
    Backfill,
    /// Photos and other files.
    Blobs,
}

/// How good the way to the relay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Quick, nothing lost, and fast enough for anything.
    Excellent,
    /// Neither excellent nor poor.
    Good,
    /// Slow, losing, or thin.
    Poor,
    /// No relay answers.
    #[default]
    Offline,
}

/// Why a sync was thought of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The relay answers again, or the program started with something pending.
    Reconnect,
    /// The interval is over.
    Periodic,
    /// Somebody asked.
    Request,
}

/// Whether a sync was started, and why or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When.
    pub at: Moment,
    /// What made it thought of.
    pub cause: Cause,
    /// Whether it started.
    pub started: bool,
    /// Why or why not, in words.
    pub reason: String,
}

/// What a sync on request answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncNow {
    /// Whether all who were tried are in step, as far as the links may carry what is recorded: see
    /// [`ConnectivityReport::held_back`]. Links carry everything for a sync on request.
    pub success: bool,
    /// Changes that were sent and are held by the other side.
    pub synced_count: u64,
    /// Conflicts that opened with it.
    pub conflicts: Vec<ConflictReport>,
    /// What went wrong, a line for each.
    pub errors: Vec<String>,
}

/// How far a sync is; the percentage never falls and is 100 at the end of one that succeeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncProgress {
    /// 0 to 100.
    pub percentage: u8,
    /// Batches done.
    pub processed: u64,
    /// Batches known to be on the way; it grows as more are found.
    pub total: u64,
}

/// What the user sets about automatic sync; kept in the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncSettings {
    /// Whether anything starts by itself.
    pub auto_sync_enabled: bool,
    /// Whether it starts when the relay answers again.
    pub sync_on_reconnect: bool,
    /// Whether it is put off until it is resumed.
    pub paused: bool,
    /// Link classes by place: an address with its port, a host, or the address of an interface of
    /// this device.
    pub classes: BTreeMap<String, LinkClass>,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            auto_sync_enabled: true,
            sync_on_reconnect: true,
            paused: false,
            classes: BTreeMap::new(),
        }
    }
}

/// A change of [`SyncSettings`]; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SyncSettingsChange {
    /// Whether anything starts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_sync_enabled: Option<bool>,
    /// Whether it starts when the relay answers again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_on_reconnect: Option<bool>,
    /// Whether it is put off until it is resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Places that get a class.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, LinkClass>,
}

/// The state of the network as a node sees it, and of its automatic sync.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectivityReport {
    /// Whether the node keeps its connections by itself.
    pub running: bool,
    /// Whether a relay answers; at first, whether the platform has a network.
    pub online: bool,
    /// Whether no probe has confirmed that so far, or there was a contrary sign since.
    pub transitioning: bool,
    /// How good the way is.
    pub grade: Grade,
    /// Devices that mDNS shows; they do not make this one online.
    pub nearby: u64,
    /// Changes recorded here that no relay has signed for.
    pub pending: u64,
    /// Whether a sync is under way.
    pub syncing: bool,
    /// How far it is.
    pub progress: SyncProgress,
    /// When a sync last succeeded.
    pub last_success: Option<Moment>,
    /// Whether that was too long ago for a device that is online.
    pub stale: bool,
    /// Why the last sync did or did not start.
    pub decision: Option<Decision>,
    /// What the last sync answered.
    pub last_result: Option<SyncNow>,
    /// Addresses that have failed since they last answered.
    pub failing: Vec<Failing>,
    /// Links that carry only a part because of their class; to be in step over one says nothing of
    /// the rest.
    #[serde(default)]
    pub held_back: Vec<HeldBack>,
    /// What is set.
    pub settings: SyncSettings,
}

/// An address that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failing {
    /// The address.
    pub address: String,
    /// Tries since it last answered.
    pub attempts: u32,
    /// Whether so many have failed that the user was told.
    pub failed: bool,
}

/// A link that carries only a part by itself; a sync on request holds nothing back on this side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// Where it leads.
    pub address: String,
    /// Its class.
    pub class: LinkClass,
    /// What it carries, as `COLLECTION[/PARTITION][@YYYY-MM]` each; no records where empty.
    pub carries: Vec<String>,
    /// Batches here that wait for another link. What the other side keeps back is not known.
    pub waiting: u64,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum ConnectivityEvent {
    /// A relay answers.
    Online,
    /// No relay answers any more.
    Offline,
    /// A contrary sign waits to be confirmed, or was.
    Transitioning {
        /// Whether it waits.
        waits: bool,
    },
    /// The way became better or worse.
    Graded {
        /// How good it is.
        grade: Grade,
    },
    /// More or fewer devices are nearby.
    Nearby {
        /// How many.
        devices: u64,
    },
    /// A sync was started or not.
    Decided(Decision),
    /// A sync goes on.
    Progress(SyncProgress),
    /// A sync ended.
    Synced(SyncNow),
    /// An address failed so often that somebody should know; what is recorded stays, and is tried
    /// again at the longest interval and on request.
    GaveUp {
        /// The address.
        address: String,
        /// How often it failed.
        attempts: u32,
    },
}
