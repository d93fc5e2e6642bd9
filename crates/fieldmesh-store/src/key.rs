//! The key that encrypts a store, and how it is kept: wrapped by a passphrase or by a key file.
//!
//! One random key a profile. What is written down is a [`WrappedKey`]; nothing here writes the key
//! itself anywhere. The derivations below are part of the disk format.

use std::fmt;
use std::io;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use fieldmesh_model::StoreId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::random;

/// Memory of argon2id for a new passphrase, in KiB.
pub const PASSPHRASE_MEMORY_KIB: u32 = 19 * 1024;
/// Passes of argon2id for a new passphrase.
pub const PASSPHRASE_PASSES: u32 = 2;
/// The most memory a wrapped key may ask for, in KiB: the file may be anybody's.
pub const PASSPHRASE_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// The most passes a wrapped key may ask for.
pub const PASSPHRASE_PASSES_MAX: u32 = 16;
/// The largest wrapped key in bytes.
pub const WRAPPED_KEY_SIZE_MAX: usize = 512;

pub(crate) const KEY_LENGTH: usize = 32;
const WRAPPED_VERSION: u8 = 1;

/// Why a key could not be made, wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The passphrase is not the one the key was wrapped with; ask again.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The key file is not the one the key was wrapped with; name the right one.
    #[error("the key file is not the one this key was wrapped with")]
    WrongKeyFile,
    /// The key is wrapped by a key file, not by a passphrase.
    #[error("the key is kept by a key file, not by a passphrase")]
    NeedsKeyFile,
    /// The key is wrapped by a passphrase, not by a key file.
    #[error("the key is kept by a passphrase, not by a key file")]
    NeedsPassphrase,
    /// The wrapped key is damaged or no wrapped key; restore it from a backup.
    #[error("the wrapped key is damaged")]
    Damaged,
    /// A newer program wrapped the key; use that one.
    #[error("the wrapped key has version {version}, this program reads up to {reads}")]
    NewerVersion {
        /// The version found.
        version: u8,
        /// The newest version that can be read.
        reads: u8,
    },
    /// The key file cannot be read, or exists already when it should be created.
    #[error("the key file {path} cannot be used")]
    KeyFile {
        /// Where it should be.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The key file has another length than a key has.
    #[error("the key file has {length} bytes, a key has {KEY_LENGTH}")]
    KeyFileLength {
        /// The length found.
        length: u64,
    },
    /// The system gives no randomness; nothing can be encrypted.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// The secret in the system's keyring is not the one the key was wrapped with.
    #[error("the system's keyring holds another secret than the one this key was wrapped with")]
    WrongSecret,
    /// The key before the current one is in use still.
    #[error("a rekey is under way already")]
    RekeyUnderWay,
}

/// The key that encrypts a store; erased from memory when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_LENGTH]>);

impl DataKey {
    /// A new random key.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(Zeroizing::new(random::bytes().map_err(|_| KeyError::NoRandomness)?)))
    }

    /// A key from bytes the caller keeps safe.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn to_bytes(&self) -> [u8; KEY_LENGTH] {
        *self.0
    }

    /// What tells this key from another without telling anything about it.
    pub(crate) fn check(&self, store: StoreId) -> [u8; 8] {
        let key = self.derive("fieldmesh/store key check/1");
        let mut check = [0; 8];
        check.copy_from_slice(&blake3::keyed_hash(&key, store.as_bytes()).as_bytes()[..8]);
        check
    }

    /// The key of one segment of the log.
    pub(crate) fn of_segment(&self, segment: &[u8; 16]) -> LessSafeKey {
        cipher(&self.derive("fieldmesh/store segment/1"), segment)
    }

    /// The key of one build of the view.
    pub(crate) fn of_view(&self, build: &[u8; 16]) -> LessSafeKey {
        cipher(&self.derive("fieldmesh/store view/1"), build)
    }

    /// The key of index keys, the same in every build of a view.
    pub(crate) fn of_index(&self) -> Zeroizing<[u8; KEY_LENGTH]> {
        self.derive("fieldmesh/store index/1")
    }

    pub(crate) fn derive(&self, context: &str) -> Zeroizing<[u8; KEY_LENGTH]> {
        Zeroizing::new(blake3::derive_key(context, &self.0[..]))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

pub(crate) fn cipher(key: &[u8; KEY_LENGTH], salt: &[u8]) -> LessSafeKey {
    let subkey = Zeroizing::new(*blake3::keyed_hash(key, salt).as_bytes());
    let unbound = UnboundKey::new(&AES_256_GCM, &subkey[..])
        .expect("invariant: an AES-256 key has 32 bytes, as a BLAKE3 hash has");
    LessSafeKey::new(unbound)
}

/// A random file that unwraps a data key without anybody typing.
pub struct KeyFile(Zeroizing<[u8; KEY_LENGTH]>);

impl KeyFile {
    /// Creates a key file that only its owner can read; an existing file is an error.
    ///
    /// # Errors
    ///
    /// The file exists, or cannot be written and synced.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(random::bytes().map_err(|_| KeyError::NoRandomness)?);
        write_private(path, &secret[..]).map_err(|source| key_file_error(path, source))?;
        Ok(Self(secret))
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// The file is missing, unreadable or of another length.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let length = std::fs::metadata(path).map_err(|source| key_file_error(path, source))?.len();
        if length != KEY_LENGTH as u64 {
            return Err(KeyError::KeyFileLength { length });
        }
        let bytes =
            Zeroizing::new(std::fs::read(path).map_err(|source| key_file_error(path, source))?);
        let secret = <[u8; KEY_LENGTH]>::try_from(&bytes[..])
            .map_err(|_| KeyError::KeyFileLength { length: bytes.len() as u64 })?;
        Ok(Self(Zeroizing::new(secret)))
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

fn key_file_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::KeyFile { path: path.display().to_string(), source }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), crate::files::sync_real_folder)
}

