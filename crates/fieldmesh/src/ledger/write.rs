//! How a local change becomes durable, and how changes become batches.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use fieldmesh_batch::Batch;
use fieldmesh_document::Document;
use fieldmesh_model::{Epoch, Scope};
use fieldmesh_replica::{Held, Input};
use fieldmesh_store::{AppendError, Appending, Packed, Place};

use crate::author::Unsealed;
use crate::entry::{Entry, LocalChange};
use crate::error::Error;
use crate::made::{Made, MadeOrigin};
use crate::mesh::Call;
use crate::rows::RecordRow;
use crate::schema;

use super::{Desk, Ledger, Recent};

/// How often a thread looks whether batches that another one seals are on disk.
const IN_FLIGHT_POLL: Duration = Duration::from_millis(2);
/// Documents whose recent changes are kept at hand until the view is known to have them.
const RECENT_MAX: usize = 4_096;

/// A change that is on its way to the disk.
pub(super) struct Pending {
    chain: (Epoch, Scope),
    change: Unsealed,
    appending: Appending,
}

/// Changes that are on their way to the disk, of which all arrive or none.
pub(super) struct PendingAll {
    changes: Vec<((Epoch, Scope), Unsealed)>,
    appending: Appending,
}

/// A change as it is handed to the store, and what the view takes from it.
pub(super) struct Written {
    epoch: Epoch,
    scope: Scope,
    change: Unsealed,
    record: RecordRow,
    packed: Packed,
    made: Option<([u8; 32], Made)>,
}

impl Written {
    /// How many bytes the change has, with the record that is kept beside it for the view.
    pub(super) fn size(&self) -> usize {
        let made = self.made.as_ref().map_or(0, |(_, made)| made.size());
        self.change.change.len() + made
    }

    /// The epoch by whose actor it was made, and the scope in which it travels.
    pub(super) fn chain(&self) -> (Epoch, Scope) {
        (self.epoch, self.scope)
    }
}

impl Pending {
    /// The bytes of the change.
    pub(super) fn change(&self) -> &[u8] {
        &self.change.change
    }
}

/// Batches that are on their way to the disk.
pub(super) struct Sealing {
    batches: Vec<Batch>,
    done: mpsc::Receiver<Result<Vec<Place>, AppendError>>,
}

impl Ledger {
    /// Leaves for the view what a document reads as with a change that has just been made.
    pub(super) fn note_made(
        &self,
        desk: &Desk,
        scope: Scope,
        document: &Document,
        record: &RecordRow,
    ) {
        if let Some((hash, made)) = self.made(desk.author.epoch(), scope, document, record) {
            self.projector.made().add(hash, made);
        }
    }

    fn made(
        &self,
        epoch: Epoch,
        scope: Scope,
        document: &Document,
        record: &RecordRow,
    ) -> Option<([u8; 32], Made)> {
        // The view may read the tenant's own collections by an earlier schema for a while.
        if schema::is_foreign(scope.collection) {
            return None;
        }
        let origin = MadeOrigin { document: document.id(), epoch, scope, user: self.user() };
        let [hash] = document.heads()[..] else { return None };
        let others = document.changes().into_iter().filter(|change| *change != hash);
        let starts = others.filter_map(|change| change.first_chunk().copied());
        Some((hash, Made::new(origin, starts.collect(), record)))
    }

    /// Fails where nothing is left of what this store is granted. Asked before the first change of a
    /// request is lined up: one that was refused behind that would be missing below those that
    /// build on it.
    pub(super) fn check_quota(&self) -> Result<(), Error> {
        self.store.quota().admit().map_err(|error| Error::append(&error))
    }

    /// Makes a change ready for the store: all but the order, which alone needs the desk.
    pub(super) fn write_out(
        &self,
        epoch: Epoch,
        scope: Scope,
        (document, record): (&Document, RecordRow),
        change: Unsealed,
    ) -> Result<Written, Error> {
        let packed = self.pack(epoch, scope, &change)?;
        let made = self.made(epoch, scope, document, &record);
        Ok(Written { epoch, scope, change, record, packed, made })
    }

    fn pack(&self, epoch: Epoch, scope: Scope, change: &Unsealed) -> Result<Packed, Error> {
        let Unsealed { document, at, ref change, .. } = *change;
        let local = LocalChange { document, scope, epoch, at, change: change.clone() };
        self.store.pack(Entry::Change(local).encode()).map_err(|error| Error::store(&error))
    }

