//! Photos: files named by their content, each sealed with a key of its own.
//!
//! The keys are notes, so they are encrypted and changed with the store; a file without its note is
//! nothing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_dialect::command::PhotoUpload;
use fieldmesh_dialect::{Outcome, Refusal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stored;
use crate::{Failure, Task, keys};

/// Parts that one photo may come in.
const PARTS_MAX: usize = 1_024;
/// Notes of photos that are read at a time when all are checked.
const CHECKED_AT_ONCE: usize = 256;

/// A photo that is here, or is coming.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PhotoRow {
    content_type: String,
    key: [u8; 32],
    size: u64,
    /// Where the parts begin that are here, and how long they are; none once it is whole.
    parts: Vec<(u64, u64)>,
    complete: bool,
}

impl Task<'_> {
    pub(crate) fn store_photo(&self, photo: &PhotoUpload) -> Result<Outcome, Failure> {
        let own = sha256(&photo.bytes);
        let size = photo.bytes.len() as u64;
        let (first, whole) = photo.part.unwrap_or((0, size));
        let is_whole = first == 0 && whole == size;
        let said = photo.sha256.clone().map(|said| said.to_lowercase());
        let id = match (said, is_whole) {
            (Some(said), true) if said != own => {
                let message = "X-Content-SHA256 does not fit the photo; send it again";
                return Err(Failure::Refused(Refusal::fault("file", message)));
            }
            (Some(said), _) => said,
            (None, true) => own,
            (None, false) => {
                let message = "X-Content-SHA256 is required where a photo comes in parts";
                return Err(Failure::Refused(Refusal::fault("X-Content-SHA256", message)));
            }
        };
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = "X-Content-SHA256 must be 64 hex digits";
            return Err(Failure::Refused(Refusal::fault("X-Content-SHA256", message)));
        }
        let mut write = self.access.write()?;
        let known = write.noted(self.access, &keys::photo(&id))?;
        let known: Option<PhotoRow> = known.map(|note| stored::decode(&note)).transpose()?;
        let folder = self.access.folder("photos")?;
        let is_here = |row: &&PhotoRow| row.complete && folder.join(&id).exists();
        if let Some(row) = known.as_ref().filter(is_here) {
            return Ok(kept(&id, row, true));
        }
        let fresh = || PhotoRow {
            content_type: photo.content_type.clone(),
            key: self.access.file_key(),
            size: whole,
            parts: Vec::new(),
            complete: false,
        };
        let mut row = match known {
            Some(row) if row.size == whole && !row.complete => row,
            Some(mut other) => {
                // Its parts are in nobody's way, but nobody would remove them.
                self.drop_parts(&folder, &id, &mut other);
                fresh()
            }
            None => fresh(),
        };
        self.keep_part(&folder, &id, &mut row, first, &photo.bytes)?;
        if row.is_covered() && !self.put_together(&folder, &id, &mut row)? {
            write.note(keys::photo(&id), None);
            write.finish()?;
            let message = "The parts do not make the photo that was said; send it again";
            return Err(Failure::Refused(Refusal::fault("file", message)));
        }
        write.note(keys::photo(&id), Some(stored::encode(&row)));
        write.finish()?;
        Ok(kept(&id, &row, false))
    }

    fn keep_part(
        &self,
        folder: &Path,
        id: &str,
        row: &mut PhotoRow,
        first: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let part = (first, bytes.len() as u64);
        if row.parts.contains(&part) && self.part(folder, id, first, &row.key)?.is_some() {
            return Ok(());
        }
        if row.parts.len() >= PARTS_MAX {
            let message = format!("A photo can come in at most {PARTS_MAX} parts");
            return Err(Failure::Refused(Refusal::fault("Content-Range", &message)));
        }
        self.access.write_sealed(&part_file(folder, id, first), &row.key, bytes)?;
        row.parts.retain(|known| known.0 != first);
        row.parts.push(part);
        row.parts.sort_unstable();
        Ok(())
    }

    /// A part, unless it is not here or is none of this photo any more, as in a home that was put
    /// back from a copy.
    fn part(
        &self,
        folder: &Path,
        id: &str,
        first: u64,
        key: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, Failure> {
        match self.access.read_sealed(&part_file(folder, id, first), key) {
            Ok(part) => Ok(Some(part)),
            Err(Error::Store { .. }) => Ok(None),
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes one file of the parts; says whether they are what was said, as far as they are here.
    /// One that is not counts as never sent.
    fn put_together(&self, folder: &Path, id: &str, row: &mut PhotoRow) -> Result<bool, Failure> {
        let (mut whole, mut lost): (Vec<u8>, Vec<u64>) = (Vec::new(), Vec::new());
        for (first, length) in &row.parts {
            let part = self.part(folder, id, *first, &row.key)?;
            let Some(part) = part.filter(|part| part.len() as u64 == *length) else {
                lost.push(*first);
                continue;
            };
            // Parts may overlap.
            let skipped = (whole.len() as u64).saturating_sub(*first);
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(part.len());
            whole.extend_from_slice(&part[skipped..]);
        }
        if !lost.is_empty() {
            row.parts.retain(|(first, _)| !lost.contains(first));
            return Ok(true);
        }
        let is_it = sha256(&whole) == id;
        if is_it {
            self.access.write_sealed(&folder.join(id), &row.key, &whole)?;
            row.complete = true;
        }
        self.drop_parts(folder, id, row);
        Ok(is_it)
    }

    fn drop_parts(&self, folder: &Path, id: &str, row: &mut PhotoRow) {
        for (first, _) in std::mem::take(&mut row.parts) {
            // What is left over is sealed and is written over when it comes again.
            let _ = self.access.remove_sealed(&part_file(folder, id, first));
        }
    }

    pub(crate) fn load_photo(&self, id: &str) -> Result<Outcome, Failure> {
        let id = id.to_lowercase();
        let note = self.access.note(&keys::photo(&id))?;
        let row: Option<PhotoRow> = note.map(|note| stored::decode(&note)).transpose()?;
        let row = row.filter(|row| row.complete).ok_or_else(|| Failure::missing("Photo"))?;
        let file = self.access.folder("photos")?.join(&id);
        match self.access.read_sealed(&file, &row.key) {
            Ok(bytes) => Ok(Outcome::Photo { content_type: row.content_type, bytes }),
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(Failure::missing("Photo"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl PhotoRow {
    /// Whether the parts leave no gap.
    fn is_covered(&self) -> bool {
        let mut reached = 0;
        for (first, length) in &self.parts {
            if *first > reached {
                return false;
            }
            reached = reached.max(first.saturating_add(*length));
        }
        reached == self.size
    }
}

/// Reads every photo that is whole; gives what is wrong with which.
pub(crate) fn check(access: &Access) -> Result<Vec<String>, Error> {
    let folder = access.folder("photos")?;
    let (mut faults, mut after): (Vec<String>, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        let notes = access.notes(keys::PHOTOS, after.as_deref(), CHECKED_AT_ONCE)?;
        let Some((last, _)) = notes.last() else { return Ok(faults) };
        after = Some(last.clone());
        for (key, note) in &notes {
            let id = String::from_utf8_lossy(&key[keys::PHOTOS.len()..]).into_owned();
            let row: PhotoRow = match stored::decode(note) {
                Ok(row) => row,
                Err(error) => {
                    faults.push(format!("photo {id}: {}", error.problem().detail));
                    continue;
                }
            };
            if !row.complete {
                continue;
            }
            match access.read_sealed(&folder.join(&id), &row.key) {
                Ok(bytes) if sha256(&bytes) == id => {}
                Ok(_) => faults.push(format!("photo {id} is another than it was")),
                Err(error) => faults.push(format!("photo {id}: {}", error.problem().detail)),
            }
        }
    }
}

/// How many bytes a photo has that is whole.
pub(crate) fn size(access: &Access, id: &str) -> Result<Option<usize>, Error> {
    let Some(note) = access.note(&keys::photo(id))? else { return Ok(None) };
    let row: PhotoRow = stored::decode(&note)?;
    Ok(usize::try_from(row.size).ok().filter(|_| row.complete))
}

/// Whether `sealed` is the file of a photo; `None` where nothing is noted of it.
pub(crate) fn is_of(access: &Access, id: &str, sealed: &[u8]) -> Result<Option<bool>, Error> {
    let Some(note) = access.note(&keys::photo(id))? else { return Ok(None) };
    let row: PhotoRow = stored::decode(&note)?;
    let opened = access.unseal(&row.key, sealed);
    Ok(Some(opened.is_some_and(|bytes| sha256(&bytes) == id)))
}

fn kept(id: &str, row: &PhotoRow, known: bool) -> Outcome {
    let here = row.parts.iter().map(|(_, length)| length).sum();
    Outcome::PhotoKept {
        id: id.to_owned(),
        size: if row.complete { row.size } else { here },
        content_type: row.content_type.clone(),
        known,
        complete: row.complete,
    }
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn part_file(folder: &Path, id: &str, first: u64) -> PathBuf {
    folder.join(format!("{id}.{first}"))
}
