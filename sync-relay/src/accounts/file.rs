//! The file of a tenant's accounts: entries, each sealed, one after the other.
//!
//! ```text
//! fma1 | length 2 | data key, wrapped by relay.key | frame*
//! frame = length 4 | CRC32 of the length 4 | postcard of entries that were written at once, sealed
//! ```
//!
//! Numbers are little-endian. A frame is sealed for its place in the file, so that none can be
//! moved, left out or taken from elsewhere unnoticed; what an attacker with the disk can do is to
//! cut the end off. A frame that a crash kept from being written whole is the last, ends early or
//! has zeros in it, and is cut off at the next open: nobody was told that it is there. One that is
//! whole and does not open is damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use fieldmesh_store::key::WrappedKey;
use fieldmesh_store::{DataKey, KeyFile};

const MAGIC: &[u8; 4] = b"fma1";
/// The largest frame.
const FRAME_SIZE_MAX: usize = 16 * 1_024 * 1_024;
/// How many entries of a new file stand in one frame.
const ENTRIES_PER_FRAME: usize = 256;
/// Zeros in a row that sealed bytes do not have by chance.
const GAP_MIN: usize = 8;
/// The largest file.
const FILE_SIZE_MAX: u64 = 1 << 30;

/// A file of entries that this process writes.
pub(super) struct AccountsFile {
    path: PathBuf,
    file: File,
    key: DataKey,
    /// How many entries it holds.
    pub(super) count: u64,
    frames: u64,
    length: u64,
    /// Whether an append failed so that nobody knows what the file holds.
    is_broken: bool,
}

/// Why accounts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FileError {
    /// The disk fails.
    #[error("{path}: {source}")]
    Disk {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it was written.
    #[error("{path} is damaged; put it back from a copy")]
    Damaged {
        /// The file.
        path: String,
    },
    /// A newer program wrote it.
    #[error("{path} was written by a newer sync-relay; use that")]
    Newer {
        /// The file.
        path: String,
    },
    /// Its key does not open it.
    #[error("relay.key does not open {path}")]
    Key {
        /// The file.
        path: String,
        /// Why.
        source: fieldmesh_store::KeyError,
    },
}

impl AccountsFile {
    /// Opens the file at `path` and gives its entries, or makes one.
    pub(super) fn open(path: &Path, key: &KeyFile) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() <= FILE_SIZE_MAX => Self::read(path, key),
            Ok(_) => Err(damaged(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok((Self::write_new(path, key, &[])?, Vec::new()))
            }
            Err(error) => Err(disk(path)(error)),
        }
    }

    fn read(path: &Path, key: &KeyFile) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(disk(path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(disk(path))?;
        let Contents { key, entries, frames, length } = contents(path, key, &bytes)?;
        if length < bytes.len() as u64 {
            let cut = bytes.len() as u64 - length;
            tracing::warn!(bytes = cut, "end of the accounts was not written; cut off");
            file.set_len(length).and_then(|()| file.sync_all()).map_err(disk(path))?;
        }
        file.seek(SeekFrom::Start(length)).map_err(disk(path))?;
        let count = entries.len() as u64;
        Ok((
            Self { path: path.into(), file, key, count, frames, length, is_broken: false },
            entries,
        ))
    }

    /// Writes a file with these entries in the place of any other: after a crash there is the old
    /// one or this one, whole.
    pub(super) fn write_new(
        path: &Path,
        key_file: &KeyFile,
        entries: &[Vec<u8>],
    ) -> Result<Self, FileError> {
        let key_error = |source| FileError::Key { path: path.display().to_string(), source };
        let key = DataKey::generate().map_err(key_error)?;
        let wrapped = WrappedKey::by_key_file(&key, key_file).map_err(key_error)?.to_bytes();
        let mut bytes = MAGIC.to_vec();
        let length = u16::try_from(wrapped.len()).expect("invariant: a wrapped key is small");
        bytes.extend(length.to_le_bytes());
        bytes.extend(&wrapped);
        let mut frames = 0;
        for group in entries.chunks(ENTRIES_PER_FRAME) {
            seal(&key, frames, group, &mut bytes).map_err(key_error)?;
            frames += 1;
        }
        let draft = path.with_extension("new");
        let write = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = write().map_err(disk(path))?;
        let (count, length) = (entries.len() as u64, bytes.len() as u64);
        Ok(Self { path: path.into(), file, key, count, frames, length, is_broken: false })
    }

    /// Writes entries at the end; they are on the disk when this returns.
    pub(super) fn append(&mut self, entries: &[Vec<u8>]) -> Result<(), FileError> {
        if self.is_broken {
            let source = io::Error::other("an earlier write failed; start the relay anew");
            return Err(disk(&self.path)(source));
        }
        let mut bytes = Vec::new();
        seal(&self.key, self.frames, entries, &mut bytes)
            .map_err(|source| FileError::Key { path: self.path.display().to_string(), source })?;
        // Nobody could read it again, nor what comes behind it.
        if bytes.len() > FRAME_SIZE_MAX {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "too much at once; not kept");
            return Err(disk(&self.path)(source));
        }
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // After a failed sync nobody knows what is on the disk.
            self.is_broken = true;
            // What is left of it is cut off at the next open, if not here.
            let _ = self.file.set_len(self.length);
            return Err(disk(&self.path)(error));
        }
        self.count += entries.len() as u64;
        self.frames += 1;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// What a file holds.
