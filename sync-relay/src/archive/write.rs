//! Writes a backup of a relay.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use fieldmesh::backup::Draft;
use fieldmesh_store::backup::BackupWriter;
use fieldmesh_store::{DataKey, Entry, KeyFile, Place, WrappedKey};

use super::{
    ArchiveReader, BUFFER_SIZE, BYTES, FILE, FileName, KEPT, NO_STORE, OMITTED, PIECE_SIZE, Words,
    opener,
};
use crate::problem;
use crate::wire::Omission;

/// A backup on its way; no file is left behind unless it is finished.
pub(crate) struct ArchiveWriter {
    path: PathBuf,
    draft: Draft,
    writer: BackupWriter<BufWriter<File>>,
    entries: u64,
}

impl ArchiveWriter {
    /// Begins a backup in `draft` that is to be `path`.
    pub(crate) fn begin(
        draft: Draft,
        path: &Path,
        key: &KeyFile,
        words: &Words,
    ) -> Result<Self, Problem> {
        let data = DataKey::generate().map_err(|error| problem::failed(error.to_string()))?;
        let wrapped = WrappedKey::by_key_file(&data, key)
            .map_err(|error| problem::failed(error.to_string()))?;
        let file = draft.file().try_clone().map_err(|error| problem::file(path, &error))?;
        let out = BufWriter::with_capacity(BUFFER_SIZE, file);
        let words = postcard::to_stdvec(words).expect("invariant: numbers always encode");
        let writer = BackupWriter::begin(out, &data, NO_STORE, &opener(&wrapped), &words)
            .map_err(|error| draft.failed(error).problem())?;
        Ok(Self { path: path.into(), draft, writer, entries: 0 })
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, name: &FileName, from: &mut dyn Read) -> Result<(), Problem> {
        self.entry(FILE, encoded(name))?;
        loop {
            let mut piece = Vec::new();
            let taken = from.take(PIECE_SIZE as u64).read_to_end(&mut piece);
            taken.map_err(|error| problem::failed(format!("cannot read {name:?}: {error}")))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.entry(BYTES, piece)?;
        }
    }

    /// Says that an earlier backup of the chain holds a file.
    pub(crate) fn keep(&mut self, name: &FileName, hash: [u8; 32]) -> Result<(), Problem> {
        self.entry(KEPT, encoded(&(name, hash)))
    }

    /// Ends the backup with what is not in it, reads it back and gives it its name; gives its size.
    pub(crate) fn finish(mut self, key: &KeyFile, omitted: &[Omission]) -> Result<u64, Problem> {
        self.entry(OMITTED, encoded(&omitted))?;
        let Self { path, draft, writer, entries } = self;
        let id = writer.id();
        let failed = |error: std::io::Error| draft.failed(error.into()).problem();
        let (out, summary) = writer
            .finish(Some(Place(entries)), 0)
            .map_err(|error| draft.failed(error).problem())?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let mut written = ArchiveReader::open(draft.path(), key)?;
        while written.next()?.is_some() {}
        if written.id() != id || written.entries() != summary.entries {
            return Err(problem::failed("the backup reads otherwise than written"));
        }
        draft.finish(&path).map_err(|error| error.problem())
    }

    fn entry(&mut self, kind: u8, bytes: Vec<u8>) -> Result<(), Problem> {
        self.entries += 1;
        self.writer
            .add(Place(self.entries), &Entry { kind, bytes })
            .map_err(|error| self.draft.failed(error).problem())
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: names always encode")
}
