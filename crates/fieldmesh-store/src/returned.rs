//! The mark of a log into which entries came back: from a file that was left of it, or out of a part
//! that could not be read. Some may be among them that its owner had erased.
//!
//! ```text
//! returned   "fmreturn"
//! ```
//!
//! That it is there says all, whatever is in it.

use std::io;

use crate::files::{Files, read_whole, write_whole};

pub(crate) const NAME: &str = "returned";
const MAGIC: &[u8; 8] = b"fmreturn";

/// Durable when this returns: nothing may come back before.
pub(crate) fn mark(files: &dyn Files) -> io::Result<()> {
    write_whole(files, NAME, MAGIC)
}

/// A disk that does not say counts as one that has it.
pub(crate) fn is_marked(files: &dyn Files) -> bool {
    !matches!(read_whole(files, NAME, MAGIC.len() as u64), Ok(None))
}

/// Removes it, durably.
pub(crate) fn settle(files: &dyn Files) -> io::Result<()> {
    match files.remove(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    }
    files.sync_folder("")
}
