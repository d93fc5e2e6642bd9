//! Reads backups of a relay to their ends, and says what they hold and what they miss.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh_store::KeyFile;
use fieldmesh_store::backup::BackupId;

use super::{ArchiveReader, FileName, Piece};
use crate::problem;
use crate::wire::{ArchiveCheck, Omission};

/// What a chain of backups misses, by tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing(BTreeMap<String, Vec<Omission>>);

impl Missing {
    /// A backup has what there is of a tenant, but for what it says itself.
    pub(super) fn has(&mut self, tenant: &str) {
        self.0.remove(tenant);
    }

    /// A backup misses this.
    pub(super) fn add(&mut self, omitted: Vec<Omission>) {
        for omission in omitted {
            self.0.entry(omission.tenant.clone()).or_default().push(omission);
        }
    }

    /// All of it, by tenant.
    pub(super) fn into_list(self) -> Vec<Omission> {
        self.0.into_values().flatten().collect()
    }
}

/// Reads backups to their ends, in order, and says what each holds, and what all together miss.
///
/// # Errors
///
/// What is wrong with which file.
pub(crate) fn check(
    files: &[PathBuf],
    key: &KeyFile,
) -> Result<(Vec<ArchiveCheck>, Vec<Omission>), Problem> {
    let mut chain = Chain::default();
    let mut checks = Vec::new();
    for path in files {
        checks.push(chain.read(path, key)?);
    }
    Ok((checks, chain.missing.into_list()))
}

/// What the backups hold that were read so far.
#[derive(Default)]
struct Chain {
    before: Option<BackupId>,
    missing: Missing,
    /// The hash of every photo.
    photos: BTreeMap<FileName, [u8; 32]>,
    /// The photo that is being read.
    open: Option<(FileName, blake3::Hasher)>,
}

impl Chain {
    fn read(&mut self, path: &Path, key: &KeyFile) -> Result<ArchiveCheck, Problem> {
        let mut reader = opened(path, key, &mut self.before)?;
        let mut check = ArchiveCheck {
            file: path.into(),
            at: reader.words().at,
            is_whole: reader.words().base.is_none(),
            tenants: Vec::new(),
            photos: 0,
            bytes: fs::metadata(path).map_err(|error| problem::file(path, &error))?.len(),
            missing: Vec::new(),
        };
        while let Some(piece) = reader.next()? {
            if let Piece::Bytes(bytes) = piece {
                if let Some((_, hasher)) = &mut self.open {
                    hasher.update(&bytes);
                }
                continue;
            }
            self.close();
            self.note(path, piece, &mut check)?;
        }
        self.close();
        Ok(check)
    }

    fn note(&mut self, path: &Path, piece: Piece, check: &mut ArchiveCheck) -> Result<(), Problem> {
        match piece {
            Piece::File(FileName::Home { tenant } | FileName::More { tenant }) => {
                self.missing.has(&tenant);
                check.tenants.push(tenant);
            }
            Piece::File(name @ FileName::Photo { .. }) => {
                check.photos += u64::from(name.is_whole());
                self.open = Some((name, blake3::Hasher::new()));
            }
            Piece::Kept(name, hash) if self.photos.get(&name) != Some(&hash) => {
                return Err(problem::store(format!(
                    "{} goes on from a photo that no earlier backup holds",
                    path.display()
                )));
            }
            Piece::Omitted(omitted) => {
                self.missing.add(omitted.clone());
                check.missing = omitted;
            }
            Piece::File(FileName::Accounts { .. }) | Piece::Bytes(_) | Piece::Kept(..) => {}
        }
        Ok(())
    }

    /// Ends the photo that was read last.
    fn close(&mut self) {
        let photo = self.open.take();
        self.photos.extend(photo.map(|(name, hasher)| (name, *hasher.finalize().as_bytes())));
    }
}

/// Opens a backup that goes on from the one before it.
fn opened(
    path: &Path,
    key: &KeyFile,
    before: &mut Option<BackupId>,
) -> Result<ArchiveReader, Problem> {
    let reader = ArchiveReader::open(path, key)?;
    let reason = match (reader.words().base, *before) {
        (None, None) => None,
        (Some(base), Some(before)) if base == before => None,
        (Some(_), None) => Some("goes on from another backup; name that one before it"),
        (Some(_), Some(_)) => {
            Some("does not go on from the one before; name them as they were made")
        }
        (None, Some(_)) => Some("is whole by itself; name it alone or first"),
    };
    if let Some(reason) = reason {
        return Err(problem::usage(format!("{} {reason}", path.display())));
    }
    *before = Some(reader.id());
    Ok(reader)
}
