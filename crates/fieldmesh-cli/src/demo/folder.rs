//! The folder with the homes, gone at the end unless it is kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::{DemoError, system};

/// How many folders of earlier demos may be in the way.
const NAMES_MAX: u32 = 1_000;

/// A folder that only this user can enter.
pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes a new one among the temporary files.
    pub(super) fn create() -> Result<Self, DemoError> {
        let parent = std::env::temp_dir();
        let mut result = Err(io::Error::from(io::ErrorKind::AlreadyExists));
        for number in 1..=NAMES_MAX {
            let path = parent.join(format!("fieldmesh-demo-{number}"));
            result = DirBuilder::new().mode(0o700).create(&path).map(|()| path);
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                _ => break,
            }
        }
        let path = result.map_err(system(format!("make a folder in {}", parent.display())))?;
        Ok(Self { path, is_kept: false })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is.
    pub(super) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is left to whoever cleans temporary files.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
