//! A disk of a few megabytes, where this user may mount one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::skipped;

/// A mounted folder that fills up quickly; unmounted at the end.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk on `folder`; says why where that is not possible.
    pub(crate) fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { folder }),
            refused => {
                skipped(&format!("a full disk needs `mount -t tmpfs`, so root: {refused:?}"));
                None
            }
        }
    }

    /// A path on the disk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let file = OpenOptions::new().create(true).append(true).open(self.filling());
        let mut file = file.unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Frees what [`SmallDisk::fill`] took.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.path("filling")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that is being killed may hold the disk for a moment; lazily it goes anyway.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
