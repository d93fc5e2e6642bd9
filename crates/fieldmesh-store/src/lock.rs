//! One process a folder: an advisory lock that dies with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// The file in the store's folder.
pub(crate) const NAME: &str = "lock";

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process, or another part of this one, has the folder open.
    #[error("the store is in use{}", by_process(*holder))]
    Held {
        /// The process that holds it, if it could write its number down.
        holder: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("the lock file cannot be used")]
    Io(#[from] io::Error),
}

/// The holder of a lock for messages, nothing if it is not known.
pub(crate) fn by_process(holder: Option<u32>) -> String {
    holder.map(|process| format!(" by process {process}")).unwrap_or_default()
}

/// Exclusive use of a folder until dropped.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock, or tells at once who has it.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if somebody has the folder open: stop that process or use it.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(NAME);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // The number only makes a message better, so a full disk must not prevent the lock.
        if let Err(error) = write_holder(&mut file) {
            tracing::debug!(%error, "holder of the lock not written");
        }
        Ok(Self { file })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "lock not released before its file is closed");
        }
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_open_a_folder_learns_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let Err(LockError::Held { holder }) = FolderLock::take(folder.path()) else {
            panic!("the lock was taken twice");
        };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }
}
