//! Another data key for a home that is open: what is written down when, and what is removed at the
//! end.
//!
//! The profile with both keys is durable before anything is written with the new one, and the key
//! before is in it until nothing needs that any more.

use std::fs;
use std::sync::PoisonError;

use fieldmesh_store::{DataKeys, Way};

use crate::error::Error;

use super::profile::Profile;
use super::{
    FOUNDING, Home, IDENTITY_FILE, JOINING_FILE, PROFILE_FILE, Unlock, folder_error, locked,
};

/// What a write ends with that a crash cut off.
const DRAFT_EXTENSION: &str = "new";

impl Home {
    /// Draws a new data key, opened by the same secret, and writes that down.
    pub(crate) fn begin_rekey(&self, unlock: &Unlock) -> Result<DataKeys, Error> {
        if self.keys().before().is_some() {
            return Err(Error::Usage { reason: "a rekey is under way already".into() });
        }
        let profile = Profile::read(&self.folder)?;
        if matches!(unlock, Unlock::Remembered) {
            return Err(Error::Usage {
                reason: "a rekey needs the passphrase itself, not what the keyring remembers"
                    .into(),
            });
        }
        let keys = profile.open(unlock)?.rekeyed().map_err(|error| locked(&error))?;
        let is_passphrase = profile.lasting().is_some_and(|way| way.way() == Way::Passphrase);
        let lasting = match unlock {
            // One in the environment says nothing about a home that needs none.
            Unlock::Passphrase(_) if !is_passphrase => Unlock::DefaultKeyFile,
            unlock => unlock.clone(),
        };
        let is_in_keyring = profile.in_keyring().is_some();
        let profile = Profile::of(profile.id, &keys, &lasting, is_in_keyring)?;
        self.write_profile(&profile, keys.clone())?;
        Ok(keys)
    }

    /// Seals anew what lies beside the store.
    pub(crate) fn rekey_identity(&self) -> Result<(), Error> {
        self.write_identity(&self.read_identity()?)?;
        self.rekey_founding()
    }

    /// Forgets the key before: nothing that it opens is left.
    pub(crate) fn end_rekey(&self) -> Result<(), Error> {
        // What a crash left of earlier writes may be sealed with it.
        let drafts = [IDENTITY_FILE, FOUNDING, JOINING_FILE, PROFILE_FILE]
            .map(|name| self.folder.join(name).with_extension(DRAFT_EXTENSION));
        for left in drafts.into_iter().chain([self.folder.join(JOINING_FILE)]) {
            match fs::remove_file(&left) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(folder_error(&left, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let keys = self.keys().settled();
        let mut profile = Profile::read(&self.folder)?;
        profile.beside = keys.seal_beside().map_err(|error| locked(&error))?;
        self.write_profile(&profile, keys)
    }

    /// Writes what opens `keys` and uses them; nobody sees the one without the other.
    fn write_profile(&self, profile: &Profile, keys: DataKeys) -> Result<(), Error> {
        let mut in_use = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        profile.write(&self.folder)?;
        *in_use = keys;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fieldmesh_model::{TenantId, UserId};

    use super::super::{Identity, Unlock};
    use super::*;

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
            tenant_name: "Gulf Crew".into(),
            device_name: "truck".into(),
            user: UserId::default(),
            certificates: Vec::new(),
        };
        home.write_identity(&identity).unwrap();
        home
    }

    #[test]
    fn a_home_killed_at_any_step_of_a_rekey_is_opened_by_its_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let opened = || {
            let home = Home::open(path, &unlock()).unwrap();
            assert_eq!(home.read_identity().unwrap().device_seed, [1; 32]);
            home.keys().before().is_some()
        };
        let home = home(path);
        home.write_founding(b"items").unwrap();
        let founding = |home: &Home| home.founding_bytes().as_deref() == Some(b"items");
        let old = [PROFILE_FILE, IDENTITY_FILE].map(|name| fs::read(path.join(name)).unwrap());
        let wrong = home.begin_rekey(&Unlock::Passphrase("two".into()));
        assert!(matches!(wrong, Err(Error::Locked { .. })));
        assert!(!opened());
        home.begin_rekey(&unlock()).unwrap();
        assert!(opened());
        assert!(matches!(home.begin_rekey(&unlock()), Err(Error::Usage { .. })));
        home.rekey_identity().unwrap();
        assert!(opened());
        fs::write(path.join(IDENTITY_FILE).with_extension(DRAFT_EXTENSION), &old[1]).unwrap();
        home.end_rekey().unwrap();
        assert!(!opened());
        assert!(!path.join(IDENTITY_FILE).with_extension(DRAFT_EXTENSION).exists());
        assert!(founding(&home));

        // Who has the old profile and its passphrase reads nothing that is here.
        fs::write(path.join(PROFILE_FILE), &old[0]).unwrap();
        let home = Home::open(path, &unlock()).unwrap();
        assert!(home.read_identity().is_err() && !founding(&home));
    }
}
