//! What stands beside other things in a record: where in its past it was written, and when.

use fieldmesh_document::{ConflictKind, FieldConflict};
use fieldmesh_model::{DocumentId, Moment};

use crate::clock;
use crate::error::Error;

use super::{Known, Write, free_actor};

impl Write<'_> {
    /// A moment before every change of a record that somebody who knew its first `version` changes
    /// did not know: what is written then stands back behind those.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn before_unknown(&mut self, id: DocumentId, version: u64) -> Result<Moment, Error> {
        let Some(opened) = self.opened(id)? else { return Ok(clock::now()) };
        let known = usize::try_from(version).unwrap_or(usize::MAX).clamp(1, opened.changes.len());
        let mut earliest = clock::now();
        for Known { change, .. } in &opened.changes[known..] {
            let peeked = fieldmesh_document::peek(change).map_err(|error| Error::store(&error))?;
            earliest = earliest.min(peeked.at);
        }
        Ok(earliest.plus_millis(-1))
    }

    /// Whether one more change can stand beside those that somebody did not know who knew the first
    /// `version` changes of a record: each such change is by an actor of its own.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn has_room_beside(&mut self, id: DocumentId, version: u64) -> Result<bool, Error> {
        let ledger = self.ledger;
        let Some(opened) = self.opened(id)? else { return Ok(true) };
        let known = usize::try_from(version).unwrap_or(usize::MAX).clamp(1, opened.changes.len());
        match free_actor(&ledger.desk(), ledger, &opened.changes[known..]) {
            Ok(_) => Ok(true),
            Err(Error::Usage { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The fields of a record in which values compete until a person decides.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn disputed(&mut self, id: DocumentId) -> Result<Vec<String>, Error> {
        let open = self.competing(id)?.into_iter().filter(FieldConflict::is_open);
        Ok(open.map(|conflict| conflict.key).collect())
    }

    /// How many changes of a record had arrived before any of the values that compete in one of
    /// these fields, at least one; all of them where none do. What is written on them replaces none
    /// of those values.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn version_before(&mut self, id: DocumentId, keys: &[String]) -> Result<u64, Error> {
        let competing = self.competing(id)?.into_iter().filter(|found| keys.contains(&found.key));
        let values: Vec<[u8; 32]> =
            competing.flat_map(|found| found.values).map(|value| value.hash).collect();
        self.count_before(id, &values)
    }

    /// How many changes of a record had arrived before anybody deleted it, at least one; all of them
    /// where it is not deleted. What is written on them is by somebody who knows of no deletion.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn version_before_deletion(&mut self, id: DocumentId) -> Result<u64, Error> {
        let Some(opened) = self.opened(id)? else { return Ok(1) };
        let deletions = opened.document.deletions().map_err(|error| Error::store(&error))?;
        self.count_before(id, &deletions)
    }

    /// How many changes of a record had arrived before the first of these.
    fn count_before(&mut self, id: DocumentId, hashes: &[[u8; 32]]) -> Result<u64, Error> {
        let Some(opened) = self.opened(id)? else { return Ok(1) };
        for (count, Known { change, .. }) in opened.changes.iter().enumerate().skip(1) {
            let peeked = fieldmesh_document::peek(change).map_err(|error| Error::store(&error))?;
            if hashes.contains(&peeked.hash) {
                return Ok(count as u64);
            }
        }
        Ok(opened.changes.len() as u64)
    }

    /// The fields for which competing values stand in the record.
    fn competing(&mut self, id: DocumentId) -> Result<Vec<FieldConflict>, Error> {
        let ledger = self.ledger;
        let Some(opened) = self.opened(id)? else { return Ok(Vec::new()) };
        let schema = ledger.schema(opened.scope.collection);
        let found = opened.document.conflicts(&schema).map_err(|error| Error::store(&error))?;
        let is_of_field = |found: &FieldConflict| {
            matches!(found.kind, ConflictKind::Field | ConflictKind::SettledAutomatically)
        };
        Ok(found.into_iter().filter(is_of_field).collect())
    }
}