struct Contents {
    key: DataKey,
    entries: Vec<Vec<u8>>,
    frames: u64,
    /// How far whole frames reach.
    length: u64,
}

fn contents(path: &Path, key: &KeyFile, bytes: &[u8]) -> Result<Contents, FileError> {
    let (wrapped, mut rest) = head(bytes).ok_or_else(|| match bytes.get(..3) {
        Some(b"fma") if bytes.get(3).is_some_and(|digit| *digit > MAGIC[3]) => newer(path),
        _ => damaged(path),
    })?;
    let opened = WrappedKey::from_bytes(wrapped).and_then(|key_in| key_in.open_with_key_file(key));
    let key =
        opened.map_err(|source| FileError::Key { path: path.display().to_string(), source })?;
    let (mut entries, mut frames) = (Vec::new(), 0);
    while let Next::Frame { sealed, behind } = next(rest) {
        let Some(opened) = key.unseal(&purpose(frames), sealed) else {
            // A crash may have kept the last one from being written whole.
            if is_blank(behind) && has_gap(sealed) {
                break;
            }
            return Err(damaged(path));
        };
        let group: Vec<Vec<u8>> = postcard::from_bytes(&opened).map_err(|_| damaged(path))?;
        entries.extend(group);
        frames += 1;
        rest = behind;
    }
    if matches!(next(rest), Next::Nonsense) && !rest.get(8..).is_some_and(is_blank) {
        return Err(damaged(path));
    }
    let length = (bytes.len() - rest.len()) as u64;
    Ok(Contents { key, entries, frames, length })
}

/// Reads the file at `path` to its end and changes nothing; nobody is to write it meanwhile.
pub(super) fn check(path: &Path, key: &KeyFile) -> Result<(), FileError> {
    let bytes = fs::read(path).map_err(disk(path))?;
    let read = contents(path, key, &bytes)?;
    if read.length < bytes.len() as u64 { Err(damaged(path)) } else { Ok(()) }
}

/// The bytes of the file at `path`, and the entries in them; changes nothing.
pub(super) fn copy(path: &Path, key: &KeyFile) -> Result<(Vec<u8>, Vec<Vec<u8>>), FileError> {
    let length = fs::metadata(path).map_err(disk(path))?.len();
    if length > FILE_SIZE_MAX {
        return Err(damaged(path));
    }
    let mut bytes = fs::read(path).map_err(disk(path))?;
    let Contents { entries, length, .. } = contents(path, key, &bytes)?;
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    Ok((bytes, entries))
}

