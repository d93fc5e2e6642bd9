//! What has changed since a cursor, in the order of arrival.
//!
//! Each record stands once in [`Tree::Feed`], where it arrived last, and only moves forward. A
//! cursor never lies behind what the view has applied, and whatever is applied later stands behind
//! that: so nothing comes to stand before a cursor that was handed out.

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::api::{ChangeKind, ChangeReport, ChangesPage, ChangesQuery};
use crate::changes::version;
use crate::entry::{Entry, Fact, Note};
use crate::error::Error;
use crate::making::Position;
use crate::projection::{ARRIVALS_KEY, VANISHED_KEY};
use crate::rows;

use super::Ledger;

/// The most changes of one page.
pub(crate) const CHANGES_MAX: usize = 1_000;
/// The changes of a page whose reader does not say how many he wants.
const CHANGES_DEFAULT: usize = 100;

/// A place in the feed: behind this record at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    position: u64,
    id: [u8; 16],
}

impl Cursor {
    /// Before everything.
    const BEGIN: Self = Self { position: 0, id: [0; 16] };

    /// Behind everything up to a position.
    const fn behind(position: u64) -> Self {
        Self { position, id: [0xff; 16] }
    }
}

/// How far somebody has come in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    cursor: Cursor,
    /// Where the feed stood when records vanished the last time that he has heard of.
    told: u64,
}

impl Reached {
    fn write(self, feed: [u8; 8]) -> String {
        let hex = super::record::hex;
        let Self { cursor: Cursor { position, id }, told } = self;
        let parts = [hex(&feed), hex(&position.to_be_bytes()), hex(&id), hex(&told.to_be_bytes())];
        parts.join("-")
    }

    /// The feed and the place in it that a text stands for.
    fn read(text: &str) -> Option<([u8; 8], Self)> {
        let mut parts = text.trim().split('-');
        let (feed, position, id, told) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = [feed, position, id, told].map(str::len);
        if parts.next().is_some() || lengths != [16, 16, 32, 16] {
            return None;
        }
        let number = |text| u64::from_str_radix(text, 16).ok();
        let id = u128::from_str_radix(id, 16).ok()?.to_be_bytes();
        let cursor = Cursor { position: number(position)?, id };
        Some((number(feed)?.to_be_bytes(), Self { cursor, told: number(told)? }))
    }
}

impl Ledger {
    /// What tells the order of arrival here from that of any other store, or of this one before it
    /// was put back from an older copy.
    pub(crate) fn feed_id(&self) -> Result<[u8; 8], Error> {
        self.feed_named(&[])
    }

    /// The same, and from that of this one before its view was made anew: what counts only since
    /// then may stand before what a reader had come to.
    fn arrivals_id(&self) -> Result<[u8; 8], Error> {
        let arrivals: Option<[u8; 8]> = rows::find(self.view(), Tree::Meta, ARRIVALS_KEY)?;
        self.feed_named(&arrivals.unwrap_or_default())
    }

    fn feed_named(&self, arrivals: &[u8]) -> Result<[u8; 8], Error> {
        let restores = match self.recall(&Fact::Restores(0))? {
            Some(Fact::Restores(count)) => count,
            _ => 0,
        };
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/feed-id/1");
        hasher.update(self.identity.tenant.as_bytes());
        hasher.update(self.store.id().as_bytes());
        hasher.update(&restores.to_be_bytes());
        hasher.update(arrivals);
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Ok(id)
    }

    /// A page of what has changed.
    pub(crate) fn changes(&self, query: &ChangesQuery) -> Result<ChangesPage, Error> {
        let only = query.collection.as_deref().map(|name| self.schema_named(name)).transpose()?;
        self.settle()?;
        let reached = query.after.as_deref().map(|text| self.read_cursor(text)).transpose()?;
        let limit = query.limit.unwrap_or(CHANGES_DEFAULT).clamp(1, CHANGES_MAX);
        let until = self.horizon()?;
        // Read after the end of the page: what vanishes from now on is told with the next one. Who
        // begins has nothing that could have vanished before.
        let told = self.vanished()?;
        let vanished = reached.is_some_and(|reached| told > reached.told);
        let after = reached.map_or(Cursor::BEGIN, |reached| reached.cursor);
        let collections = match only {
            Some(schema) => vec![schema.number],
            None => self.fed_collections()?,
        };
        let mut found = Vec::new();
        for collection in collections {
            found.extend(self.fed(collection, after, until, limit + 1)?);
        }
        found.sort_unstable_by_key(|(cursor, _)| *cursor);
        let more = found.len() > limit;
        found.truncate(limit);
        let end = found.last().map_or(after, |(cursor, _)| *cursor);
        let end = if more { end } else { end.max(Cursor::behind(until)) };
        let mut changes = Vec::with_capacity(found.len());
        for (cursor, id) in found {
            changes.extend(self.change_at(cursor, id, after)?);
        }
        let next = Reached { cursor: end, told }.write(self.arrivals_id()?);
        Ok(ChangesPage { changes, next, more, vanished })
    }

    /// Where the feed stands now: everything before it can be read.
    pub(crate) fn feed_cursor(&self) -> Result<String, Error> {
        let cursor = Cursor::behind(self.applied_position()?);
        Ok(Reached { cursor, told: self.vanished()? }.write(self.arrivals_id()?))
    }

