//! Tenants that are served no more: their files lie aside until somebody needs the room.
//!
//! ```text
//! data/removed/<id>-<n>/tenant     the home
//! data/removed/<id>-<n>/accounts   the people who logged in
//! data/removed/<id>-<n>/removing   there until both are here
//! data/removed/<id>-<n>/erase      there where nothing of it is to stay
//! ```
//!
//! A tenant is removed at the moment at which its home is moved. A crash before that leaves it as it
//! was, one behind it is made good when the data folder is taken the next time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::home::create_private_folder;
use fieldmesh_model::TenantId;

use super::{DataFolder, TENANTS_FOLDER, fine_if_missing};
use crate::problem;

const REMOVED_FOLDER: &str = "removed";
const HOME: &str = "tenant";
const ACCOUNTS: &str = "accounts";
const REMOVING_FILE: &str = "removing";
const ERASE_FILE: &str = "erase";

/// What becomes of the files of a tenant that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// They lie aside.
    Kept,
    /// Nothing of them stays.
    Erased,
}

impl DataFolder {
    /// Moves aside what is kept of a tenant, whose home nobody uses; says where to.
    ///
    /// # Errors
    ///
    /// The disk fails. The tenant is as it was if its home still is where it was; otherwise it is
    /// removed, and the rest is done when the folder is taken the next time.
    pub(crate) fn set_aside(
        &self,
        home: &Path,
        tenant: TenantId,
        remains: Remains,
    ) -> Result<PathBuf, Problem> {
        let failed = |error: io::Error| problem::file(home, &error);
        let folder = self.prepare(tenant, remains)?;
        move_home(home, &folder).map_err(failed)?;
        self.finish_removal(&folder).map_err(|error| problem::file(&folder, &error))?;
        Ok(folder)
    }

    /// Finishes what a crash has cut off.
    pub(super) fn clear_removals(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.path.join(REMOVED_FOLDER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let folder = entry?.path();
            // No other tenant is to suffer from it.
            if let Err(error) = self.clear_removal(&folder) {
                let path = folder.display();
                tracing::error!(%error, %path, "a removal could not be finished");
            }
        }
        Ok(())
    }

    fn clear_removal(&self, folder: &Path) -> io::Result<()> {
        let is_marked = |name: &str| folder.join(name).try_exists();
        match is_marked(REMOVING_FILE)? || is_marked(ERASE_FILE)? {
            true => self.finish_removal(folder),
            false => Ok(()),
        }
    }

    /// Makes the folder into which a tenant is moved.
    fn prepare(&self, tenant: TenantId, remains: Remains) -> Result<PathBuf, Problem> {
        let all = self.path.join(REMOVED_FOLDER);
        let named = |number: u32| all.join(format!("{}-{number}", tenant.short()));
        let mut number = 1;
        while named(number).exists() {
            number += 1;
        }
        let folder = named(number);
        for folder in [&all, &folder] {
            create_private_folder(folder).map_err(|error| error.problem())?;
        }
        let mark = |name: &str| File::create(folder.join(name))?.sync_all();
        let marked = mark(REMOVING_FILE).and_then(|()| match remains {
            Remains::Kept => Ok(()),
            Remains::Erased => mark(ERASE_FILE),
        });
        marked
            .and_then(|()| sync(&folder))
            .and_then(|()| sync(&all))
            .and_then(|()| sync(&self.path))
            .map_err(|error| problem::file(&folder, &error))?;
        Ok(folder)
    }

    /// Does what is left to be done once a home was moved into `folder`, or finds that it was not.
    fn finish_removal(&self, folder: &Path) -> io::Result<()> {
        let is_erased = folder.join(ERASE_FILE).try_exists()?;
        // An erasure that was cut off may have no home any more, and people all the same.
        if !folder.join(HOME).try_exists()? {
            return match is_erased && folder.join(ACCOUNTS).try_exists()? {
                true => erase(folder),
                false => remove_marks(folder),
            };
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let short = name.split('-').next().unwrap_or_default();
        let people = self.accounts().join(short);
        // Whoever has the id by now has people of his own.
        if people.try_exists()? && !self.path.join(TENANTS_FOLDER).join(short).try_exists()? {
            fs::rename(&people, folder.join(ACCOUNTS))?;
            sync(folder)?;
            sync(&self.accounts())?;
        }
        if is_erased {
            return erase(folder);
        }
        fs::remove_file(folder.join(REMOVING_FILE)).or_else(fine_if_missing)?;
        sync(folder)
    }
}

/// Erases the tenant and its people, and the marks last: whatever cuts it off is made good.
fn erase(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder.join(HOME)).or_else(fine_if_missing)?;
    let accounts = folder.join(ACCOUNTS);
    match accounts.is_dir() {
        true => fs::remove_dir_all(&accounts)?,
        false => fs::remove_file(&accounts).or_else(fine_if_missing)?,
    }
    sync(folder)?;
    remove_marks(folder)
}

