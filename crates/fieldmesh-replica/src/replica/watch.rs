//! Relays that keep batches to themselves.
//!
//! A relay signs that it holds a batch, with a time of its own clock. If it was in step with this
//! replica at a later time of that clock, it had to give the batch then. A batch that was not here
//! at that moment and comes from another is *late*; a receipt for it of before that moment convicts
//! the relay.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Receipt;
use fieldmesh_model::{DeviceId, Moment, Role};
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use super::Replica;
use super::grants::Grant;
use crate::index::{Index, Line, Spot};
use crate::interface::Event;
use crate::limits::{LATE_MAX, RELAYS_WATCHED_MAX};
use crate::proofs::{Place, find};

/// What relays had to give, and what came from others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    relays: BTreeMap<Place, Watched>,
    /// Counts up with each change of the policy.
    policies: u64,
    own_clock: Option<Moment>,
}

#[derive(Debug)]
struct Watched {
    epoch: u64,
    /// The last moment of its clock at which it is known to have been in step, or a moment before.
    at: Moment,
    /// What arrived at this replica from here on was not here then.
    end: Spot,
    grant: Grant,
    policies: u64,
    /// Batches that were not here at the given moment and came from others.
    late: BTreeMap<Spot, Moment>,
}

impl Watch {
    /// What counted before may not have been the same everywhere.
    pub(super) const fn policy_changed(&mut self) {
        self.policies += 1;
    }

    /// The relay shows its clock: one that was set back orders nothing that lies before.
    pub(super) fn note_clock(&mut self, place: &Place, at: Moment) {
        if self.relays.get(place).is_some_and(|watched| at < watched.at) {
            self.relays.remove(place);
        }
    }

    /// The own clock shows this moment: if it was set back, it may have been ahead like that of a
    /// relay.
    pub(super) fn note_own_clock(&mut self, now: Moment) {
        if self.own_clock.replace(now).is_some_and(|before| now < before) {
            self.relays.clear();
        }
    }

    pub(super) fn forget(&mut self, place: &Place) {
        self.relays.remove(place);
    }

    /// The relay is in step with this replica, which holds what lies before `end`.
    fn in_step(&mut self, place: Place, epoch: u64, at: Moment, end: Spot, grant: &Grant) {
        if !self.relays.contains_key(&place) && self.relays.len() >= RELAYS_WATCHED_MAX {
            return;
        }
        // A clock that was set back orders nothing that lies before.
        let is_after = |watched: &Watched| watched.epoch == epoch && watched.at <= at;
        let before = self.relays.remove(&place).filter(is_after);
        let late = before.map(|watched| watched.late).unwrap_or_default();
        let (grant, policies) = (grant.clone(), self.policies);
        self.relays.insert(place, Watched { epoch, at, end, grant, policies, late });
    }

    /// A batch that counts came from `peers`: gives back the relays that had to give it and since
    /// when.
    fn arrived(&mut self, index: &Index, spot: Spot, peers: &BTreeSet<DeviceId>) -> Vec<Late> {
        let mut late = Vec::new();
        for (place, watched) in &mut self.relays {
            let had_to_give = spot >= watched.end
                && watched.policies == self.policies
                && !peers.contains(&place.0)
                && watched.grant.admits(&index.chain(spot).scope);
            if !had_to_give {
                continue;
            }
            if watched.late.len() >= LATE_MAX {
                watched.late.pop_first();
            }
            watched.late.insert(spot, watched.at);
            late.push(Late { place: *place, since: watched.at });
        }
        late
    }

    /// The relay is convicted of having held this one back.
    fn settle(&mut self, place: &Place, spot: Spot) {
        if let Some(watched) = self.relays.get_mut(place) {
            watched.late.remove(&spot);
        }
    }

    /// The late batches that `receipt` shows to have been held back.
    fn convicted(&mut self, index: &Index, receipt: &Receipt) -> Vec<Spot> {
        let place = (receipt.signer, receipt.store);
        let Some(watched) = self.relays.get_mut(&place) else { return Vec::new() };
        if watched.epoch != receipt.store_epoch {
            return Vec::new();
        }
        let keys = receipt.heads.iter().map(|head| Key::from_bytes(*head));
        let heads = keys.filter_map(|key| find(index, &key));
        let heads: BTreeSet<(Line, Spot)> = heads.map(|head| (index.line(head), head)).collect();
        let is_covered = |late: Spot| {
            let line = index.line(late);
            let mut of_line = heads.range((line, Spot::FIRST)..=(line, Spot::LAST));
            of_line.any(|(_, head)| index.reaches(*head, late))
        };
        let spots = watched.late.iter().filter(|(_, since)| receipt.at < **since);
        let spots: Vec<Spot> = spots.map(|(spot, _)| *spot).filter(|it| is_covered(*it)).collect();
        watched.late.retain(|spot, _| !spots.contains(spot));
        spots
    }
}

/// A relay that had to give a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Late {
    place: Place,
    since: Moment,
}

impl Replica {
    /// A relay at the other end of `id` is in step.
    pub(super) fn watch_relay(&mut self, now: Moment, id: LinkId) {
        let Some((link, grant)) = self.links.get(&id).zip(self.grants.of(id)) else { return };
        let Some(greeting) = link.greeting.as_ref().filter(|_| self.is_relay(&link.peer)) else {
            return;
        };
        let place = (link.peer, greeting.store);
        // The relay has written this before it was in step, by its own clock. One that is ahead
        // may be set right, and then receipts bear earlier times.
        let at = link.receipts.peer_clock.unwrap_or(greeting.clock).max(greeting.clock).min(now);
        let end = self.holdings.index.end();
        self.watch.in_step(place, greeting.store_epoch, at, end, grant);
    }

    /// A batch that counts has come from `peers`.
    pub(super) fn watch_arrival(&mut self, spot: Spot, peers: &BTreeSet<DeviceId>) {
        let index = &self.holdings.index;
        if !self.holdings.counts_all(index.line(spot)) {
            return;
        }
        for Late { place, since } in self.watch.arrived(index, spot, peers) {
            let acknowledged = self.proofs.acknowledged(&self.holdings.index, &place, spot);
            if acknowledged.is_some_and(|at| at < since) {
                self.watch.settle(&place, spot);
                self.withheld(place, spot);
            }
        }
    }

    /// A verified receipt may show that its signer kept something to itself.
    pub(super) fn watch_receipt(&mut self, receipt: &Receipt) {
        for spot in self.watch.convicted(&self.holdings.index, receipt) {
            self.withheld((receipt.signer, receipt.store), spot);
        }
    }

    pub(super) fn is_relay(&self, device: &DeviceId) -> bool {
        self.policy.member(device).is_some_and(|member| member.role == Role::Relay)
    }

    fn withheld(&mut self, (relay, _): Place, spot: Spot) {
        let batch = self.holdings.index.id(spot);
        self.event(Event::Withheld { relay, batch });
    }
}
