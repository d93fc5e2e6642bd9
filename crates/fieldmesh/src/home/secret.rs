//! Changing what opens a home, without writing any of its data anew.
//!
//! Only the profile changes, and only while nobody has the home open. Until the new profile is
//! durable the old secret opens the home, from then on the new one does.

use std::path::{Path, PathBuf};

use fieldmesh_store::WrappedKey;
use fieldmesh_store::lock::{FolderLock, LockError};

use crate::clock;
use crate::error::Error;

use super::keyring::{self, Secret};
use super::profile::Profile;
use super::{
    STORE_FOLDER, Unlock, check_private, create_private_folder, erase, exists, folder_error,
    locked, own_key_file,
};

/// What opens a home from now on.
pub enum NewSecret {
    /// A passphrase.
    Passphrase(String),
    /// A key file at a place of the user's choice, which is made if it does not exist.
    KeyFile(PathBuf),
    /// A key file in the user's configuration folder.
    UsualKeyFile,
}

impl NewSecret {
    fn unlock(&self) -> Result<Unlock, Error> {
        Ok(match self {
            Self::Passphrase(passphrase) if passphrase.is_empty() => {
                return Err(Error::Usage { reason: "the new passphrase is empty".into() });
            }
            Self::Passphrase(passphrase) => Unlock::Passphrase(passphrase.clone()),
            Self::KeyFile(path) => {
                if path.exists() {
                    check_private(path)?;
                }
                Unlock::KeyFile(path.clone())
            }
            Self::UsualKeyFile => Unlock::DefaultKeyFile,
        })
    }
}

/// Lets `new` open the home in `folder` in place of `old`.
pub(crate) fn change(folder: &Path, old: &Unlock, new: &NewSecret) -> Result<(), Error> {
    let _lock = hold(folder)?;
    let profile = Profile::read(folder)?;
    let keys = profile.open(old)?;
    let lasting = new.unlock()?;
    let left = own_key_file(folder);
    let is_in_keyring = profile.in_keyring().is_some();
    let changed = Profile::of(profile.id, &keys, &lasting, is_in_keyring)?;
    changed.write(folder)?;
    if let Some(left) = left.filter(|left| !is_still_used(left, &changed, &lasting)) {
        // It opens older copies of the profile only, which is reason enough.
        if let Err(error) = erase::destroy(&left) {
            tracing::warn!(%error, path = %left.display(), "the key file before is still there");
        }
    }
    Ok(())
}

fn is_still_used(file: &Path, profile: &Profile, lasting: &Unlock) -> bool {
    match lasting {
        Unlock::KeyFile(_) | Unlock::DefaultKeyFile => {
            profile.key_file(lasting).is_ok_and(|used| is_same(&used, file))
        }
        Unlock::Passphrase(_) | Unlock::Remembered => false,
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (_, _) => one == other,
    }
}

/// Lets the system's keyring open the home as well, for as long as it keeps its secret.
pub(crate) fn remember(folder: &Path, unlock: &Unlock) -> Result<(), Error> {
    let _lock = hold(folder)?;
    let mut profile = Profile::read(folder)?;
    let keys = profile.open(unlock)?;
    let secret = Secret::new(clock::random());
    let wrapped =
        WrappedKey::by_keyring(keys.current(), &secret).map_err(|error| locked(&error))?;
    keyring::put(&profile.id, &secret)?;
    let kept = profile.lasting().cloned();
    profile.ways = kept.into_iter().chain([wrapped]).collect();
    profile.write(folder)
}

/// Takes back what [`remember`] did; asks for no secret, because it opens nothing.
pub(crate) fn forget(folder: &Path) -> Result<(), Error> {
    let _lock = hold(folder)?;
    let mut profile = Profile::read(folder)?;
    if profile.in_keyring().is_some() {
        profile.ways = profile.lasting().cloned().into_iter().collect();
        profile.write(folder)?;
    }
    keyring::remove(&profile.id)
}

/// Fails where `unlock` does not open the home in `folder`.
pub(crate) fn check(folder: &Path, unlock: &Unlock) -> Result<(), Error> {
    erase::check(folder)?;
    Profile::read(folder)?.open(unlock).map(drop)
}