/// The entries of the file at `path`, which nobody appends to; changes nothing.
pub(crate) fn read_sealed(path: &Path, key: &KeyFile) -> Result<Vec<Vec<u8>>, FileError> {
    copy(path, key).map(|(_, entries)| entries)
}

/// Writes a file of entries that nobody appends to in the place of any other.
pub(crate) fn write_sealed(
    path: &Path,
    key_file: &Path,
    entries: &[Vec<u8>],
) -> Result<(), FileError> {
    let unread = |source| FileError::Key { path: path.display().to_string(), source };
    let key = KeyFile::read(key_file).map_err(unread)?;
    AccountsFile::write_new(path, &key, entries).map(drop)
}

fn head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_le_bytes(*length).into())
}

/// Whether there is nothing but zeros, as in blocks that a crash kept from being written.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether zeros stand where something sealed should: a crash leaves them for what was not written,
/// and a damaged disk hardly ever.
fn has_gap(sealed: &[u8]) -> bool {
    sealed.last().is_none_or(|last| *last == 0) || sealed.windows(GAP_MIN).any(is_blank)
}

/// What follows in a file.
enum Next<'a> {
    Frame {
        sealed: &'a [u8],
        behind: &'a [u8],
    },
    /// Nothing, or the beginning of a frame that a crash cut off.
    End,
    /// What no program of ours and no crash writes.
    Nonsense,
}

fn next(bytes: &[u8]) -> Next<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return Next::End };
    let (length, checksum) = head.split_at(4);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let (size, checksum) = (number(length) as usize, number(checksum));
    if crc32fast::hash(length) != checksum || size > FRAME_SIZE_MAX {
        return Next::Nonsense;
    }
    rest.split_at_checked(size).map_or(Next::End, |(sealed, behind)| Next::Frame { sealed, behind })
}

fn seal(
    key: &DataKey,
    place: u64,
    entries: &[Vec<u8>],
    out: &mut Vec<u8>,
) -> Result<(), fieldmesh_store::KeyError> {
    let group = postcard::to_stdvec(entries).expect("invariant: lists of bytes always encode");
    let sealed = key.seal(&purpose(place), &group)?;
    let length = u32::try_from(sealed.len()).expect("invariant: a group of entries is small");
    let length = length.to_le_bytes();
    out.extend(length);
    out.extend(crc32fast::hash(&length).to_le_bytes());
    out.extend(sealed);
    Ok(())
}

fn purpose(place: u64) -> String {
    format!("fieldmesh/accounts/1/{place}")
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.display().to_string();
    |source| FileError::Disk { path, source }
}

fn damaged(path: &Path) -> FileError {
    FileError::Damaged { path: path.display().to_string() }
}

