//! Refused batches that another policy could allow, kept in memory for when it comes.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, DeviceId};
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use crate::limits::WAITING_BYTES_MAX;

/// Refused batches, one copy a peer: the signature of an unknown author cannot be checked, so a bad
/// copy must not stand in for a good one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    copies: BTreeMap<(BatchId, DeviceId), Copy>,
    bytes: usize,
}

/// One batch that waits.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) link: LinkId,
    pub(super) peer: DeviceId,
    pub(super) batch: Batch,
    pub(super) length: usize,
}

impl Waiting {
    /// Keeps the copy if there is room; else it has to be sent again.
    pub(super) fn keep(&mut self, copy: Copy) {
        if self.bytes + copy.length > WAITING_BYTES_MAX {
            return;
        }
        self.bytes += copy.length;
        if let Some(before) = self.copies.insert((copy.batch.id(), copy.peer), copy) {
            self.bytes -= before.length;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.copies.len()
    }

    /// Takes out what `is_allowed` allows.
    pub(super) fn release(&mut self, is_allowed: impl Fn(&Batch) -> bool) -> Vec<Copy> {
        let copies = std::mem::take(&mut self.copies);
        let (released, kept): (Vec<_>, Vec<_>) =
            copies.into_iter().partition(|(_, copy)| is_allowed(&copy.batch));
        self.copies = kept.into_iter().collect();
        self.bytes = self.copies.values().map(|copy| copy.length).sum();
        released.into_iter().map(|(_, copy)| copy).collect()
    }

    /// The keys of what still waits.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.copies.values().map(|copy| Key::from_bytes(copy.batch.key_bytes())).collect()
    }
}
