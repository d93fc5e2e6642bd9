//! Records of the tenant's own collections that were there before apps were given any of those.
//!
//! An app goes on behind the place that it was told last, and what such a collection held by then
//! lies before that. So these records get places anew, once: a note lists some of them, and they
//! stand where it lies in the log, one behind the other. Whoever read up to there, however he keeps
//! his place, is given each of them once.

use std::collections::BTreeSet;

use fieldmesh_model::DocumentId;
use fieldmesh_model::catalogue::BUILT_IN_END;
use serde::{Deserialize, Serialize};

use crate::entity::has_open_types;
use crate::{Failure, Task, keys, stored};

/// Records that one note lists; an entry of the log has one moment, so a page by time has all of
/// them.
const LISTED_MAX: usize = 200;

/// Some of the records that were there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LateRow {
    /// The last place that they had.
    until: u64,
    records: Vec<DocumentId>,
}

/// The records of a collection that stand where they were listed.
#[derive(Debug, Default)]
pub(crate) struct Late {
    /// Those that have changed since stand behind this, where they changed.
    pub(crate) until: u64,
    /// With their places, in order.
    pub(crate) places: Vec<(u64, DocumentId)>,
    records: BTreeSet<DocumentId>,
}

impl Late {
    /// Whether a record that the feed has at `position` stands where it was listed instead.
    pub(crate) fn holds(&self, position: u64, id: &DocumentId) -> bool {
        position <= self.until && self.records.contains(id)
    }
}

impl Task<'_> {
    /// The tenant's own collections, where the apps of the contract are given their records.
    fn own_collections(&self) -> Vec<u16> {
        if !self.dialect.is_some_and(has_open_types) {
            return Vec::new();
        }
        let all = self.access.collections().into_iter().map(|it| it.number);
        all.filter(|number| *number >= BUILT_IN_END).collect()
    }

    /// Lists what the tenant's own collections hold that apps are given from now on.
    pub(crate) fn list_late(&self) -> Result<(), Failure> {
        for collection in self.own_collections() {
            if self.access.note(&keys::listed(collection))?.is_none() {
                self.list_late_of(collection)?;
            }
        }
        Ok(())
    }

    fn list_late_of(&self, collection: u16) -> Result<(), Failure> {
        loop {
            let mut write = self.access.write()?;
            // Another request may have done it while this one waited, or begun and ended halfway.
            if write.noted(self.access, &keys::listed(collection))?.is_some() {
                return Ok(());
            }
            let listed = self.access.placed_notes(&keys::late(collection))?;
            let last =
                listed.last().map(|(_, note)| stored::decode::<LateRow>(note)).transpose()?;
            let after = last.map_or(0, |row| row.until);
            let found = self.access.feed(collection, after, u64::MAX, LISTED_MAX)?;
            let Some((until, _)) = found.last().copied() else {
                write.note_standing(keys::listed(collection), stored::encode(&after));
                write.finish()?;
                return Ok(());
            };
            let row = LateRow { until, records: found.into_iter().map(|(_, id)| id).collect() };
            let key = keys::late_part(collection, listed.len() as u64);
            write.note_standing(key, stored::encode(&row));
            write.mark();
            write.finish()?;
        }
    }

    /// What of a collection was listed, as far as it is for somebody who read up to `since`; nothing
    /// where all of it lies before that.
    pub(crate) fn late(&self, collection: u16, since: u64) -> Result<Late, Failure> {
        let mut late = Late::default();
        let listed = self.access.placed_notes(&keys::listed(collection))?;
        if listed.first().is_none_or(|(place, _)| *place <= since) {
            return Ok(late);
        }
        for (place, note) in self.access.placed_notes(&keys::late(collection))? {
            let row: LateRow = stored::decode(&note)?;
            late.until = row.until;
            late.records.extend(&row.records);
            late.places.extend((place..).zip(row.records));
        }
        Ok(late)
    }

    /// How many records of an own collection that stand where they were listed do so behind `place`.
    pub(crate) fn late_behind(&self, collection: u16, place: u64) -> Result<u64, Failure> {
        let late = self.late(collection, place)?;
        let mut count = 0;
        for (_, id) in late.places.iter().filter(|(listed, _)| *listed > place) {
            // What lies behind in the feed as well is counted there.
            let held = self.access.held(*id)?;
            count += u64::from(held.is_some_and(|held| held.position <= place.min(late.until)));
        }
        Ok(count)
    }
}