    /// Hands such a change to the store, by the epoch that the desk has.
    pub(super) fn submit_written(&self, desk: &mut Desk, written: Written) -> (RecordRow, Pending) {
        let Written { epoch, scope, change, record, packed, made } = written;
        if let Some((hash, made)) = made {
            self.projector.made().add(hash, made);
        }
        (record, self.line_up(desk, (epoch, scope), change, packed))
    }

    /// Hands changes to the store of which a crash leaves all or none; wait for them with
    /// [`Ledger::finish_all`] once the desk is free.
    pub(super) fn submit_all(&self, desk: &mut Desk, all: Vec<Written>) -> PendingAll {
        let (mut changes, mut entries) = (Vec::with_capacity(all.len()), Vec::new());
        for Written { epoch, scope, change, packed, made, .. } in all {
            if let Some((hash, made)) = made {
                self.projector.made().add(hash, made);
            }
            self.note_recent(desk, &change);
            changes.push(((epoch, scope), change));
            entries.push(packed);
        }
        PendingAll { changes, appending: self.store.append_together(entries) }
    }

    /// Hands a change to the store; wait for it with [`Ledger::finish`] once the desk is free.
    pub(super) fn submit(
        &self,
        desk: &mut Desk,
        scope: Scope,
        change: Unsealed,
    ) -> Result<Pending, Error> {
        let epoch = desk.author.epoch();
        self.submit_in(desk, epoch, scope, change)
    }

    /// As [`Self::submit`], by the actor of `epoch`.
    pub(super) fn submit_in(
        &self,
        desk: &mut Desk,
        epoch: Epoch,
        scope: Scope,
        change: Unsealed,
    ) -> Result<Pending, Error> {
        let packed = self.pack(epoch, scope, &change)?;
        Ok(self.line_up(desk, (epoch, scope), change, packed))
    }

    fn line_up(
        &self,
        desk: &mut Desk,
        chain: (Epoch, Scope),
        change: Unsealed,
        packed: Packed,
    ) -> Pending {
        let appending = self.store.append_later(packed);
        self.note_recent(desk, &change);
        Pending { chain, change, appending }
    }

    /// Keeps a change at hand until the view has it.
    fn note_recent(&self, desk: &mut Desk, change: &Unsealed) {
        if desk.recent.len() >= RECENT_MAX.max(2 * desk.recent_kept) {
            self.forget_applied(desk);
        }
        let recent = Recent { change: change.change.clone(), place: None };
        desk.recent.entry(change.document).or_default().push(recent);
    }

    /// Waits until the change is durable and lines it up for a batch.
    pub(super) fn finish(&self, pending: Pending) -> Result<Place, Error> {
        let Pending { chain, change, appending } = pending;
        let last = self.finish_all(PendingAll { changes: vec![(chain, change)], appending })?;
        last.ok_or(Error::ShuttingDown)
    }

    /// Waits until all of the changes are durable and lines them up for batches; gives the place of
    /// the last. None of them was written where this fails.
    pub(super) fn finish_all(&self, pending: PendingAll) -> Result<Option<Place>, Error> {
        let PendingAll { changes, appending } = pending;
        let result = appending.wait();
        let mut desk = self.desk();
        let places = match result {
            Ok(places) => places,
            Err(error) => {
                for (_, change) in &changes {
                    desk.forget(change.document, &change.change);
                }
                drop(desk);
                self.distrust(&error);
                return Err(self.not_written(&error));
            }
        };
        let last = places.last().copied();
        desk.newest = desk.newest.max(last);
        let mut due = BTreeSet::new();
        for ((chain, change), place) in changes.into_iter().zip(places) {
            for recent in desk.recent.get_mut(&change.document).into_iter().flatten() {
                if recent.change == change.change {
                    recent.place = Some(place);
                }
            }
            let is_critical = change.priority.is_critical();
            desk.author.add(chain, change);
            if is_critical || desk.author.is_full(&chain) {
                due.insert(chain);
            }
        }
        drop(desk);
        self.projector.wake();
        for chain in due {
            if let Err(error) = self.seal(Some(chain)) {
                // The change itself is on disk, and whoever recorded it must not record it again.
                tracing::error!(%error, "a batch could not be sealed; it is tried again");
            }
        }
        Ok(last)
    }

