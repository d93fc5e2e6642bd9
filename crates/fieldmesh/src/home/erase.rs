//! The end of a home whose device was revoked with the order to erase itself.
//!
//! The reason is written first: from then on the folder holds no home, and whoever looks for one
//! finishes what a killed program has begun. Then go the wrapped key and the identity, without which
//! the store is noise.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, with_causes};

use super::{
    FOUNDING, Home, IDENTITY_FILE, JOINING_FILE, PORT_FILE, PROFILE_FILE, STORE_FOLDER,
    folder_error, own_key_file, second, write_durably,
};

pub(super) const ERASED_FILE: &str = "erased";

impl Home {
    /// Destroys what opens the home and leaves `reason` for whoever looks for it; gives what came of
    /// it, in words.
    ///
    /// The store is open still; [`Home::erase_store`] takes it away once it is closed.
    pub(crate) fn erase_keys(&self, reason: &str) -> String {
        let told = self.folder.join(ERASED_FILE);
        // On a full disk the keys have to go all the same, and make room for it.
        let mut written = write_durably(&told, reason.as_bytes());
        let destroyed = destroy_keys(&self.folder, || {
            if written.is_err() {
                written = write_durably(&told, reason.as_bytes());
            }
        });
        outcome(reason, &destroyed.and(written))
    }

    /// Takes away the closed store of a home whose keys are destroyed.
    pub(crate) fn erase_store(&self) {
        clear(&self.folder);
    }
}

/// Whether the home in `folder` has erased itself or was about to.
pub(super) fn has_begun(folder: &Path) -> bool {
    folder.join(ERASED_FILE).exists()
}

/// Fails where the home in `folder` has erased itself, and erases what is left of it: the program
/// may have been killed before it came to that.
pub(super) fn check(folder: &Path) -> Result<(), Error> {
    let Some(reason) = read_reason(folder)? else { return Ok(()) };
    let destroyed = destroy_keys(folder, || ());
    clear(folder);
    Err(Error::Erased { reason: outcome(&reason, &destroyed) })
}

/// Makes room for another home in the folder of one that erased itself; fails while anything is
/// left that opens the old one.
pub(super) fn forget(folder: &Path) -> Result<(), Error> {
    if read_reason(folder)?.is_none() {
        return Ok(());
    }
    destroy_keys(folder, || ())?;
    clear(folder);
    // Left behind it would be the end of the home that is about to be made here.
    fs::remove_file(folder.join(ERASED_FILE))
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|error| folder_error(folder, error))
}

