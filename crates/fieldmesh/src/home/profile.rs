//! The file that says what opens a home: the data key, wrapped in one way or in several.
//!
//! ```text
//! fmh1 | profile id 16 | wrapped key
//! fmh2 | profile id 16 | postcard of `Second` | first 8 bytes of BLAKE3 of all before
//! ```
//!
//! The first version is written wherever it can say everything, so that an older program goes on
//! opening homes that use nothing newer. Later versions begin with `fmh` and their digit and end as
//! the second does, so that a newer one is told from a damaged one. The version of a profile is also
//! that of the small files beside it that have none of their own.

use std::fs;
use std::path::{Path, PathBuf};

use fieldmesh_store::key::{KeyError, WrappedKey};
use fieldmesh_store::{DataKey, DataKeys, KeyFile, Way};
use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::{
    PROFILE_FILE, Unlock, check_private, default_key_file, folder_error, keyring, lacks_profile,
    locked, not_whole, second, wrap,
};

const FIRST_MAGIC: &[u8; 4] = b"fmh1";
const SECOND_MAGIC: &[u8; 4] = b"fmh2";
/// What a profile of any version begins with, before the digit.
const MAGIC: &[u8; 3] = b"fmh";
/// The newest version that is read.
const VERSION: u8 = 2;
const CHECKSUM_LENGTH: usize = 8;
/// The most ways that open one home.
const WAYS_MAX: usize = 8;

/// What opens a home.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) id: [u8; 16],
    /// The current data key, wrapped in each way; one of them needs no keyring.
    pub(super) ways: Vec<WrappedKey>,
    /// Further keys, see [`DataKeys::seal_beside`].
    pub(super) beside: Option<Vec<u8>>,
}

/// Why bytes are no profile that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are not as they were written.
    Damaged,
    /// A newer program wrote them, or the wrapped key in them.
    Newer { version: u16, reads: u16 },
}

impl Unreadable {
    /// What is wrong with the profile in `path`, for people.
    fn told(self, path: &Path) -> Error {
        match self {
            Self::Newer { version, reads } => {
                Error::Newer { what: path.display().to_string(), version, reads }
            }
            Self::Damaged => Error::Damaged {
                reason: format!(
                    "{} is damaged; restore it from a copy of the home",
                    path.display()
                ),
            },
        }
    }
}

impl From<KeyError> for Unreadable {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NewerVersion { version, reads } => {
                Self::Newer { version: version.into(), reads: reads.into() }
            }
            _ => Self::Damaged,
        }
    }
}

/// The second version on the disk.
#[derive(Serialize, Deserialize)]
struct Second {
    ways: Vec<Vec<u8>>,
    beside: Option<Vec<u8>>,
}