/// A data key as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    wrapping: Wrapping,
    nonce: [u8; 12],
    sealed: Vec<u8>,
}

/// What unwraps a key; part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Wrapping {
    Passphrase { salt: [u8; 16], memory_kib: u32, passes: u32 },
    KeyFile { salt: [u8; 16] },
    Keyring { salt: [u8; 16] },
}

/// What a key is unwrapped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A passphrase.
    Passphrase,
    /// A key file.
    KeyFile,
    /// A secret in the system's keyring.
    Keyring,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    wrapping: Wrapping,
    nonce: [u8; 12],
    sealed: Vec<u8>,
}

impl WrappedKey {
    /// Wraps a key by a passphrase.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn by_passphrase(key: &DataKey, passphrase: &str) -> Result<Self, KeyError> {
        let salt = random::bytes().map_err(|_| KeyError::NoRandomness)?;
        let wrapping = Wrapping::Passphrase {
            salt,
            memory_kib: PASSPHRASE_MEMORY_KIB,
            passes: PASSPHRASE_PASSES,
        };
        let secret = stretch(passphrase, &salt, PASSPHRASE_MEMORY_KIB, PASSPHRASE_PASSES)?;
        Self::wrap(key, wrapping, &secret)
    }

    /// Wraps a key by a key file.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn by_key_file(key: &DataKey, file: &KeyFile) -> Result<Self, KeyError> {
        let salt = random::bytes().map_err(|_| KeyError::NoRandomness)?;
        Self::wrap(key, Wrapping::KeyFile { salt }, &file.0)
    }

    /// Wraps a key by a random secret that the system's keyring keeps.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn by_keyring(key: &DataKey, secret: &[u8; KEY_LENGTH]) -> Result<Self, KeyError> {
        let salt = random::bytes().map_err(|_| KeyError::NoRandomness)?;
        Self::wrap(key, Wrapping::Keyring { salt }, secret)
    }

    /// What unwraps this key.
    pub fn way(&self) -> Way {
        match self.wrapping {
            Wrapping::Passphrase { .. } => Way::Passphrase,
            Wrapping::KeyFile { .. } => Way::KeyFile,
            Wrapping::Keyring { .. } => Way::Keyring,
        }
    }

    /// Unwraps the key with a passphrase; takes some 40 ms.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongPassphrase`] asks for another try; [`KeyError::NeedsKeyFile`] tells that
    /// the key is kept otherwise.
    pub fn open_with_passphrase(&self, passphrase: &str) -> Result<DataKey, KeyError> {
        let Wrapping::Passphrase { salt, memory_kib, passes } = &self.wrapping else {
            return Err(KeyError::NeedsKeyFile);
        };
        let secret = stretch(passphrase, salt, *memory_kib, *passes)?;
        self.unwrap_with(&secret).ok_or(KeyError::WrongPassphrase)
    }

    /// Unwraps the key with a key file.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongKeyFile`] or [`KeyError::NeedsPassphrase`].
    pub fn open_with_key_file(&self, file: &KeyFile) -> Result<DataKey, KeyError> {
        let Wrapping::KeyFile { .. } = &self.wrapping else {
            return Err(KeyError::NeedsPassphrase);
        };
        self.unwrap_with(&file.0).ok_or(KeyError::WrongKeyFile)
    }

    /// Unwraps the key with the secret that the system's keyring keeps.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongSecret`]: it is another one, or the key is kept otherwise.
    pub fn open_with_keyring(&self, secret: &[u8; KEY_LENGTH]) -> Result<DataKey, KeyError> {
        let Wrapping::Keyring { .. } = &self.wrapping else { return Err(KeyError::WrongSecret) };
        self.unwrap_with(secret).ok_or(KeyError::WrongSecret)
    }

    /// The bytes to write down: version, postcard, CRC32.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            wrapping: self.wrapping.clone(),
            nonce: self.nonce,
            sealed: self.sealed.clone(),
        };
        let mut bytes = vec![WRAPPED_VERSION];
        bytes.extend(
            postcard::to_stdvec(&stored)
                .expect("invariant: plain structs of bytes and integers always encode"),
        );
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_be_bytes());
        bytes
    }

    /// Reads what [`WrappedKey::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::Damaged`] or [`KeyError::NewerVersion`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > WRAPPED_KEY_SIZE_MAX {
            return Err(KeyError::Damaged);
        }
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(KeyError::Damaged)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(KeyError::Damaged);
        }
        let (version, stored) = body.split_first().ok_or(KeyError::Damaged)?;
        match *version {
            WRAPPED_VERSION => {}
            0 => return Err(KeyError::Damaged),
            version => return Err(KeyError::NewerVersion { version, reads: WRAPPED_VERSION }),
        }
        let stored: Stored = postcard::from_bytes(stored).map_err(|_| KeyError::Damaged)?;
        Ok(Self { wrapping: stored.wrapping, nonce: stored.nonce, sealed: stored.sealed })
    }

    fn wrap(
        key: &DataKey,
        wrapping: Wrapping,
        secret: &[u8; KEY_LENGTH],
    ) -> Result<Self, KeyError> {
        let nonce = random::bytes().map_err(|_| KeyError::NoRandomness)?;
        let mut sealed = key.0.to_vec();
        wrapping_cipher(&wrapping, secret)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from([WRAPPED_VERSION]),
                &mut sealed,
            )
            .expect("invariant: 32 bytes are no message AES-GCM refuses");
        Ok(Self { wrapping, nonce, sealed })
    }

    fn unwrap_with(&self, secret: &[u8; KEY_LENGTH]) -> Option<DataKey> {
        let mut sealed = Zeroizing::new(self.sealed.clone());
        let plain = wrapping_cipher(&self.wrapping, secret)
            .open_in_place(
                Nonce::assume_unique_for_key(self.nonce),
                Aad::from([WRAPPED_VERSION]),
                &mut sealed,
            )
            .ok()?;
        <[u8; KEY_LENGTH]>::try_from(&*plain).ok().map(DataKey::from_bytes)
    }
}

