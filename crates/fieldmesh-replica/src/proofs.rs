//! What other stores have acknowledged with signed receipts.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, DeviceId, Moment, Role, StoreId};
use fieldmesh_trie::Key;

use crate::index::{Index, Line, Spot};
use crate::interface::Proof;
use crate::limits::{
    AHEAD_MAX, HEADS_PER_CHAIN_MAX, RELAYED_MAX, STORES_MAX, STORES_PER_DEVICE_MAX,
};

/// One store of one device.
pub(crate) type Place = (DeviceId, StoreId);

/// Everything that receipts prove.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    stores: BTreeMap<Place, Acknowledged>,
    /// Receipts of relays, to be passed on.
    relayed: BTreeMap<(Moment, Place, u64), Receipt>,
}

/// What one store has acknowledged in its newest epoch.
#[derive(Debug, Default)]
struct Acknowledged {
    epoch: u64,
    /// Whether it was a relay's when it became known.
    is_relay: bool,
    /// The latest time of its own clock that it has signed.
    latest: Option<Moment>,
    /// Heads that are here, the latest of each chain.
    heads: BTreeMap<Line, Vec<Acked>>,
    /// Heads that are not here, and when they were acknowledged first.
    ahead: BTreeMap<Key, Moment>,
}

/// A head that a store has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) spot: Spot,
    /// The earliest time of the store's clock at which it did.
    pub(crate) at: Moment,
}

/// What a receipt led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gain {
    /// Whether it proves anything of what is here that was not proven.
    pub(crate) is_new: bool,
    /// Whether it voids earlier receipts of the same store.
    pub(crate) is_restored: bool,
}

impl Proofs {
    /// The store shows this epoch; true if that voids what it had acknowledged.
    pub(crate) fn note_epoch(&mut self, place: &Place, epoch: u64) -> bool {
        let Some(acknowledged) = self.stores.get_mut(place) else { return false };
        if acknowledged.epoch >= epoch {
            return false;
        }
        let is_relay = acknowledged.is_relay;
        *acknowledged = Acknowledged { epoch, is_relay, ..Acknowledged::default() };
        self.relayed.retain(|(_, it, _), _| it != place);
        true
    }

    /// A relay shows this epoch of its store, of which nothing was known.
    pub(crate) fn note_relay(&mut self, place: &Place, epoch: u64, at: Moment) {
        if !self.stores.contains_key(place) && self.has_room(place, true, at) {
            let fresh = Acknowledged { epoch, is_relay: true, ..Acknowledged::default() };
            self.stores.insert(*place, fresh);
        }
    }

    /// Whether one more store may become known, which signs at the moment `at`; an older store of
    /// the same device makes room for it.
    fn has_room(&mut self, place: &Place, is_relay: bool, at: Moment) -> bool {
        let first = (place.0, StoreId::from_bytes([0; 16]));
        let last = (place.0, StoreId::from_bytes([0xff; 16]));
        let of_device = self.stores.range(first..=last);
        let of_device: Vec<(Option<Moment>, Place)> =
            of_device.map(|(place, it)| (it.latest, *place)).collect();
        if of_device.len() >= STORES_PER_DEVICE_MAX {
            let Some((latest, oldest)) = of_device.into_iter().min() else { return false };
            if latest >= Some(at) {
                return false;
            }
            self.stores.remove(&oldest);
        }
        self.stores.values().filter(|it| it.is_relay == is_relay).count() < STORES_MAX
    }

    /// Takes a verified receipt into account.
    pub(crate) fn take(&mut self, index: &Index, receipt: &Receipt, is_relay: bool) -> Gain {
        let place = (receipt.signer, receipt.store);
        if !self.stores.contains_key(&place) && !self.has_room(&place, is_relay, receipt.at) {
            return Gain::default();
        }
        let is_restored = self.note_epoch(&place, receipt.store_epoch);
        let epoch = receipt.store_epoch;
        let fresh = Acknowledged { epoch, is_relay, ..Acknowledged::default() };
        let acknowledged = self.stores.entry(place).or_insert(fresh);
        if receipt.store_epoch < acknowledged.epoch {
            return Gain::default();
        }
        acknowledged.latest = acknowledged.latest.max(Some(receipt.at));
        let mut is_new = false;
        for head in &receipt.heads {
            is_new |= acknowledged.take(index, &Key::from_bytes(*head), receipt.at);
        }
        if is_new && is_relay {
            if self.relayed.len() >= RELAYED_MAX {
                self.relayed.pop_first();
            }
            self.relayed.insert((receipt.at, place, receipt.store_epoch), receipt.clone());
        }
        Gain { is_new, is_restored }
    }

