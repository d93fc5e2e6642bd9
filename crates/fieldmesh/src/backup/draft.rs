//! A backup on its way: a file beside the one that it becomes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use fieldmesh_store::backup::BackupError;

use crate::error::{Error, with_causes};

/// How often the file is opened that others may finish or remove meanwhile.
const TRIES_MAX: usize = 8;

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
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let failed = |source| Error::File {
            what: format!("cannot write the backup {}", part.display()),
            source,
        };
        let file = Self::open_alone(path, &part)?;
        // What is left of one that was cut off.
        file.set_len(0).map_err(failed)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(failed)?;
        Ok(Self { path: part, file, is_finished: false })
    }

    /// Opens the file beside `path` until it has no other name.
    fn open_alone(path: &Path, part: &Path) -> Result<File, Error> {
        for _ in 0..TRIES_MAX {
            refuse_existing(path)?;
            let file = Self::open(path, part)?;
            let is_alone = is_only_name(part, &file).map_err(|source| Error::File {
                what: format!("cannot write the backup {}", part.display()),
                source,
            })?;
            if is_alone {
                return Ok(file);
            }
        }
        // Some network disks give one file another number each time.
        let file = Self::open(path, part)?;
        if has_one_name(&file) {
            return Ok(file);
        }
        Err(Error::Usage {
            reason: format!(
                "nobody can tell whether {} is a backup of another name too; remove it, or back up \
                 to another folder",
                part.display()
            ),
        })
    }

    /// Opens the file beside `path`, and keeps others from it.
    fn open(path: &Path, part: &Path) -> Result<File, Error> {
        let failed = |source| Error::File {
            what: format!("cannot write the backup {}", part.display()),
            source,
        };
        if part.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(Error::Usage { reason: format!("{} is in the way", part.display()) });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(part).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::Usage { reason: format!("{} is being written already", path.display()) })
            }
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
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
        let named = self.give_name(path);
        if named.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            return Err(exists(path));
        }
        named.map_err(|error| self.failed(error.into()))
    }

    fn give_name(&mut self, path: &Path) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        match fs::hard_link(&self.path, path) {
            Ok(()) => fs::remove_file(&self.path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // Some disks know no links; there a file that is made at this very moment is lost.
            Err(_) => fs::rename(&self.path, path)?,
        }
        self.is_finished = true;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(size)
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

/// Whether a locked file has the name `part` and no other; one that has another is a backup that was
/// finished but for taking this name away, which is done here.
#[cfg(unix)]
fn is_only_name(part: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (held, named) = match part.symlink_metadata() {
        Ok(named) => (file.metadata()?, named),
        // Whoever wrote it has finished it a moment ago.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_same = (held.dev(), held.ino()) == (named.dev(), named.ino());
    if is_same && held.nlink() > 1 {
        fs::remove_file(part)?;
    }
    Ok(is_same && held.nlink() == 1)
}

/// Whether a file has one name at most.
#[cfg(unix)]
fn has_one_name(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|metadata| metadata.nlink() <= 1)
}

#[cfg(not(unix))]
fn has_one_name(_file: &File) -> bool {
    true
}

#[cfg(not(unix))]
fn is_only_name(_part: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    // A link that leads nowhere is something too.
    if path.symlink_metadata().is_ok() { Err(exists(path)) } else { Ok(()) }
}

fn exists(path: &Path) -> Error {
    Error::Usage { reason: format!("{} exists already; give another name", path.display()) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_backup_that_was_killed_while_it_got_its_name_outlives_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("home.part"), "all that Monday had").unwrap();
        fs::hard_link(at("home.part"), at("home")).unwrap();
        fs::rename(at("home"), at("monday")).unwrap();
        let draft = Draft::create(&at("home")).unwrap();
        assert_eq!(fs::read_to_string(at("monday")).unwrap(), "all that Monday had");
        assert_eq!(draft.finish(&at("home")).unwrap(), 0);
        assert_eq!(fs::read_to_string(at("monday")).unwrap(), "all that Monday had");
    }

    #[test]
    fn nothing_is_written_over_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(at("nowhere"), at("one")).unwrap();
        assert!(Draft::create(&at("one")).is_err());
        fs::write(at("precious"), "theirs").unwrap();
        symlink(at("precious"), at("two.part")).unwrap();
        assert!(Draft::create(&at("two")).is_err());
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "theirs");
        fs::write(at("three.part"), "left by one that was cut off").unwrap();
        let mut draft = Draft::create(&at("three")).unwrap();
        assert_eq!(draft.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(at("three"), "made meanwhile").unwrap();
        let error = draft.give_name(&at("three")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        fs::remove_file(at("three")).unwrap();
        assert_eq!(draft.finish(&at("three")).unwrap(), 0);
        assert!(at("three").is_file() && !at("three.part").exists());
    }
}
