//! Files of a gateway beside the store: sealed, each with a key that the gateway notes.

use std::path::{Path, PathBuf};

use fieldmesh_store::key::DataKey;

use crate::clock;
use crate::error::Error;
use crate::home::{create_private_folder, write_durably};

use super::Access;

/// What the files are sealed for.
const PURPOSE: &str = "gateway-file";

impl Access {
    /// A folder of the home for files of the gateway; it is made where it is missing.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.home.folder.join(name);
        create_private_folder(&folder)?;
        Ok(folder)
    }

    /// A key for a file that nobody has so far.
    pub fn file_key(&self) -> [u8; 32] {
        clock::random()
    }

    /// Writes a file durably, sealed with `key`.
    ///
    /// # Errors
    ///
    /// What the disk says, or that all is taken that is granted.
    pub fn write_sealed(&self, path: &Path, key: &[u8; 32], bytes: &[u8]) -> Result<(), Error> {
        let granted = self.ledger.store.quota().take(bytes.len() as u64);
        granted.map_err(|error| Error::append(&error))?;
        let sealed = DataKey::from_bytes(*key).seal(PURPOSE, bytes);
        write_durably(path, &sealed.map_err(|error| Error::store(&error))?)
    }

    /// Reads a file that was sealed with `key`.
    ///
    /// # Errors
    ///
    /// It is not there, or is damaged.
    pub fn read_sealed(&self, path: &Path, key: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let what = || format!("cannot read {}", path.display());
        let sealed = std::fs::read(path).map_err(|source| Error::File { what: what(), source })?;
        self.unseal(key, &sealed)
            .ok_or_else(|| Error::Store { reason: format!("{} is damaged", path.display()) })
    }

    /// What a file holds that was sealed with `key`, unless it is damaged.
    pub fn unseal(&self, key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
        DataKey::from_bytes(*key).unseal(PURPOSE, sealed)
    }
}
