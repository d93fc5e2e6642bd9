//! The end of a home whose device was revoked with the order to erase itself.
//!
//! The reason is written first: from then on the folder holds no home, and whoever looks for one
//! finishes what a killed program has begun. Then go the wrapped key and the identity, without which
//! the store is noise.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::Error;

use super::{
    Home, IDENTITY_FILE, JOINING_FILE, PORT_FILE, PROFILE_FILE, STORE_FOLDER, default_key_file,
    folder_error, read_profile, write_durably,
};

const ERASED_FILE: &str = "erased";

impl Home {
    /// Destroys what opens the home and leaves `reason` for whoever looks for it.
    ///
    /// The store is open still; [`Home::erase_store`] takes it away once it is closed.
    pub(crate) fn erase_keys(&self, reason: &str) -> Result<(), Error> {
        let told = self.folder.join(ERASED_FILE);
        // On a full disk the keys have to go all the same, and make room for it.
        let written = write_durably(&told, reason.as_bytes());
        destroy_keys(&self.folder);
        written.or_else(|_| write_durably(&told, reason.as_bytes()))
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
    match fs::read(folder.join(ERASED_FILE)) {
        Ok(reason) => {
            destroy_keys(folder);
            clear(folder);
            Err(Error::Erased { reason: String::from_utf8_lossy(&reason).into_owned() })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(folder_error(folder, error)),
    }
}

/// Makes room for another home in the folder of one that erased itself.
pub(super) fn forget(folder: &Path) -> Result<(), Error> {
    match check(folder) {
        Err(Error::Erased { .. }) => {}
        other => return other,
    }
    // Left behind it would be the end of the home that is about to be made here.
    fs::remove_file(folder.join(ERASED_FILE))
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|error| folder_error(folder, error))
}

fn destroy_keys(folder: &Path) {
    let made = read_profile(folder).ok().filter(|(_, key)| !key.needs_passphrase());
    // It says which key file is this home's, so it goes after that.
    if let Some(Ok(path)) = made.map(|(profile, _)| default_key_file(&profile)) {
        overwrite(&path);
    }
    for name in [PROFILE_FILE, IDENTITY_FILE, JOINING_FILE] {
        overwrite(&folder.join(name));
    }
}

fn clear(folder: &Path) {
    let store = folder.join(STORE_FOLDER);
    if let Err(error) = fs::remove_dir_all(&store)
        && store.exists()
    {
        tracing::error!(%error, "the store of an erased home is still there, without its key");
    }
    // It tells where the device was reached.
    let _ = fs::remove_file(folder.join(PORT_FILE));
}

/// Overwrites and removes a file; where the disk keeps old blocks, nothing more can be done.
fn overwrite(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let length = usize::try_from(metadata.len()).unwrap_or(0);
    let written = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(&vec![0; length]).and_then(|()| file.sync_all()));
    if let Err(error) = written.and_then(|()| fs::remove_file(path)) {
        tracing::error!(path = %path.display(), %error, "a key could not be destroyed");
    }
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
        // The reason is written; then each key is overwritten and removed in turn.
        for steps in 0..=4 {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            drop(home(folder));
            write_durably(&folder.join(ERASED_FILE), b"stolen").unwrap();
            for step in 0..steps {
                let path = folder.join([PROFILE_FILE, IDENTITY_FILE][step / 2]);
                if step % 2 == 0 { zero(&path) } else { fs::remove_file(&path).unwrap() }
            }
            if steps % 2 == 0 {
                let error = Home::open(folder, &unlock()).err().unwrap();
                assert_eq!(error.to_string(), "stolen", "after {steps} steps");
            }
            let error = needs_passphrase(folder).unwrap_err();
            assert_eq!(error.to_string(), "stolen", "after {steps} steps");
            let left: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, [ERASED_FILE], "after {steps} steps");

            drop(home(folder));
            assert!(Home::open(folder, &unlock()).is_ok(), "after {steps} steps");
        }
    }
}
