//! Notes that the view has and the log has lost are written once more.
//!
//! Nobody else has what is noted on this device alone: drafts, and what apps have to know again. A
//! view that is made anew from the log would lack it without a word.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::entry::Entry;
use crate::error::Error;
use crate::projection::NoteRow;
use crate::rows;

use super::Ledger;
use super::written::in_parts;

impl Ledger {
    /// Writes those notes once more, durably, that lie at these places.
    ///
    /// What was taken back by an entry that lies there has no row, and may come back with the next
    /// view; so the places are not called healed.
    pub(super) fn write_notes_again(&self, places: &BTreeSet<Place>) -> Result<(), Error> {
        let keys = self.notes_at(places)?;
        if keys.is_empty() {
            return Ok(());
        }
        // What somebody notes meanwhile must not be taken back by what stood there before.
        let _gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let _drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        self.catch_up_noted()?;
        let (prefix, mut left) = (rows::note_key(&[]), Vec::new());
        for key in keys {
            let row: Option<NoteRow> = rows::find(self.view(), Tree::Meta, &key)?;
            let row = row.filter(|row| places.contains(&row.place));
            if let (Some(NoteRow { value, .. }), Some(key)) = (row, key.strip_prefix(&prefix[..])) {
                left.push((key.to_vec(), Some(value)));
            }
        }
        let notes = in_parts(left, None).into_iter();
        let entries: Vec<_> = notes.map(|note| Entry::Note(note).encode()).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let written = self.store.append(entries).map_err(|error| Error::store(&error))?;
        written.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// The keys of the rows of notes that lie at these places.
    fn notes_at(&self, places: &BTreeSet<Place>) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = Vec::new();
        let range = KeyRange::prefix(&rows::note_key(&[]));
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            if places.contains(&rows::decode::<NoteRow>(&value)?.place) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}
