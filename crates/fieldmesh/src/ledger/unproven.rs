//! What was recorded here and no relay has signed for.
//!
//! The batches are kept by id from the first time somebody asks, so that asking again costs what
//! has changed: a batch that was sealed is added, and a relay's receipt has only those looked at that
//! are left. Only where receipts became void are all of this device's batches looked at again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fieldmesh_batch::Batch;
use fieldmesh_model::BatchId;
use fieldmesh_store::{Direction, KeyRange, Tree};
use fieldmesh_trie::Key;

use crate::error::Error;
use crate::mesh::ProofMarks;
use crate::places::read_batch;
use crate::rows::{self, LeafRow};

use super::Ledger;

/// The batches of this device that no relay is proven to hold.
#[derive(Default)]
pub(super) struct Unproven(Mutex<Option<Kept>>);

struct Kept {
    marks: ProofMarks,
    /// How many changes each has.
    batches: BTreeMap<BatchId, u64>,
}

impl Unproven {
    /// Notes batches that were sealed here.
    pub(super) fn sealed(&self, batches: &[Batch]) {
        if let Some(kept) = &mut *self.0.lock().expect("no holder of this lock panics") {
            kept.batches.extend(batches.iter().map(|it| (it.id(), it.leaves().len() as u64)));
        }
    }
}

impl Ledger {
    /// How many changes of this device no relay's receipt covers. Blocks.
    pub(crate) fn unproven(&self) -> Result<u64, Error> {
        let unsealed = self.unsealed().0 as u64;
        let marks = self.mesh.get().map(crate::mesh::Mesh::proof_marks).unwrap_or_default();
        let mut slot = self.unproven.0.lock().expect("no holder of this lock panics");
        // What can fail comes first: what is known so far stays then.
        let is_whole = slot.as_ref().is_some_and(|kept| kept.marks.voided == marks.voided);
        let own = if is_whole { Vec::new() } else { self.own_batches()? };
        let kept = match slot.take() {
            Some(kept) if kept.marks == marks => kept,
            before => {
                let mut batches = before.map(|kept| kept.batches).unwrap_or_default();
                for id in own {
                    batches.entry(id).or_insert(0);
                }
                let mut batches = self.without_proven(batches);
                for (id, changes) in batches.iter_mut().filter(|(_, changes)| **changes == 0) {
                    *changes = self.changes_of(id);
                }
                Kept { marks, batches }
            }
        };
        let sealed: u64 = kept.batches.values().sum();
        *slot = Some(kept);
        Ok(sealed + unsealed)
    }

    fn without_proven(&self, mut batches: BTreeMap<BatchId, u64>) -> BTreeMap<BatchId, u64> {
        let proofs = self.proofs(batches.keys().copied());
        batches.retain(|id, _| proofs.get(id).is_none_or(|proof| !proof.is_safe));
        batches
    }

    fn own_batches(&self) -> Result<Vec<BatchId>, Error> {
        // A batch that was sealed before anybody asked may not be in the view so far.
        self.catch_up_noted()?;
        let mut own = Vec::new();
        for row in rows::scan(self.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Ok(key) = <[u8; 46]>::try_from(key) else { continue };
            let row: LeafRow = rows::decode(&value)?;
            if row.author == self.device() {
                own.push(BatchId::from_bytes(Key::from_bytes(key).id()));
            }
        }
        Ok(own)
    }

    /// How many changes a batch has; one that cannot be read has at least one.
    fn changes_of(&self, id: &BatchId) -> u64 {
        let place = self.places.find(id);
        let batch = place.and_then(|place| read_batch(&self.store, place).ok());
        batch.map_or(1, |batch| batch.leaves().len() as u64)
    }
}
