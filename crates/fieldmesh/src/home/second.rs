//! The second copy of each file that nothing else can replace.
//!
//! ```text
//! fmc1 | the bytes of the file | first 8 bytes of BLAKE3 of all before
//! ```
//!
//! It is durable before the file itself is replaced, so that one of both is whole at any moment. The
//! file itself counts while it is sound; every open writes the one that is lacking, damaged or older.
//! An older program leaves the copy alone: what it has changed since is in the file itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, with_causes};

use super::profile::Profile;
use super::{Home, IDENTITY_FILE, PROFILE_FILE, write_durably};

const MAGIC: &[u8; 4] = b"fmc1";
const CHECKSUM_LENGTH: usize = 8;
/// The files that have a copy.
const COPIED: [&str; 2] = [PROFILE_FILE, IDENTITY_FILE];

/// Where the copy of a file is.
pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.copy"))
}

/// Whether a file of a home is there, or a copy that it can be had from and nothing else in its place.
pub(super) fn is_there(folder: &Path, name: &str) -> bool {
    let file = folder.join(name);
    file.is_file() || (file.symlink_metadata().is_err() && read(folder, name).is_some())
}

/// What a whole copy holds.
pub(super) fn read(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let bytes = fs::read(path(folder, name)).ok()?;
    let (checked, sum) = bytes.split_last_chunk::<CHECKSUM_LENGTH>()?;
    let contents = checked.strip_prefix(MAGIC)?;
    (checksum(checked) == *sum).then(|| contents.to_vec())
}

/// Writes a file and its copy durably; after a crash the old one counts or the new one.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut copy = [&MAGIC[..], bytes].concat();
    copy.extend(checksum(&copy));
    write_durably(&path(folder, name), &copy)?;
    write_durably(&folder.join(name), bytes)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

impl Home {
    /// Writes anew what was found lost or damaged of both, while nobody else has the home open.
    pub(crate) fn mend(&self) {
        let mut mended = Vec::new();
        for name in COPIED {
            let right = match name {
                PROFILE_FILE => Profile::bytes(&self.folder).ok(),
                _ => self.sealed_identity(),
            };
            let Some(right) = right else { continue };
            let file = self.folder.join(name);
            let is_sound = fs::read(&file).is_ok_and(|bytes| bytes == right);
            let copy = read(&self.folder, name);
            if is_sound && copy.as_ref() == Some(&right) {
                continue;
            }
            if !is_sound {
                mended.push(format!("{} was lost or damaged", file.display()));
            } else if copy.is_none() && path(&self.folder, name).exists() {
                mended.push(format!("{} was damaged", path(&self.folder, name).display()));
            }
            if let Err(error) = write(&self.folder, name, &right) {
                let error = with_causes(&error);
                tracing::warn!(error, name, "a file of the home has no second copy");
            }
        }
        mended.iter().for_each(|line| tracing::warn!(line, "damage found at open"));
        // Only the first look at a home finds something.
        let _ = self.mended.set(mended);
    }

    /// What [`Self::mend`] has found.
    pub(crate) fn mended(&self) -> &[String] {
        self.mended.get().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_as_ever_and_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let golden =
            [&b"fmc1sealed"[..], &[0xdc, 0x2e, 0x65, 0xc1, 0x94, 0xb8, 0x7f, 0x09]].concat();
        write(folder.path(), IDENTITY_FILE, b"sealed").unwrap();
        assert_eq!(fs::read(path(folder.path(), IDENTITY_FILE)).unwrap(), golden);
        for at in 0..golden.len() {
            let mut damaged = golden.clone();
            damaged[at] ^= 1;
            for bytes in [&damaged[..], &golden[..at]] {
                fs::write(path(folder.path(), IDENTITY_FILE), bytes).unwrap();
                assert_eq!(read(folder.path(), IDENTITY_FILE), None, "byte {at}");
            }
        }
    }
}
