//! Copies damaged bytes of the log aside before they are cut off or written over.
//!
//! ```text
//! copied     the bytes as they were: frames of a segment, encrypted, damaged
//! resealed   "fmaside1" | key check 8 | the same, sealed with the data key that the check names
//! ```

use std::io;
use std::ops::Range;

use fieldmesh_model::StoreId;

use super::segment_name;
use crate::files::{Files, read_whole, write_whole};
use crate::key::{DataKey, KeyError};
use crate::keys::DataKeys;

/// The folder inside a store where damaged parts are kept.
pub(crate) const QUARANTINE_FOLDER: &str = "quarantine";
/// What the name of every copy begins with.
const COPY_PREFIX: &str = "log-";
/// The largest copy that is sealed anew; a segment with its last group of entries is smaller.
const RESEALED_SIZE_MAX: u64 = 512 * 1024 * 1024;
const RESEALED_MAGIC: &[u8; 8] = b"fmaside1";
const RESEALED_HEAD: usize = 16;
const PURPOSE: &str = "fieldmesh/quarantine/1";
/// Bytes copied at once.
const COPY_LENGTH: usize = 1024 * 1024;

/// Copies a part of a segment durably; gives the name of the copy.
pub(crate) fn copy(files: &dyn Files, segment: u64, part: Range<u64>) -> io::Result<String> {
    files.create_folder(QUARANTINE_FOLDER)?;
    let taken = files.list(QUARANTINE_FOLDER)?;
    let stem = format!("{COPY_PREFIX}{segment:016}-{}", part.start);
    let name = (0_u32..)
        .map(|count| format!("{stem}.{count}"))
        .find(|name| !taken.contains(name))
        .map(|name| format!("{QUARANTINE_FOLDER}/{name}"))
        .ok_or(io::ErrorKind::AlreadyExists)?;
    let source = files.open(&segment_name(segment))?;
    let mut copy = files.create(&name)?;
    let mut buffer = vec![0; COPY_LENGTH];
    let mut offset = part.start;
    while offset < part.end {
        let wanted = usize::try_from(part.end - offset).unwrap_or(usize::MAX).min(COPY_LENGTH);
        let count = source.read_at(offset, &mut buffer[..wanted])?;
        if count == 0 {
            break;
        }
        copy.append(&buffer[..count])?;
        offset += count as u64;
    }
    copy.sync()?;
    files.sync_folder(QUARANTINE_FOLDER)?;
    files.sync_folder("")?;
    Ok(name)
}

/// Removes every copy of the log's bytes, durably.
pub(crate) fn discard(files: &dyn Files) -> io::Result<()> {
    let copies = copies(files)?;
    if copies.is_empty() {
        return Ok(());
    }
    for name in &copies {
        files.remove(name)?;
    }
    files.sync_folder(QUARANTINE_FOLDER)
}

/// Why a copy could not be sealed anew; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The disk reports an error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system gives no randomness, or the copy is damaged.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The copies kept here.
pub(crate) fn copies(files: &dyn Files) -> io::Result<Vec<String>> {
    let mut names = files.list(QUARANTINE_FOLDER)?;
    names.retain(|name| name.starts_with(COPY_PREFIX));
    Ok(names.into_iter().map(|name| format!("{QUARANTINE_FOLDER}/{name}")).collect())
}

/// Those of them that are not sealed with `key`: frames as they lay in the log among them.
pub(crate) fn not_sealed_with(
    files: &dyn Files,
    key: &DataKey,
    store: StoreId,
) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in copies(files)? {
        let mut head = [0; RESEALED_HEAD];
        files.open(&name)?.read_at(0, &mut head)?;
        if head != resealed_head(key, store) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Seals a copy with the current key in its place, durably.
pub(crate) fn reseal(
    files: &dyn Files,
    name: &str,
    keys: &DataKeys,
    store: StoreId,
) -> Result<(), ResealError> {
    let Some(bytes) = read_whole(files, name, RESEALED_SIZE_MAX)? else { return Ok(()) };
    let opened = keys.before().and_then(|before| {
        let sealed = bytes.strip_prefix(&resealed_head(before, store))?;
        before.unseal(PURPOSE, sealed)
    });
    let head = resealed_head(keys.current(), store);
    let sealed = keys.current().seal(PURPOSE, opened.as_deref().unwrap_or(&bytes))?;
    write_whole(files, name, &[&head[..], &sealed].concat())?;
    files.sync_folder(QUARANTINE_FOLDER)?;
    Ok(())
}

fn resealed_head(key: &DataKey, store: StoreId) -> [u8; RESEALED_HEAD] {
    let mut head = [0; RESEALED_HEAD];
    head[..8].copy_from_slice(RESEALED_MAGIC);
    head[8..].copy_from_slice(&key.check(store));
    head
}
