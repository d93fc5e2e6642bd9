//! Sessions, users, devices and their traffic.

use fieldmesh_model::{Moment, Role};
use serde::Deserialize;

/// An open session.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// What further requests prove themselves with.
    pub access_token: String,
    /// What renews the session.
    pub refresh_token: String,
    /// After how many seconds the access token ends.
    pub expires_in: u32,
    /// Whose it is.
    pub user: User,
    /// The tenant as tokens name it.
    pub tenant: String,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct User {
    /// The id as tokens name it.
    pub id: String,
    /// The address.
    pub email: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
}

/// A device as the server knows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceState {
    /// The server's id of it.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// The app's id of it.
    pub device: String,
    /// What people call it.
    #[serde(default)]
    pub label: Option<String>,
    /// When it synced last.
    #[serde(default)]
    pub synced_at: Option<Moment>,
    /// Whether it may sync.
    pub active: bool,
}

/// How far a device has read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When it synced last, if it ever did.
    #[serde(default)]
    pub synced_at: Option<Moment>,
    /// What it has not read.
    pub unread: Unread,
}

/// What a device has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unread {
    /// It reads entries and has so many before it; one that is not known has all that the caller
    /// may see.
    Entries(u64),
    /// It syncs but has never read an entry, so none waits for it.
    NeverReads,
}

/// What one device sent and received.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The device.
    pub device: String,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// Bytes that it sent.
    pub bytes_in: u64,
    /// Bytes that it received.
    pub bytes_out: u64,
    /// How often it tried to sync.
    pub attempts: u64,
    /// How often that went well.
    pub successes: u64,
    /// The latency that half, 95 and 99 of 100 requests stayed below, in milliseconds.
    pub latency_ms: [f64; 3],
}
