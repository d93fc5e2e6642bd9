//! What a store takes of the disk, and what the disk has left for it.

use std::io;

use super::{Store, VIEW_FOLDER};
use crate::log::LOG_FOLDER;
use crate::log::quarantine::QUARANTINE_FOLDER;
use crate::reserve;

/// The bytes that the parts of a store take on the disk, and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// The log.
    pub log_bytes: u64,
    /// The view.
    pub view_bytes: u64,
    /// What was damaged and is kept aside.
    pub quarantine_bytes: u64,
    /// What is given up on a full disk.
    pub reserve_bytes: u64,
    /// What of the disk is free; `None` where the system cannot tell.
    pub free_bytes: Option<u64>,
    /// Appends are refused when less than this would be free.
    pub free_bytes_min: u64,
}

impl DiskUsage {
    /// Whether so little of the disk is free that appends are refused.
    pub fn is_full(&self) -> bool {
        self.free_bytes.is_some_and(|free| free <= self.free_bytes_min)
    }
}

impl Store {
    /// What the parts of this store take on the disk, and what is left of it.
    ///
    /// # Errors
    ///
    /// The disk reports an error.
    pub fn disk_usage(&self) -> io::Result<DiskUsage> {
        let reserve = match self.files.open(reserve::NAME) {
            Ok(file) => file.length()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(DiskUsage {
            log_bytes: self.files.size_of_folder(LOG_FOLDER)?,
            view_bytes: self.files.size_of_folder(VIEW_FOLDER)?,
            quarantine_bytes: self.files.size_of_folder(QUARANTINE_FOLDER)?,
            reserve_bytes: reserve,
            free_bytes: self.files.free_bytes().ok(),
            free_bytes_min: self.free_bytes_min,
        })
    }
}
