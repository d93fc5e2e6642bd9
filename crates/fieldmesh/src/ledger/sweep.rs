//! Taking what purges name out of this home: out of the log, the view, and what was set aside.
//!
//! What a crash leaves undone is found again: the fact that says it is done is written last.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Policy;
use fieldmesh_replica::{has_known_gaps, without_purged};
use fieldmesh_store::{Damage, Entry as LogEntry, Fate, Kept, Past, Place, RewriteError, Tree};

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
        let is_new = last.purges != purge::digest(&policy) || unswept > Some(last.until);
        Ok(is_new || (policy.has_purges() && self.store.has_returned()))
    }

    /// That something is still to be erased, in words.
    pub(crate) fn sweep_note(&self) -> Result<Option<String>, Error> {
        let note = "a purge is under way: what was purged is not erased here so far";
        Ok(if self.is_unswept()? { Some(note.into()) } else { self.kept_beside() })
    }

    /// What keeps anybody from saying that all is erased which was purged, and what to do about it:
    /// a file that the store does not write any more and whose entries are not all in the log, or
    /// one of the log that cannot be read at all.
    pub(super) fn kept_beside(&self) -> Option<String> {
        let leftover = self.store.kept_leftovers().into_iter().next();
        let note = leftover.map(|(name, why)| note_of_kept(&name, why));
        let note = note.or_else(|| self.headless().map(note_of_headless))?;
        self.policy().has_purges().then_some(note)
    }

    /// A segment of the log of which nothing can be decrypted, as the open found.
    fn headless(&self) -> Option<u64> {
        let bad = &self.store.report().bad_frames;
        bad.iter().find(|bad| bad.damage == Damage::SegmentHead).map(|bad| bad.segment)
    }

    /// Erases from the log and the view what purges name, if there may be any of it. Blocks.
    ///
    /// # Errors
    ///
    /// Something is left, and the next try goes on with it.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        self.sweep_log()?;
        self.kept_beside().map_or(Ok(()), |reason| Err(Error::Store { reason }))
    }

    fn sweep_log(&self) -> Result<(), Error> {
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
        let mut is_all_read = false;
        if is_new || self.store.has_returned() || !remains.places.is_empty() {
            is_all_read = self.erase(&policy, &remains.places)?;
            self.store.discard_quarantine().map_err(|error| Error::store(&error))?;
            self.store.compact_view().map_err(|error| Error::store(&error))?;
        }
        self.store.remove_merged().map_err(|error| Error::store(&error))?;
        if !remains.gapped.is_empty() {
            self.keep_harms(&remains.gapped)?;
        }
        self.check_view(view)?;
        tracing::info!(entries = remains.places.len(), "what was purged is erased from this home");
        self.remember(Fact::Swept(Sweep { purges: digest, until }))?;
        if is_all_read {
            self.store.settle_returned().map_err(|error| Error::store(&error))?;
        }
        Ok(())
    }

    /// Erases what can be erased; what fails is tried again by whoever calls this next.
    pub(crate) fn try_sweep(&self) {
        if let Err(error) = self.sweep_log() {
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
    /// nobody can say that nothing of the record is in what cannot be read. Says whether the disk
    /// gave all of it; what it did not is looked at when the home is opened again.
    pub(super) fn erase(&self, policy: &Policy, places: &BTreeSet<Place>) -> Result<bool, Error> {
        let mut is_all_read = self.headless().is_none();
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
                Err(error) => {
                    tracing::warn!(%error, "a damaged part of the log stays as it is");
                    is_all_read = false;
                }
            }
        }
        if !is_all_read {
            self.store.look_again().map_err(|error| Error::store(&error))?;
        }
        Ok(is_all_read)
    }
}

/// What is said of a file that is kept, and may hold what was purged.
pub(super) fn note_of_kept(name: &str, why: Kept) -> String {
    match why {
        Kept::Other => format!(
            "what was purged may lie in store/{name}, encrypted: the log goes on without that \
             file, which is kept because its entries are not all in the log; once nobody needs it, \
             remove it while no fieldmesh runs"
        ),
        Kept::Needed => format!(
            "what was purged may lie in store/{name}, encrypted: the log is damaged, or the disk \
             fails, and that file may have the only whole copy of some of it; do not remove it, \
             but make room on the disk or mend it, and start fieldmesh again"
        ),
    }
}

/// What is said of a part of the log that may hold what was purged, and that nobody can look into.
fn note_of_headless(segment: u64) -> String {
    format!(
        "what was purged may lie in segment {segment} of the log, encrypted: the beginning of that \
         file is damaged, so nobody can tell; once nobody needs it, remove it while no fieldmesh runs"
    )
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
