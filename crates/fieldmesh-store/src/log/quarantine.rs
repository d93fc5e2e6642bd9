//! Copies damaged bytes of the log aside before they are cut off or written over.

use std::io;
use std::ops::Range;

use super::segment_name;
use crate::files::Files;

/// The folder inside a store where damaged parts are kept.
pub(crate) const QUARANTINE_FOLDER: &str = "quarantine";
/// Bytes copied at once.
const COPY_LENGTH: usize = 1024 * 1024;

/// Copies a part of a segment durably; gives the name of the copy.
pub(crate) fn copy(files: &dyn Files, segment: u64, part: Range<u64>) -> io::Result<String> {
    files.create_folder(QUARANTINE_FOLDER)?;
    let taken = files.list(QUARANTINE_FOLDER)?;
    let stem = format!("log-{segment:016}-{}", part.start);
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
