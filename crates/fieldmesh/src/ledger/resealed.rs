//! What lay in a lost batch of this device is sealed once more.
//!
//! Until the log is compacted a change lies in it twice: as it was recorded, and in the batch that
//! sealed it. Where the batch alone is damaged and nobody has confirmed to hold it, its changes go
//! into another one, as if they had waited until now. That one has a salt of its own, so it is never
//! the lost one again; whoever holds both has the same changes twice, which costs bytes alone.
//!
//! The lost batch stays listed: the view may not know all that was in it, and it is asked for as
//! before. Chains of earlier epochs are left alone where another home, or a batch that this one does
//! not remember, may have continued them: two batches at one place of a chain read as two homes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use fieldmesh_model::{DocumentId, Epoch, Scope};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::author::Unsealed;
use crate::backup::restore::RESTORED_MIN;
use crate::entry::{Entry, LocalChange};
use crate::error::Error;
use crate::harm::{Harm, Harmed};
use crate::rows::{self, ChangeRef, DocumentRow};

use super::written::ASIDE_MAX;
use super::{Ledger, stored_priority};

/// Changes that are in memory at a time.
const SEALED_AT_ONCE: usize = 1_024;

/// A document and the first bytes of the hash of a change of it.
type Named = (DocumentId, [u8; 8]);

impl Ledger {
    /// Seals once more, durably, what lay in lost batches of this device that nobody has confirmed
    /// to hold, as far as it can be read elsewhere in the log; gives how many changes that were.
    ///
    /// Each batch is looked for once, because all of the log is read for that. Blocks.
    pub(crate) fn seal_lost(&self) -> Result<usize, Error> {
        // While records are made anew nobody knows what the batches held.
        if self.remaking().is_some() {
            return Ok(0);
        }
        // Whoever asks meanwhile is to find it done.
        let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = self.lacking(&self.harms()?).unconfirmed;
        lost.retain(|place| !searched.contains(place));
        if lost.is_empty() {
            return Ok(0);
        }
        let count = self.seal_what_lay_at(&lost)?;
        searched.append(&mut lost);
        tracing::info!(count, "changes of lost batches were sealed once more");
        Ok(count)
    }

    fn seal_what_lay_at(&self, lost: &BTreeSet<Place>) -> Result<usize, Error> {
        self.catch_up()?;
        let found = self.places_of(self.changes_at(lost)?)?;
        for some in found.chunks(SEALED_AT_ONCE) {
            for chain in self.line_up_again(some)? {
                self.seal(Some(chain))?;
            }
        }
        self.catch_up()?;
        Ok(found.len())
    }

    /// The changes that the view has read in these batches, whether a record shows them or they
    /// wait for others.
    fn changes_at(&self, batches: &BTreeSet<Place>) -> Result<BTreeSet<Named>, Error> {
        let (policy, up) = (self.policy(), Direction::Ascending);
        let mut named = BTreeSet::new();
        for row in rows::scan(self.view(), Tree::Document, KeyRange::all(), up) {
            let (key, value) = row?;
            let Some(id) = rows::indexed_id(&key).filter(|id| !policy.is_purged(id)) else {
                continue;
            };
            let row: DocumentRow = rows::decode(&value)?;
            let here = row.changes.iter().filter(|it| batches.contains(&it.place));
            named.extend(here.map(|it| (id, it.hash)));
        }
        for row in rows::scan(self.view(), Tree::Meta, KeyRange::prefix(rows::WAITING_PREFIX), up) {
            let (key, value) = row?;
            let change: ChangeRef = rows::decode(&value)?;
            let id = rows::waiting_document(&key).filter(|id| !policy.is_purged(id));
            named
                .extend(id.filter(|_| batches.contains(&change.place)).map(|id| (id, change.hash)));
        }
        Ok(named)
    }

    /// Where these changes lie as they were recorded, in the order of the log, if their chain can go
    /// on.
    fn places_of(&self, mut wanted: BTreeSet<Named>) -> Result<Vec<Place>, Error> {
        let mut found = Vec::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let is_sure = self.is_sure_of_past()?;
        let epochs = self.present_epochs();
        let replayed = self.store.replay(None, |place, entry| {
            if let Ok(Entry::Change(local)) = Entry::decode(&entry)
                && (is_sure || epochs.contains(&local.epoch))
                && name_of(&local).is_some_and(|name| wanted.remove(&name))
            {
                found.push(place);
            }
            if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        replayed.map(|_| found).map_err(|error| Error::store(&error))
    }

    /// Whether this home knows every batch of its earlier epochs.
    fn is_sure_of_past(&self) -> Result<bool, Error> {
        let is_unknown = |harm: &Harm| harm.what == Harmed::Unknown;
        Ok(self.restores()? < RESTORED_MIN
            && self.seen.knows_all_lost(&self.store)?
            && !self.harms()?.iter().any(is_unknown))
    }

    /// The epochs whose chains nobody but this home continues.
    fn present_epochs(&self) -> BTreeSet<Epoch> {
        let author = &self.desk().author;
        let aside = (0..ASIDE_MAX).map(|number| author.aside_epoch(number));
        aside.chain([author.epoch()]).collect()
    }

    /// Has the changes at these places wait for a batch; gives the chains in which they do.
    fn line_up_again(&self, places: &[Place]) -> Result<BTreeSet<(Epoch, Scope)>, Error> {
        let mut waiting = Vec::with_capacity(places.len());
        for place in places {
            let entry = self.store.read(*place).map_err(|error| Error::store(&error))?;
            let Ok(Entry::Change(local)) = Entry::decode(&entry) else { continue };
            let priority = stored_priority(self.view(), &self.policy(), &local)?;
            let LocalChange { document, scope, epoch, at, change } = local;
            waiting.push(((epoch, scope), Unsealed { document, at, priority, change }));
        }
        let mut desk = self.desk();
        let mut chains = BTreeSet::new();
        for (chain, change) in waiting {
            chains.insert(chain);
            desk.author.add(chain, change);
        }
        Ok(chains)
    }
}

fn name_of(local: &LocalChange) -> Option<Named> {
    let peeked = fieldmesh_document::peek(&local.change).ok()?;
    Some((local.document, *peeked.hash.first_chunk()?))
}