/// Whether the system's keyring opens the home in `folder` at this moment.
pub fn is_remembered(folder: &Path) -> bool {
    let Ok(profile) = Profile::read(folder) else { return false };
    profile.in_keyring().is_some() && profile.open(&Unlock::Remembered).is_ok()
}

/// Keeps everybody else out of a home that exists.
fn hold(folder: &Path) -> Result<FolderLock, Error> {
    erase::check(folder)?;
    if !exists(folder) {
        return Err(Error::NoHome { folder: folder.into() });
    }
    let store = folder.join(STORE_FOLDER);
    create_private_folder(&store)?;
    FolderLock::take(&store).map_err(|error| match error {
        LockError::Held { holder } => Error::InUse { folder: folder.into(), pid: holder },
        LockError::Io(source) => folder_error(folder, source),
        error => Error::store(&error),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fieldmesh_store::DataKeys;

    use super::super::{Home, IDENTITY_FILE, PROFILE_FILE};
    use super::*;

    fn passphrase(text: &str) -> Unlock {
        Unlock::Passphrase(text.into())
    }

    /// A home without an identity that could be read, which nothing here needs.
    fn home(folder: &Path) -> DataKeys {
        let home = Home::create(folder, &passphrase("one")).unwrap();
        fs::write(folder.join(IDENTITY_FILE), b"sealed").unwrap();
        home.keys()
    }

    #[test]
    fn another_secret_opens_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = home(folder.path());
        let sealed = keys.current().seal("test", b"ewes").unwrap();
        let opens = |unlock: &Unlock| {
            let keys = Profile::read(folder.path()).unwrap().open(unlock).ok()?;
            keys.current().unseal("test", &sealed)
        };
        let file = folder.path().join("home.key");
        let steps = [
            (passphrase("one"), NewSecret::Passphrase("two".into()), passphrase("two")),
            (passphrase("two"), NewSecret::KeyFile(file.clone()), Unlock::KeyFile(file.clone())),
            (Unlock::KeyFile(file), NewSecret::Passphrase("three".into()), passphrase("three")),
        ];
        for (old, new, unlock) in steps {
            assert_eq!(opens(&old).as_deref(), Some(&b"ewes"[..]));
            change(folder.path(), &old, &new).unwrap();
            assert_eq!(opens(&unlock).as_deref(), Some(&b"ewes"[..]));
            assert_eq!(opens(&old), None);
        }
    }

    #[test]
    fn a_change_that_cannot_be_made_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        home(folder.path());
        let profile = || fs::read(folder.path().join(PROFILE_FILE)).unwrap();
        let before = profile();
        let new = NewSecret::Passphrase("two".into());
        let wrong = change(folder.path(), &passphrase("other"), &new);
        assert!(matches!(wrong, Err(Error::Locked { .. })));
        let none = NewSecret::Passphrase(String::new());
        let empty = change(folder.path(), &passphrase("one"), &none);
        assert!(matches!(empty, Err(Error::Usage { .. })));
        let held = hold(folder.path()).unwrap();
        let in_use = change(folder.path(), &passphrase("one"), &new);
        assert!(matches!(in_use, Err(Error::InUse { .. })));
        drop(held);
        assert_eq!(profile(), before);
        let missing = change(&folder.path().join("nothing"), &passphrase("one"), &new);
        assert!(matches!(missing, Err(Error::NoHome { .. })));
    }

    #[test]
    fn a_write_that_fails_leaves_no_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(crate::home::write_durably(&path, b"whole").is_err());
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_secret() {
        let folder = tempfile::tempdir().unwrap();
        home(folder.path());
        // What a crash leaves of a write before its rename.
        let draft = folder.path().join(PROFILE_FILE).with_extension("new");
        fs::write(&draft, b"fmh2").unwrap();
        assert!(Profile::read(folder.path()).unwrap().open(&passphrase("one")).is_ok());
        change(folder.path(), &passphrase("one"), &NewSecret::Passphrase("two".into())).unwrap();
        assert!(!draft.exists());
    }
}
