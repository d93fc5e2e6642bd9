//! A backup of a relay: what its tenants are made of again, as files in one encrypted file.
//!
//! It is a backup as [`fieldmesh_store::backup`] writes them, with a key of its own that `relay.key`
//! opens. Where that of a device holds the entries of a log, this one holds files in pieces:
//!
//! ```text
//! opener   "fmrelay" | version u8 | key, wrapped by relay.key
//! words    postcard of Words
//! kind 1   postcard of FileName: a file begins
//! kind 2   what follows in that file, at most 1 MiB
//! kind 3   postcard of FileName and BLAKE3: a file that an earlier backup of the chain holds
//! kind 4   postcard of a list of Omission: what should be in it and is not; always the last
//! ```

mod base;
mod check;
mod read;
mod restore;
mod write;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fieldmesh::api::Problem;
use fieldmesh_model::{Moment, StoreId};
use fieldmesh_store::backup::BackupId;
use fieldmesh_store::{KeyFile, WrappedKey};
use serde::{Deserialize, Serialize};

use crate::problem;

pub(crate) use self::base::Base;
pub(crate) use self::check::check;
pub(crate) use self::read::{ArchiveReader, Piece};
pub(crate) use self::restore::restore;
pub(crate) use self::write::ArchiveWriter;

/// What the opener begins with, so that a relay's backup is told from a device's.
const MAGIC: &[u8; 7] = b"fmrelay";
/// The newest version of the files in it, and the one written.
const VERSION: u8 = 1;
/// Bytes of a file that stand together.
const PIECE_SIZE: usize = 1024 * 1024;
/// Bytes that are read or written at a time.
const BUFFER_SIZE: usize = 256 * 1024;
/// A relay has many stores; this stands where a device's backup has the one.
const NO_STORE: StoreId = StoreId::from_bytes([0; 16]);

const FILE: u8 = 1;
const BYTES: u8 = 2;
const KEPT: u8 = 3;
const OMITTED: u8 = 4;

/// What a backup says of the whole, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    /// When it was begun.
    pub(crate) at: Moment,
    /// The backup that this one goes on from.
    pub(crate) base: Option<BackupId>,
}

/// A file of a relay; tenants are named by the end of their id, as their folders are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum FileName {
    /// The whole backup of a tenant's home, as the library writes it.
    Home {
        /// The tenant.
        tenant: String,
    },
    /// What came in a tenant's home since the backup that this one goes on from.
    More {
        /// The tenant.
        tenant: String,
    },
    /// The people of a tenant, as they lie on the disk.
    Accounts {
        /// The tenant.
        tenant: String,
    },
    /// A photo of a tenant, as it lies on the disk.
    Photo {
        /// The tenant.
        tenant: String,
        /// The name of the file.
        name: String,
    },
}

impl FileName {
    /// The tenant that it belongs to.
    pub(crate) fn tenant(&self) -> &str {
        match self {
            Self::Home { tenant }
            | Self::More { tenant }
            | Self::Accounts { tenant }
            | Self::Photo { tenant, .. } => tenant,
        }
    }

    /// Whether it is whole by itself, and no part of a photo that is coming.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self, Self::Photo { name, .. } if name.contains('.'))
    }

    /// Whether no part of it leads out of a folder.
    fn is_plain(&self) -> bool {
        let is_short =
            |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_photo = |name: &str| {
            let (id, part) = name.split_once('.').unwrap_or((name, "0"));
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_number
        };
        is_short(self.tenant()) && !matches!(self, Self::Photo { name, .. } if !is_photo(name))
    }
}

/// Whether a file of this name in the folder of photos belongs into a backup.
pub(crate) fn is_photo(name: &str) -> bool {
    FileName::Photo { tenant: "00000000".into(), name: name.into() }.is_plain()
}

