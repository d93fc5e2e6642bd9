//! What other stores have acknowledged with signed receipts.
//!
//! The moments of the receipts of one store grow with each that it signs, in whatever order they
//! come here; so they are compared with each other and with no clock.
//!
//! Of each chain the earliest acknowledgement of each of its batches is kept: an earlier one says
//! more, because it may show that a relay held a batch already when it did not give it. A store
//! that is found to lack what it signed for is doubted: what it signed up to then proves nothing,
//! whoever carries it.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Policy;
use fieldmesh_model::{BatchId, DeviceId, Moment, StoreId};
use fieldmesh_trie::Key;

use crate::index::{Index, Line, Spot};
use crate::interface::{Doubt, Proof};
use crate::limits::{
    AHEAD_MAX, HEADS_KEPT_MAX, RELAYED_MAX, SHOWN_MAX, STORES_MAX, STORES_PER_DEVICE_MAX,
};

/// One store of one device.
pub(crate) type Place = (DeviceId, StoreId);

/// Which receipt it is: its moment, its store, and the epoch of that.
type Mark = (Moment, Place, u64);

/// Everything that receipts prove.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    stores: BTreeMap<Place, Acknowledged>,
    /// Receipts of relays, to be passed on.
    relayed: BTreeMap<Mark, Receipt>,
}

/// What one store has acknowledged in its newest epoch.
#[derive(Debug, Default)]
struct Acknowledged {
    epoch: u64,
    /// Whether it was a relay's when it became known.
    is_relay: bool,
    /// What it signed up to this moment proves nothing.
    doubted: Option<Moment>,
    /// The latest moment that it has signed.
    latest: Option<Moment>,
    /// Heads that are here, by chain.
    heads: BTreeMap<Line, Vec<Acked>>,
    /// Heads that are not here, and when they were acknowledged first.
    ahead: BTreeMap<Key, Moment>,
}

/// A head that a store has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acked {
    spot: Spot,
    /// The earliest moment at which it did.
    at: Moment,
}

