//! Backups: what is asked for and what came of it.

use std::path::PathBuf;

use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

/// Where a backup is to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupOptions {
    /// The file, which must not exist.
    pub file: PathBuf,
    /// An earlier backup of this home: only what came after it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<PathBuf>,
}

/// A backup that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupReport {
    /// Where it is.
    pub file: PathBuf,
    /// When it was begun.
    pub at: Moment,
    /// The entries of the log in it.
    pub entries: u64,
    /// Entries that could not be read and are not in it; `doctor` tells more.
    pub unreadable: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it needs no other backup before it.
    #[serde(rename = "whole")]
    pub is_whole: bool,
}

/// A backup that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupCheck {
    /// The file.
    pub file: PathBuf,
    /// The tenant's name.
    pub tenant: String,
    /// The device's name.
    pub device: String,
    /// When it was written.
    pub at: Moment,
    /// The entries of the log in it.
    pub entries: u64,
    /// Entries that could not be read when it was written.
    pub unreadable: u64,
    /// Whether it needs no other backup before it.
    #[serde(rename = "whole")]
    pub is_whole: bool,
}

/// A home that was made of backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreReport {
    /// The tenant's name.
    pub tenant: String,
    /// The device's name.
    pub device: String,
    /// When the last of them was written: what was recorded later comes from others.
    pub at: Moment,
    /// The entries of the log that were read.
    pub entries: u64,
    /// Entries that could not be read when the backups were written: this home lacks them.
    pub unreadable: u64,
}
