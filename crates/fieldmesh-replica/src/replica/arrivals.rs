//! Batches and policy items that arrive, are judged, become durable, and are passed on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::{Batch, Header};
use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::{BatchId, DeviceId, ItemId, Moment};
use fieldmesh_session::{Input as Step, LinkId, Received, SessionError, Set, Settled, Verdict};
use fieldmesh_trie::Key;

use super::ledger::{Frame, Writing};
use super::waiting::Copy;
use super::{Replica, item_key};
use crate::interface::{Event, Output};
use crate::judge::judge;
use crate::limits::ITEMS_MAX;

/// Verdicts on waiting frames, by link.
type Verdicts = BTreeMap<LinkId, Vec<Settled>>;

impl Replica {
    /// Judges a batch; None while it is on its way to the disk.
    pub(super) fn receive_batch(
        &mut self,
        id: LinkId,
        received: &Received,
        fresh: &mut Vec<Batch>,
    ) -> Result<Option<Verdict>, SessionError> {
        let batch = Batch::decode(&received.bytes).map_err(|_| SessionError::Content)?;
        let key = Key::from_bytes(batch.key_bytes());
        if self.keys.contains(&key) {
            return Ok(Some(Verdict::Known(key)));
        }
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(None) };
        if let Err(reason) = judge(&self.policy, &batch) {
            let refused = batch.id();
            if reason.may_pass_later() {
                self.waiting.keep(Copy { link: id, peer, batch, length: received.bytes.len() });
            }
            self.event(Event::Refused { link: Some(id), batch: refused, reason });
            return Ok(Some(Verdict::Refused(key)));
        }
        self.flights.arrived(&key);
        if !self.ledger.is_writing_batch(&batch.id()) {
            self.write_batch(Writing::new(key, id, batch.header().clone()), batch.id());
            fresh.push(batch.clone());
        }
        self.ledger.join_batch(&batch.id(), peer, Some((id, received.frame)));
        Ok(None)
    }

    /// Checks a policy item; None while it is on its way to the disk.
    pub(super) fn receive_item(
        &mut self,
        id: LinkId,
        received: &Received,
        fresh: &mut Vec<Item>,
    ) -> Result<Option<Verdict>, SessionError> {
        let item = Item::decode(&received.bytes).map_err(|_| SessionError::Content)?;
        if item.tenant() != self.config.tenant {
            return Err(SessionError::Content);
        }
        if self.items.contains_key(&item.id()) {
            return Ok(Some(Verdict::Known(item_key(&item))));
        }
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(None) };
        if !self.ledger.is_writing_item(&item.id()) {
            if self.items.len() + self.ledger.items_count() >= ITEMS_MAX {
                return Err(SessionError::Content);
            }
            let writing = Writing::new(item_key(&item), id, item.clone());
            self.ledger.write_item(item.id(), writing);
            fresh.push(item.clone());
        }
        self.ledger.join_item(&item.id(), peer, (id, received.frame));
        Ok(None)
    }

    pub(super) fn batches_stored(&mut self, now: Moment, ids: &[BatchId]) {
        let mut verdicts = Verdicts::new();
        let mut received: BTreeMap<LinkId, Vec<BatchId>> = BTreeMap::new();
        let mut was_refused = false;
        let mut offers: BTreeMap<BTreeSet<DeviceId>, Vec<Key>> = BTreeMap::new();
        for id in ids {
            let Some(writing) = self.ledger.take_batch(id) else { continue };
            was_refused |= writing.was_refused;
            if self.keys.insert(writing.key) {
                self.note_chain(&writing.content, &writing.key);
                received.entry(writing.origin).or_default().push(*id);
            }
            let origins = writing.peers.clone();
            settle(&mut verdicts, writing.origin, writing.key, &writing.frames);
            offers.entry(origins).or_default().push(writing.key);
        }
        self.keys.rehash();
        for (link, batches) in received {
            self.event(Event::Received { link, batches });
        }
        self.tell(now, verdicts);
        if was_refused {
            self.rejudge(now);
        }
        for (origins, keys) in offers {
            self.offer(now, Set::Data, &keys, &origins);
        }
    }

    pub(super) fn items_stored(&mut self, now: Moment, ids: &[ItemId]) {
        let mut verdicts = Verdicts::new();
        let mut offers: BTreeMap<BTreeSet<DeviceId>, Vec<Key>> = BTreeMap::new();
        let mut items = Vec::new();
        for id in ids {
            let Some(writing) = self.ledger.take_item(id) else { continue };
            let origins = writing.peers.clone();
            settle(&mut verdicts, writing.origin, writing.key, &writing.frames);
            offers.entry(origins).or_default().push(writing.key);
            items.push(writing.content);
        }
        self.take_items(now, items);
        self.tell(now, verdicts);
        for (origins, keys) in offers {
            self.offer(now, Set::Policy, &keys, &origins);
        }
    }

    /// Forgets what cannot be made durable, and closes the links that wait for it.
    pub(super) fn store_failed(&mut self, now: Moment, batches: &[BatchId], items: &[ItemId]) {
        let mut frames: Vec<Frame> = Vec::new();
        for id in batches {
            frames.extend(self.ledger.take_batch(id).into_iter().flat_map(|it| it.frames));
        }
        for id in items {
            frames.extend(self.ledger.take_item(id).into_iter().flat_map(|it| it.frames));
        }
        let links: BTreeSet<LinkId> = frames.into_iter().map(|(link, _)| link).collect();
        for link in links {
            self.close(now, link, SessionError::NotStored.into());
        }
    }

    /// Durable items become part of the policy, and what was refused is judged again.
    pub(super) fn take_items(&mut self, now: Moment, items: Vec<Item>) {
        for item in items {
            self.policy_keys.insert(item_key(&item));
            self.items.insert(item.id(), item);
        }
        self.policy_keys.rehash();
        let policy = Policy::evaluate(self.config.tenant, self.items.values());
        let is_changed = policy != self.policy;
        self.policy = policy;
        if is_changed {
            self.event(Event::PolicyChanged);
            self.release_waiting();
            self.rejudge(now);
        }
    }

    /// Has those waiting batches stored that the policy allows by now.
    fn release_waiting(&mut self) {
        let policy = &self.policy;
        let released = self.waiting.release(|batch| judge(policy, batch).is_ok());
        let mut fresh: BTreeMap<LinkId, Vec<Batch>> = BTreeMap::new();
        for Copy { link, peer, batch, .. } in released {
            let key = Key::from_bytes(batch.key_bytes());
            if self.keys.contains(&key) {
                continue;
            }
            let id = batch.id();
            if !self.ledger.is_writing_batch(&id) {
                let writing = Writing::new(key, link, batch.header().clone());
                self.write_batch(Writing { was_refused: true, ..writing }, id);
                fresh.entry(link).or_default().push(batch);
            }
            self.ledger.join_batch(&id, peer, None);
        }
        for (link, batches) in fresh {
            self.outputs.push_back(Output::StoreBatches { link, batches });
        }
    }

    /// Tells all conversations which refused batches still count as held.
    fn rejudge(&mut self, now: Moment) {
        let mut refused = self.waiting.keys();
        refused.extend(self.ledger.refused_before());
        self.step_all(now, || Step::Rejudge(refused.clone()));
    }

    fn write_batch(&mut self, writing: Writing<Header>, id: BatchId) {
        if writing.content.author == self.config.device {
            self.event(Event::OwnBatchUnknown { batch: id });
        }
        self.ledger.write_batch(id, writing);
    }

    /// Tells all conversations what became of their frames; others of the same peers may go on.
    fn tell(&mut self, now: Moment, mut verdicts: Verdicts) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let step = verdicts.remove(&id).map_or(Step::Wake, Step::Settled);
            self.step(now, id, step);
        }
    }
}

/// Notes what became of the frames of one batch or item.
fn settle(verdicts: &mut Verdicts, origin: LinkId, key: Key, frames: &[Frame]) {
    for (index, (link, frame)) in frames.iter().enumerate() {
        let is_first = index == 0 && *link == origin;
        let verdict = if is_first { Verdict::Stored } else { Verdict::Known(key) };
        verdicts.entry(*link).or_default().push(Settled { frame: *frame, verdict });
    }
}
