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
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::error::{Error, with_causes};

use super::profile::Profile;
use super::{Home, IDENTITY_FILE, PROFILE_FILE, write_durably};

const MAGIC: &[u8; 4] = b"fmc1";
const CHECKSUM_LENGTH: usize = 8;
/// How a system of this kind says that a disk cannot read what it holds.
const EIO: i32 = 5;
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

/// Whether the disk has lost a file for which reading gave `error`.
///
/// One that cannot be opened for another reason may be whole, and newer than its copy.
pub(super) fn is_lost(file: &Path, error: &io::Error) -> bool {
    let is_of_the_disk = |error: &io::Error| cfg!(unix) && error.raw_os_error() == Some(EIO);
    match error.kind() {
        ErrorKind::NotFound => true,
        ErrorKind::PermissionDenied | ErrorKind::Interrupted | ErrorKind::OutOfMemory => false,
        // What can be opened and not be read has a bad sector.
        _ => fs::File::open(file).map_or_else(|error| is_of_the_disk(&error), |_| true),
    }
}

/// Writes a file and its copy durably; after a crash the old one counts or the new one.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    write_copy(folder, name, bytes)?;
    write_durably(&folder.join(name), bytes)
}

pub(super) fn write_copy(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut copy = [&MAGIC[..], bytes].concat();
    copy.extend(checksum(&copy));
    write_durably(&path(folder, name), &copy)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// A file of the home, or the copy of one, that was found lost or damaged.
#[derive(Debug, Clone)]
pub(crate) struct Mended {
    /// Which it is and what was wrong with it.
    pub(crate) what: String,
    /// Why it is not written anew.
    pub(crate) failed: Option<String>,
}

impl Mended {
    pub(super) fn of(what: String, written: Result<(), Error>) -> Self {
        Self { what, failed: written.err().map(|error| with_causes(&error)) }
    }
}

impl Home {
    /// Writes anew what was found lost or damaged of both, while nobody else has the home open.
    pub(crate) fn mend(&self) {
        COPIED.iter().filter_map(|name| self.mend_file(name)).for_each(|it| self.tell_mended(it));
    }

    /// Keeps in mind what was found of a file, in place of what was said of that before.
    pub(super) fn tell_mended(&self, mended: Mended) {
        let Mended { what, failed } = &mended;
        tracing::warn!(what, failed, "damage found at open, or since");
        let mut known = self.mended.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|before| before.what != mended.what);
        known.push(mended);
    }

    /// Writes the file or its copy, whichever is not as the other one.
    fn mend_file(&self, name: &str) -> Option<Mended> {
        let right = match name {
            PROFILE_FILE => Profile::bytes(&self.folder).ok(),
            _ => self.sealed_identity(),
        }?;
        let file = self.folder.join(name);
        if !fs::read(&file).is_ok_and(|bytes| bytes == right) {
            let what = format!("{} was lost or damaged", file.display());
            return Some(Mended::of(what, write_durably(&file, &right)));
        }
        let found = read(&self.folder, name);
        if found.as_ref() == Some(&right) {
            return None;
        }
        let copy = path(&self.folder, name);
        let was_damaged = found.is_none() && copy.symlink_metadata().is_ok();
        let written = write_copy(&self.folder, name, &right);
        if was_damaged {
            return Some(Mended::of(format!("{} was damaged", copy.display()), written));
        }
        // There was none so far, or an older program has written the file alone.
        written.err().map(|error| {
            let what = format!("{} is not as the file that it is a copy of", copy.display());
            Mended::of(what, Err(error))
        })
    }

    /// What was found lost or damaged since this home was opened.
    pub(crate) fn mended(&self) -> Vec<Mended> {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// What the operating system opens as a file, and gives no byte of: as a bad sector.
    #[cfg(target_os = "linux")]
    const BAD_SECTOR: &str = "/proc/self/mem";

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_on_a_bad_sector_is_had_from_its_copy_also_by_a_backup() {
        use super::super::{Unlock, check_opener};
        let error = fs::read(BAD_SECTOR).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
        let folder = tempfile::tempdir().unwrap();
        let unlock = Unlock::Passphrase("one".into());
        Home::create(folder.path(), &unlock).unwrap();
        write(folder.path(), IDENTITY_FILE, b"sealed").unwrap();
        let profile = folder.path().join(PROFILE_FILE);
        let sound = fs::read(&profile).unwrap();
        fs::remove_file(&profile).unwrap();
        std::os::unix::fs::symlink(BAD_SECTOR, &profile).unwrap();
        let home = Home::open(folder.path(), &unlock).unwrap();
        let (_, opener) = home.key_and_opener().unwrap();
        assert_eq!(opener, sound);
        assert!(check_opener(&opener, &profile).is_ok());
        assert!(check_opener(&opener[1..], &profile).is_err());
        home.mend();
        assert!(home.mended()[0].failed.is_none());
        assert_eq!(fs::read(&profile).unwrap(), sound);
        assert!(profile.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_written_anew_is_not_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let unlock = super::super::Unlock::Passphrase("one".into());
        let home = Home::create(folder.path(), &unlock).unwrap();
        let copy = path(folder.path(), PROFILE_FILE);
        fs::remove_file(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        home.mend();
        let [mended] = &home.mended()[..] else { panic!("{:?}", home.mended()) };
        assert!(mended.what.contains("profile.copy") && mended.failed.is_some(), "{}", mended.what);
    }

    #[test]
    fn a_second_copy_of_the_policy_that_is_not_written_anew_is_not_said_to_be() {
        use fieldmesh_identity::Policy;
        use fieldmesh_model::{DeviceId, TenantId};
        let folder = tempfile::tempdir().unwrap();
        let unlock = super::super::Unlock::Passphrase("one".into());
        let home = Home::create(folder.path(), &unlock).unwrap();
        let copy = path(folder.path(), "founding");
        let (policy, me) =
            (Policy::evaluate(TenantId::default(), []), DeviceId::from_bytes([1; 32]));
        fs::create_dir(&copy).unwrap();
        home.mend();
        home.keep_founding(&policy, me, [].iter()).unwrap_err();
        let told = home.mended();
        assert!(told.len() == 1 && told[0].failed.is_some(), "{:?}", told[0].what);
        fs::remove_dir(&copy).unwrap();
        fs::write(&copy, b"half of it").unwrap();
        home.keep_founding(&policy, me, [].iter()).unwrap();
        let told = home.mended();
        assert!(told.len() == 1 && told[0].failed.is_none(), "{:?}", told[0].what);
        assert!(read(folder.path(), "founding").is_some());
    }
}