/// What a receipt led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gain {
    /// Whether it is worth keeping: it proves what was not proven, or not so early, also of what is
    /// not here yet, or it may convict its signer.
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

    /// Whether a receipt of this epoch would void what the store had acknowledged.
    pub(crate) fn is_behind(&self, place: &Place, epoch: u64) -> bool {
        self.stores.get(place).is_some_and(|acknowledged| acknowledged.epoch < epoch)
    }

    /// A relay shows this epoch of its store, of which nothing was known.
    pub(crate) fn note_relay(&mut self, place: &Place, epoch: u64, at: Moment) {
        if !self.stores.contains_key(place) && self.has_room(place, true, at) {
            let fresh = Acknowledged { epoch, is_relay: true, ..Acknowledged::default() };
            self.stores.insert(*place, fresh);
        }
    }

    /// What the store signed before does not count any more, as far as `doubt` says; true if that
    /// was not known.
    pub(crate) fn doubt(&mut self, doubt: &Doubt, is_relay: bool) -> bool {
        let place = (doubt.device, doubt.store);
        let at = doubt.until.unwrap_or(Moment::from_millis(i64::MIN));
        if !self.stores.contains_key(&place) && !self.has_room(&place, is_relay, at) {
            return false;
        }
        let is_risen = self.note_epoch(&place, doubt.epoch);
        let fresh = Acknowledged { epoch: doubt.epoch, is_relay, ..Acknowledged::default() };
        let acknowledged = self.stores.entry(place).or_insert(fresh);
        let until = doubt.until.filter(|_| acknowledged.epoch == doubt.epoch);
        let Some(until) = until.filter(|until| acknowledged.doubted < Some(*until)) else {
            return is_risen;
        };
        acknowledged.doubted = Some(until);
        acknowledged.latest = acknowledged.latest.max(Some(until));
        acknowledged.ahead.retain(|_, at| *at > until);
        for heads in acknowledged.heads.values_mut() {
            heads.retain(|head| head.at > until);
        }
        true
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
        let is_doubted = acknowledged.doubted >= Some(receipt.at);
        let is_current = receipt.store_epoch == acknowledged.epoch;
        let mut is_new = false;
        if is_current && !is_doubted {
            acknowledged.latest = acknowledged.latest.max(Some(receipt.at));
            for head in &receipt.heads {
                is_new |= acknowledged.take(index, &Key::from_bytes(*head), receipt.at);
            }
        }
        // What is not believed still shows what the store said when, and may convict it elsewhere.
        if is_relay && is_current && (is_new || is_doubted) {
            is_new |= self.keep(receipt);
        }
        Gain { is_new, is_restored }
    }

    /// Keeps a receipt to be passed on; false if it was kept before. Where there is no room for it, a
    /// relay with the most receipts loses one of its fullest store, so that no relay drives out
    /// what another signed.
    fn keep(&mut self, receipt: &Receipt) -> bool {
        let mark = (receipt.at, (receipt.signer, receipt.store), receipt.store_epoch);
        let is_new = self.relayed.insert(mark, receipt.clone()).is_none();
        if self.relayed.len() > RELAYED_MAX {
            self.drop_useless();
        }
        if self.relayed.len() > RELAYED_MAX {
            let mut relays: BTreeMap<DeviceId, BTreeMap<StoreId, Vec<Mark>>> = BTreeMap::new();
            for mark in self.relayed.keys() {
                let (device, store) = mark.1;
                relays.entry(device).or_default().entry(store).or_default().push(*mark);
            }
            let count = |stores: &BTreeMap<StoreId, Vec<Mark>>| stores.values().map(Vec::len).sum();
            let fullest = relays.into_values().max_by_key(|stores| -> usize { count(stores) });
            let fullest = fullest.and_then(|stores| stores.into_values().max_by_key(Vec::len));
            let marks = fullest.unwrap_or_default();
            let crowded = most_crowded(&marks, |(at, _, _)| *at);
            crowded.map(|index| self.relayed.remove(&marks[index]));
        }
        is_new
    }

    /// Forgets receipts that are the earliest for nothing.
    fn drop_useless(&mut self) {
        let mut useful: BTreeSet<(Place, Moment)> = BTreeSet::new();
        for (place, acknowledged) in &self.stores {
            let heads = acknowledged.heads.values().flatten().map(|head| head.at);
            useful.extend(heads.chain(acknowledged.ahead.values().copied()).map(|at| (*place, at)));
        }
        let doubted = |place: &Place| self.stores.get(place).and_then(|it| it.doubted);
        self.relayed.retain(|(at, place, _), _| {
            useful.contains(&(*place, *at)) || doubted(place) >= Some(*at)
        });
    }

    /// The earliest of those receipts that prove nothing any more: they still show what the store
    /// said when, and may convict it elsewhere.
    fn evidence(&self, index: &Index, spots: &[Spot]) -> BTreeSet<Mark> {
        let is_doubted = |(at, place, _): &Mark| {
            self.stores.get(place).is_some_and(|it| it.doubted >= Some(*at))
        };
        let mut found: BTreeSet<(Place, Spot)> = BTreeSet::new();
        let mut marks = BTreeSet::new();
        for (mark, receipt) in self.relayed.iter().filter(|(mark, _)| is_doubted(mark)) {
            let keys = receipt.heads.iter().map(|head| Key::from_bytes(*head));
            let heads: Vec<Spot> = keys.filter_map(|key| find(index, &key)).collect();
            let covers = |spot: &&Spot| heads.iter().any(|head| index.reaches(*head, **spot));
            for spot in spots.iter().filter(covers) {
                if found.insert((mark.1, *spot)) {
                    marks.insert(*mark);
                }
            }
        }
        marks
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

    /// The epoch of the store and the latest moment that it has signed in it, as far as is known.
    pub(crate) fn latest(&self, place: &Place) -> Option<(u64, Moment)> {
        let acknowledged = self.stores.get(place)?;
        Some((acknowledged.epoch, acknowledged.latest?))
    }

    /// The same of all stores of a device.
    pub(crate) fn latest_of(&self, device: &DeviceId) -> BTreeMap<StoreId, (u64, Moment)> {
        let of_device = self.stores.keys().filter(|place| place.0 == *device);
        of_device.filter_map(|place| Some((place.1, self.latest(place)?))).collect()
    }

    /// The newest kept receipts of the store.
    pub(crate) fn newest(&self, place: &Place) -> impl Iterator<Item = &Receipt> {
        let of_store = self.relayed.iter().rev().filter(move |((_, it, _), _)| it == place);
        of_store.take(SHOWN_MAX).map(|(_, receipt)| receipt)
    }

    /// Where the batch at `spot` is, apart from the store `own`.
    pub(crate) fn proof(&self, index: &Index, policy: &Policy, own: &Place, spot: Spot) -> Proof {
        let mut proof = Proof::default();
        let mut devices: BTreeSet<DeviceId> = BTreeSet::new();
        for (place, acknowledged) in &self.stores {
            let Some(member) = policy.member(&place.0).filter(|_| place != own) else { continue };
            if acknowledged.covers(index, spot).is_some() {
                devices.insert(place.0);
                proof.is_safe |= member.role.is_relay();
            }
        }
        proof.devices = devices.len();
        proof
    }

    /// The devices whose stores, apart from `own`, have acknowledged the batch at `spot`.
    pub(crate) fn holders(
        &self,
        index: &Index,
        policy: &Policy,
        own: &Place,
        spot: Spot,
    ) -> BTreeSet<DeviceId> {
        let others = self.stores.iter().filter(|(place, _)| *place != own);
        let covering =
            others.filter(|(_, acknowledged)| acknowledged.covers(index, spot).is_some());
        let devices = covering.map(|(place, _)| place.0);
        devices.filter(|device| policy.member(device).is_some()).collect()
    }

    /// Receipts of relays that acknowledge any of `spots`, at most `limit`, among those that
    /// `is_shown` lets pass: of each relay and batch the earliest, where that many fit.
    pub(crate) fn relayed(
        &self,
        index: &Index,
        spots: &[Spot],
        limit: usize,
        is_shown: impl Fn(&Key) -> bool,
    ) -> Vec<Receipt> {
        let is_open =
            |receipt: &Receipt| receipt.heads.iter().all(|head| is_shown(&Key::from_bytes(*head)));
        let mut earliest = self.evidence(index, spots);
        for (place, acknowledged) in self.stores.iter().filter(|(_, it)| it.is_relay) {
            let times = spots.iter().filter_map(|spot| acknowledged.covers(index, *spot));
            earliest.extend(times.map(|at| (at, *place, acknowledged.epoch)));
        }
        let count = earliest.len();
        let kept = earliest.iter().filter(|mark| self.relayed.get(mark).is_some_and(is_open));
        let earliest: BTreeSet<Mark> = kept.copied().collect();
        let mut chosen = BTreeSet::new();
        if earliest.len() < count || count > limit {
            chosen = self.widest(index, spots, limit / 2, is_open);
        }
        let room = limit.saturating_sub(chosen.len());
        let others: Vec<Mark> = earliest.difference(&chosen).take(room).copied().collect();
        chosen.extend(others);
        chosen.iter().filter_map(|mark| self.relayed.get(mark).cloned()).collect()
    }

    /// The newest receipts that acknowledge any of `spots`: few of them cover many.
    fn widest(
        &self,
        index: &Index,
        spots: &[Spot],
        limit: usize,
        is_open: impl Fn(&Receipt) -> bool,
    ) -> BTreeSet<Mark> {
        let mut lacking: BTreeSet<(Place, Spot)> = BTreeSet::new();
        for place in self.relayed.keys().map(|(_, place, _)| *place) {
            lacking.extend(spots.iter().map(|spot| (place, *spot)));
        }
        let mut chosen = BTreeSet::new();
        for (mark, receipt) in self.relayed.iter().rev() {
            if chosen.len() == limit || !is_open(receipt) {
                continue;
            }
            let keys = receipt.heads.iter().map(|head| Key::from_bytes(*head));
            let mut heads: BTreeMap<Line, Vec<Spot>> = BTreeMap::new();
            for head in keys.filter_map(|key| find(index, &key)) {
                heads.entry(index.line(head)).or_default().push(head);
            }
            let covers = |spot: &Spot| {
                let heads = heads.get(&index.line(*spot));
                heads.is_some_and(|heads| heads.iter().any(|head| index.reaches(*head, *spot)))
            };
            let before = lacking.len();
            lacking.retain(|(it, spot)| *it != mark.1 || !covers(spot));
            if lacking.len() < before {
                chosen.insert(*mark);
            }
        }
        chosen
    }
}