    /// The records of a collection that have changed since a cursor; none where that cannot be
    /// told: the cursor is not of this feed, too much has changed, or records have vanished.
    pub(crate) fn changed_since(
        &self,
        collection: u16,
        cursor: &str,
    ) -> Result<Option<Vec<DocumentId>>, Error> {
        let Reached { cursor: after, told } = match self.read_cursor(cursor) {
            Ok(reached) => reached,
            Err(Error::Cursor { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.vanished()? > told {
            return Ok(None);
        }
        let found = self.fed(collection, after, u64::MAX, CHANGES_MAX + 1)?;
        let is_whole = found.len() <= CHANGES_MAX;
        Ok(is_whole.then(|| found.into_iter().map(|(_, id)| id).collect()))
    }

    fn read_cursor(&self, text: &str) -> Result<Reached, Error> {
        let wrong = |reason: &str| Error::Cursor { reason: reason.to_owned() };
        let (feed, reached) = Reached::read(text).ok_or_else(|| {
            wrong("this is no cursor of changes; give the one that came with the last page")
        })?;
        // What was put back from an older copy may not have come as far.
        if feed != self.arrivals_id()? || reached.cursor.position > self.applied_position()? {
            return Err(wrong(
                "this cursor is from another store, or from before this one was put back from a \
                 copy or made readable anew; leave it out to begin with the first change",
            ));
        }
        Ok(reached)
    }

    /// The last position of which all records are in the view.
    fn applied_position(&self) -> Result<u64, Error> {
        let shown = Position::read(self.view())?.shown();
        Ok(shown.map_or(0, rows::position_end))
    }

    /// Where the feed stood when records vanished the last time.
    fn vanished(&self) -> Result<u64, Error> {
        Ok(rows::find(self.view(), Tree::Meta, VANISHED_KEY)?.unwrap_or(0))
    }

    /// How far the feed can be read: nothing comes to stand before it any more.
    ///
    /// What has changed by no entry of its own stands before the next one. Where nobody writes that,
    /// this does, or it could not be read.
    fn horizon(&self) -> Result<u64, Error> {
        let until = self.applied_position()?;
        let mut newest = self.vanished()?;
        for collection in self.fed_collections()? {
            let range = KeyRange::prefix(&rows::feed_prefix(collection));
            let last = rows::edge(self.view(), Tree::Feed, &range, Direction::Descending)?;
            newest = newest.max(last.and_then(|(key, _)| rows::feed_position(&key)).unwrap_or(0));
        }
        let is_behind = self.store.end().map_or(0, rows::position_end) > until;
        if newest <= until || is_behind {
            return Ok(until);
        }
        let note = Entry::Note(Note { rows: Vec::new(), at: None }).encode();
        match self.store.append(vec![note]) {
            Ok(places) => {
                if let Some(place) = places.last() {
                    self.projector.wait(*place)?;
                }
            }
            // It is read when something else is written.
            Err(error) => tracing::warn!(%error, "the feed is read up to the last entry only"),
        }
        self.applied_position()
    }

    /// The collections of which the feed has records.
    fn fed_collections(&self) -> Result<Vec<u16>, Error> {
        let mut found = Vec::new();
        let mut range = KeyRange::all();
        while let Some((key, _)) =
            rows::edge(self.view(), Tree::Feed, &range, Direction::Ascending)?
        {
            let Some(collection) = key.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else {
                break;
            };
            found.push(collection);
            range = KeyRange::all().after(&last_key(collection));
        }
        Ok(found)
    }

    /// The records of a collection behind `after`, up to `until`: at most `count`.
    fn fed(
        &self,
        collection: u16,
        after: Cursor,
        until: u64,
        count: usize,
    ) -> Result<Vec<(Cursor, DocumentId)>, Error> {
        let after_key =
            rows::feed_key(collection, after.position, DocumentId::from_bytes(after.id));
        let range = KeyRange::prefix(&rows::feed_prefix(collection)).after(&after_key);
        let keys = self.view().keys(Tree::Feed, &range, Direction::Ascending, count);
        let keys = keys.map_err(|error| Error::store(&error))?;
        let read = |key: Vec<u8>| {
            let (position, id) = (rows::feed_position(&key)?, rows::indexed_id(&key)?);
            Some((Cursor { position, id: *id.as_bytes() }, id))
        };
        let found = keys.into_iter().filter_map(read);
        Ok(found.take_while(|(cursor, _)| cursor.position <= until).collect())
    }

    /// What the record that stands at `at` has become since `after`; nothing where it has moved on
    /// meanwhile, and so stands on a later page.
    fn change_at(
        &self,
        at: Cursor,
        id: DocumentId,
        after: Cursor,
    ) -> Result<Option<ChangeReport>, Error> {
        let Some(row) = self.row(id)?.filter(|row| row.feed == at.position) else {
            return Ok(None);
        };
        let Some(record) = &row.record else { return Ok(None) };
        let first = row.arrived.iter().min().copied().unwrap_or(row.feed);
        let kind = match (!record.is_live(), first > after.position) {
            (true, _) => ChangeKind::Deleted,
            (false, true) => ChangeKind::Created,
            (false, false) => ChangeKind::Changed,
        };
        let collection = self.schema(row.scope.collection).name.clone();
        Ok(Some(ChangeReport { id, collection, kind, version: version(&row.changes) }))
    }
}

/// Behind every key of a collection in the feed.
fn last_key(collection: u16) -> Vec<u8> {
    rows::feed_key(collection, u64::MAX, DocumentId::from_bytes([0xff; 16]))
}

#[cfg(test)]
mod tests;
