//! Refused batches that another policy could allow, kept in memory for when it comes.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_model::BatchId;
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use crate::limits::WAITING_BYTES_MAX;

/// Refused batches, each copy by itself: the signature of an unknown author cannot be checked, so
/// a bad copy must not stand in for a good one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batches: BTreeMap<(BatchId, LinkId), (Batch, usize)>,
    bytes: usize,
}

impl Waiting {
    /// Keeps the batch of `length` bytes if there is room; else it has to be sent again.
    pub(super) fn keep(&mut self, link: LinkId, batch: Batch, length: usize) {
        if self.bytes + length > WAITING_BYTES_MAX {
            return;
        }
        if let Some((_, before)) = self.batches.insert((batch.id(), link), (batch, length)) {
            self.bytes -= before;
        }
        self.bytes += length;
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Takes out what `is_allowed` allows.
    pub(super) fn release(&mut self, is_allowed: impl Fn(&Batch) -> bool) -> Vec<(LinkId, Batch)> {
        let mut released = Vec::new();
        let bytes = &mut self.bytes;
        self.batches.retain(|(_, link), (batch, length)| {
            let is_kept = !is_allowed(batch);
            if !is_kept {
                *bytes -= *length;
                released.push((*link, batch.clone()));
            }
            is_kept
        });
        released
    }

    /// The keys of what still waits.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.batches.values().map(|(batch, _)| Key::from_bytes(batch.key_bytes())).collect()
    }
}