impl Acknowledged {
    /// Takes note of one head; false if it was proven as early before.
    fn take(&mut self, index: &Index, key: &Key, at: Moment) -> bool {
        let Some(spot) = find(index, key) else {
            return self.take_ahead(key, at);
        };
        let heads = self.heads.entry(index.line(spot)).or_default();
        if heads.iter().any(|head| head.at <= at && index.reaches(head.spot, spot)) {
            return false;
        }
        heads.retain(|head| head.at < at || !index.reaches(spot, head.spot));
        if heads.len() >= HEADS_KEPT_MAX {
            heads.remove(superfluous(index, heads));
        }
        heads.push(Acked { spot, at });
        heads.sort_unstable_by_key(|head| head.at);
        true
    }

    /// Takes note of a head that is not here; false if that is known or there is no room.
    fn take_ahead(&mut self, key: &Key, at: Moment) -> bool {
        let is_known = self.ahead.get(key).is_some_and(|first| *first <= at);
        let has_room = self.ahead.len() < AHEAD_MAX || self.ahead.contains_key(key);
        let is_new = !is_known && has_room;
        if is_new {
            self.ahead.insert(*key, at);
        }
        is_new
    }

    fn covers(&self, index: &Index, spot: Spot) -> Option<Moment> {
        let heads = self.heads.get(&index.line(spot))?;
        heads.iter().find(|head| index.reaches(head.spot, spot)).map(|head| head.at)
    }
}

/// Which of the heads of one chain, in the order of their moments, says least: one that a later one
/// covers too, at nearly the same time.
fn superfluous(index: &Index, heads: &[Acked]) -> usize {
    let is_covered = |at: &usize| {
        let later = heads.iter().skip(at + 1);
        later.clone().any(|head| index.reaches(head.spot, heads[*at].spot))
    };
    let covered: Vec<usize> = (0..heads.len()).filter(is_covered).collect();
    most_crowded(&covered, |at| heads[*at].at).map_or(0, |position| covered[position])
}

/// The one between whose neighbours there is the least time; the first and the last stay if they
/// can.
fn most_crowded<T>(sorted: &[T], at: impl Fn(&T) -> Moment) -> Option<usize> {
    let gap = |index: &usize| at(&sorted[index + 1]).millis_since(at(&sorted[index - 1]));
    let between = (1..sorted.len().saturating_sub(1)).min_by_key(gap);
    between.or_else(|| (!sorted.is_empty()).then_some(0))
}

/// The entry of the batch with this key.
pub(crate) fn find(index: &Index, key: &Key) -> Option<Spot> {
    index.find(&BatchId::from_bytes(key.id())).filter(|spot| index.key(*spot) == *key)
}
