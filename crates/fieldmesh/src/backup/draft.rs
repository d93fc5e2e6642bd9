//! A backup on its way: a file beside the one that it becomes.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use fieldmesh_store::backup::BackupError;

use crate::error::{Error, with_causes};

/// A backup that is being written; removed unless it is finished.
pub struct Draft {
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl Draft {
    /// A file beside `path` that nobody else writes.
    ///
    /// # Errors
    ///
    /// The file exists, or somebody writes it already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        refuse_existing(path)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |source| Error::File {
            what: format!("cannot write the backup {}", part.display()),
            source,
        };
        let file = options.open(&part).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::Usage {
                    reason: format!("{} is being written already", path.display()),
                });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        // What is left of one that was cut off.
        file.set_len(0).map_err(failed)?;
        Ok(Self { path: part, file, is_finished: false })
    }

    /// Where it is until it is finished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Why it is not written, for people.
    pub fn failed(&self, error: BackupError) -> Error {
        match error {
            BackupError::Io(source) => Error::File {
                what: format!("cannot write the backup {}", self.path.display()),
                source,
            },
            error => Error::Backup { reason: with_causes(&error) },
        }
    }

    /// Gives the backup its name; gives its size. What was written has to be synced before.
    ///
    /// # Errors
    ///
    /// Somebody has made a file of that name, or the disk fails.
    pub fn finish(mut self, path: &Path) -> Result<u64, Error> {
        refuse_existing(path)?;
        let mut rename = || {
            let size = self.file.metadata()?.len();
            fs::rename(&self.path, path)?;
            self.is_finished = true;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(size)
        };
        let renamed: std::io::Result<u64> = rename();
        renamed.map_err(|error| self.failed(error.into()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            // One that stays is overwritten by the next backup of this name.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    Err(Error::Usage { reason: format!("{} exists already; give another name", path.display()) })
}
