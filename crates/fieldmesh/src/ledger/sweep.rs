//! Taking what purges name out of this home: out of the log, the view, and what was set aside.
//!
//! What a crash leaves undone is found again: the fact that says it is done is written last.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Policy;
use fieldmesh_replica::{has_known_gaps, without_purged};
use fieldmesh_store::{Entry as LogEntry, Fate, Past, Place, RewriteError, Tree};

use crate::clock;
use crate::entry::{Entry, Fact, LocalChange, Sweep};
use crate::error::Error;
use crate::harm::{Harm, Harmed, Outcome};
use crate::keep;
use crate::projection::UNSWEPT_KEY;
use crate::purge::{self, Holds};
use crate::rows;

use super::Ledger;
use super::remaking::remaking_error;

/// What a search of the log for purged contents has found.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// The entries that hold some.
    pub(super) places: BTreeSet<Place>,
    /// Batches with gaps that no purge explains: whoever purged had no right to.
    gapped: Vec<Harm>,
}

impl Ledger {
    /// Whether the log may hold leaves that purges name.
    pub(crate) fn is_unswept(&self) -> Result<bool, Error> {
        let policy = self.policy();
        let Some(last) = self.last_sweep()? else { return Ok(policy.has_purges()) };
        let unswept: Option<Place> = rows::find(self.view(), Tree::Meta, UNSWEPT_KEY)?;
        Ok(last.purges != purge::digest(&policy) || unswept > Some(last.until))
    }

    /// That something is still to be erased, in words.
    pub(crate) fn sweep_note(&self) -> Result<Option<String>, Error> {
        let note = "a purge is under way: what was purged is not erased here so far";
        Ok(self.is_unswept()?.then(|| note.into()))
    }

