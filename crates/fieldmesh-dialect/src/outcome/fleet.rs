//! Devices of the tenant, as whoever watches over them sees them.

use fieldmesh_model::{Moment, Role};
use serde::{Deserialize, Serialize};

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FleetKind {
    /// A device of the tenant, which has a certificate.
    Device,
    /// A device of an app, which speaks HTTP.
    App,
}

/// A device. What is not known of it is nothing, never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetDevice {
    /// What kind of device it is.
    pub kind: FleetKind,
    /// Its id, or the app's name of it.
    pub device: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whose it is: an address, a name, or the id by which an app calls its user.
    pub user: Option<String>,
    /// What it may do.
    pub role: Option<Role>,
    /// When it was last heard.
    pub last_contact: Option<Moment>,
    /// When it and the server last held the same.
    pub last_in_step: Option<Moment>,
    /// The version of its app.
    pub version: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
    /// The version of the protocol that it speaks.
    pub protocol: Option<u16>,
    /// How far its clock is ahead.
    pub clock_ahead_millis: Option<i64>,
    /// How many operations it is known to have that are not processed.
    pub unsent: Option<u64>,
    /// When the oldest of these was made, by its clock.
    pub oldest_unsent: Option<Moment>,
    /// Open conflicts in which a version is its own, or its user's where it is of an app.
    pub conflicts: Option<u64>,
    /// Conversations, or operations of an app, since the server began to count.
    pub attempts: u64,
    /// How many of these failed.
    pub failures: u64,
    /// Those of today and yesterday, in UTC.
    pub recent_attempts: u64,
    /// How many of these failed.
    pub recent_failures: u64,
    /// Whether there were ten recent attempts and more than a tenth failed.
    pub failing: bool,
    /// When the last conversation was cut off.
    pub last_failure_at: Option<Moment>,
    /// Why it was.
    pub last_failure: Option<String>,
    /// How often a batch came from it that is not stored, or does not count.
    pub refused: u64,
    /// How long after it was written the last of its work arrived.
    pub delay_seconds: Option<u64>,
    /// Bytes that it sent in conversations.
    pub bytes_in: Option<u64>,
    /// Bytes that it received in conversations.
    pub bytes_out: Option<u64>,
}

/// Devices in the order of their kinds and ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetPage {
    /// The devices.
    pub devices: Vec<FleetDevice>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

impl FleetDevice {
    /// One of which nothing is known.
    pub const fn new(kind: FleetKind, device: String) -> Self {
        Self {
            kind,
            device,
            name: None,
            user: None,
            role: None,
            last_contact: None,
            last_in_step: None,
            version: None,
            platform: None,
            protocol: None,
            clock_ahead_millis: None,
            unsent: None,
            oldest_unsent: None,
            conflicts: None,
            attempts: 0,
            failures: 0,
            recent_attempts: 0,
            recent_failures: 0,
            failing: false,
            last_failure_at: None,
            last_failure: None,
            refused: 0,
            delay_seconds: None,
            bytes_in: None,
            bytes_out: None,
        }
    }

    /// Its place in the list: devices of the tenant lie before those of apps.
    pub fn place(&self) -> String {
        let kind = match self.kind {
            FleetKind::Device => "0",
            FleetKind::App => "1",
        };
        let user = match self.kind {
            FleetKind::Device => "",
            FleetKind::App => self.user.as_deref().unwrap_or_default(),
        };
        format!("{kind}\0{}\0{user}", self.device)
    }
}