impl Profile {
    /// The profile of the home in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let bytes = Self::bytes(folder)?;
        Self::decode(&bytes).map_err(|unreadable| unreadable.told(&folder.join(PROFILE_FILE)))
    }

    /// The bytes of it: those of its file, or of the second copy where that is lost or damaged.
    pub(super) fn bytes(folder: &Path) -> Result<Vec<u8>, Error> {
        let copy = second::read(folder, PROFILE_FILE).filter(|copy| Self::decode(copy).is_ok());
        match (Self::file(folder), copy) {
            (Ok(file), Some(copy)) if differs_in_id(&file, &copy) => Ok(copy),
            (Ok(file), _) => Ok(file),
            // The copy may be older than what a newer program wrote, or is kept from this one.
            (Err(error @ Error::Newer { .. }), _) => Err(error),
            (Err(Error::Folder { folder: path, source }), _)
                if !second::is_lost(&folder.join(PROFILE_FILE), &source) =>
            {
                Err(Error::Folder { folder: path, source })
            }
            (Err(_), Some(copy)) if second::is_there(folder, PROFILE_FILE) => Ok(copy),
            (Err(error), _) => Err(error),
        }
    }

    /// The bytes of its file, if that is sound.
    fn file(folder: &Path) -> Result<Vec<u8>, Error> {
        let path = folder.join(PROFILE_FILE);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            _ if lacks_profile(folder) => not_whole(folder, PROFILE_FILE),
            std::io::ErrorKind::NotFound => Error::NoHome { folder: folder.into() },
            _ => folder_error(folder, source),
        })?;
        Self::decode(&bytes).map_err(|unreadable| unreadable.told(&path))?;
        Ok(bytes)
    }

    /// Writes it durably: after a crash the old one opens the home or this one does.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        second::write(folder, PROFILE_FILE, &self.encode())
    }

    /// The way that is there after a restart of the machine.
    pub(super) fn lasting(&self) -> Option<&WrappedKey> {
        self.ways.iter().find(|wrapped| wrapped.way() != Way::Keyring)
    }

    pub(super) fn in_keyring(&self) -> Option<&WrappedKey> {
        self.ways.iter().find(|wrapped| wrapped.way() == Way::Keyring)
    }

    /// Unwraps the keys of the home.
    pub(super) fn open(&self, unlock: &Unlock) -> Result<DataKeys, Error> {
        let key = self.unwrap(unlock)?;
        match &self.beside {
            None => Ok(key.into()),
            Some(sealed) => DataKeys::open_beside(key, sealed).map_err(|_| Error::Damaged {
                reason: "what the profile of this home keeps beside its key is damaged; \
                             restore the profile from a copy of the home"
                    .into(),
            }),
        }
    }

    fn unwrap(&self, unlock: &Unlock) -> Result<DataKey, Error> {
        if let (Unlock::Remembered, Some(wrapped)) = (unlock, self.in_keyring()) {
            let secret = keyring::read(&self.id)?;
            return wrapped.open_with_keyring(&secret).map_err(|error| locked(&error));
        }
        let wrapped = self.lasting().ok_or_else(|| locked(&KeyError::Damaged))?;
        if wrapped.way() == Way::Passphrase {
            return match unlock {
                Unlock::Passphrase(passphrase) => {
                    wrapped.open_with_passphrase(passphrase).map_err(|error| locked(&error))
                }
                Unlock::KeyFile(_) | Unlock::DefaultKeyFile | Unlock::Remembered => {
                    Err(Error::Locked {
                        reason: "this home is locked by a passphrase; set FIELDMESH_PASSPHRASE or \
                                 enter it"
                            .into(),
                    })
                }
            };
        }
        let path = self.key_file(unlock)?;
        if !path.exists() {
            return Err(Error::Locked {
                reason: format!(
                    "this home is locked by a key file, and {} is not there, where its `profile` has \
                     it; name it with --key-file, or put `profile` back from a copy if that was \
                     damaged",
                    path.display()
                ),
            });
        }
        check_private(&path)?;
        KeyFile::read(&path)
            .and_then(|file| wrapped.open_with_key_file(&file))
            .map_err(|error| locked(&error))
    }

    /// The key file that `unlock` means.
    pub(super) fn key_file(&self, unlock: &Unlock) -> Result<PathBuf, Error> {
        match unlock {
            Unlock::KeyFile(path) => Ok(path.clone()),
            // A passphrase in the environment says nothing about a home that needs none.
            Unlock::Passphrase(_) | Unlock::DefaultKeyFile | Unlock::Remembered => {
                default_key_file(&self.id)
            }
        }
    }

    /// Wraps `keys` in the way of `lasting` and, where the keyring has the secret of this home
    /// still, by that too.
    pub(super) fn of(
        id: [u8; 16],
        keys: &DataKeys,
        lasting: &Unlock,
        is_in_keyring: bool,
    ) -> Result<Self, Error> {
        let mut ways = vec![wrap(keys.current(), lasting, &id)?];
        if is_in_keyring && let Ok(secret) = keyring::read(&id) {
            let wrapped = WrappedKey::by_keyring(keys.current(), &secret);
            ways.push(wrapped.map_err(|error| locked(&error))?);
        }
        let beside = keys.seal_beside().map_err(|error| locked(&error))?;
        Ok(Self { id, ways, beside })
    }

    fn encode(&self) -> Vec<u8> {
        if let (None, [wrapped]) = (&self.beside, &self.ways[..])
            && wrapped.way() != Way::Keyring
        {
            return [&FIRST_MAGIC[..], &self.id, &wrapped.to_bytes()].concat();
        }
        let ways = self.ways.iter().map(WrappedKey::to_bytes).collect();
        let second = Second { ways, beside: self.beside.clone() };
        let body = postcard::to_allocvec(&second).expect("bytes in a list always encode");
        let mut bytes = [&SECOND_MAGIC[..], &self.id, &body].concat();
        bytes.extend_from_slice(&checksum(&bytes));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if let Some(rest) = bytes.strip_prefix(FIRST_MAGIC) {
            let (id, wrapped) = rest.split_first_chunk::<16>().ok_or(Unreadable::Damaged)?;
            let ways = vec![WrappedKey::from_bytes(wrapped)?];
            return Ok(Self { id: *id, ways, beside: None });
        }
        let (checked, sum) =
            bytes.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(Unreadable::Damaged)?;
        if checksum(checked) != *sum {
            return Err(Unreadable::Damaged);
        }
        let Some(rest) = checked.strip_prefix(SECOND_MAGIC) else {
            return Err(later_version(checked).map_or(Unreadable::Damaged, |version| {
                Unreadable::Newer { version: version.into(), reads: VERSION.into() }
            }));
        };
        let (id, body) = rest.split_first_chunk::<16>().ok_or(Unreadable::Damaged)?;
        let second: Second = postcard::from_bytes(body).map_err(|_| Unreadable::Damaged)?;
        if second.ways.is_empty() || second.ways.len() > WAYS_MAX {
            return Err(Unreadable::Damaged);
        }
        let ways: Result<Vec<WrappedKey>, KeyError> =
            second.ways.iter().map(|wrapped| WrappedKey::from_bytes(wrapped)).collect();
        Ok(Self { id: *id, ways: ways?, beside: second.beside })
    }
}

