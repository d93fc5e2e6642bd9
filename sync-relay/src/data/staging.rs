//! A restore on its way: everything is made in a folder of its own and takes its place at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::home::create_private_folder;

use zeroize::Zeroizing;

use super::{ACCOUNTS_FOLDER, DataFolder, KEY_FILE, LOCK_FILE, TENANTS_FOLDER};
use crate::archive::read_key;
use crate::problem;

const STAGING_FOLDER: &str = "restoring";
/// In that folder from the moment on at which the first of what was made takes its place.
const INSTALLING_FILE: &str = "installing";

/// The folder of a restore; removed where that is not finished, unless something has taken its
/// place already.
pub(crate) struct Staging {
    path: PathBuf,
    is_installing: bool,
}

impl Staging {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key of the homes that are made.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// The people of the tenants that are made.
    pub(crate) fn accounts(&self) -> PathBuf {
        self.path.join(ACCOUNTS_FOLDER)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_installing {
            // What stays is removed by the next restore; no relay looks at it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl DataFolder {
    /// The key of a restore into this folder: that in `key_file`, or the one that lies here.
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// Something is here already, or there is no key, or another one.
    pub(crate) fn key_to_restore(&self, key_file: Option<&Path>) -> Result<PathBuf, Problem> {
        self.refuse_contents()?;
        let own = self.key_file();
        let key_file = match (key_file, own.exists()) {
            (Some(given), _) => given,
            (None, true) => &own,
            (None, false) => {
                return Err(problem::usage(
                    "a backup is opened by the relay.key of the relay that wrote it: give your \
                     copy of that with --key-file",
                ));
            }
        };
        let key = key_bytes(key_file)?;
        if own.exists() && *key_bytes(&own)? != *key {
            return Err(problem::usage(format!(
                "{} is another key than {}; remove it if nothing needs it",
                own.display(),
                key_file.display()
            )));
        }
        Ok(key_file.to_owned())
    }

    /// Begins a restore by the key in `key_file`; what one that was cut off has made is removed.
    ///
    /// # Errors
    ///
    /// Something is here already, or the disk fails.
    pub(crate) fn stage(&self, key_file: &Path) -> Result<Staging, Problem> {
        self.refuse_contents()?;
        let key = key_bytes(key_file)?;
        if self.was_cut_off() {
            remove_folder(&self.accounts())?;
        }
        let path = self.path.join(STAGING_FOLDER);
        remove_folder(&path)?;
        let staging = Staging { path, is_installing: false };
        for folder in ["", TENANTS_FOLDER, ACCOUNTS_FOLDER] {
            let folder = staging.path.join(folder);
            create_private_folder(&folder).map_err(|error| error.problem())?;
        }
        write_private(&staging.key_file(), &key)?;
        Ok(staging)
    }

    /// Whether a restore has put some of what it made in its place, and nobody uses that.
    fn was_cut_off(&self) -> bool {
        self.path.join(STAGING_FOLDER).join(INSTALLING_FILE).exists()
    }

    /// Removes what a restore left that put everything in its place.
    pub(super) fn clear_staging(&self) -> Result<(), Problem> {
        if self.homes()?.is_empty() {
            return Ok(());
        }
        remove_folder(&self.path.join(STAGING_FOLDER))
    }

    /// Fails where anything is here that a restore would mix with.
    fn refuse_contents(&self) -> Result<(), Problem> {
        let failed = |error: io::Error| problem::file(&self.path, &error);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_empty = || Ok(fs::read_dir(&path)?.next().is_none());
            let is_fine = match name.as_str() {
                LOCK_FILE | KEY_FILE | STAGING_FOLDER => true,
                ACCOUNTS_FOLDER if self.was_cut_off() => true,
                TENANTS_FOLDER | ACCOUNTS_FOLDER => is_empty().map_err(failed)?,
                _ => false,
            };
            if !is_fine {
                return Err(problem::usage(format!(
                    "{} is not empty, {name} is in it; restore into another folder with --data",
                    self.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Lets everything that was made take its place; the tenants are the last, so that there are
    /// none before all is there. Where this fails, the next restore begins anew.
    pub(crate) fn install(&self, mut staging: Staging) -> Result<(), Problem> {
        let failed = |error: io::Error| problem::file(&self.path, &error);
        let sync = |folder: &Path| File::open(folder)?.sync_all();
        for name in [TENANTS_FOLDER, ACCOUNTS_FOLDER] {
            sync(&staging.path.join(name)).map_err(failed)?;
        }
        staging.is_installing = true;
        write_private(&staging.path.join(INSTALLING_FILE), &[])?;
        sync(&staging.path).and_then(|()| sync(&self.path)).map_err(failed)?;
        let own = self.key_file();
        if !own.exists() {
            fs::rename(staging.key_file(), &own).map_err(failed)?;
        }
        fs::rename(staging.accounts(), self.accounts())
            .and_then(|()| sync(&self.path))
            .map_err(failed)?;
        fs::rename(staging.path.join(TENANTS_FOLDER), self.path.join(TENANTS_FOLDER))
            .and_then(|()| sync(&self.path))
            .map_err(failed)?;
        // Everything is in its place.
        staging.is_installing = false;
        Ok(())
    }
}

/// The bytes of a key that nobody else can read.
fn key_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    read_key(path)?;
    fs::read(path).map(Zeroizing::new).map_err(|error| problem::file(path, &error))
}

fn remove_folder(folder: &Path) -> Result<(), Problem> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(problem::file(folder, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| problem::file(path, &error))
}

#[cfg(test)]
mod tests {
    use fieldmesh_store::KeyFile;

    use super::*;

    /// A data folder, and a key beside it.
    fn scene() -> (tempfile::TempDir, DataFolder, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("safe.key");
        KeyFile::create(&key).unwrap();
        let data = DataFolder::take(&folder.path().join("data")).unwrap();
        (folder, data, key)
    }

    fn staged(data: &DataFolder, key: &Path, people: &str) -> Staging {
        let staging = data.stage(&data.key_to_restore(Some(key)).unwrap()).unwrap();
        fs::write(staging.accounts().join("0a0a0a0a"), people).unwrap();
        fs::create_dir(staging.path().join("tenants/0a0a0a0a")).unwrap();
        staging
    }

    #[test]
    fn a_restore_whose_last_step_fails_can_be_done_again() {
        let (_folder, data, key) = scene();
        let in_the_way = data.path.join("tenants/new-1");
        let staging = staged(&data, &key, "first");
        fs::create_dir(&in_the_way).unwrap();
        assert!(data.install(staging).is_err());
        assert_eq!(fs::read_to_string(data.accounts().join("0a0a0a0a")).unwrap(), "first");
        fs::remove_dir(&in_the_way).unwrap();
        data.install(staged(&data, &key, "second")).unwrap();
        assert_eq!(fs::read_to_string(data.accounts().join("0a0a0a0a")).unwrap(), "second");
        assert!(data.path.join("tenants/0a0a0a0a").exists());
        assert!(!data.path.join("restoring").exists());
    }

    #[test]
    fn a_restore_never_removes_people_that_another_relay_has_added() {
        let (_folder, data, key) = scene();
        // What a restore leaves that was killed before anything took its place.
        std::mem::forget(staged(&data, &key, "staged"));
        create_private_folder(&data.accounts()).unwrap();
        fs::write(data.accounts().join("0b0b0b0b"), "the newest people").unwrap();
        assert!(data.key_to_restore(Some(&key)).is_err());
        assert!(data.stage(&key).is_err());
        assert!(data.accounts().join("0b0b0b0b").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_not_taken() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, data, key) = scene();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = data.key_to_restore(Some(&key)).unwrap_err().detail;
        assert!(refused.contains("chmod 600"), "{refused}");
        fs::write(&key, "no key").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = data.key_to_restore(Some(&key)).unwrap_err().detail;
        assert!(refused.contains("safe.key"), "{refused}");
    }
}
