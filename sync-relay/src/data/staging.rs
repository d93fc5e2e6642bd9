//! A restore on its way: everything is made in a folder of its own and takes its place at the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::home::create_private_folder;

use super::{ACCOUNTS_FOLDER, DataFolder, KEY_FILE, LOCK_FILE, TENANTS_FOLDER};
use crate::problem;

const STAGING_FOLDER: &str = "restoring";

/// The folder of a restore; removed where that is not finished.
pub(crate) struct Staging {
    path: PathBuf,
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
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is removed by the next restore; no relay looks at it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl DataFolder {
    /// Begins a restore of what the key in `key_file`, or the one that lies here, opens.
    ///
    /// # Errors
    ///
    /// Something is here already, or there is no key, or another one.
    pub(crate) fn stage(&self, key_file: Option<&Path>) -> Result<Staging, Problem> {
        let path = self.path.join(STAGING_FOLDER);
        let failed = |error: io::Error| problem::file(&path, &error);
        let was_cut_off = path.exists();
        self.refuse_contents(was_cut_off)?;
        if was_cut_off {
            fs::remove_dir_all(&path).map_err(failed)?;
            remove_folder(&self.accounts())?;
        }
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
        let key = fs::read(key_file).map_err(|error| problem::file(key_file, &error))?;
        if own.exists() && fs::read(&own).map_err(|error| problem::file(&own, &error))? != key {
            return Err(problem::usage(format!(
                "{} is another key than {}; remove it if nothing needs it",
                own.display(),
                key_file.display()
            )));
        }
        for folder in ["", TENANTS_FOLDER, ACCOUNTS_FOLDER] {
            create_private_folder(&path.join(folder)).map_err(|error| error.problem())?;
        }
        let staging = Staging { path };
        write_private(&staging.key_file(), &key)?;
        Ok(staging)
    }

    /// Fails where anything is here that a restore would mix with.
    fn refuse_contents(&self, was_cut_off: bool) -> Result<(), Problem> {
        let failed = |error: io::Error| problem::file(&self.path, &error);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_empty = || Ok(fs::read_dir(&path)?.next().is_none());
            let is_fine = match name.as_str() {
                LOCK_FILE | KEY_FILE | STAGING_FOLDER => true,
                ACCOUNTS_FOLDER if was_cut_off => true,
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
    /// none before all is there.
    pub(crate) fn install(&self, staging: Staging) -> Result<(), Problem> {
        let failed = |error: io::Error| problem::file(&self.path, &error);
        let sync = || File::open(&self.path)?.sync_all();
        for name in [TENANTS_FOLDER, ACCOUNTS_FOLDER] {
            let folder = staging.path.join(name);
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        let own = self.key_file();
        if !own.exists() {
            fs::rename(staging.key_file(), &own).map_err(failed)?;
        }
        fs::rename(staging.path.join(ACCOUNTS_FOLDER), self.accounts())
            .and_then(|()| sync())
            .map_err(failed)?;
        fs::rename(staging.path.join(TENANTS_FOLDER), self.path.join(TENANTS_FOLDER))
            .and_then(|()| sync())
            .map_err(failed)?;
        drop(staging);
        Ok(())
    }
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
