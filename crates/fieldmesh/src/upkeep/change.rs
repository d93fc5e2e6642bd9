//! Changes that were recorded here: one that a batch holds as well is dead.
//!
//! The batch must be in the log and count, the view must refer to the change there and nowhere
//! else, and the record must come out alike without it: the changes of a record are listed in the
//! order of their arrival, and a batch arrives later than the change that it holds. Whatever is
//! unusual about a record keeps its changes: copies of a home, refused or waiting changes, batches
//! that are aside.

use fieldmesh_batch::Batch;
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use super::Worth;
use crate::entry::LocalChange;
use crate::error::Error;
use crate::places::read_batch;
use crate::projection::refused_key;
use crate::rows::{self, ChangeRef, DocumentRow, LOCAL_LEAF};

/// The batch looked at last: changes that were recorded together were sealed together.
#[derive(Default)]
pub(super) struct Sealed(Option<(Place, Batch)>);

impl Worth<'_> {
    /// Whether a batch holds the change at `place` and nothing needs it here any more.
    pub(super) fn is_sealed(&mut self, place: Place, local: &LocalChange) -> Result<bool, Error> {
        let Some(sealed) = self.sealed_at(place, local)? else { return Ok(false) };
        if self.is_doubtful(place, sealed, local)? {
            return Ok(false);
        }
        self.holds(sealed, local)
    }

    /// Where the record has the change instead, if it has it in the same order without this one.
    fn sealed_at(&self, place: Place, local: &LocalChange) -> Result<Option<ChangeRef>, Error> {
        let id = local.document.as_bytes();
        let row: Option<DocumentRow> = rows::find(self.store.view(), Tree::Document, id)?;
        let Some(row) = row.filter(|row| row.record.is_some() && row.waiting.is_empty()) else {
            return Ok(None);
        };
        let Ok(peeked) = fieldmesh_document::peek(&local.change) else { return Ok(None) };
        let is_it = |known: &ChangeRef| peeked.hash.starts_with(&known.hash);
        let Some(index) = row.changes.iter().position(is_it) else { return Ok(None) };
        let (sealed, behind) = (row.changes[index], &row.changes[index + 1..]);
        let position = |known: &ChangeRef| (known.place, known.leaf);
        let is_in_order = behind.iter().all(|known| position(known) > position(&sealed));
        let is_elsewhere = sealed.leaf != LOCAL_LEAF
            && sealed.place > place
            && row.changes.iter().all(|known| known.place != place);
        Ok(Some(sealed).filter(|_| is_in_order && is_elsewhere))
    }

    /// Whether the view says anything unusual about the record, or has a row for this change.
    fn is_doubtful(
        &self,
        place: Place,
        sealed: ChangeRef,
        local: &LocalChange,
    ) -> Result<bool, Error> {
        let view = self.store.view();
        let has = |tree: Tree, key: &[u8]| {
            let row = view.get(tree, key).map_err(|error| Error::store(&error))?;
            Ok::<bool, Error>(row.is_some())
        };
        let has_any = |prefix: Vec<u8>| {
            let mut keys =
                rows::keys(view, Tree::Meta, KeyRange::prefix(&prefix), Direction::Ascending);
            keys.next().transpose().map(|key| key.is_some())
        };
        let own = ChangeRef { place, leaf: LOCAL_LEAF, hash: sealed.hash };
        Ok(self.refused.contains(&local.document)
            || has(Tree::Meta, &rows::unsealed_key(local.document, sealed.hash))?
            || has(Tree::Quarantine, &refused_key(own))?
            || has_any(rows::waiting_prefix(local.document, &[]))?
            || has_any(rows::twin_prefix(local.document))?)
    }

    /// Whether the batch can be read, holds the very same change, and counts.
    fn holds(&mut self, sealed: ChangeRef, local: &LocalChange) -> Result<bool, Error> {
        let batch = match self.sealed.0.take() {
            Some((place, batch)) if place == sealed.place => batch,
            _ => read_batch(self.store, sealed.place)?,
        };
        let header = batch.header();
        let (scope, epoch) = (header.scope, header.epoch);
        // A verdict about the one is a verdict about the other.
        let is_alike = header.author == self.me
            && (scope.collection, scope.partition)
                == (local.scope.collection, local.scope.partition)
            && epoch == local.epoch;
        let leaf = batch.leaves().get(usize::from(sealed.leaf));
        let is_same =
            leaf.is_some_and(|it| it.document == local.document && it.change == local.change);
        let aside = self.store.view().get(Tree::Meta, &rows::aside_key(&batch.id()));
        let is_aside = aside.map_err(|error| Error::store(&error))?.is_some();
        self.sealed.0 = Some((sealed.place, batch));
        Ok(is_alike && is_same && !is_aside)
    }
}
