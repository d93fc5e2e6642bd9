//! Relays that keep batches to themselves.
//!
//! A relay signs that it holds a batch, for moments that only grow. It is asked to sign something
//! in each conversation; once it is in step after that, it has shown all that it had signed for
//! before. A batch that was not here then and comes from another is *late*: a receipt for it of an
//! earlier moment convicts the relay, and peers are asked for the earliest one that they have. So
//! whatever a relay hides after it has signed for it, it is found out as soon as the batch and its
//! receipt come here, by whatever way.
//!
//! An honest relay is never convicted: its sets only grow, it signs for what is durable, and it
//! takes no moment twice, so what it signed for before the moment it has shown was in the set that
//! was compared. One that shows small moments here and great ones elsewhere, to be in step before
//! it has signed, is given away by the next question: it is asked by somebody who knows the great
//! ones. What changes with the policy is left out.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_session::LinkId;
use fieldmesh_trie::Key;

use super::Replica;
use super::grants::Grant;
use super::late::{Late, Round};
use crate::index::{Index, Line, Spot};
use crate::interface::{Doubt, Event};
use crate::limits::{LATE_ASKED_MAX, RELAYS_WATCHED_MAX};
use crate::proofs::{Place, find};

/// What relays had to give, and what came from others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    relays: BTreeMap<Place, Watched>,
    /// Counts up with each change of the policy.
    policies: u64,
}

#[derive(Debug)]
struct Watched {
    epoch: u64,
    /// The last moment for which it is known to have signed before it was in step.
    at: Moment,
    /// What arrived at this replica from here on was not here then.
    end: Spot,
    grant: Grant,
    policies: u64,
    /// Batches that were not here then and came from others.
    late: Late,
}

impl Watch {
    /// What counted before may not have been the same everywhere.
    pub(super) const fn policy_changed(&mut self) {
        self.policies += 1;
    }

    pub(super) fn forget(&mut self, place: &Place) {
        self.relays.remove(place);
    }

    /// The relay is in step with this replica, which holds what lies before `end`.
    fn in_step(&mut self, place: Place, epoch: u64, at: Moment, end: Spot, grant: &Grant) {
        if !self.relays.contains_key(&place) && self.relays.len() >= RELAYS_WATCHED_MAX {
            return;
        }
        let is_after = |watched: &Watched| watched.epoch == epoch && watched.at <= at;
        let before = self.relays.remove(&place).filter(is_after);
        let late = before.map(|watched| watched.late).unwrap_or_default();
        let (grant, policies) = (grant.clone(), self.policies);
        self.relays.insert(place, Watched { epoch, at, end, grant, policies, late });
    }

    /// A batch that counts came from `peers`: gives back the relays that had to give it and since
    /// when.
    fn arrived(&mut self, index: &Index, spot: Spot, peers: &BTreeSet<DeviceId>) -> Vec<Owing> {
        let mut owing = Vec::new();
        for (place, watched) in &mut self.relays {
            let had_to_give = spot >= watched.end
                && watched.policies == self.policies
                && !peers.contains(&place.0)
                && watched.grant.admits(&index.chain(spot).scope);
            if !had_to_give {
                continue;
            }
            watched.late.insert(index.chain(spot).author, spot, watched.at);
            owing.push(Owing { place: *place, since: watched.at });
        }
        owing
    }

    /// The first batch of each chain that is late, except those of which `device` is suspected,
    /// among what arrived here from `from` on.
    fn late(&self, index: &Index, device: &DeviceId, from: Spot) -> BTreeMap<Line, Spot> {
        let others = self.relays.iter().filter(|(place, _)| place.0 != *device);
        let mut first: BTreeMap<Line, Spot> = BTreeMap::new();
        for spot in others.flat_map(|(_, it)| it.late.from(from)).map(|(spot, _)| spot) {
            let before = first.entry(index.line(spot)).or_insert(spot);
            if index.sequence(spot) < index.sequence(*before) {
                *before = spot;
            }
        }
        first
    }

    /// The relay is convicted of having held this one back.
    fn settle(&mut self, index: &Index, place: &Place, spot: Spot) {
        if let Some(watched) = self.relays.get_mut(place) {
            watched.late.remove(&index.chain(spot).author, spot);
        }
    }

