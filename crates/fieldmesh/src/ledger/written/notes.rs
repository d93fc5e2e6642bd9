//! What is noted beside the records that are written for apps.

use fieldmesh_model::Moment;
use fieldmesh_store::Place;

use crate::clock;
use crate::entry::{Entry, Note};
use crate::error::Error;
use crate::gateway::Access;

use super::Write;

/// The most bytes of what a gateway notes under one key: the view keeps it as one value.
pub const NOTE_SIZE_MAX: usize = 1 << 20;
/// Bytes of notes in one entry of the log.
const NOTES_SIZE_MAX: usize = 4 << 20;

impl Write<'_> {
    /// Wants a moment of arrival, also where no record is written.
    pub fn mark(&mut self) {
        self.is_marked = true;
    }

    /// Notes something that a restart must not lose, of at most [`NOTE_SIZE_MAX`] bytes; `None`
    /// takes it back.
    pub fn note(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.is_news |= value.is_some();
        self.notes.insert(key, value);
    }

    /// As [`Self::note`], for what only says how things stand: who reads how far, which device may
    /// sync. It is noted also where nothing is left of what the store is granted.
    pub fn note_standing(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.notes.insert(key, Some(value));
    }

    /// What is noted under `key`, by this writer or before.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn noted(&self, access: &Access, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.notes.get(key) {
            Some(note) => Ok(note.clone()),
            None => access.note(key),
        }
    }

    /// Notes what is to be noted, behind all of the changes; says where the last of it lies.
    pub(super) fn write_notes(&mut self, is_marked: bool) -> Result<Option<Place>, Error> {
        let rows: Vec<_> = std::mem::take(&mut self.notes).into_iter().collect();
        // The view could never go on behind an entry that does not fit into it.
        if rows.iter().any(|(_, value)| value.as_ref().is_some_and(|it| it.len() > NOTE_SIZE_MAX)) {
            let reason = format!("what is to be noted of it is larger than {NOTE_SIZE_MAX} bytes");
            return Err(Error::fault("", reason));
        }
        if !is_marked && rows.is_empty() {
            return Ok(None);
        }
        let notes = in_parts(rows, is_marked.then(clock::now));
        let entries = notes.into_iter().map(|note| Entry::Note(note).encode()).collect();
        let store = &self.ledger.store;
        let places = match self.is_news && !self.is_granted {
            true => store.append_granted(entries),
            false => store.append(entries),
        };
        Ok(places.map_err(|error| Error::append(&error))?.last().copied())
    }
}

/// Notes no larger than an entry of the log may be; the moment stands in the last of them.
pub(in crate::ledger) fn in_parts(
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    at: Option<Moment>,
) -> Vec<Note> {
    let mut notes = vec![Note { rows: Vec::new(), at: None }];
    let mut size = 0;
    for row in rows {
        let bytes = row.0.len() + row.1.as_ref().map_or(0, Vec::len);
        if size + bytes > NOTES_SIZE_MAX && size > 0 {
            notes.push(Note { rows: Vec::new(), at: None });
            size = 0;
        }
        size += bytes;
        notes.last_mut().expect("invariant: there is one from the start").rows.push(row);
    }
    notes.last_mut().expect("invariant: there is one from the start").at = at;
    notes
}