/// Removes a folder in which nothing but the marks is left; fails where there is more.
fn remove_marks(folder: &Path) -> io::Result<()> {
    for name in [REMOVING_FILE, ERASE_FILE] {
        fs::remove_file(folder.join(name)).or_else(fine_if_missing)?;
    }
    fs::remove_dir(folder)
}

/// The moment at which a tenant is removed.
fn move_home(home: &Path, folder: &Path) -> io::Result<()> {
    fs::rename(home, folder.join(HOME))?;
    sync(folder)?;
    home.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A data folder with a tenant that has people.
    fn scene() -> (tempfile::TempDir, DataFolder, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("tenants/07070707");
        fs::create_dir_all(home.join("store")).unwrap();
        fs::write(home.join("profile"), "p").unwrap();
        fs::write(home.join("identity"), "i").unwrap();
        fs::create_dir(folder.path().join("accounts")).unwrap();
        fs::write(folder.path().join("accounts/07070707"), "a").unwrap();
        let key = folder.path().join("relay.key");
        fs::write(&key, "k").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let data = DataFolder::take(folder.path()).unwrap();
        (folder, data, home)
    }

    const TENANT: TenantId = TenantId::from_bytes([7; 32]);

    #[test]
    fn a_crash_at_any_step_leaves_a_tenant_either_as_it_was_or_removed() {
        for remains in [Remains::Kept, Remains::Erased] {
            for steps in 0..=3 {
                let (folder, data, home) = scene();
                if steps > 0 {
                    let aside = data.prepare(TENANT, remains).unwrap();
                    if steps > 1 {
                        move_home(&home, &aside).unwrap();
                    }
                    if steps > 2 {
                        fs::rename(data.accounts().join("07070707"), aside.join(ACCOUNTS)).unwrap();
                    }
                }
                drop(data);
                let data = DataFolder::take(folder.path()).unwrap();
                let removed = folder.path().join("removed/07070707-1");
                let is_served = steps < 2;
                assert_eq!(data.homes().unwrap().len(), usize::from(is_served), "{steps}");
                assert_eq!(data.accounts().join("07070707").exists(), is_served, "{steps}");
                assert_eq!(data.homeless().unwrap(), Vec::<String>::new());
                let is_kept = !is_served && remains == Remains::Kept;
                assert_eq!(removed.join("tenant/identity").exists(), is_kept, "{steps}");
                assert_eq!(removed.join("accounts").exists(), is_kept, "{steps}");
                assert!(!removed.join("removing").exists());
                data.check_place(TENANT).unwrap_or_else(|_| assert!(is_served));
            }
        }
    }

    #[test]
    fn an_erasure_that_was_cut_off_is_finished() {
        for is_home_gone in [false, true] {
            let (folder, data, home) = scene();
            let aside = data.prepare(TENANT, Remains::Erased).unwrap();
            move_home(&home, &aside).unwrap();
            fs::rename(data.accounts().join("07070707"), aside.join(ACCOUNTS)).unwrap();
            match is_home_gone {
                true => fs::remove_dir_all(aside.join(HOME)).unwrap(),
                false => fs::remove_file(aside.join("tenant/identity")).unwrap(),
            }
            drop(data);
            DataFolder::take(folder.path()).unwrap();
            assert!(!aside.exists(), "{is_home_gone}");
        }
    }

    #[test]
    fn a_removal_that_cannot_be_finished_keeps_nobody_from_starting() {
        let (folder, data, _) = scene();
        let aside = data.prepare(TENANT, Remains::Kept).unwrap();
        fs::write(aside.join("somebody's"), "s").unwrap();
        drop(data);
        let data = DataFolder::take(folder.path()).unwrap();
        assert_eq!(data.homes().unwrap().len(), 1);
        assert_eq!(fs::read(aside.join("somebody's")).unwrap(), b"s");
    }

    #[test]
    fn a_tenant_is_removed_again_beside_what_it_was_before() {
        let (folder, data, home) = scene();
        let first = data.set_aside(&home, TENANT, Remains::Kept).unwrap();
        assert_eq!(first, folder.path().join("removed/07070707-1"));
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("identity"), "new").unwrap();
        let second = data.set_aside(&home, TENANT, Remains::Kept).unwrap();
        assert_eq!(fs::read(second.join("tenant/identity")).unwrap(), b"new");
        assert_eq!(fs::read(first.join("accounts")).unwrap(), b"a");
        fs::create_dir_all(&home).unwrap();
        let third = data.set_aside(&home, TENANT, Remains::Erased).unwrap();
        assert!(!third.exists() && first.exists() && !home.exists());
    }
}