/// The key in `path`.
///
/// # Errors
///
/// It cannot be read, or others can read it.
pub(crate) fn read_key(path: &Path) -> Result<KeyFile, Problem> {
    let metadata = fs::metadata(path).map_err(|error| problem::file(path, &error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(problem::store(format!(
            "{} can be read by others; consider what it opens as known to them, then `chmod 600` \
             it",
            path.display()
        )));
    }
    KeyFile::read(path).map_err(|error| problem::store(format!("{}: {error}", path.display())))
}

fn opener(key: &WrappedKey) -> Vec<u8> {
    [&MAGIC[..], &[VERSION], &key.to_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use fieldmesh::backup::Draft;

    use super::check::Missing;
    use super::*;
    use crate::wire::Omission;

    fn photo(name: &str) -> FileName {
        FileName::Photo { tenant: "0a1b2c3d".into(), name: name.into() }
    }

    fn write(folder: &Path, key: &KeyFile) -> std::path::PathBuf {
        let path = folder.join("one");
        let words = Words { at: Moment::from_millis(7), base: None };
        let draft = Draft::create(&path).unwrap();
        let mut writer = ArchiveWriter::begin(draft, &path, key, &words).unwrap();
        let accounts = FileName::Accounts { tenant: "0a1b2c3d".into() };
        writer.add(&accounts, &mut Cursor::new(vec![7; PIECE_SIZE + 5])).unwrap();
        writer.add(&photo(&"a".repeat(64)), &mut Cursor::new(Vec::new())).unwrap();
        writer.keep(&photo(&"a".repeat(64)), *blake3::hash(&[]).as_bytes()).unwrap();
        let reason = "a bad sector".into();
        writer.finish(key, &[Omission { tenant: "0e0e0e0e".into(), reason }]).unwrap();
        path
    }

    #[test]
    fn files_come_out_as_they_went_in_and_no_flipped_bit_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::create(&folder.path().join("key")).unwrap();
        let path = write(folder.path(), &key);
        let pieces = |path: &Path| -> Result<Vec<Piece>, Problem> {
            let mut reader = ArchiveReader::open(path, &key)?;
            std::iter::from_fn(|| reader.next().transpose()).collect()
        };
        let read = pieces(&path).unwrap();
        assert_eq!(read.len(), 6, "{read:?}");
        assert_eq!(read[2], Piece::Bytes(vec![7; 5]));
        let hash = *blake3::hash(&[]).as_bytes();
        assert_eq!(read[4], Piece::Kept(photo(&"a".repeat(64)), hash));
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, flipped).unwrap();
            assert!(pieces(&path).is_err(), "byte {at}");
        }
        for end in (0..bytes.len()).step_by(11) {
            fs::write(&path, &bytes[..end]).unwrap();
            assert!(pieces(&path).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_a_backup_misses_stands_in_it_and_counts_until_a_later_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::create(&folder.path().join("key")).unwrap();
        let (checks, missing) = check(&[write(folder.path(), &key)], &key).unwrap();
        assert_eq!(checks[0].missing[0].reason, "a bad sector");
        assert_eq!(missing, checks[0].missing);
        let mut chain = Missing::default();
        chain.add(missing.clone());
        chain.has("0a1b2c3d");
        assert_eq!(chain.clone().into_list(), missing);
        chain.has("0e0e0e0e");
        assert_eq!(chain.into_list(), []);
    }

    #[test]
    fn a_name_cannot_lead_to_another_folder() {
        assert!(photo(&"a".repeat(64)).is_plain() && photo(&format!("{:064}.7", 0)).is_plain());
        for name in ["", "..", "../a", &format!("{:064}.new", 0), &format!("{:064}/..", 0)] {
            assert!(!photo(name).is_plain(), "{name}");
        }
        assert!(!FileName::Home { tenant: "../../et".into() }.is_plain());
    }

    #[test]
    fn another_key_and_a_backup_of_a_device_are_told_from_damage() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::create(&folder.path().join("key")).unwrap();
        let other = KeyFile::create(&folder.path().join("other")).unwrap();
        let path = write(folder.path(), &key);
        let refused = ArchiveReader::open(&path, &other).map(drop).unwrap_err();
        assert!(refused.detail.contains("--key-file"), "{}", refused.detail);
        let data = fieldmesh_store::DataKey::generate().unwrap();
        let opener = b"fmh2";
        let writer =
            fieldmesh_store::backup::BackupWriter::begin(Vec::new(), &data, NO_STORE, opener, b"")
                .unwrap();
        fs::write(&path, writer.finish(None, 0).unwrap().0).unwrap();
        let refused = ArchiveReader::open(&path, &key).map(drop).unwrap_err();
        assert!(refused.detail.contains("fieldmesh restore"), "{}", refused.detail);
    }
}
