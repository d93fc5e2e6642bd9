//! Reads a backup of a relay.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::backup::unreadable;
use fieldmesh_store::backup::{BackupId, BackupReader, SealedBackup};
use fieldmesh_store::{KeyFile, WrappedKey};

use super::{BUFFER_SIZE, BYTES, FILE, FileName, KEPT, MAGIC, OMITTED, VERSION, Words};
use crate::problem;
use crate::wire::Omission;

/// A backup that is being read.
pub(crate) struct ArchiveReader {
    path: PathBuf,
    reader: BackupReader<BufReader<File>>,
    words: Words,
    entries: u64,
    is_in_file: bool,
    /// Whether the last piece was read.
    is_over: bool,
}

/// What comes next in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A file begins.
    File(FileName),
    /// Bytes of the file that began last.
    Bytes(Vec<u8>),
    /// A file that an earlier backup holds, and the hash of its bytes.
    Kept(FileName, [u8; 32]),
    /// What should be in the backup and is not; the last piece.
    Omitted(Vec<Omission>),
}

impl ArchiveReader {
    /// Opens the backup in `path`.
    ///
    /// # Errors
    ///
    /// It is none of a relay, or is damaged or newer, or the key is another one.
    pub(crate) fn open(path: &Path, key: &KeyFile) -> Result<Self, Problem> {
        let file = File::open(path).map_err(|error| problem::file(path, &error))?;
        let sealed = SealedBackup::open(BufReader::with_capacity(BUFFER_SIZE, file))
            .map_err(|error| unreadable(path, &error).problem())?;
        let key = wrapped(path, sealed.opener())?.open_with_key_file(key).map_err(|_| {
            problem::store(format!(
                "{}: relay.key is not the one that it was written with; give that with --key-file",
                path.display()
            ))
        })?;
        let reader = sealed.unlock(&key).map_err(|error| unreadable(path, &error).problem())?;
        let words = postcard::from_bytes(reader.words()).map_err(|_| odd(path))?;
        Ok(Self { path: path.into(), reader, words, entries: 0, is_in_file: false, is_over: false })
    }

    /// What tells this backup from another.
    pub(crate) fn id(&self) -> BackupId {
        self.reader.id()
    }

    /// What it says of the whole.
    pub(crate) const fn words(&self) -> &Words {
        &self.words
    }

    /// How many pieces were read.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// The next piece; `None` once all were read and the end was found to be the right one.
    ///
    /// # Errors
    ///
    /// The file is damaged or not whole.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Problem> {
        let read = self.reader.next_entry();
        let read = read.map_err(|error| unreadable(&self.path, &error).problem())?;
        let Some((_, entry)) = read else {
            return if self.is_over { Ok(None) } else { Err(odd(&self.path)) };
        };
        if self.is_over {
            return Err(odd(&self.path));
        }
        self.entries += 1;
        let piece = match entry.kind {
            FILE => postcard::from_bytes(&entry.bytes).ok().map(Piece::File),
            BYTES if self.is_in_file => Some(Piece::Bytes(entry.bytes)),
            KEPT => {
                postcard::from_bytes(&entry.bytes).ok().map(|(name, hash)| Piece::Kept(name, hash))
            }
            OMITTED => postcard::from_bytes(&entry.bytes).ok().map(Piece::Omitted),
            _ => None,
        };
        let is_plain = |piece: &Piece| match piece {
            Piece::File(name) | Piece::Kept(name, _) => name.is_plain(),
            Piece::Bytes(_) | Piece::Omitted(_) => true,
        };
        let piece = piece.filter(is_plain).ok_or_else(|| odd(&self.path))?;
        self.is_over = matches!(piece, Piece::Omitted(_));
        self.is_in_file = matches!(piece, Piece::File(_) | Piece::Bytes(_));
        Ok(Some(piece))
    }
}

fn wrapped(path: &Path, opener: &[u8]) -> Result<WrappedKey, Problem> {
    let shown = path.display();
    let Some((version, wrapped)) =
        opener.strip_prefix(MAGIC).and_then(|versioned| versioned.split_first())
    else {
        return Err(problem::usage(format!(
            "{shown} is a backup of a device, not of a relay; `fieldmesh restore` reads it"
        )));
    };
    if *version > VERSION {
        return Err(problem::store(format!(
            "{shown} has version {version} of a relay's backup, and this program reads up to \
             {VERSION}; a newer sync-relay wrote it: use that"
        )));
    }
    WrappedKey::from_bytes(wrapped).map_err(|error| problem::store(format!("{shown}: {error}")))
}

fn odd(path: &Path) -> Problem {
    problem::store(format!("{}: this program does not understand it", path.display()))
}