    /// A batch is new here: stores that acknowledged it before are ahead no longer.
    pub(crate) fn arrived(&mut self, index: &Index, spot: Spot) {
        let key = index.key(spot);
        for acknowledged in self.stores.values_mut() {
            if let Some(at) = acknowledged.ahead.remove(&key) {
                acknowledged.take(index, &key, at);
            }
        }
    }

    /// When the store acknowledged the batch at `spot`, if it did.
    pub(crate) fn acknowledged(&self, index: &Index, place: &Place, spot: Spot) -> Option<Moment> {
        self.stores.get(place)?.covers(index, spot)
    }

    /// Where the batch at `spot` is, apart from the store `own`.
    pub(crate) fn proof(&self, index: &Index, policy: &Policy, own: &Place, spot: Spot) -> Proof {
        let mut proof = Proof::default();
        let mut devices: BTreeSet<DeviceId> = BTreeSet::new();
        for (place, acknowledged) in &self.stores {
            let Some(member) = policy.member(&place.0).filter(|_| place != own) else { continue };
            if acknowledged.covers(index, spot).is_some() {
                devices.insert(place.0);
                proof.is_safe |= member.role == Role::Relay;
            }
        }
        proof.devices = devices.len();
        proof
    }

    /// The newest receipts of relays that acknowledge any of `spots`, at most `limit`, among those
    /// that `is_shown` lets pass.
    pub(crate) fn relayed(
        &self,
        index: &Index,
        spots: &[Spot],
        limit: usize,
        is_shown: impl Fn(&Key) -> bool,
    ) -> Vec<Receipt> {
        let mut lacking: BTreeSet<(Place, Spot)> = BTreeSet::new();
        for place in self.relayed.keys().map(|(_, place, _)| *place) {
            lacking.extend(spots.iter().map(|spot| (place, *spot)));
        }
        let mut chosen = Vec::new();
        for ((_, place, _), receipt) in self.relayed.iter().rev() {
            let keys: Vec<Key> = receipt.heads.iter().map(|head| Key::from_bytes(*head)).collect();
            if chosen.len() == limit || !keys.iter().all(&is_shown) {
                continue;
            }
            let mut heads: BTreeMap<Line, Vec<Spot>> = BTreeMap::new();
            for head in keys.iter().filter_map(|key| find(index, key)) {
                heads.entry(index.line(head)).or_default().push(head);
            }
            let covers = |spot: &Spot| {
                let heads = heads.get(&index.line(*spot));
                heads.is_some_and(|heads| heads.iter().any(|head| index.reaches(*head, *spot)))
            };
            let before = lacking.len();
            lacking.retain(|(it, spot)| it != place || !covers(spot));
            if lacking.len() < before {
                chosen.push(receipt.clone());
            }
        }
        chosen
    }
}

impl Acknowledged {
    /// Takes note of one head; false if it was proven before, or is not here to be.
    fn take(&mut self, index: &Index, key: &Key, at: Moment) -> bool {
        let Some(spot) = find(index, key) else {
            if self.ahead.len() < AHEAD_MAX {
                self.ahead.entry(*key).or_insert(at);
            }
            return false;
        };
        let heads = self.heads.entry(index.line(spot)).or_default();
        if heads.iter().any(|head| index.reaches(head.spot, spot)) {
            return false;
        }
        // An earlier acknowledgement says more, of the batches that it covers.
        if heads.len() >= HEADS_PER_CHAIN_MAX {
            let covered = heads.iter().position(|head| index.reaches(spot, head.spot));
            heads.remove(covered.unwrap_or(0));
        }
        heads.push(Acked { spot, at });
        true
    }

    fn covers(&self, index: &Index, spot: Spot) -> Option<Moment> {
        let heads = self.heads.get(&index.line(spot))?;
        heads.iter().filter(|head| index.reaches(head.spot, spot)).map(|head| head.at).min()
    }
}

/// The entry of the batch with this key.
pub(crate) fn find(index: &Index, key: &Key) -> Option<Spot> {
    index.find(&BatchId::from_bytes(key.id())).filter(|spot| index.key(*spot) == *key)
}
