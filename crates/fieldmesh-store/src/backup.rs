//! A backup: entries of a log in one file, encrypted, that shows when it is not whole.
//!
//! ```text
//! "fmbackup" | version u16 | length of the header u32 | header, postcard | CRC32 of all before
//! block      length u32 | AES-256-GCM of zstd-3 of: sort u8, content
//! ```
//!
//! The first block holds what the caller says of the whole, the last one how many entries there
//! are and a hash of all of them; in between lie entries: kind u8, place u64, length u32, bytes.
//! Whatever a later version changes, everything up to the checksum stays, so that a newer backup is
//! told from a damaged one.
//! The key is the data key's for this file alone, the nonce the number of the block and whether it
//! is the last, and the header is associated data: blocks can be neither changed nor left out, nor
//! moved, nor taken from another file (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
//! Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015).

mod read;
mod write;

use std::io;

use fieldmesh_model::StoreId;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};

use crate::frame::ENTRY_SIZE_MAX;
use crate::key::{DataKey, cipher};
use crate::log::{Entry, Place};
use crate::random;

pub use self::read::{BackupReader, SealedBackup};
pub use self::write::BackupWriter;

/// The newest version of the format, and the one written.
pub const BACKUP_VERSION: u16 = 1;
/// The most that the caller may say in the open, or of the whole, in bytes.
pub const BACKUP_WORDS_MAX: usize = 64 * 1024;

const MAGIC: [u8; 8] = *b"fmbackup";
/// A block is closed when it has this many bytes.
const BLOCK_SIZE: usize = 1024 * 1024;
/// The largest content of a block: an entry may be larger than a block should be.
const CONTENT_MAX: usize = BLOCK_SIZE + ENTRY_HEAD + ENTRY_SIZE_MAX;
/// Kind, place and length of an entry.
const ENTRY_HEAD: usize = 1 + 8 + 4;
const TAG_LENGTH: usize = 16;
const COMPRESSION_LEVEL: i32 = 3;

/// What tells one backup from another.
pub type BackupId = [u8; 16];

/// What stands in the open at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    id: BackupId,
    store: StoreId,
    /// Whether a key is the right one can be told from this.
    key_check: [u8; 8],
    /// What the caller needs to get at the key.
    opener: Vec<u8>,
}

/// What the last block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// How many entries there are.
    pub entries: u64,
    /// The last place that the backup covers; `None` if the log was empty.
    pub end: Option<Place>,
    /// Places before that whose entries could not be read and are not in the backup.
    pub unreadable: u64,
    /// BLAKE3 of all entries as they lie in the blocks.
    pub digest: [u8; 32],
}

/// Why a backup was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// What the caller says is too long.
    #[error("a backup says at most {BACKUP_WORDS_MAX} bytes of itself, not {size}")]
    TooLong {
        /// How long it is, in bytes.
        size: usize,
    },
    /// The file cannot be written.
    #[error("the backup cannot be written")]
    Io(#[from] io::Error),
    /// The system gives no randomness.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file is something else.
    #[error("this is no backup")]
    NotABackup,
    /// A newer program wrote it: use that one.
    #[error("the backup has version {version}, this program reads up to {BACKUP_VERSION}")]
    NewerVersion {
        /// Its version.
        version: u16,
    },
    /// The data key is of another store, or of this one before it got another.
    #[error("the key is not the one this backup was written with")]
    WrongKey,
    /// The file ends before the backup does: use another copy.
    #[error("the backup is not whole: the file ends at byte {offset}")]
    CutShort {
        /// Where it ends.
        offset: u64,
    },
    /// The file is not as it was written: use another copy.
    #[error("the backup is damaged in the {length} bytes from byte {offset} on")]
    Damaged {
        /// Where the damaged block begins.
        offset: u64,
        /// How long that is.
        length: u64,
    },
    /// The disk reports an error.
    #[error("the backup cannot be read")]
    Io(#[from] io::Error),
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Words,
    Entries,
    Summary,
}

impl Sort {
    fn to_byte(self) -> u8 {
        match self {
            Self::Words => 0,
            Self::Entries => 1,
            Self::Summary => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Words, Self::Entries, Self::Summary].into_iter().find(|sort| sort.to_byte() == byte)
    }
}

/// Seals and opens the blocks of one backup.
struct Blocks {
    key: LessSafeKey,
    /// BLAKE3 of everything before the first block.
    preamble: [u8; 32],
    next: u64,
}

impl Blocks {
    fn new(key: &DataKey, id: &BackupId, preamble: &[u8]) -> Self {
        Self {
            key: cipher(&key.derive("fieldmesh/store backup/1"), id),
            preamble: *blake3::hash(preamble).as_bytes(),
            next: 0,
        }
    }

    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.next.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(is_last);
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, sort: Sort, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = zstd::bulk::compress(content, COMPRESSION_LEVEL)?;
        bytes.insert(0, sort.to_byte());
        let nonce = self.nonce(sort == Sort::Summary);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(self.preamble), &mut bytes)
            .expect("invariant: a block is no message AES-GCM refuses");
        Ok(bytes)
    }

    /// What a block holds; nothing if it is damaged or not the next one.
    fn open(&mut self, is_last: bool, mut sealed: Vec<u8>) -> Option<(Sort, Vec<u8>)> {
        let nonce = self.nonce(is_last);
        let opened = self.key.open_in_place(nonce, Aad::from(self.preamble), &mut sealed).ok()?;
        let (sort, packed) = opened.split_first()?;
        let sort = Sort::from_byte(*sort).filter(|sort| is_last == (*sort == Sort::Summary))?;
        Some((sort, zstd::bulk::decompress(packed, CONTENT_MAX).ok()?))
    }
}

fn put_entry(out: &mut Vec<u8>, place: Place, entry: &Entry) {
    let length = u32::try_from(entry.bytes.len())
        .expect("invariant: an entry of the log has at most ENTRY_SIZE_MAX bytes");
    out.push(entry.kind);
    out.extend(place.to_bytes());
    out.extend(length.to_be_bytes());
    out.extend(&entry.bytes);
}

/// The entry at the beginning of `bytes`, and what follows it.
fn take_entry(bytes: &[u8]) -> Option<((Place, Entry), &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (place, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let entry = Entry { kind: *kind, bytes: bytes.to_vec() };
    Some(((Place::from_bytes(*place), entry), rest))
}
