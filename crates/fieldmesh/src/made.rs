//! Changes that this process has made itself, each with the record as it read afterwards.
//!
//! Whatever comes from others or from the disk is judged. A change that was made here a moment ago
//! is its own judgement: the code that made it writes nothing that the gate refuses, and its hash
//! says that the log gave back the very bytes. So the thread that writes the view takes the record
//! from here, where the change arrives as it was made: of the same author, epoch and scope, and on
//! exactly what it builds on. In debug builds it is judged all the same and both have to agree.
//!
//! Nothing of this outlives the process: after a start everything is judged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fieldmesh_model::{DocumentId, Epoch, Scope, UserId};

use crate::rows::{self, ChangeRef, RecordRow};

/// Changes that are remembered; what is forgotten is judged.
const CHANGES_MAX: usize = 16_384;
/// The bytes of their records.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A change that this device made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) origin: MadeOrigin,
    /// The starts of the hashes of all other changes that the document then had, sorted.
    pub(crate) builds_on: Vec<[u8; 8]>,
    /// The record with it, encoded: it may wait for a while.
    record: Vec<u8>,
    /// Where the view has it from, if it has it.
    pub(crate) listed: Option<ChangeRef>,
}

/// As what a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeOrigin {
    pub(crate) document: DocumentId,
    pub(crate) epoch: Epoch,
    pub(crate) scope: Scope,
    pub(crate) user: UserId,
}

impl Made {
    /// A change after which a document reads as `record`.
    pub(crate) fn new(origin: MadeOrigin, mut builds_on: Vec<[u8; 8]>, record: &RecordRow) -> Self {
        builds_on.sort_unstable();
        Self { origin, builds_on, record: rows::encode(record), listed: None }
    }

    /// The bytes of the record with it.
    pub(crate) fn size(&self) -> usize {
        self.record.len()
    }

    /// The record with it.
    pub(crate) fn record(&self) -> Option<RecordRow> {
        rows::decode(&self.record).ok()
    }
}

/// The changes made last, by their hashes.
#[derive(Default)]
pub(crate) struct MadeChanges {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    changes: BTreeMap<[u8; 32], Made>,
    /// In the order in which they were made, also those that were taken out.
    order: VecDeque<[u8; 32]>,
    bytes: usize,
}

impl State {
    fn remove(&mut self, hash: &[u8; 32]) {
        if let Some(made) = self.changes.remove(hash) {
            self.bytes -= made.record.len();
        }
    }
}

impl MadeChanges {
    /// Remembers a change.
    pub(crate) fn add(&self, hash: [u8; 32], made: Made) {
        let mut state = self.lock();
        state.remove(&hash);
        state.bytes += made.record.len();
        state.changes.insert(hash, made);
        state.order.push_back(hash);
        while state.order.len() > CHANGES_MAX || state.bytes > BYTES_MAX {
            let Some(oldest) = state.order.pop_front() else { break };
            state.remove(&oldest);
        }
    }

    /// The change with this hash, if it was made here and as what it is taken for.
    pub(crate) fn find(&self, hash: &[u8; 32], origin: &MadeOrigin) -> Option<Made> {
        self.lock().changes.get(hash).filter(|made| made.origin == *origin).cloned()
    }

    /// The view has a change from here; it may come once more, in a batch.
    pub(crate) fn list(&self, hash: &[u8; 32], reference: ChangeRef) {
        let state = &mut *self.lock();
        if let Some(made) = state.changes.get_mut(hash) {
            made.listed = Some(reference);
            state.bytes -= std::mem::take(&mut made.record).len();
        }
    }

    /// Forgets a change that comes no more.
    pub(crate) fn remove(&self, hash: &[u8; 32]) {
        self.lock().remove(hash);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::{DeviceId, Fields, Moment};

    use super::*;

    fn record() -> RecordRow {
        RecordRow {
            fields: Fields::new(),
            created_by: UserId::default(),
            created_at: Moment::ZERO,
            updated_at: Moment::ZERO,
            device: DeviceId::default(),
            deleted: false,
            conflicts: Vec::new(),
            name: fieldmesh_model::Value::Null,
            made_for: None,
            approval: None,
        }
    }

    fn hash(number: usize) -> [u8; 32] {
        *blake3::hash(&number.to_be_bytes()).as_bytes()
    }

    #[test]
    fn a_device_that_records_for_days_without_a_batch_does_not_fill_its_memory() {
        let changes = MadeChanges::default();
        let origin = MadeOrigin {
            document: DocumentId::from_bytes([1; 16]),
            epoch: Epoch(1),
            scope: Scope::default(),
            user: UserId::default(),
        };
        let count = 2 * CHANGES_MAX;
        for number in 0..count {
            changes.add(hash(number), Made::new(origin, Vec::new(), &record()));
        }
        assert_eq!(changes.find(&hash(0), &origin), None);
        let newest = changes.find(&hash(count - 1), &origin).unwrap();
        assert_eq!(newest.record(), Some(record()));
        let state = changes.lock();
        assert!(state.changes.len() <= CHANGES_MAX && state.bytes <= BYTES_MAX);
        assert_eq!(
            state.bytes,
            state.changes.values().map(|made| made.record.len()).sum::<usize>()
        );
    }
}
