//! Records in the order in which they arrived, and the moments of arrival.
//!
//! The order is that of the log: an entry, and in it a leaf. The moments come from marks in the
//! log, which are written when somebody asks: between two marks each entry has a millisecond of
//! its own, as late as possible, so moments never go back and a millisecond holds no more than a
//! batch.

use std::ops::Bound;

use crate::clock;
use crate::entry::{Entry, Note};
use crate::error::Error;
use crate::projection::{last_mark, read_mark};
use crate::rows;
use fieldmesh_model::{DocumentId, Moment};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, View};

use super::Access;

/// How far the feed can be read, and when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The last position.
    pub position: u64,
    /// Everything up to it had arrived by then.
    pub at: Moment,
}

impl Access {
    /// How far the feed can be read now. Everything that can be read lies before it; what arrives
    /// later lies behind it and has a later moment, whatever happens to the clock.
    ///
    /// # Errors
    ///
    /// The store cannot be read or written.
    pub fn mark(&self) -> Result<Mark, Error> {
        let last = self.last_mark_made()?;
        let newest = self.newest()?;
        match last {
            Some((place, at)) if newest <= rows::position_end(place) => {
                Ok(Mark { position: rows::position_end(place), at })
            }
            _ => {
                let note = Note { rows: Vec::new(), at: Some(clock::now()) };
                let places = self.ledger.store.append(vec![Entry::Note(note).encode()]);
                let places = places.map_err(|error| Error::store(&error))?;
                if let Some(place) = places.last() {
                    self.ledger.projector.wait(*place)?;
                }
                self.last_mark()
            }
        }
    }

    /// The last mark that was written.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn last_mark(&self) -> Result<Mark, Error> {
        let (place, at) = self.last_mark_made()?.unwrap_or((Place(0), clock::now()));
        Ok(Mark { position: rows::position_end(place), at })
    }

    /// The same, once all records before it are there: marks are noted before those are made.
    fn last_mark_made(&self) -> Result<Option<(Place, Moment)>, Error> {
        let last = last_mark(self.ledger.view(), None)?;
        if let Some((place, _)) = last {
            self.ledger.projector.wait(place)?;
        }
        Ok(last)
    }

    /// The newest position of the feed.
    fn newest(&self) -> Result<u64, Error> {
        let mut newest = 0;
        for collection in self.collections() {
            let range = KeyRange::prefix(&rows::feed_prefix(collection.number));
            let keys = self.ledger.view().keys(Tree::Feed, &range, Direction::Descending, 1);
            for key in keys.map_err(|error| Error::store(&error))? {
                newest = newest.max(rows::feed_position(&key).unwrap_or(0));
            }
        }
        Ok(newest)
    }

    /// The records of `collection` that stand behind `after`, up to `until`: at most `count`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn feed(
        &self,
        collection: u16,
        after: u64,
        until: u64,
        count: usize,
    ) -> Result<Vec<(u64, DocumentId)>, Error> {
        let range = feed_range(collection, after, until);
        let keys = self.ledger.view().keys(Tree::Feed, &range, Direction::Ascending, count);
        let keys = keys.map_err(|error| Error::store(&error))?;
        let read = |key: Vec<u8>| Some((rows::feed_position(&key)?, rows::indexed_id(&key)?));
        Ok(keys.into_iter().filter_map(read).collect())
    }

    /// How many records of `collection` stand behind `after`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn behind(&self, collection: u16, after: u64) -> Result<u64, Error> {
        if after == 0 {
            let key = crate::projection::count_key(collection);
            return Ok(rows::find(self.ledger.view(), Tree::Meta, &key)?.unwrap_or(0));
        }
        let range = feed_range(collection, after, u64::MAX);
        let mut count = 0;
        for key in rows::keys(self.ledger.view(), Tree::Feed, range, Direction::Ascending) {
            key?;
            count += 1;
        }
        Ok(count)
    }

    /// The last position that had arrived at `at`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn position_at(&self, at: Moment) -> Result<u64, Error> {
        let view = self.ledger.view();
        let after = rows::mark_time_key(at.plus_millis(1));
        let all = KeyRange::prefix(rows::MARK_TIME_PREFIX);
        let before = all.clone().before(&after);
        let before = rows::edge(view, Tree::Meta, &before, Direction::Descending)?;
        let before = before.map(|(_, value)| rows::decode::<Place>(&value)).transpose()?;
        // The next mark lies at this key or behind it.
        let next = all.after(&rows::mark_time_key(at));
        let next = rows::edge(view, Tree::Meta, &next, Direction::Ascending)?;
        let from = before.unwrap_or(Place(0));
        let Some((key, value)) = next else { return Ok(rows::position_end(from)) };
        let place: Place = rows::decode(&value)?;
        let sortable = key.last_chunk::<8>().copied().unwrap_or_default();
        let then = (u64::from_be_bytes(sortable) ^ (1 << 63)).cast_signed();
        let later = u64::try_from(then.saturating_sub(at.as_millis())).unwrap_or(0);
        let reached = Place(place.0.saturating_sub(later)).max(from);
        Ok(rows::position_end(reached))
    }

    /// Looks up moments of arrival, in ascending order of positions best.
    pub fn moments(&self) -> Moments<'_> {
        Moments { view: self.ledger.view(), mark: None }
    }
}

/// The mark that was written at `place`.
pub(crate) fn mark_at(view: &View, place: Place) -> Result<Mark, Error> {
    let at = rows::find(view, Tree::Meta, &rows::mark_key(place))?;
    let at = at.unwrap_or_else(clock::now);
    Ok(Mark { position: rows::position_end(place), at })
}

/// Looks up when positions of the feed arrived.
pub struct Moments<'a> {
    view: &'a View,
    /// The mark at or behind the last position that was looked up, and the one before it.
    mark: Option<(Option<Place>, Place, Moment)>,
}

impl Moments<'_> {
    /// When the position arrived; the time now where no mark is behind it so far.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn of(&mut self, position: u64) -> Result<Moment, Error> {
        let place = rows::position_place(position);
        let fits =
            |known: &(Option<Place>, Place, Moment)| known.0 < Some(place) && place <= known.1;
        if !self.mark.as_ref().is_some_and(fits) {
            self.mark = self.find(place)?;
        }
        let Some((_, end, at)) = self.mark else { return Ok(clock::now()) };
        Ok(at.plus_millis(-i64::try_from(end.0 - place.0).unwrap_or(i64::MAX)))
    }

    fn find(&self, place: Place) -> Result<Option<(Option<Place>, Place, Moment)>, Error> {
        let key = rows::mark_key(place);
        let before = last_mark(self.view, Some(place))?;
        let range =
            KeyRange::new(Bound::Included(&key), Bound::Included(&rows::mark_key(Place(u64::MAX))));
        let next = rows::edge(self.view, Tree::Meta, &range, Direction::Ascending)?;
        let Some((key, value)) = next else { return Ok(None) };
        let (end, at) = read_mark(&key, &value)?;
        Ok(Some((before.map(|(place, _)| place), end, at)))
    }
}

fn feed_range(collection: u16, after: u64, until: u64) -> KeyRange {
    let prefix = rows::feed_prefix(collection);
    let start = [&prefix[..], &after.to_be_bytes(), &[0xff; 16]].concat();
    let end = [&prefix[..], &until.to_be_bytes(), &[0xff; 16]].concat();
    KeyRange::new(Bound::Excluded(&start), Bound::Included(&end))
}
