//! Records that were purged: they are in no row, and what the log still has of them is noted.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fieldmesh_batch::Batch;
use fieldmesh_model::{DocumentId, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree, WriteSet};

use crate::changes::Source;
use crate::entry::Entry;
use crate::error::Error;
use crate::harm;
use crate::keep;
use crate::purge::{self, Holds};
use crate::rows::{self, DocumentRow, LOCAL_LEAF};

use super::touched::Work;
use super::{Projection, leaves};

/// Where the view keeps which purged documents it has left out, in [`Tree::Meta`].
const PURGED_KEY: &[u8] = b"purged";
/// Where it keeps the last entry that held a purged leaf when it was applied.
pub(crate) const UNSWEPT_KEY: &[u8] = b"unswept";
/// Where it keeps the last entry that held a leaf of a purged document that no purge named.
pub(crate) const UNNAMED_KEY: &[u8] = b"unnamed";

/// What this step has seen in the log of purged documents.
#[derive(Debug, Default)]
pub(super) struct Remains {
    unswept: Option<Place>,
    unnamed: Option<Place>,
}

impl Remains {
    pub(super) fn write(&self, writes: &mut WriteSet) {
        for (key, place) in [(UNSWEPT_KEY, self.unswept), (UNNAMED_KEY, self.unnamed)] {
            if let Some(place) = place {
                writes.put(Tree::Meta, key, rows::encode(&place));
            }
        }
    }
}

impl Projection<'_> {
    /// Notes whether the batch at `place` holds anything of a purged document.
    pub(super) fn note_remains(&mut self, place: Place, batch: &Batch) {
        match purge::holds(&self.sources.policy, batch) {
            Holds::Nothing => {}
            Holds::Named => self.remains.unswept = Some(place),
            Holds::Unnamed => self.remains.unnamed = Some(place),
        }
    }

    /// Notes that the entry at `place`, which only this device has, holds something of a purged
    /// document.
    pub(super) fn note_local_remains(&mut self, place: Place, is_purged: bool) {
        if is_purged {
            self.remains.unswept = Some(place);
        }
    }

    /// Takes documents out that the policy purges and the view still shows.
    ///
    /// Gives whether there are any: the policy may change after the item that changes it was read.
    pub(crate) fn repurge(&mut self) -> Result<bool, Error> {
        if self.sources.forward_only || !self.sources.reach.has_records() {
            return Ok(false);
        }
        let before: BTreeSet<DocumentId> =
            rows::find(self.view, Tree::Meta, PURGED_KEY)?.unwrap_or_default();
        let after: BTreeSet<DocumentId> = self.sources.policy.purged_documents().collect();
        if before == after {
            return Ok(false);
        }
        for id in after.difference(&before) {
            self.take_out(*id)?;
        }
        if !after.is_subset(&before) {
            self.note_vanished();
        }
        // Whoever purged them was revoked, and with it all that was said since.
        let back: BTreeSet<DocumentId> = before.difference(&after).copied().collect();
        if !back.is_empty() {
            self.put_back(&back)?;
        }
        self.writes.put(Tree::Meta, PURGED_KEY, rows::encode(&after));
        Ok(true)
    }

    fn take_out(&mut self, id: DocumentId) -> Result<(), Error> {
        let row: Option<DocumentRow> = rows::find(self.view, Tree::Document, id.as_bytes())?;
        let scope = row.map_or_else(Scope::default, |row| row.scope);
        self.documents.entry(id).or_insert_with(|| Work::new(id, scope)).is_remade = true;
        let range = KeyRange::prefix(&rows::twin_prefix(id));
        for key in rows::keys(self.view, Tree::Meta, range, Direction::Ascending) {
            self.writes.delete(Tree::Meta, key?);
        }
        for mut harm in harm::all(self.view)? {
            if harm.forget_purged(|lost| *lost == id) {
                self.damage.keep(harm);
            }
        }
        Ok(())
    }

    /// Whether what lies at `place` is of a month that was let go later, and so is dead.
    pub(super) fn is_let_go(&self, place: Place, scope: Scope) -> Result<bool, Error> {
        Ok(keep::end_of_scope(self.view, scope)?.is_some_and(|end| place < end))
    }

    /// Has documents made from whatever the log still holds of them.
    fn put_back(&mut self, ids: &BTreeSet<DocumentId>) -> Result<(), Error> {
        let (store, mut failed) = (self.sources.store, None);
        let replayed = store.replay(None, |place, entry| {
            match Entry::decode(&entry) {
                Ok(Entry::Batch(bytes)) => {
                    let Ok(batch) = Batch::decode(&bytes) else { return ControlFlow::Continue(()) };
                    match self.is_let_go(place, batch.header().scope) {
                        Ok(false) => {}
                        Ok(true) => return ControlFlow::Continue(()),
                        Err(error) => {
                            failed = Some(error);
                            return ControlFlow::Break(());
                        }
                    }
                    for (index, leaf) in leaves(&batch).filter(|(_, it)| ids.contains(&it.document))
                    {
                        let source = Source::of_leaf(&batch, leaf);
                        let scope = batch.header().scope;
                        self.arrive(leaf.document, scope, (place, index), source);
                    }
                }
                Ok(Entry::Change(local)) if ids.contains(&local.document) => {
                    let (id, scope) = (local.document, local.scope);
                    let source = Source::of_local(local, self.sources.me);
                    self.arrive(id, scope, (place, LOCAL_LEAF), source);
                }
                Ok(Entry::Item(_) | Entry::Change(_) | Entry::Fact(_) | Entry::Note(_))
                | Err(_) => {}
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        failed.map_or(Ok(()), Err)?;
        for id in ids {
            if let Some(work) = self.documents.get_mut(id) {
                work.is_remade = true;
            }
        }
        Ok(())
    }
}