    /// The late batches that `receipt` shows to have been held back, and since when.
    fn convicted(&mut self, index: &Index, receipt: &Receipt) -> Vec<(Spot, Moment)> {
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
        let late = watched.late.from(Spot::FIRST).filter(|(_, since)| receipt.at < *since);
        let late: Vec<(Spot, Moment)> = late.filter(|(spot, _)| is_covered(*spot)).collect();
        for (spot, _) in &late {
            watched.late.remove(&index.chain(*spot).author, *spot);
        }
        late
    }
}

/// A relay that had to give a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owing {
    place: Place,
    since: Moment,
}

impl Replica {
    /// A relay at the other end of `id` is in step.
    pub(super) fn watch_relay(&mut self, id: LinkId) {
        let Some((link, grant)) = self.links.get_mut(&id).zip(self.grants.of(id)) else { return };
        link.receipts.has_stepped = true;
        let (peer, at) = (link.peer, link.receipts.peer_clock);
        let greeting = link.greeting.as_ref().filter(|_| is_relay(&self.policy, &peer));
        // Only what it signed in this conversation was certainly signed before it compared.
        let Some((greeting, (epoch, at))) = greeting.zip(at) else { return };
        let end = self.holdings.index.end();
        self.watch.in_step((peer, greeting.store), epoch, at, end, grant);
    }

    /// What a peer may know earlier receipts for, which it was not asked for so far: as much as one
    /// question has room for, and the chain of the last one if more is left.
    pub(super) fn late_for(&self, id: LinkId) -> (Vec<Spot>, Option<Line>) {
        let Some(link) = self.links.get(&id) else { return (Vec::new(), None) };
        let round = &link.receipts.late;
        let late = self.watch.late(&self.holdings.index, &link.peer, round.from());
        let is_asked = |(line, spot): &(Line, Spot)| {
            round.is_left(*line) && self.grants.shows(id, &self.holdings, *spot)
        };
        let mut late = late.into_iter().filter(is_asked);
        let asked: Vec<(Line, Spot)> = late.by_ref().take(LATE_ASKED_MAX).collect();
        let last = asked.last().map(|(line, _)| *line).filter(|_| late.next().is_some());
        (asked.into_iter().map(|(_, spot)| spot).collect(), last)
    }

    /// A batch that counts has come from `peers`.
    pub(super) fn watch_arrival(&mut self, now: Moment, spot: Spot, peers: &BTreeSet<DeviceId>) {
        let index = &self.holdings.index;
        if !self.holdings.counts_all(index.line(spot)) {
            return;
        }
        for Owing { place, since } in self.watch.arrived(index, spot, peers) {
            let acknowledged = self.proofs.acknowledged(&self.holdings.index, &place, spot);
            if acknowledged.is_some_and(|at| at < since) {
                self.watch.settle(&self.holdings.index, &place, spot);
                self.withheld(now, place, spot, since);
            }
        }
    }

    /// A verified receipt may show that its signer kept something to itself.
    pub(super) fn watch_receipt(&mut self, now: Moment, receipt: &Receipt) {
        for (spot, since) in self.watch.convicted(&self.holdings.index, receipt) {
            self.withheld(now, (receipt.signer, receipt.store), spot, since);
        }
    }

    pub(super) fn is_relay(&self, device: &DeviceId) -> bool {
        is_relay(&self.policy, device)
    }

    /// The relay has signed for the batch and did not have it for this replica: nothing that it
    /// signed before it was in step is believed.
    fn withheld(&mut self, now: Moment, (device, store): Place, spot: Spot, since: Moment) {
        let batch = self.holdings.index.id(spot);
        self.event(Event::Withheld { relay: device, batch });
        for link in self.links.values_mut() {
            link.receipts.late = Round::FIRST;
        }
        let Some((epoch, _)) = self.proofs.latest(&(device, store)) else { return };
        self.doubt(now, Doubt { device, store, epoch, until: Some(since) }, Some(batch));
    }
}

fn is_relay(policy: &Policy, device: &DeviceId) -> bool {
    policy.member(device).is_some_and(|member| member.role.is_relay())
}
