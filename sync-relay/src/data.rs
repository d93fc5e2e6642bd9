//! The data folder: who holds it, the key that opens its homes, and a home per tenant.
//!
//! ```text
//! data/lock               held by the process that uses the folder; its number is in it
//! data/relay.key          opens every home; made with the first tenant
//! data/tenants/<id>/      the home of a tenant, named by the last digits of its id
//! data/tenants/new-<n>/   a home that is being made
//! data/claims             the claims by which tenants take this relay in
//! data/accounts/<id>      the people who log in to the tenant
//! data/acme/              the account with an authority, and the certificate of the port for HTTP
//! data/removed/            tenants that are served no more
//! data/restoring/         what a restore has made so far; gone when it is done
//! ```

mod removal;
mod staging;
mod whole;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh_model::TenantId;

use crate::problem;

pub(crate) use self::removal::Remains;
pub(crate) use self::staging::Staging;
pub(crate) use self::whole::write_whole;

const LOCK_FILE: &str = "lock";
/// The file that opens every tenant.
pub(crate) const KEY_FILE: &str = "relay.key";
const TENANTS_FOLDER: &str = "tenants";
const CLAIMS_FILE: &str = "claims";
const ACCOUNTS_FOLDER: &str = "accounts";
const ACME_FOLDER: &str = "acme";
const NEW_PREFIX: &str = "new-";
/// What every home has.
const HOME_PARTS: [&str; 3] = ["profile", IDENTITY_PART, "store"];
const IDENTITY_PART: &str = "identity";
/// What a home has that erased itself.
const ERASED_FILE: &str = "erased";

/// A data folder that this process holds; dropping it lets others have it.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a data folder is not to be had.
#[derive(Debug)]
pub(crate) enum NotHeld {
    /// Another process holds it.
    InUse(Problem),
    /// It cannot be used at all.
    Unusable(Problem),
}

impl From<NotHeld> for Problem {
    fn from(not_held: NotHeld) -> Self {
        match not_held {
            NotHeld::InUse(problem) | NotHeld::Unusable(problem) => problem,
        }
    }
}