fn newer(path: &Path) -> FileError {
    FileError::Newer { path: path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        key: KeyFile,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = KeyFile::create(&folder.path().join("relay.key")).unwrap();
            Self { folder, key }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("accounts")
        }

        fn open(&self) -> Result<(AccountsFile, Vec<Vec<u8>>), FileError> {
            AccountsFile::open(&self.path(), &self.key)
        }
    }

    fn entries(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_was_appended_is_there_again_and_readable_to_nobody() {
        let scene = Scene::new();
        let (mut file, none) = scene.open().unwrap();
        assert!(none.is_empty());
        file.append(&entries(&["ann@example.org", "ben@example.org"])).unwrap();
        file.append(&entries(&["cho@example.org"])).unwrap();
        let (mut file, read) = scene.open().unwrap();
        assert_eq!(read, entries(&["ann@example.org", "ben@example.org", "cho@example.org"]));
        file.append(&entries(&["dan@example.org"])).unwrap();
        assert_eq!(scene.open().unwrap().1.len(), 4);
        let bytes = fs::read(scene.path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"example"));
        let other = KeyFile::create(&scene.folder.path().join("other.key")).unwrap();
        assert!(matches!(AccountsFile::open(&scene.path(), &other), Err(FileError::Key { .. })));
    }

    #[test]
    fn what_is_too_much_for_one_frame_is_refused_and_shuts_nobody_out() {
        let scene = Scene::new();
        let (mut file, _) = scene.open().unwrap();
        file.append(&entries(&["first"])).unwrap();
        assert!(file.append(&[vec![0; FRAME_SIZE_MAX]]).is_err());
        file.append(&entries(&["second"])).unwrap();
        assert_eq!(scene.open().unwrap().1, entries(&["first", "second"]));
    }

    #[test]
    fn an_account_whose_write_was_cut_off_anywhere_harms_none_before_it() {
        let scene = Scene::new();
        let (mut file, _) = scene.open().unwrap();
        file.append(&entries(&["first"])).unwrap();
        let whole = fs::read(scene.path()).unwrap().len();
        file.append(&entries(&["second"])).unwrap();
        let bytes = fs::read(scene.path()).unwrap();
        for end in whole..bytes.len() {
            // Where zeros alone are cut off, what a file system fills up with makes it whole.
            let filled = bytes[end..].iter().any(|byte| *byte != 0).then_some(&[0; 100][..]);
            for tail in [&[][..]].into_iter().chain(filled) {
                fs::write(scene.path(), [&bytes[..end], tail].concat()).unwrap();
                let (mut file, read) = scene.open().unwrap();
                assert_eq!(read, entries(&["first"]), "cut at {end}");
                file.append(&entries(&["third"])).unwrap();
                assert_eq!(scene.open().unwrap().1, entries(&["first", "third"]));
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_last_entry_is_not_taken_for_one_that_was_never_written() {
        let scene = Scene::new();
        let (mut file, _) = scene.open().unwrap();
        let start = file.length as usize;
        file.append(&entries(&["ann@example.org is disabled"])).unwrap();
        let bytes = fs::read(scene.path()).unwrap();
        for at in start + 8..bytes.len() - 1 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(scene.path(), &damaged).unwrap();
            assert!(matches!(scene.open(), Err(FileError::Damaged { .. })), "{at}");
            assert_eq!(fs::read(scene.path()).unwrap(), damaged);
        }
        fs::write(scene.path(), &bytes[..bytes.len() - 1]).unwrap();
        assert!(check(&scene.path(), &scene.key).is_err());
        fs::write(scene.path(), &bytes).unwrap();
        check(&scene.path(), &scene.key).unwrap();
    }

    #[test]
    fn damage_before_the_end_is_told_and_not_cut_off() {
        let scene = Scene::new();
        let (mut file, _) = scene.open().unwrap();
        let start = file.length as usize;
        file.append(&entries(&["first"])).unwrap();
        let middle = file.length as usize;
        file.append(&entries(&["other"])).unwrap();
        let bytes = fs::read(scene.path()).unwrap();
        for at in (0..4).chain(start..middle) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(scene.path(), &damaged).unwrap();
            assert!(scene.open().is_err(), "{at}");
            assert_eq!(fs::read(scene.path()).unwrap(), damaged);
        }
        // Two that changed places are no longer what they were.
        let (head, one, two) = (&bytes[..start], &bytes[start..middle], &bytes[middle..]);
        fs::write(scene.path(), [head, two, one].concat()).unwrap();
        assert!(matches!(scene.open(), Err(FileError::Damaged { .. })));
    }

    #[test]
    fn a_newer_file_is_refused_and_left_as_it_is() {
        let scene = Scene::new();
        scene.open().unwrap();
        let mut bytes = fs::read(scene.path()).unwrap();
        bytes[3] = b'2';
        fs::write(scene.path(), &bytes).unwrap();
        assert!(matches!(scene.open(), Err(FileError::Newer { .. })));
        assert_eq!(fs::read(scene.path()).unwrap(), bytes);
    }
}
