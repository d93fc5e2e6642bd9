//! Backups of a home: what they say of themselves, and how several make one.
//!
//! A backup holds the entries of the log and the device's identity, so that it makes a whole home
//! again. One with a base holds what came after that base alone; a chain of them begins with one
//! that has none. How the bytes lie is the business of [`fieldmesh_store::backup`].

mod draft;
pub(crate) mod restore;

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fieldmesh_model::Moment;
use fieldmesh_store::backup::{
    BACKUP_VERSION, BackupId, BackupReader, BackupSummary, RestoreError, SealedBackup,
};
use fieldmesh_store::{DataKey, Entry, Place};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, with_causes};
use crate::home::{self, Identity, Unlock};

pub use self::draft::Draft;

/// Bytes that are read from a file at a time.
pub(crate) const BUFFER_SIZE: usize = 256 * 1024;
/// Entries at the end of a backup by which it is known again: some may have been dropped since.
const LAST_MAX: usize = 256;
/// Entries between two words of progress.
pub(crate) const PROGRESS_EVERY: u64 = 1_000;

/// What a backup says of the whole: encrypted, because the identity is in it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) at: Moment,
    /// How often the store had lost something or was put back.
    pub(crate) restores: u64,
    /// The backup that this one goes on from.
    pub(crate) base: Option<Base>,
    pub(crate) identity: Identity,
}

/// Which backup another one goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    pub(crate) id: BackupId,
    pub(crate) end: Option<Place>,
}

impl Words {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let bytes = postcard::to_allocvec(self);
        Zeroizing::new(bytes.expect("the words of a backup hold nothing unserialisable"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// A backup whose beginning was read.
pub(crate) struct Opened {
    pub(crate) reader: BackupReader<BufReader<File>>,
    pub(crate) words: Words,
    /// The last entries that were read, and the hash of each.
    pub(crate) last: VecDeque<(Place, [u8; 32])>,
}

impl Opened {
    /// Opens the backup in `path` with the key of the home that wrote it.
    pub(crate) fn with_key(path: &Path, key: &DataKey) -> Result<Self, Error> {
        Self::read(path, sealed(path)?.unlock(key))
    }

    /// As [`Self::with_key`], for the backup that another one of this home is to go on from.
    pub(crate) fn base(path: &Path, key: &DataKey) -> Result<Self, Error> {
        let sealed = sealed(path)?;
        match sealed.unlock(key) {
            Err(RestoreError::WrongKey) => Err(Error::Usage {
                reason: format!(
                    "{} was written before this home got another key, or by another home; leave \
                     --since out: a whole backup is due",
                    path.display()
                ),
            }),
            unlocked => Self::read(path, unlocked),
        }
    }

    /// What opens the backup in `path`, by what opened the home when it was written.
    pub(crate) fn key(path: &Path, unlock: &Unlock) -> Result<DataKey, Error> {
        home::key_of(sealed(path)?.opener(), path, unlock)
    }

    /// Fails where what opens the backup in `path` is not sound.
    pub(crate) fn check_opener(path: &Path) -> Result<(), Error> {
        home::check_opener(sealed(path)?.opener(), path)
    }

    /// Tells one entry from another.
    pub(crate) fn hash(entry: &Entry) -> [u8; 32] {
        *blake3::Hasher::new().update(&[entry.kind]).update(&entry.bytes).finalize().as_bytes()
    }

    fn read(
        path: &Path,
        unlocked: Result<BackupReader<BufReader<File>>, RestoreError>,
    ) -> Result<Self, Error> {
        let reader = unlocked.map_err(|error| unreadable(path, &error))?;
        let Some(words) = Words::decode(reader.words()) else {
            return Err(Error::Backup {
                reason: format!("{}: this program does not understand it", path.display()),
            });
        };
        Ok(Self { reader, words, last: VecDeque::new() })
    }

    /// Reads to the end and checks everything; `told` hears how many entries were read.
    pub(crate) fn check(
        &mut self,
        path: &Path,
        mut told: impl FnMut(u64),
    ) -> Result<BackupSummary, Error> {
        let mut entries = 0;
        while let Some((place, entry)) =
            self.reader.next_entry().map_err(|error| unreadable(path, &error))?
        {
            if self.last.len() == LAST_MAX {
                self.last.pop_front();
            }
            self.last.push_back((place, Self::hash(&entry)));
            entries += 1;
            if entries % PROGRESS_EVERY == 0 {
                told(entries);
            }
        }
        let summary = self.reader.summary().copied();
        Ok(summary.expect("invariant: a backup that was read to the end has its summary"))
    }
}

/// Whether the home that wrote the backup in `path` was locked by a passphrase.
///
/// # Errors
///
/// There is no such file, or it is no backup.
pub fn needs_passphrase(path: &Path) -> Result<bool, Error> {
    home::opener_needs_passphrase(sealed(path)?.opener(), path)
}

fn sealed(path: &Path) -> Result<SealedBackup<BufReader<File>>, Error> {
    let file = File::open(path).map_err(|source| Error::File {
        what: format!("cannot open the backup {}", path.display()),
        source,
    })?;
    let file = BufReader::with_capacity(BUFFER_SIZE, file);
    SealedBackup::open(file).map_err(|error| unreadable(path, &error))
}

/// Why a backup cannot be read, and what to do.
pub fn unreadable(path: &Path, error: &RestoreError) -> Error {
    let advice = match error {
        RestoreError::NewerVersion { version } => {
            let what = format!("the backup {}", path.display());
            return Error::Newer { what, version: *version, reads: BACKUP_VERSION };
        }
        RestoreError::CutShort { .. } | RestoreError::Damaged { .. } => "; use another copy of it",
        RestoreError::WrongKey => {
            "; it was written before this home got another key, or by another"
        }
        _ => "",
    };
    Error::Backup { reason: format!("{}: {}{advice}", path.display(), with_causes(error)) }
}