fn read_reason(folder: &Path) -> Result<Option<String>, Error> {
    match fs::read(folder.join(ERASED_FILE)) {
        Ok(reason) => Ok(Some(String::from_utf8_lossy(&reason).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(folder_error(folder, error)),
    }
}

/// What came of an order to erase a home, which is `reason`.
fn outcome(reason: &str, destroyed: &Result<(), Error>) -> String {
    match destroyed {
        Ok(()) => format!(
            "{reason}, which is done; what it had sent to others is safe with them; join again \
             with a new invitation"
        ),
        Err(error) => format!(
            "{reason}, which is not done in order: {}; see to it by hand, and delete the folder; \
             what it had sent to others is safe with them",
            with_causes(error)
        ),
    }
}

/// Destroys every key, whatever happens to one of them; gives the first failure. `freed` is called
/// after each, when there is more room than before.
///
/// A copy goes before its file: a home whose file is gone first would be mended from the copy if
/// the program was killed then and there had been no room for the reason. The profile goes before
/// the identity, which is noise without it.
fn destroy_keys(folder: &Path, mut freed: impl FnMut()) -> Result<(), Error> {
    // The profile says which key file is this home's, so it goes after that.
    let key_file = own_key_file(folder);
    let pairs = [PROFILE_FILE, IDENTITY_FILE]
        .map(|name| [second::path(folder, name), folder.join(name)])
        .into_iter()
        .flatten();
    let mut destroyed = Ok(());
    for path in key_file.into_iter().chain(pairs).chain([folder.join(JOINING_FILE)]) {
        if let Err(source) = destroy(&path) {
            tracing::error!(path = %path.display(), %source, "a key was not destroyed in order");
            destroyed = destroyed.and(Err(folder_error(&path, source)));
        }
        freed();
    }
    destroyed
}

fn clear(folder: &Path) {
    let store = folder.join(STORE_FOLDER);
    if let Err(error) = fs::remove_dir_all(&store)
        && store.exists()
    {
        tracing::error!(%error, "the store of an erased home is still there, without its key");
    }
    // The one is noise by then; the other one tells where the device was reached.
    let _ = fs::remove_file(second::path(folder, FOUNDING));
    let _ = fs::remove_file(folder.join(PORT_FILE));
}

/// Overwrites and removes a file; where the disk keeps old blocks, nothing more can be done.
pub(super) fn destroy(path: &Path) -> std::io::Result<()> {
    let length = match fs::metadata(path) {
        Ok(metadata) => usize::try_from(metadata.len()).unwrap_or(0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let overwritten = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(&vec![0; length]).and_then(|()| file.sync_all()));
    // One that cannot be overwritten goes all the same.
    fs::remove_file(path).and(overwritten)
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Unlock, needs_passphrase};
    use super::*;
    use fieldmesh_model::{TenantId, UserId};

    fn unlock() -> Unlock {
        Unlock::Passphrase("one".into())
    }

    fn home(folder: &Path) -> Home {
        let home = Home::create(folder, &unlock()).unwrap();
        let identity = Identity {
            device_seed: [1; 32],
            authority_seed: None,
            recovery_seed: None,
            tenant: TenantId::default(),
            authority: [2; 32],
            tenant_name: "Crew".into(),
            device_name: "truck".into(),
            user: UserId::default(),
            certificates: Vec::new(),
        };
        home.write_identity(&identity).unwrap();
        fs::create_dir_all(home.store_folder()).unwrap();
        home
    }

    #[test]
    fn a_home_killed_while_it_erases_itself_says_so_and_is_erased_at_the_next_look() {
        let zero = |path: &Path| {
            let length = fs::metadata(path).unwrap().len();
            fs::write(path, vec![0; usize::try_from(length).unwrap()]).unwrap();
        };
        let order = ["profile.copy", PROFILE_FILE, "identity.copy", IDENTITY_FILE];
        // The reason is written; then each key is overwritten and removed in turn.
        for steps in 0..=8 {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            home(folder).write_founding(b"items").unwrap();
            for step in 0..steps {
                let path = folder.join(order[step / 2]);
                if step % 2 == 0 { zero(&path) } else { fs::remove_file(&path).unwrap() }
            }
            // Where there was no room for the reason, nothing brings back what is gone.
            let opened = Home::open(folder, &unlock()).inspect(Home::mend);
            assert_eq!(opened.is_ok(), steps <= 2, "after {steps} steps without a word");
            write_durably(&folder.join(ERASED_FILE), b"stolen").unwrap();
            if steps % 2 == 0 {
                let error = Home::open(folder, &unlock()).err().unwrap();
                assert!(
                    error.to_string().starts_with("stolen, which is done"),
                    "after {steps} steps"
                );
            }
            let error = needs_passphrase(folder).unwrap_err();
            assert!(error.to_string().starts_with("stolen, which is done"), "after {steps} steps");
            let left: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, [ERASED_FILE], "after {steps} steps");

            drop(home(folder));
            assert!(Home::open(folder, &unlock()).is_ok(), "after {steps} steps");
        }
    }

    #[test]
    fn an_identity_that_cannot_be_overwritten_is_removed_and_one_that_stays_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        let identity = folder.path().join(IDENTITY_FILE);
        fs::remove_file(&identity).unwrap();
        // A link to a folder can be removed and not written.
        std::os::unix::fs::symlink(elsewhere.path(), &identity).unwrap();
        let told = home.erase_keys("stolen");
        assert!(told.contains("not done in order") && told.contains("identity"), "{told}");
        assert!(fs::symlink_metadata(&identity).is_err());

        // A folder can be neither.
        fs::create_dir(&identity).unwrap();
        for attempt in [Home::create(folder.path(), &unlock()).map(drop), check(folder.path())] {
            let error = with_causes(&attempt.unwrap_err());
            assert!(!error.contains("which is done") && error.contains("identity"), "{error}");
            assert!(has_begun(folder.path()));
        }
        fs::remove_dir(&identity).unwrap();
        let told = check(folder.path()).unwrap_err().to_string();
        assert!(told.starts_with("stolen, which is done"), "{told}");
        Home::create(folder.path(), &unlock()).unwrap();
        assert!(!has_begun(folder.path()));
    }

    #[test]
    fn a_reason_that_there_was_no_room_for_is_written_as_soon_as_a_key_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        drop(home(folder.path()));
        let mut left = Vec::new();
        let note = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
            let is_key = |name: &String| name != STORE_FOLDER;
            let names = names.map(|name| name.into_string().unwrap()).filter(is_key);
            left.push(names.count());
        };
        destroy_keys(folder.path(), note).unwrap();
        assert_eq!(left, [3, 2, 1, 0, 0]);
    }
}