impl DataFolder {
    /// Makes the folder where there is none and takes it, or tells at once who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, NotHeld> {
        let unusable = |error: io::Error| NotHeld::Unusable(problem::file(path, &error));
        let path = std::path::absolute(path).map_err(unusable)?;
        refuse_root(&path).map_err(NotHeld::Unusable)?;
        fieldmesh::home::create_private_folder(&path.join(TENANTS_FOLDER))
            .map_err(|error| NotHeld::Unusable(error.problem()))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, holder(&mut lock))),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // The number only makes a message better, so a full disk must not prevent the lock.
        if let Err(error) = write_holder(&mut lock) {
            tracing::debug!(%error, "holder of the data folder not written");
        }
        let data = Self { path, _lock: lock };
        data.check_key().map_err(NotHeld::Unusable)?;
        data.clear().and_then(|()| data.clear_removals()).map_err(unusable)?;
        data.clear_staging().map_err(NotHeld::Unusable)?;
        Ok(data)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that opens every home.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// Where the claims are.
    pub(crate) fn claims(&self) -> PathBuf {
        self.path.join(CLAIMS_FILE)
    }

    /// Where the certificate of the port for HTTP is, if the relay obtains it.
    pub(crate) fn acme(&self) -> PathBuf {
        self.path.join(ACME_FOLDER)
    }

    /// Where the people of the tenants are.
    pub(crate) fn accounts(&self) -> PathBuf {
        self.path.join(ACCOUNTS_FOLDER)
    }

    /// The homes of the tenants, in order of their names.
    pub(crate) fn homes(&self) -> Result<Vec<PathBuf>, Problem> {
        let tenants = self.path.join(TENANTS_FOLDER);
        let mut homes = Vec::new();
        let entries = fs::read_dir(&tenants).map_err(|error| problem::file(&tenants, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| problem::file(&tenants, &error))?.path();
            if fieldmesh::home::exists(&path) || is_torn(&path) {
                homes.push(path);
            }
        }
        homes.sort();
        Ok(homes)
    }

    /// The tenants whose people are here, and whose homes are not.
    pub(crate) fn homeless(&self) -> Result<Vec<String>, Problem> {
        let accounts = self.accounts();
        let entries = match fs::read_dir(&accounts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| problem::file(&accounts, &error))?,
        };
        let mut homeless = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| problem::file(&accounts, &error))?.file_name();
            let name = name.to_string_lossy().into_owned();
            let is_tenant = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_tenant && !self.path.join(TENANTS_FOLDER).join(&name).exists() {
                homeless.push(name);
            }
        }
        homeless.sort();
        Ok(homeless)
    }

    /// A place where a home can be made.
    pub(crate) fn new_home(&self) -> PathBuf {
        let tenants = self.path.join(TENANTS_FOLDER);
        let mut number = 1_u32;
        loop {
            let path = tenants.join(format!("{NEW_PREFIX}{number}"));
            if !path.exists() {
                return path;
            }
            number += 1;
        }
    }

    /// Fails where something has the place of a tenant's home already, whatever it is.
    pub(crate) fn check_place(&self, tenant: TenantId) -> Result<(), Problem> {
        let settled = self.settled(tenant);
        match fs::symlink_metadata(&settled) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(problem::file(&settled, &error)),
            Ok(_) => Err(problem::store(format!(
                "{} is in the way; if it is of no use any more, move it out of the data folder",
                settled.display()
            ))),
        }
    }

    /// Gives a home that was made, and is closed, the name of its tenant.
    pub(crate) fn settle(&self, home: &Path, tenant: TenantId) -> Result<PathBuf, Problem> {
        self.check_place(tenant)?;
        let (tenants, settled) = (self.path.join(TENANTS_FOLDER), self.settled(tenant));
        fs::rename(home, &settled)
            .and_then(|()| File::open(&tenants)?.sync_all())
            .map_err(|error| problem::file(&settled, &error))?;
        Ok(settled)
    }

    /// Removes what is left of a home that was not made after all; one that was made stays.
    pub(crate) fn discard(&self, home: &Path) {
        if home.exists()
            && !fieldmesh::home::exists(home)
            && let Err(error) = fs::remove_dir_all(home)
        {
            tracing::warn!(%error, "half a home could not be removed");
        }
    }

    /// Removes a home that was made in vain, whole or not, with or without its tenant's name.
    ///
    /// To be called only where [`Self::check_place`] was well before the home was made.
    pub(crate) fn take_back(&self, home: &Path, tenant: TenantId) {
        let removed = self.remove_made(home, &self.settled(tenant));
        if let Err(error) = removed.or_else(fine_if_missing) {
            tracing::warn!(%error, "a home that was made in vain could not be removed");
        }
    }

    fn remove_made(&self, home: &Path, settled: &Path) -> io::Result<()> {
        if !home.exists() {
            fs::rename(settled, home)?;
        }
        // Without it this is half a home, which the next start removes if this one comes no further.
        fs::remove_file(home.join(IDENTITY_PART)).or_else(fine_if_missing)?;
        fs::remove_dir_all(home)?;
        File::open(self.path.join(TENANTS_FOLDER))?.sync_all()
    }

    fn settled(&self, tenant: TenantId) -> PathBuf {
        self.path.join(TENANTS_FOLDER).join(tenant.short())
    }

    /// Removes homes that nobody finished making.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path.join(TENANTS_FOLDER))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(NEW_PREFIX) {
                self.discard(&entry.path());
            }
        }
        Ok(())
    }

    /// The key must be this user's alone, and must be there once there are homes.
    fn check_key(&self) -> Result<(), Problem> {
        let path = self.key_file();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => Err(problem::store(format!(
                "{} can be read by others; consider what it opens as known to them, then \
                 `chmod 600` it",
                path.display()
            ))),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.homes()?.len() {
                0 => Ok(()),
                count => Err(problem::store(format!(
                    "{} is missing, and the tenants of this folder ({count}) cannot be opened \
                     without it; put it back from a copy",
                    path.display()
                ))),
            },
            Err(error) => Err(problem::file(&path, &error)),
        }
    }
}

fn fine_if_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Root writes nothing that the relay of another user could not open.
fn refuse_root(path: &Path) -> Result<(), Problem> {
    let Some(user) = fieldmesh_shell::owner::other_than_root(path) else { return Ok(()) };
    Err(problem::usage(format!(
        "the data folder {} belongs to the user {user}, and his relay cannot open what root writes \
         there; run it as that user: `sudo -u '{user}' sync-relay …`",
        path.display()
    )))
}

/// Whether a folder held a home of which a part is missing or cannot be looked at: that is told
/// when it is opened.
fn is_torn(folder: &Path) -> bool {
    let is_new =
        || folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NEW_PREFIX));
    // A folder that this user may not look into holds a tenant all the same.
    let may_have = |name: &&str| folder.join(name).try_exists().unwrap_or(true);
    !is_new() && !folder.join(ERASED_FILE).exists() && HOME_PARTS.iter().any(may_have)
}

/// The bytes of all files in a folder; what vanishes meanwhile does not count.
pub(crate) fn size_on_disk(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: io::Result<fs::DirEntry>| {
        let Ok(entry) = entry else { return 0 };
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_on_disk(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        }
    };
    entries.map(size).sum()
}