fn wrapping_cipher(wrapping: &Wrapping, secret: &[u8; KEY_LENGTH]) -> LessSafeKey {
    let salt = match wrapping {
        Wrapping::Passphrase { salt, .. }
        | Wrapping::KeyFile { salt }
        | Wrapping::Keyring { salt } => salt,
    };
    cipher(&blake3::derive_key("fieldmesh/store wrapping/1", secret), salt)
}

fn stretch(
    passphrase: &str,
    salt: &[u8; 16],
    memory_kib: u32,
    passes: u32,
) -> Result<Zeroizing<[u8; KEY_LENGTH]>, KeyError> {
    if memory_kib > PASSPHRASE_MEMORY_KIB_MAX || passes > PASSPHRASE_PASSES_MAX {
        return Err(KeyError::Damaged);
    }
    let parameters =
        Params::new(memory_kib, passes, 1, Some(KEY_LENGTH)).map_err(|_| KeyError::Damaged)?;
    let mut secret = Zeroizing::new([0; KEY_LENGTH]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase.as_bytes(), salt, &mut secret[..])
        .map_err(|_| KeyError::Damaged)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_passphrase_is_told_from_a_damaged_key() {
        let key = DataKey::from_bytes([7; 32]);
        let wrapped = WrappedKey::by_passphrase(&key, "herd of 40").unwrap();
        let bytes = wrapped.to_bytes();
        let read = WrappedKey::from_bytes(&bytes).unwrap();
        assert_eq!(read.way(), Way::Passphrase);
        assert_eq!(*read.open_with_passphrase("herd of 40").unwrap().0, [7; 32]);
        let wrong = read.open_with_passphrase("herd of 41");
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)));
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(matches!(WrappedKey::from_bytes(&damaged), Err(KeyError::Damaged)));
        }
    }

    #[test]
    fn another_key_file_does_not_unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.key");
        let file = KeyFile::create(&path).unwrap();
        let other = KeyFile::create(&folder.path().join("other.key")).unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = WrappedKey::by_key_file(&key, &file).unwrap();

        let again = KeyFile::read(&path).unwrap();
        assert_eq!(*wrapped.open_with_key_file(&again).unwrap().0, *key.0);
        assert!(matches!(wrapped.open_with_key_file(&other), Err(KeyError::WrongKeyFile)));
        assert!(matches!(wrapped.open_with_passphrase(""), Err(KeyError::NeedsKeyFile)));
        assert!(matches!(KeyFile::create(&path), Err(KeyError::KeyFile { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_wrapped_by_the_first_release_unwraps() {
        let wrapped = WrappedKey {
            wrapping: Wrapping::Passphrase { salt: [1; 16], memory_kib: 64, passes: 1 },
            nonce: [2; 12],
            sealed: vec![3; 48],
        };
        let text: String = wrapped.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "01",
            "00",
            "01010101010101010101010101010101",
            "40",
            "01",
            "020202020202020202020202",
            "30",
            "030303030303030303030303030303030303030303030303",
            "030303030303030303030303030303030303030303030303",
        );
        assert_eq!(&text[..text.len() - 8], golden);
    }
}
