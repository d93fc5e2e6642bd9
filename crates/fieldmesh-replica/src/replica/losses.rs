//! Batches that the disk has lost after they were durable.
//!
//! They leave the set, so that the next comparison with any peer brings them again by their names,
//! and stay known: what leads to them goes on counting as it did, and a batch of this device's own
//! that comes back is no surprise. What this store has signed for may be among them, so it counts
//! itself as restored before it signs again.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{BatchId, DeviceId, Moment};
use fieldmesh_session::Input as Step;

use super::Replica;
use crate::index::{Mark, Spot};
use crate::interface::Output;

impl Replica {
    /// Knows of durable batches that the disk lost before this run: peers are asked for them.
    #[must_use]
    pub fn with_lost(mut self, ids: impl IntoIterator<Item = BatchId>) -> Self {
        for id in ids {
            if let Some(spot) = self.holdings.index.find(&id) {
                self.holdings.lose(spot);
            }
        }
        self.holdings.rehash();
        self
    }

    /// Batches that were durable cannot be read any more.
    pub(super) fn batches_lost(&mut self, now: Moment, ids: &[BatchId]) {
        let mut lost = Vec::new();
        let mut may_be_signed_for = false;
        for id in ids {
            let Some(spot) = self.holdings.index.find(id) else { continue };
            let was_rooted = self.holdings.index.has(spot, Mark::Rooted);
            if self.holdings.lose(spot) {
                self.grants.remove(&self.holdings, spot);
                may_be_signed_for |= was_rooted;
                lost.push(spot);
            }
        }
        if lost.is_empty() {
            return;
        }
        self.holdings.rehash();
        self.grants.rehash();
        if may_be_signed_for {
            self.take_back_word();
        }
        self.step_all(now, || Step::Check);
    }

    /// Voids what this store has signed, and what is being signed.
    fn take_back_word(&mut self) {
        let index = &self.holdings.index;
        let is_whole = |spots: &Vec<Spot>| spots.iter().all(|spot| index.has(*spot, Mark::Rooted));
        for link in self.links.values_mut() {
            link.receipts.forget_signing_unless(is_whole);
        }
        if self.raising.is_none() {
            let epoch = self.config.store_epoch.saturating_add(1);
            self.raising = Some(BTreeMap::new());
            self.outputs.push_back(Output::RaiseEpoch { epoch });
        }
    }

    /// The devices whose receipts name the batch, with all before it.
    pub fn holders(&self, batch: &BatchId) -> Vec<DeviceId> {
        let index = &self.holdings.index;
        let own = (self.config.device, self.config.store);
        let Some(spot) = index.find(batch) else { return Vec::new() };
        self.proofs.holders(index, &self.policy, &own, spot).into_iter().collect()
    }

    /// Batches that were durable and that the disk has lost, in the order of their ids.
    pub fn lost(&self) -> BTreeSet<BatchId> {
        let index = &self.holdings.index;
        let lost = index.spots().filter(|spot| index.has(*spot, Mark::Lost));
        lost.map(|spot| index.id(spot)).collect()
    }
}
