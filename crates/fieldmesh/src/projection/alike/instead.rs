//! Records that count although they are deleted: people who did not know of each other have each
//! kept another one of those that are alike, so that none would be left until somebody decides.
//!
//! The row of such a record says that it is there, as everything that lists and counts reads rows.
//! What its document says is told apart by a key beside the row.

use std::collections::BTreeSet;

use fieldmesh_model::DocumentId;
use fieldmesh_store::Tree;

use crate::alike::row::{AlikeRow, instead_key, is_instead, stays_instead};
use crate::error::Error;
use crate::projection::{Projection, index};
use crate::rows::{self, DocumentRow, RecordRow};

use super::{Spot, cross};

impl Projection<'_> {
    /// Notes which records of a place count although they are deleted; gives all of which that may
    /// be another thing than before.
    pub(super) fn note_instead(
        &mut self,
        spot: &Spot,
        groups: [&AlikeRow; 2],
        instead: Vec<Option<DocumentId>>,
    ) -> Result<Vec<DocumentId>, Error> {
        let instead: BTreeSet<DocumentId> = instead.into_iter().flatten().collect();
        let groups = groups.into_iter().flat_map(|row| &row.groups);
        let members: BTreeSet<DocumentId> =
            groups.flat_map(|group| group.members.iter().copied()).collect();
        let mut judged = Vec::new();
        let members: Vec<DocumentId> = members.into_iter().collect();
        for (id, collection) in cross(&members, spot) {
            let key = instead_key(collection, *id, &spot.hash);
            let is = instead.contains(id) && self.collection_at(spot, *id)? == collection;
            let was = is_instead(self.view, collection, *id)?;
            match is {
                true => self.writes.put(Tree::Meta, key, Vec::new()),
                false if was => self.writes.delete(Tree::Meta, key),
                false => {}
            }
            judged.extend((is || was).then_some(*id));
        }
        Ok(judged)
    }

    /// Whether the document of a record is deleted, whatever its row says.
    pub(super) fn is_gone(&self, id: DocumentId, row: &DocumentRow) -> Result<bool, Error> {
        if row.record.as_ref().is_some_and(|record| record.deleted) {
            return Ok(true);
        }
        let is_shown = is_instead(self.view, row.scope.collection, id)?;
        Ok(is_shown && self.kinship_of(id, row).is_deleted)
    }

    /// Has the row of a record say whether it counts.
    pub(super) fn show_instead(&mut self, id: DocumentId) -> Result<(), Error> {
        let known: Option<DocumentRow> = rows::find(self.view, Tree::Document, id.as_bytes())?;
        self.set_instead(id)?;
        let Some((known, row)) = known.zip(self.row_after(id)?) else { return Ok(()) };
        let is_deleted = |row: &DocumentRow| row.record.as_ref().map(|record| record.deleted);
        // Whoever has read up to there would never hear of it.
        if known.feed >= row.feed && is_deleted(&known) != is_deleted(&row) {
            self.note_vanished();
        }
        Ok(())
    }

    fn set_instead(&mut self, id: DocumentId) -> Result<(), Error> {
        let Some(mut row) = self.row_after(id)? else { return Ok(()) };
        let collection = row.scope.collection;
        let is_shown = stays_instead(self.view, &self.writes, collection, id)?;
        let is_deleted = self.is_gone(id, &row)? && !is_shown;
        let stood = row.feed;
        let Some(record) = row.record.as_mut().filter(|it| it.deleted != is_deleted) else {
            return Ok(());
        };
        let live = |record: &RecordRow| i64::from(record.is_live());
        let before = record.clone();
        record.deleted = is_deleted;
        let growth = live(record) - live(&before);
        // What waits for approval is found by a key of its own.
        let schema = self.schemas.after(collection, &id);
        let (old, new) = ((&*schema, Some(&before)), (&*schema, Some(&*record)));
        index::update(old, new, id, self.sources.store, &mut self.writes);
        row.feed = self.sources.store.end().map_or(0, |place| rows::position_end(place) + 1);
        index::update_feed(id, Some((collection, stood)), &row, &mut self.writes);
        self.writes.put(Tree::Document, id.as_bytes().to_vec(), rows::encode(&row));
        *self.counts.entry(collection).or_default() += growth;
        Ok(())
    }
}
