//! The file of a relay's claims: one sealed book, written whole.
//!
//! ```text
//! fmc1 | length 2 | data key, wrapped by relay.key | postcard of a `ClaimBook`, sealed
//! ```
//!
//! The length is little-endian. The book holds the key that the relay proves to whoever claims it,
//! hashes of secrets, and the keys of devices that are being taken in.

use std::fs;
use std::io;
use std::path::PathBuf;

use fieldmesh::api::Problem;
use fieldmesh_identity::ClaimBook;
use fieldmesh_store::key::WrappedKey;
use fieldmesh_store::{DataKey, KeyFile};
use zeroize::Zeroizing;

use crate::data::write_whole;
use crate::problem;

const MAGIC: &[u8; 4] = b"fmc1";
const PURPOSE: &str = "sync-relay/claims/1";
/// The largest file: more than the book can take.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// Where the claims of a data folder are.
pub(crate) struct ClaimsFile {
    path: PathBuf,
    key_file: PathBuf,
}

impl ClaimsFile {
    /// The claims in the file at `path`, opened by `key_file`; neither has to be there.
    pub(crate) const fn new(path: PathBuf, key_file: PathBuf) -> Self {
        Self { path, key_file }
    }

    /// The book, if one was ever written.
    pub(crate) fn read(&self) -> Result<Option<ClaimBook>, Problem> {
        let bytes = match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() <= FILE_SIZE_MAX => fs::read(&self.path),
            Ok(_) => return Err(self.damaged()),
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| problem::file(&self.path, &error))?,
        };
        let key = KeyFile::read(&self.key_file)
            .map_err(|error| problem::store(format!("{}: {error}", self.key_file.display())))?;
        decode(&bytes, &key).map(Some).ok_or_else(|| self.damaged())
    }

    /// Puts `book` in the place of the one before: after a crash there is that one or this, whole.
    pub(crate) fn write(&self, book: &ClaimBook) -> Result<(), Problem> {
        let failed = |error: io::Error| problem::file(&self.path, &error);
        let key_failed = |error| problem::store(format!("{}: {error}", self.key_file.display()));
        let key_file = match self.key_file.exists() {
            true => KeyFile::read(&self.key_file),
            false => KeyFile::create(&self.key_file),
        };
        let bytes = encode(book, &key_file.map_err(key_failed)?).map_err(key_failed)?;
        write_whole(&self.path, &bytes).map_err(failed)
    }

    fn damaged(&self) -> Problem {
        problem::store(format!(
            "{} is damaged, or of another relay.key; remove it: open claims are of no use then, \
             and the tenants stay",
            self.path.display()
        ))
    }
}

fn encode(book: &ClaimBook, key_file: &KeyFile) -> Result<Vec<u8>, fieldmesh_store::KeyError> {
    let key = DataKey::generate()?;
    let wrapped = WrappedKey::by_key_file(&key, key_file)?.to_bytes();
    let length = u16::try_from(wrapped.len()).expect("invariant: a wrapped key is small");
    let book = postcard::to_allocvec(book).expect("invariant: a book serializes into memory");
    let sealed = key.seal(PURPOSE, &Zeroizing::new(book))?;
    Ok([&MAGIC[..], &length.to_le_bytes(), &wrapped, &sealed].concat())
}

fn decode(bytes: &[u8], key_file: &KeyFile) -> Option<ClaimBook> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (wrapped, sealed) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let key = WrappedKey::from_bytes(wrapped).ok()?.open_with_key_file(key_file).ok()?;
    let book = Zeroizing::new(key.unseal(PURPOSE, sealed)?);
    postcard::from_bytes(&book).ok()
}

#[cfg(test)]
mod tests {
    use fieldmesh_identity::{ClaimSecret, Seed};
    use fieldmesh_model::{Moment, Role};

    use super::*;

    #[test]
    fn claims_are_read_as_they_were_written_and_any_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claims");
        let file = ClaimsFile::new(path.clone(), folder.path().join("relay.key"));
        assert!(file.read().unwrap().is_none());
        let mut book = ClaimBook::new(&Seed::from_bytes([9; 32]));
        file.write(&book).unwrap();
        let secret = ClaimSecret::from_bytes([0xa7; 16]);
        book.issue(&secret, Role::Gateway, Moment::from_millis(1), Moment::from_millis(2)).unwrap();
        file.write(&book).unwrap();
        assert!(file.read().unwrap() == Some(book));
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|part| part == [9; 4] || part == [0xa7; 4]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(file.read().is_err(), "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(file.read().is_err(), "cut at {at}");
        }
        fs::write(&path, vec![0; 2 << 20]).unwrap();
        assert!(file.read().unwrap_err().detail.contains("is damaged"));
    }
}
