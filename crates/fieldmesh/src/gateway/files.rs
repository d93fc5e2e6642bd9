//! Files of a gateway beside the store: sealed, each with a key that the gateway notes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fieldmesh_store::key::DataKey;

use crate::clock;
use crate::error::Error;
use crate::home::{create_private_folder_in, write_durably};

use super::Access;

/// What the files are sealed for.
const PURPOSE: &str = "gateway-file";

impl Access {
    /// A folder of the home for files of the gateway; it is made where it is missing, but no home
    /// comes back that was moved away meanwhile.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        create_private_folder_in(&self.home.folder, name)
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
        let sealed = DataKey::from_bytes(*key).seal(PURPOSE, bytes);
        let sealed = sealed.map_err(|error| Error::store(&error))?;
        let quota = self.ledger.store.quota();
        quota.take(sealed.len() as u64).map_err(|error| Error::append(&error))?;
        let before = size_of(path);
        let written = write_durably(path, &sealed);
        quota.give_back(if written.is_ok() { before } else { sealed.len() as u64 });
        written
    }

    /// Removes a file that was written so, if it is there; what it took is there to be taken.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn remove_sealed(&self, path: &Path) -> Result<(), Error> {
        let size = size_of(path);
        match std::fs::remove_file(path) {
            Ok(()) => {
                self.ledger.store.quota().give_back(size);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => {
                Err(Error::File { what: format!("cannot remove {}", path.display()), source })
            }
        }
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

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
