//! Where the backups of homes lie until they are in that of the relay.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;

use crate::problem;

/// What the folder is called, behind the name of the whole.
const ENDING: &str = ".parts";
/// What the files in it are called, behind the end of a tenant's id.
const FILE_ENDINGS: [&str; 3] = [".home", ".home.part", ".base"];

/// A folder that nobody else can look into, removed with what is in it.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder beside `file`, which this process alone writes; what a backup of this name that
    /// was cut off left is removed.
    pub(super) fn create(file: &Path) -> Result<Self, Problem> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(ENDING);
        let path = file.with_file_name(name);
        let failed = |error: io::Error| {
            let file = file.display();
            problem::failed(format!("cannot write the backup {file}: {error}"))
        };
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if found.is_dir() && found.permissions().mode() & 0o077 == 0 => clear(&path),
            Ok(_) => {
                return Err(problem::usage(format!(
                    "{} is in the way, and is not of an earlier backup; give another name",
                    path.display()
                )));
            }
        }
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// Removes what backups leave, and the folder if nothing else is in it.
fn clear(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.split_at_checked(8).is_some_and(|(short, ending)| {
            short.bytes().all(|byte| byte.is_ascii_hexdigit()) && FILE_ENDINGS.contains(&ending)
        });
        if is_ours {
            // What cannot be removed keeps the folder, which is in the way then.
            let _ = fs::remove_file(entry.path());
        }
    }
    // Whatever else somebody has put there stays.
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_neither_used_nor_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.backup");
        let parts = folder.path().join("one.backup.parts");
        let mode = |mode| fs::set_permissions(&parts, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(&parts).unwrap();
        mode(0o755);
        fs::write(parts.join("ranch.home"), "mine").unwrap();
        assert!(Scratch::create(&file).is_err());
        mode(0o700);
        fs::write(parts.join("0a0a0a0a.home"), "of a backup that was cut off").unwrap();
        assert!(Scratch::create(&file).is_err());
        assert_eq!(fs::read_dir(&parts).unwrap().count(), 1);
        fs::remove_dir_all(&parts).unwrap();
        std::os::unix::fs::symlink(folder.path(), &parts).unwrap();
        assert!(Scratch::create(&file).is_err());
        fs::remove_file(&parts).unwrap();
        let scratch = Scratch::create(&file).unwrap();
        assert_eq!(fs::metadata(&parts).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(scratch.path().join("0a0a0a0a.home.part"), "").unwrap();
        drop(scratch);
        assert!(!parts.exists());
    }
}