fn in_use(path: &Path, holder: Option<u32>) -> NotHeld {
    let holder = holder.map_or_else(String::new, |pid| format!(" by process {pid}"));
    NotHeld::InUse(problem::store(format!(
        "the data folder {} is in use{holder}; stop that first, or give another folder with --data",
        path.display()
    )))
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home(path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("profile"), "p").unwrap();
        fs::write(path.join("identity"), "i").unwrap();
    }

    #[test]
    fn the_second_to_take_a_folder_learns_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::take(folder.path()).unwrap();
        let Err(NotHeld::InUse(problem)) = DataFolder::take(folder.path()) else {
            panic!("the folder was taken twice");
        };
        assert!(problem.detail.contains(&std::process::id().to_string()), "{}", problem.detail);
        assert_eq!(problem.class.exit_code(), 7);
        drop(first);
        DataFolder::take(folder.path()).unwrap();
    }

    #[test]
    fn root_writes_nothing_into_the_folder_of_another_user() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody but root can give a folder away, and nobody else is refused.
        if std::os::unix::fs::chown(folder.path(), Some(65_534), None).is_err() {
            return;
        }
        let refusal = Problem::from(DataFolder::take(folder.path()).unwrap_err());
        assert!(refusal.detail.contains("sudo -u '"), "{}", refusal.detail);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn half_a_home_is_removed_and_a_whole_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let tenants = folder.path().join("tenants");
        fs::create_dir_all(tenants.join("new-1/store")).unwrap();
        home(&tenants.join("new-2"));
        fs::write(folder.path().join("relay.key"), "k").unwrap();
        fs::set_permissions(folder.path().join("relay.key"), PermissionsExt::from_mode(0o600))
            .unwrap();
        let data = DataFolder::take(folder.path()).unwrap();
        assert_eq!(data.homes().unwrap(), [tenants.join("new-2")]);
        assert_eq!(data.new_home(), tenants.join("new-1"));
        let tenant = TenantId::from_bytes([7; 32]);
        let settled = data.settle(&tenants.join("new-2"), tenant).unwrap();
        assert_eq!(settled, tenants.join("07070707"));
        assert_eq!(data.homes().unwrap(), [settled]);
    }

    #[test]
    fn a_home_that_was_made_in_vain_is_taken_back_from_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::take(folder.path()).unwrap();
        let (tenant, made) = (TenantId::from_bytes([7; 32]), data.new_home());
        for is_settled in [false, true] {
            data.check_place(tenant).unwrap();
            home(&made);
            fs::create_dir_all(made.join("store")).unwrap();
            if is_settled {
                data.settle(&made, tenant).unwrap();
                assert!(data.check_place(tenant).unwrap_err().detail.contains("is in the way"));
            }
            data.take_back(&made, tenant);
            assert_eq!(fs::read_dir(folder.path().join("tenants")).unwrap().count(), 0);
        }
        // Also where nothing was made so far.
        data.take_back(&made, tenant);
    }

    #[test]
    fn a_home_without_its_profile_or_none_at_all_is_not_taken_for_no_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let torn = folder.path().join("tenants/07070707");
        home(&torn);
        fs::remove_file(torn.join("profile")).unwrap();
        fs::create_dir_all(folder.path().join("tenants/08080808")).unwrap();
        fs::create_dir(folder.path().join("accounts")).unwrap();
        fs::write(folder.path().join("accounts/09090909"), "a").unwrap();
        let key = folder.path().join("relay.key");
        fs::write(&key, "k").unwrap();
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let data = DataFolder::take(folder.path()).unwrap();
        assert_eq!(data.homes().unwrap(), std::slice::from_ref(&torn));
        assert_eq!(data.homeless().unwrap(), ["09090909"]);
        fs::write(torn.join("erased"), "").unwrap();
        assert_eq!(data.homes().unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_home_that_cannot_be_looked_into_is_not_taken_for_no_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let tenants = folder.path().join("tenants");
        fs::create_dir(&tenants).unwrap();
        let data = DataFolder::take(folder.path()).unwrap();
        // A loop cannot be entered by anybody, while root may enter what others own.
        let home = tenants.join("07070707");
        std::os::unix::fs::symlink(&home, &home).unwrap();
        assert_eq!(data.homes().unwrap(), [home]);
    }

    #[test]
    fn a_key_that_is_lost_or_known_to_others_is_found_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        home(&folder.path().join("tenants/07070707"));
        let refusal = |path| Problem::from(DataFolder::take(path).unwrap_err()).detail;
        assert!(refusal(folder.path()).contains("is missing"));
        let key = folder.path().join("relay.key");
        fs::write(&key, "k").unwrap();
        fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(refusal(folder.path()).contains("can be read by others"));
    }
}