/// Whether two profiles of the first version are the same but for their ids. A home keeps its id, and
/// no checksum covers that of the first version, so the file of it is damaged then.
fn differs_in_id(file: &[u8], copy: &[u8]) -> bool {
    let [file, copy] = [file, copy].map(|bytes| bytes.strip_prefix(FIRST_MAGIC));
    let [Some(file), Some(copy)] = [file, copy].map(|rest| rest?.split_first_chunk::<16>()) else {
        return false;
    };
    file.0 != copy.0 && file.1 == copy.1
}

/// The version of a profile that is later than the second.
fn later_version(bytes: &[u8]) -> Option<u8> {
    let digit = char::from(*bytes.strip_prefix(MAGIC)?.first()?);
    digit.to_digit(10).and_then(|version| version.try_into().ok()).filter(|it| *it > VERSION)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::super::write_durably;
    use super::*;

    const ID: [u8; 16] = [5; 16];

    fn key_file(folder: &Path, byte: u8) -> Unlock {
        let path = folder.join(format!("{byte}.key"));
        write_durably(&path, &[byte; 32]).unwrap();
        Unlock::KeyFile(path)
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn profiles_of_every_version_open_and_are_written_as_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (right, wrong) = (key_file(folder.path(), 9), key_file(folder.path(), 8));
        for (golden, has_before) in [(FIRST, false), (SECOND, true)] {
            let profile = Profile::decode(&unhex(golden)).unwrap();
            assert_eq!(profile.encode(), unhex(golden));
            assert_eq!(profile.open(&right).unwrap().before().is_some(), has_before);
            assert!(matches!(profile.open(&wrong), Err(Error::Locked { .. })));
        }
    }

    #[test]
    fn a_damaged_profile_is_told_from_a_wrong_secret() {
        let bytes = unhex(SECOND);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Profile::decode(&damaged).is_err(), "byte {at}");
            assert!(Profile::decode(&bytes[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_profile_of_a_newer_program_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PROFILE_FILE);
        let mut newer = b"fmh3 and whatever that one has to say".to_vec();
        newer.extend(checksum(&newer));
        write_durably(&path, &newer).unwrap();
        let refused = Profile::read(folder.path()).unwrap_err();
        assert_eq!(refused.class(), crate::api::Class::Store);
        let told = format!(
            "{} has version 3, this program reads up to 2: a newer fieldmesh wrote it, and nothing \
             was changed; update this program and try again",
            path.display()
        );
        assert_eq!(refused.to_string(), told);
        let made = super::super::Home::create(folder.path(), &Unlock::default()).map(drop);
        assert!(
            matches!(made, Err(Error::Newer { version: 3, .. })),
            "its maker may go on with it"
        );
        assert_eq!(fs::read(&path).unwrap(), newer);

        let mut wrapped = vec![7, 1, 2, 3];
        wrapped.extend(crc32(&wrapped));
        let newer = [&FIRST_MAGIC[..], &ID, &wrapped].concat();
        let refused = Profile::decode(&newer);
        assert_eq!(refused, Err(Unreadable::Newer { version: 7, reads: 1 }));
    }

    /// CRC32 as it stands behind a wrapped key.
    fn crc32(bytes: &[u8]) -> [u8; 4] {
        let mut hasher = flate2::Crc::new();
        hasher.update(bytes);
        hasher.sum().to_be_bytes()
    }

    #[test]
    fn a_home_that_uses_nothing_newer_stays_open_to_an_older_program() {
        let folder = tempfile::tempdir().unwrap();
        let unlock = key_file(folder.path(), 9);
        let keys = DataKeys::from(DataKey::generate().unwrap());
        let first = Profile::of(ID, &keys, &unlock, false).unwrap();
        assert!(first.encode().starts_with(FIRST_MAGIC));
        let second = Profile::of(ID, &keys.rekeyed().unwrap(), &unlock, false).unwrap();
        assert!(second.encode().starts_with(SECOND_MAGIC));
        assert_eq!(Profile::decode(&second.encode()).unwrap(), second);
    }

    const FIRST: &str = concat!(
        "666d68312866a423978ef7653b65fbc1932afb4f01018100fec623707619bcaffe63e241fbf67214",
        "9a539515b0db53b66e49305f1802379e95806360a267cdaa8ffeeb28dd2ea4ca569d23eac1c4b11d",
        "8565c7b4c2f929092dde0c33f36618fc5988d074d59d12",
    );
    const SECOND: &str = concat!(
        "666d68329e49546fd3ef99848291f5c9dfd86ead01530101affcdcc6fa90ce787f8d3d797d5cfa6b",
        "ece239e90cfb1fb333aafd3f30a00265569170e8d093222e84c77bbbef295ea5ae581166c34fc713",
        "b30e736ba51b9593930731eeb9856b4a0929d5ef34f224f473015d2fe8f82290cdd12dc80e632e1c",
        "45a57e3d17006ddab8ccc81db6b5adab7781c2d6744e6a7a99ada69d69924633ffafce2b3858a211",
        "45aa8d98e95a40ca05179d444078df139726c62c14f40f345ad010606f91dfcb8b980889a17cc31c",
        "468c898a6b82c919",
    );
}