    /// Erases from the log and the view what purges name, if there may be any of it. Blocks.
    ///
    /// # Errors
    ///
    /// Something is left, and the next try goes on with it.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        if !self.is_unswept()? {
            return Ok(());
        }
        // A backup that is being written, or another piece of upkeep, ends first.
        let _turn = self.upkeep.pause();
        let policy = self.policy();
        // What is applied from here on is judged by this policy or a later one.
        let view = self.projector.view_number();
        self.projector.turn_over()?;
        if let Some(remaking) = self.remaking() {
            return Err(remaking_error(remaking, "what was purged may be shown until then"));
        }
        let Some(until) = self.projector.position().noted else { return Ok(()) };
        let remains = self.remains(&policy, until)?;
        let digest = purge::digest(&policy);
        let is_new = self.last_sweep()?.is_none_or(|last| last.purges != digest);
        self.settle_lost(&policy)?;
        if is_new || !remains.places.is_empty() {
            self.erase(&policy, &remains.places)?;
            self.store.discard_quarantine().map_err(|error| Error::store(&error))?;
            self.store.compact_view().map_err(|error| Error::store(&error))?;
        }
        self.store.remove_merged().map_err(|error| Error::store(&error))?;
        if !remains.gapped.is_empty() {
            self.keep_harms(&remains.gapped)?;
        }
        self.check_view(view)?;
        tracing::info!(entries = remains.places.len(), "what was purged is erased from this home");
        self.remember(Fact::Swept(Sweep { purges: digest, until }))
    }

    /// As [`Ledger::sweep`]; what fails is tried again by whoever calls this next.
    pub(crate) fn try_sweep(&self) {
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "what was purged is not erased so far");
        }
    }

    fn last_sweep(&self) -> Result<Option<Sweep>, Error> {
        Ok(match self.recall(&Fact::Swept(Sweep::default()))? {
            Some(Fact::Swept(last)) => Some(last),
            _ => None,
        })
    }

    /// The entries up to `until` that hold what purges name.
    pub(super) fn remains(&self, policy: &Policy, until: Place) -> Result<Remains, Error> {
        let mut remains = Remains::default();
        let mut failed = None;
        let replayed = self.store.replay(None, |place, entry| {
            if place > until {
                return ControlFlow::Break(());
            }
            match self.note_remains(policy, place, &entry, &mut remains) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        replayed.map_err(|error| Error::store(&error))?;
        failed.map_or(Ok(remains), Err)
    }

    fn note_remains(
        &self,
        policy: &Policy,
        place: Place,
        entry: &LogEntry,
        remains: &mut Remains,
    ) -> Result<(), Error> {
        let is_it = match Entry::decode(entry) {
            Ok(Entry::Batch(bytes)) => {
                let Ok(batch) = Batch::decode(&bytes) else { return Ok(()) };
                let end = keep::end_of_scope(self.view(), batch.header().scope)?;
                if !has_known_gaps(policy, &batch) && end.is_none_or(|end| place >= end) {
                    remains.gapped.extend(self.as_lacking(place, &batch));
                }
                purge::holds(policy, &batch) == Holds::Named
            }
            Ok(Entry::Change(local)) => self.is_droppable(policy, &local)?,
            Ok(Entry::Fact(fact)) => without_shown(policy, &fact).is_some(),
            Ok(Entry::Item(_) | Entry::Note(_)) | Err(_) => false,
        };
        if is_it {
            remains.places.insert(place);
        }
        Ok(())
    }

    /// A batch that counts as damaged because of its gaps, unless another copy is in use.
    fn as_lacking(&self, place: Place, batch: &Batch) -> Option<Harm> {
        let (id, header) = (batch.id(), batch.header());
        let author = Some(header.author);
        let what = Harmed::Batch { id, scope: header.scope, author };
        let is_in_use = self.places.find(&id) == Some(place);
        let harm = Harm { place, found: clock::now(), what, outcome: Outcome::Open };
        is_in_use.then_some(harm)
    }

    /// Whether a change of this device belongs to a purged document and lies in a batch, which
    /// decides what becomes of it.
    fn is_droppable(&self, policy: &Policy, local: &LocalChange) -> Result<bool, Error> {
        if !policy.is_purged(&local.document) {
            return Ok(false);
        }
        let Ok(peeked) = fieldmesh_document::peek(&local.change) else { return Ok(false) };
        let Some(hash) = peeked.hash.first_chunk().copied() else { return Ok(false) };
        let key = rows::unsealed_key(local.document, hash);
        let open: Option<Place> = rows::find(self.view(), Tree::Meta, &key)?;
        Ok(open.is_none())
    }

    /// Nobody misses a change that is lost if its record is purged.
    fn settle_lost(&self, policy: &Policy) -> Result<(), Error> {
        let is_purged = |harm: &&Harm| match &harm.what {
            Harmed::Change(lost) => harm.is_open() && policy.is_purged(&lost.document),
            _ => false,
        };
        let harms = self.harms()?;
        let places: Vec<Place> = harms.iter().filter(is_purged).map(|harm| harm.place).collect();
        if places.is_empty() {
            return Ok(());
        }
        self.remember(Fact::Settled { places, at: clock::now() })
    }

    /// Writes those parts of the log anew that hold entries at `places`, and those with damage:
    /// nobody can say that nothing of the record is in what cannot be read.
    pub(super) fn erase(&self, policy: &Policy, places: &BTreeSet<Place>) -> Result<(), Error> {
        let damaged: BTreeSet<Place> = self.harms()?.iter().map(|harm| harm.place).collect();
        self.store.rotate(0);
        for segment in self.store.closed_segments().map_err(|error| Error::store(&error))? {
            let own = || Place(segment.places.start)..Place(segment.places.end);
            let is_named = places.range(own()).next().is_some();
            if !is_named && damaged.range(own()).next().is_none() {
                continue;
            }
            let rewritten = self.store.rewrite(segment.number, Past::Named, |place, entry| {
                if places.contains(&place) { erased(policy, entry) } else { Fate::Keep }
            });
            match rewritten {
                Ok(_) => {}
                Err(RewriteError::Closed) => return Err(Error::ShuttingDown),
                Err(error) if is_named => return Err(Error::store(&error)),
                // It may be readable tomorrow, and holds nothing that is known to be purged.
                Err(error) => tracing::warn!(%error, "a damaged part of the log stays as it is"),
            }
        }
        Ok(())
    }
}

/// What becomes of an entry that holds what purges name.
fn erased(policy: &Policy, entry: &LogEntry) -> Fate {
    match Entry::decode(entry) {
        Ok(Entry::Batch(bytes)) => match Batch::decode(&bytes) {
            Ok(batch) => {
                Fate::Replace(Entry::Batch(without_purged(policy, batch).encode()).encode())
            }
            Err(_) => Fate::Keep,
        },
        Ok(Entry::Change(_)) => Fate::Drop,
        Ok(Entry::Fact(fact)) => match without_shown(policy, &fact) {
            Some(fact) => Fate::Replace(Entry::Fact(fact).encode()),
            None => Fate::Keep,
        },
        Ok(Entry::Item(_) | Entry::Note(_)) | Err(_) => Fate::Keep,
    }
}

/// The fact without what it shows of purged records, if it shows any.
fn without_shown(policy: &Policy, fact: &Fact) -> Option<Fact> {
    let Fact::Harmed(harms) = fact else { return None };
    let mut harms = harms.clone();
    let forgotten =
        harms.iter_mut().filter_map(|it| it.forget_purged(|id| policy.is_purged(id)).then_some(()));
    (forgotten.count() > 0).then_some(Fact::Harmed(harms))
}
