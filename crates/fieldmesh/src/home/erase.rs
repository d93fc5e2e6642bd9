//! The end of a home whose device was revoked with the order to erase itself.
//!
//! The wrapped key and the identity go first: without them the store is noise, also where the
//! program is killed before the rest is gone.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::Error;

use super::{
    Home, IDENTITY_FILE, JOINING_FILE, PORT_FILE, PROFILE_FILE, STORE_FOLDER, default_key_file,
    read_profile, write_durably,
};

const ERASED_FILE: &str = "erased";

impl Home {
    /// Destroys what opens the home and leaves `reason` for whoever looks for it.
    ///
    /// The store is open still; [`Home::erase_store`] takes it away once it is closed.
    pub(crate) fn erase_keys(&self, reason: &str) -> Result<(), Error> {
        // On a full disk the keys have to go all the same.
        let told = write_durably(&self.folder.join(ERASED_FILE), reason.as_bytes());
        let made = read_profile(&self.folder).ok().filter(|(_, key)| !key.needs_passphrase());
        if let Some(Ok(path)) = made.map(|(profile, _)| default_key_file(&profile)) {
            overwrite(&path);
        }
        for name in [PROFILE_FILE, IDENTITY_FILE, JOINING_FILE] {
            overwrite(&self.folder.join(name));
        }
        told
    }

    /// Takes away the closed store of a home whose keys are destroyed.
    pub(crate) fn erase_store(&self) {
        clear(&self.folder);
    }
}

/// Why there is no home in `folder`: there never was one, or it erased itself.
pub(super) fn why_missing(folder: &Path) -> Error {
    match fs::read_to_string(folder.join(ERASED_FILE)) {
        Ok(reason) if !folder.join(PROFILE_FILE).exists() => {
            // The program may have been killed before it came to that.
            clear(folder);
            Error::Erased { reason }
        }
        _ => Error::NoHome { folder: folder.into() },
    }
}

/// Makes room for another home in the folder of one that erased itself.
pub(super) fn forget(folder: &Path) {
    if folder.join(ERASED_FILE).exists() && !folder.join(PROFILE_FILE).exists() {
        clear(folder);
        // Left behind it would only be misleading.
        let _ = fs::remove_file(folder.join(ERASED_FILE));
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