    /// Why nothing was recorded; on a full disk also what may make room.
    fn not_written(&self, error: &AppendError) -> Error {
        let failed = Error::append(error);
        match (failed, error) {
            (Error::Full { reason }, AppendError::DiskFull { .. }) if self.may_free() => {
                let hint = "old months that are safe elsewhere can go: `fieldmesh evict`";
                Error::Full { reason: format!("{reason}; {hint}") }
            }
            (failed, _) => failed,
        }
    }

    /// Seals what waits, or one chain of it, and offers the batches once they are durable.
    ///
    /// Gives the number of batches.
    pub(crate) fn seal(&self, only: Option<(Epoch, Scope)>) -> Result<usize, Error> {
        let started = {
            let mut desk = self.desk();
            self.start_seal(&mut desk, only)?
        };
        started.map_or(Ok(0), |sealing| self.finish_seal(sealing))
    }

    /// Seals and hands the batches to the store; wait for them with [`Ledger::finish_seal`].
    pub(super) fn start_seal(
        &self,
        desk: &mut Desk,
        only: Option<(Epoch, Scope)>,
    ) -> Result<Option<Sealing>, Error> {
        let batches = desk.author.seal(only).map_err(|error| Error::store(&error))?;
        if batches.is_empty() {
            return Ok(None);
        }
        let entries =
            batches.iter().map(|batch| Entry::Batch(batch.encode()).encode()).collect::<Vec<_>>();
        desk.sealing += 1;
        let (sender, done) = mpsc::channel();
        // The desk is held: batches of one chain must lie in the log in the order of the chain.
        self.store.append_hand_over(entries, move |result| {
            // Whoever waits may have been stopped; the batches are durable all the same.
            let _ = sender.send(result);
        });
        Ok(Some(Sealing { batches, done }))
    }

    /// Waits until the batches are durable and offers them; gives their number.
    pub(super) fn finish_seal(&self, sealing: Sealing) -> Result<usize, Error> {
        let Sealing { batches, done } = sealing;
        let result = done.recv();
        let error = match result {
            Ok(Ok(places)) => {
                self.offer(&batches, &places);
                self.desk().sealing -= 1;
                return Ok(batches.len());
            }
            Ok(Err(error)) => error,
            Err(_) => AppendError::Closed,
        };
        let mut desk = self.desk();
        desk.author.unseal(batches);
        desk.sealing -= 1;
        drop(desk);
        self.distrust(&error);
        Err(Error::append(&error))
    }

    /// Seals until nothing waits and nothing is on its way, whoever has begun it.
    pub(crate) fn seal_all(&self) -> Result<(), Error> {
        loop {
            self.seal(None)?;
            let desk = self.desk();
            if desk.sealing == 0 && desk.author.unsealed() == 0 {
                return Ok(());
            }
            drop(desk);
            std::thread::sleep(IN_FLIGHT_POLL);
        }
    }

    /// Starts a new epoch if what could not be written may be on the disk all the same: its place
    /// in a chain must not be given to anything else.
    fn distrust(&self, error: &AppendError) {
        if matches!(error, AppendError::Io { may_survive: true, .. })
            && let Err(error) = self.start_epoch()
        {
            tracing::error!(%error, "no new epoch could be written");
        }
    }

    /// Tells readers and peers of batches that are durable.
    pub(super) fn offer(&self, batches: &[Batch], places: &[Place]) {
        let located = batches.iter().map(Batch::id).zip(places.iter().copied());
        self.places.insert_all(located);
        let mut desk = self.desk();
        desk.newest = desk.newest.max(places.last().copied());
        drop(desk);
        self.unproven.sealed(batches);
        self.projector.wake();
        if let Some(mesh) = self.mesh.get() {
            for batch in batches {
                mesh.urgent(Call::Input(Input::LocalBatch { held: Held::of(batch) }));
            }
        }
    }

    /// Forgets recent changes that the view has.
    fn forget_applied(&self, desk: &mut Desk) {
        let applied = self.projector.applied();
        desk.recent.retain(|_, recents| {
            recents.retain(|recent| recent.place.is_none_or(|place| Some(place) > applied));
            !recents.is_empty()
        });
        desk.recent_kept = desk.recent.len();
    }
}
