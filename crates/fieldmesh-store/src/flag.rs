//! Files of a store that say something by being there, whatever is in them.
//!
//! ```text
//! returned   "fmreturn"   entries came back into the log: from a file that was left of it, or out of
//!                         a part that could not be read; some may have been erased by its owner
//! anew       "fmanew"     the view was begun anew: what the log had lost by then, no view knows
//! ```
//!
//! Each is there until the store's owner has drawn the consequences, whatever ends in between.

use std::io;

use crate::files::{Files, read_whole, write_whole};

/// Some of what came back may have to be erased once more.
pub(crate) const RETURNED: Flag = Flag { name: "returned", magic: b"fmreturn" };
/// A view that was made of all that can be read looks like any other.
pub(crate) const ANEW: Flag = Flag { name: "anew", magic: b"fmanew" };

/// One of these files.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    magic: &'static [u8],
}

impl Flag {
    /// Durable when this returns: what it speaks of may not happen before.
    pub(crate) fn mark(&self, files: &dyn Files) -> io::Result<()> {
        write_whole(files, self.name, self.magic)
    }

    /// A disk that does not say counts as one that has it.
    pub(crate) fn is_marked(&self, files: &dyn Files) -> bool {
        !matches!(read_whole(files, self.name, self.magic.len() as u64), Ok(None))
    }

    /// Removes it, durably.
    pub(crate) fn settle(&self, files: &dyn Files) -> io::Result<()> {
        match files.remove(self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        files.sync_folder("")
    }
}
