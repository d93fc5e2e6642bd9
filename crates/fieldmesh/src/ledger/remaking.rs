//! What may be done while records are made anew from the log.
//!
//! Whoever asks gets what is there and is told that it is not all, or waits for all of it. Nobody
//! writes about a record before everything that the log has of it is in the view: what others have
//! changed would be overwritten unseen.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fieldmesh_batch::Batch;
use fieldmesh_model::DocumentId;
use fieldmesh_store::Place;

use crate::api::Remaking;
use crate::entry::Entry;
use crate::error::Error;

use super::Ledger;

/// How long whoever wants to write waits before he is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The documents of which the log has more than was made of it when they were looked for.
#[derive(Debug, Default)]
pub(super) struct Unmade(Mutex<Option<Found>>);

#[derive(Debug, Default)]
struct Found {
    /// The starts of their ids' hashes: two that are alike cost a word of refusal.
    documents: BTreeSet<u64>,
    /// The last entry that was made into records when they were looked for first.
    from: Option<Place>,
    /// The last entry that was looked at.
    until: Option<Place>,
}

impl Ledger {
    /// How far the records have come, while they are made anew.
    pub(crate) fn remaking(&self) -> Option<Remaking> {
        self.projector.position().remaking(self.store.end())
    }

    /// As [`Ledger::settle`], but without waiting for records that are made anew: says whether they
    /// are, and so whether what is read from here on may be too little.
    pub(crate) fn settle_partly(&self) -> Result<Option<Remaking>, Error> {
        self.mend_view();
        match self.remaking() {
            Some(remaking) => Ok(Some(remaking)),
            None => self.settle().map(|()| None),
        }
    }

    /// As [`Ledger::settle`], but gives up where records are being made anew for longer than
    /// anybody waits; `reason` says why all of them are needed.
    pub(super) fn settle_soon(&self, reason: &str) -> Result<(), Error> {
        self.mend_view();
        if !self.projector.wait_made_briefly(PATIENCE)
            && let Some(remaking) = self.remaking()
        {
            return Err(remaking_error(remaking, reason));
        }
        self.settle()
    }

    /// Fails if `id` may be that of a record that is not made so far.
    pub(super) fn check_made(&self, id: DocumentId) -> Result<(), Error> {
        let is_unmade = self.is_unmade(id)?;
        match self.remaking().filter(|_| is_unmade) {
            Some(remaking) => Err(remaking_error(remaking, "this may be recorded already")),
            None => Ok(()),
        }
    }

    /// Whether the log has more of the record `id` than was made of it when this was asked first.
    pub(super) fn is_unmade(&self, id: DocumentId) -> Result<bool, Error> {
        let position = self.projector.position();
        let Some(made) = position.making else {
            // Nobody asks any more.
            *self.unmade.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(false);
        };
        let mut slot = self.unmade.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A view that broke meanwhile is made from farther back.
        if slot.as_ref().is_some_and(|found| made.0 < found.from) {
            *slot = None;
        }
        let begin = || Found { from: made.0, until: made.0, ..Found::default() };
        let found = slot.get_or_insert_with(begin);
        let replayed = self.store.replay(found.until, |place, entry| {
            found.until = Some(place);
            match Entry::decode(&entry) {
                Ok(Entry::Batch(bytes)) => {
                    let batch = Batch::decode(&bytes);
                    let leaves = batch.iter().flat_map(|batch| batch.leaves());
                    found.documents.extend(leaves.map(|leaf| short(&leaf.document)));
                }
                Ok(Entry::Change(local)) => {
                    found.documents.insert(short(&local.document));
                }
                Ok(Entry::Item(_) | Entry::Fact(_) | Entry::Note(_)) | Err(_) => {}
            }
            ControlFlow::Continue(())
        });
        replayed.map_err(|error| Error::store(&error))?;
        Ok(found.documents.contains(&short(&id)))
    }
}

/// That something has to wait for records that are made anew.
pub(super) fn remaking_error(remaking: Remaking, reason: &str) -> Error {
    Error::Remaking { percent: remaking.percent(), reason: reason.into() }
}

/// Enough of an id to tell it from a few million others.
fn short(id: &DocumentId) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("32 bytes have a first eight"))
}

#[cfg(test)]
mod tests;
