//! A file that is given up on a full disk, so that the store can still be opened, emptied into a peer
//! and closed.

use std::io;

use crate::files::Files;
use crate::store::Options;

/// The file in the store's folder.
pub(crate) const NAME: &str = "reserve";

/// Gives up the reserve on a full disk, takes it again when there is room.
pub(crate) fn keep(files: &dyn Files, options: &Options) {
    if release(files, options.free_bytes_min) || options.reserve_bytes == 0 {
        return;
    }
    let has_room = files.free_bytes().is_ok_and(|free| {
        free > options.free_bytes_min.saturating_add(options.reserve_bytes.saturating_mul(2))
    });
    let has_reserve = files
        .open(NAME)
        .and_then(|file| file.length())
        .is_ok_and(|length| length >= options.reserve_bytes);
    if has_room
        && !has_reserve
        && let Err(error) = files.allocate(NAME, options.reserve_bytes)
    {
        tracing::warn!(%error, "no reserve for a full disk");
    }
}

/// Removes the reserve if the disk is nearly full; says whether it is.
pub(crate) fn release(files: &dyn Files, free_bytes_min: u64) -> bool {
    if files.free_bytes().is_ok_and(|free| free >= free_bytes_min) {
        return false;
    }
    match files.remove(NAME) {
        Ok(()) => tracing::warn!("reserve given up: the disk is full"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "reserve not given up"),
    }
    true
}
