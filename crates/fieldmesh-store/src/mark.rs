//! Two small files of a store: whose it is, and that it was closed in order.
//!
//! ```text
//! store   "fmstore1" | version u16 | store id 16 | key check 8 | CRC32
//! clean   "fmclean1" | build id of the view 16 | CRC32
//! ```
//!
//! `clean` is removed before anything is written and comes back when everything is flushed.

use std::io;

use fieldmesh_model::StoreId;

use crate::files::{Files, read_whole, write_whole};

/// The newest version of a store's folder, and the one written.
///
/// Version 7 says that the view is one of version 8, or on its way to be: an older program would
/// not find which entries and events tell of the same production.
pub const STORE_VERSION: u16 = 7;

/// The file that says whose a store is.
pub(crate) const STORE_NAME: &str = "store";
pub(crate) const CLEAN_NAME: &str = "clean";
const STORE_MAGIC: [u8; 8] = *b"fmstore1";
const CLEAN_MAGIC: [u8; 8] = *b"fmclean1";
const SIZE_MAX: u64 = 256;

/// Whose a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreMark {
    pub(crate) id: StoreId,
    pub(crate) key_check: [u8; 8],
}

/// What was found in place of a store mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundMark {
    Good(StoreMark),
    /// Whose it is, as an earlier version of the program wrote it.
    Earlier(StoreMark),
    Newer {
        version: u16,
    },
    /// Missing or damaged; the segments tell the same.
    None,
}

impl StoreMark {
    pub(crate) fn read(files: &dyn Files) -> io::Result<FoundMark> {
        let Some(bytes) = read_tolerantly(files, STORE_NAME)? else { return Ok(FoundMark::None) };
        Ok(Self::decode(&bytes).unwrap_or(FoundMark::None))
    }

    pub(crate) fn write(self, files: &dyn Files) -> io::Result<()> {
        write_whole(files, STORE_NAME, &self.encode())
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = STORE_MAGIC.to_vec();
        bytes.extend(STORE_VERSION.to_be_bytes());
        bytes.extend(self.id.as_bytes());
        bytes.extend(self.key_check);
        with_checksum(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<FoundMark> {
        let body = checked(bytes, STORE_MAGIC)?;
        let (version, body) = body.split_first_chunk()?;
        let version = u16::from_be_bytes(*version);
        if version > STORE_VERSION {
            return Some(FoundMark::Newer { version });
        }
        let (id, body) = body.split_first_chunk()?;
        let key_check = body.try_into().ok()?;
        let mark = Self { id: StoreId::from_bytes(*id), key_check };
        match version {
            0 => None,
            STORE_VERSION => Some(FoundMark::Good(mark)),
            _ => Some(FoundMark::Earlier(mark)),
        }
    }
}

/// Says that everything is flushed and the view is this build.
pub(crate) fn write_clean(files: &dyn Files, build: [u8; 16]) -> io::Result<()> {
    write_whole(files, CLEAN_NAME, &with_checksum([CLEAN_MAGIC.as_slice(), &build].concat()))
}

/// Takes the mark away, durably, and gives the build it named.
pub(crate) fn take_clean(files: &dyn Files) -> io::Result<Option<[u8; 16]>> {
    let Some(bytes) = read_tolerantly(files, CLEAN_NAME)? else { return Ok(None) };
    files.remove(CLEAN_NAME)?;
    files.sync_folder("")?;
    Ok(checked(&bytes, CLEAN_MAGIC).and_then(|build| build.try_into().ok()))
}

/// A file that is too large is damaged like any other.
fn read_tolerantly(files: &dyn Files, name: &str) -> io::Result<Option<Vec<u8>>> {
    match read_whole(files, name, SIZE_MAX) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Vec::new())),
        result => result,
    }
}

pub(crate) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

pub(crate) fn checked(bytes: &[u8], magic: [u8; 8]) -> Option<&[u8]> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return None;
    }
    body.strip_prefix(&magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFiles;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_store_marked_by_the_first_release_is_recognised() {
        let mark = StoreMark { id: StoreId::from_bytes([0xab; 16]), key_check: [0xcd; 8] };
        let golden = |version: &str| {
            let body = format!("{}{}", "ab".repeat(16), "cd".repeat(8));
            format!("666d73746f726531{version}{body}")
        };
        let today = mark.encode();
        assert_eq!(hex(&today[..today.len() - 4]), golden("0007"));
        assert_eq!(StoreMark::decode(&today), Some(FoundMark::Good(mark)));
        for version in 1..7 {
            let text = format!("{version:04x}");
            let mut earlier = today[..today.len() - 4].to_vec();
            earlier[9] = version;
            assert_eq!(hex(&earlier), golden(&text));
            assert_eq!(StoreMark::decode(&with_checksum(earlier)), Some(FoundMark::Earlier(mark)));
        }
    }

    #[test]
    fn a_clean_mark_serves_once() {
        let files = MemoryFiles::new();
        assert_eq!(take_clean(&files).unwrap(), None);
        write_clean(&files, [5; 16]).unwrap();
        assert_eq!(take_clean(&files).unwrap(), Some([5; 16]));
        assert_eq!(take_clean(&files).unwrap(), None);
    }
}
