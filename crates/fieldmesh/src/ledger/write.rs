//! How a local change becomes durable, and how changes become batches.

use std::sync::mpsc;

use fieldmesh_batch::Batch;
use fieldmesh_model::{DocumentId, Epoch, Moment, Scope};
use fieldmesh_replica::Input;
use fieldmesh_store::{AppendError, Place};

use crate::author::Unsealed;
use crate::entry::{Entry, LocalChange};
use crate::error::Error;
use crate::mesh::Call;

use super::{Desk, Ledger, Recent};

/// Documents whose recent changes are kept at hand until the view is known to have them.
const RECENT_MAX: usize = 4_096;

/// A change that is on its way to the disk.
pub(super) struct Pending {
    chain: (Epoch, Scope),
    document: DocumentId,
    at: Moment,
    change: Vec<u8>,
    done: mpsc::Receiver<Result<Vec<Place>, AppendError>>,
}

/// Batches that are on their way to the disk.
pub(super) struct Sealing {
    batches: Vec<Batch>,
    done: mpsc::Receiver<Result<Vec<Place>, AppendError>>,
}

impl Ledger {
    /// Hands a change to the store; wait for it with [`Ledger::finish`] once the desk is free.
    pub(super) fn submit(
        &self,
        desk: &mut Desk,
        document: DocumentId,
        scope: Scope,
        at: Moment,
        change: Vec<u8>,
    ) -> Pending {
        let epoch = desk.author.epoch();
        let local = LocalChange { document, scope, epoch, at, change: change.clone() };
        let (sender, done) = mpsc::channel();
        self.store.append_with(vec![Entry::Change(local).encode()], move |result| {
            // Whoever waits may have been stopped; the change is durable all the same.
            let _ = sender.send(result);
        });
        if desk.recent.len() >= RECENT_MAX {
            self.forget_applied(desk);
        }
        desk.recent
            .entry(document)
            .or_default()
            .push(Recent { change: change.clone(), place: None });
        Pending { chain: (epoch, scope), document, at, change, done }
    }

    /// Waits until the change is durable and lines it up for a batch.
    pub(super) fn finish(&self, pending: Pending) -> Result<Place, Error> {
        let Pending { chain, document, at, change, done } = pending;
        let result = done.recv().map_err(|_| Error::ShuttingDown)?;
        let mut desk = self.desk();
        let place = match result {
            Ok(places) => places.last().copied().ok_or(Error::ShuttingDown)?,
            Err(error) => {
                if let Some(recent) = desk.recent.get_mut(&document) {
                    recent.retain(|recent| recent.change != change);
                }
                return Err(Error::store(&error));
            }
        };
        desk.newest = desk.newest.max(Some(place));
        for recent in desk.recent.get_mut(&document).into_iter().flatten() {
            if recent.change == change {
                recent.place = Some(place);
            }
        }
        desk.author.add(chain, Unsealed { document, at, change });
        let is_full = desk.author.is_full(&chain);
        drop(desk);
        self.projector.wake();
        if is_full {
            self.seal(Some(chain))?;
        }
        Ok(place)
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
        let (sender, done) = mpsc::channel();
        // The desk is held: batches of one chain must lie in the log in the order of the chain.
        self.store.append_with(entries, move |result| {
            // Whoever waits may have been stopped; the batches are durable all the same.
            let _ = sender.send(result);
        });
        Ok(Some(Sealing { batches, done }))
    }

    /// Waits until the batches are durable and offers them; gives their number.
    pub(super) fn finish_seal(&self, sealing: Sealing) -> Result<usize, Error> {
        let Sealing { batches, done } = sealing;
        match done.recv().map_err(|_| Error::ShuttingDown)? {
            Ok(places) => {
                self.offer(&batches, &places);
                Ok(batches.len())
            }
            Err(error) => {
                let mut desk = self.desk();
                desk.author.unseal(batches);
                if matches!(error, AppendError::Io { may_survive: true, .. }) {
                    desk.author.start_epoch(Epoch(u64::from_be_bytes(crate::clock::random())));
                }
                Err(Error::store(&error))
            }
        }
    }

    /// Tells readers and peers of batches that are durable.
    pub(super) fn offer(&self, batches: &[Batch], places: &[Place]) {
        let located = batches.iter().map(Batch::id).zip(places.iter().copied());
        self.places.insert_all(located);
        let mut desk = self.desk();
        desk.newest = desk.newest.max(places.last().copied());
        drop(desk);
        self.projector.wake();
        if let Some(mesh) = self.mesh.get() {
            for batch in batches {
                let key = fieldmesh_trie::Key::from_bytes(batch.key_bytes());
                mesh.urgent(Call::Input(Input::LocalBatch { key }));
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
    }
}
