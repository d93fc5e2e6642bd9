//! The backup that another one goes on from: which files it holds, and the homes of its tenants.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh_store::KeyFile;
use fieldmesh_store::backup::BackupId;

use super::{ArchiveReader, FileName, Piece};
use crate::problem;

/// A backup that was read to its end; its homes lie in a folder.
pub(crate) struct Base {
    pub(crate) id: BackupId,
    homes: BTreeMap<String, PathBuf>,
    photos: BTreeMap<FileName, [u8; 32]>,
}

impl Base {
    /// Reads the backup in `path` and lays the backups of its homes into `folder`.
    pub(crate) fn read(path: &Path, key: &KeyFile, folder: &Path) -> Result<Self, Problem> {
        let mut reader = ArchiveReader::open(path, key)?;
        let mut base = Self { id: reader.id(), homes: BTreeMap::new(), photos: BTreeMap::new() };
        let mut photo: Option<(FileName, blake3::Hasher)> = None;
        let mut home: Option<(PathBuf, File)> = None;
        while let Some(piece) = reader.next()? {
            if !matches!(piece, Piece::Bytes(_)) {
                home = None;
                base.photos.extend(photo.take().map(hashed));
            }
            match piece {
                Piece::File(FileName::Home { tenant } | FileName::More { tenant }) => {
                    let path = folder.join(format!("{tenant}.base"));
                    let file = create(&path).map_err(|error| problem::file(&path, &error))?;
                    home = Some((path.clone(), file));
                    base.homes.insert(tenant, path);
                }
                Piece::File(name @ FileName::Photo { .. }) => {
                    photo = Some((name, blake3::Hasher::new()));
                }
                Piece::File(FileName::Accounts { .. }) | Piece::Omitted(_) => {}
                Piece::Bytes(bytes) => {
                    if let Some((path, file)) = &mut home {
                        file.write_all(&bytes).map_err(|error| problem::file(path, &error))?;
                    }
                    if let Some((_, hasher)) = &mut photo {
                        hasher.update(&bytes);
                    }
                }
                Piece::Kept(name, hash) => {
                    base.photos.insert(name, hash);
                }
            }
        }
        base.photos.extend(photo.take().map(hashed));
        Ok(base)
    }

    /// Where the backup of a tenant's home lies, if this one has it.
    pub(crate) fn home(&self, tenant: &str) -> Option<&Path> {
        self.homes.get(tenant).map(PathBuf::as_path)
    }

    /// The hash of a photo that this backup, or an earlier one, holds.
    pub(crate) fn photo(&self, name: &FileName) -> Option<[u8; 32]> {
        self.photos.get(name).copied()
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        for path in self.homes.values() {
            // One that stays is removed by the next backup of this name.
            let _ = fs::remove_file(path);
        }
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn hashed((name, hasher): (FileName, blake3::Hasher)) -> (FileName, [u8; 32]) {
    (name, *hasher.finalize().as_bytes())
}
