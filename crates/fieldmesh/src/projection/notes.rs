//! What gateways have noted, and by when what lies in the log had arrived.

use fieldmesh_model::Moment;
use fieldmesh_store::{Direction, KeyRange, Place, Tree, View, WriteSet};
use serde::{Deserialize, Serialize};

use crate::entry::Note;
use crate::error::Error;
use crate::rows;

/// Notes that are being written into the view.
pub(super) struct Notes<'a> {
    view: &'a View,
    /// The last mark of this step.
    last: Option<(Place, Moment)>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        Self { view, last: None }
    }

    /// Writes what `note`, which lies at `place`, says.
    pub(super) fn apply(
        &mut self,
        place: Place,
        note: Note,
        writes: &mut WriteSet,
    ) -> Result<(), Error> {
        for (key, value) in note.rows {
            let key = rows::note_key(&key);
            match value {
                Some(value) => writes.put(Tree::Meta, key, rows::encode(&NoteRow { place, value })),
                None => writes.delete(Tree::Meta, key),
            }
        }
        let Some(at) = note.at else { return Ok(()) };
        let before = match self.last {
            Some(last) => Some(last),
            None => last_mark(self.view, Some(place))?,
        };
        // Each entry has a millisecond of its own, and none is earlier than its arrival: a client
        // that goes by its own clock misses nothing, though the moments may run ahead of it.
        let at = before.map_or(at, |(last, then)| {
            let entries = i64::try_from(place.0 - last.0).unwrap_or(i64::MAX);
            at.max(then).plus_millis(entries)
        });
        writes.put(Tree::Meta, rows::mark_key(place), rows::encode(&at));
        writes.put(Tree::Meta, rows::mark_time_key(at), rows::encode(&place));
        self.last = Some((place, at));
        Ok(())
    }
}

/// What a gateway noted, and where that lies in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoteRow {
    pub(crate) place: Place,
    pub(crate) value: Vec<u8>,
}

/// Whether the note at `place` says nothing that the view has: a later one says it otherwise, or
/// takes it back. What takes something back stays, as what it takes back may still be in the log,
/// and so do the moments of arrival.
pub(crate) fn is_superseded(view: &View, place: Place, note: &Note) -> Result<bool, Error> {
    if note.at.is_some() || note.rows.iter().any(|(_, value)| value.is_none()) {
        return Ok(false);
    }
    for (key, _) in &note.rows {
        let row: Option<NoteRow> = rows::find(view, Tree::Meta, &rows::note_key(key))?;
        if row.is_some_and(|row| row.place <= place) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The last mark, or the last one before `place`.
pub(crate) fn last_mark(
    view: &View,
    place: Option<Place>,
) -> Result<Option<(Place, Moment)>, Error> {
    let mut range = KeyRange::prefix(rows::MARK_PREFIX);
    if let Some(place) = place {
        range = range.before(&rows::mark_key(place));
    }
    let row = rows::edge(view, Tree::Meta, &range, Direction::Descending)?;
    row.map(|(key, value)| read_mark(&key, &value)).transpose()
}

/// The place and the moment of a mark.
pub(crate) fn read_mark(key: &[u8], value: &[u8]) -> Result<(Place, Moment), Error> {
    let place = key.last_chunk().map_or(Place(0), |bytes| Place::from_bytes(*bytes));
    Ok((place, rows::decode(value)?))
}
