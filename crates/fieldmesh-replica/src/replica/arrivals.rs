//! Batches and policy items that arrive, are judged, become durable, and are passed on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Item, Policy, Statement, Unheard};
use fieldmesh_model::{BatchId, DeviceId, ItemId, Moment};
use fieldmesh_session::{
    FrameMark, Input as Step, LinkId, Received, SessionError, Set, Settled, Verdict,
};
use fieldmesh_trie::Key;

use super::ledger::{Arriving, Frame, Writing};
use super::runs::Unnamed;
use super::waiting::Copy;
use super::{Replica, item_key};
use crate::index::{Mark, Spot};
use crate::interface::{Event, Held, Output, Unstored};
use crate::judge::{Evidence, RefuseReason, judge, without_purged};
use crate::limits::{QUARANTINE_MAX, QUARANTINE_PER_AUTHOR_MAX, SURPLUS_MAX};

/// Verdicts on waiting frames, by link.
type Verdicts = BTreeMap<LinkId, Vec<Settled>>;

/// Verified batches to be stored.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    counting: Vec<Batch>,
    aside: Vec<Batch>,
}

/// One copy of a batch.
struct Incoming {
    link: LinkId,
    peer: DeviceId,
    /// The frame that waits for it, if one does.
    frame: Option<FrameMark>,
    batch: Batch,
}

impl Replica {
    /// Judges a batch; None while it is on its way to the disk, or waits to be named by another.
    pub(super) fn receive_batch(
        &mut self,
        now: Moment,
        id: LinkId,
        received: &Received,
        fresh: &mut Fresh,
    ) -> Result<Option<Verdict>, SessionError> {
        let batch = Batch::decode(&received.bytes).map_err(|_| SessionError::Content)?;
        let held = Held::of(&batch);
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(None) };
        if !self.is_lacking(id, &held) {
            return Ok(Some(Verdict::Known(held.key())));
        }
        let length = received.bytes.len();
        let evidence = match self.judge(id, &batch) {
            Ok(evidence) => evidence,
            Err(reason) => {
                if reason.may_pass_later() {
                    self.waiting.keep(Copy { link: id, peer, batch, length });
                }
                return Ok(Some(self.refuse(id, &held, reason)));
            }
        };
        if evidence == Evidence::Successor && !self.is_named(&held) {
            let unnamed = Unnamed::new((id, peer), received.frame, (batch, length));
            let is_kept = self.runs.keep(now, unnamed);
            return Ok((!is_kept).then(|| Verdict::Known(held.key())));
        }
        let incoming = Incoming { link: id, peer, frame: Some(received.frame), batch };
        self.accept(incoming, fresh);
        Ok(None)
    }

    /// Checks a policy item; None while it is on its way to the disk.
    pub(super) fn receive_item(
        &mut self,
        now: Moment,
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
            if let Some(verdict) = self.refuse_item(now, id, &item) {
                return Ok(Some(verdict));
            }
            let writing = Writing::new(item_key(&item), id, item.clone());
            self.ledger.write_item(item.id(), writing);
            fresh.push(item.clone());
        }
        self.ledger.join_item(&item.id(), peer, (id, received.frame));
        Ok(None)
    }

    /// What is said of an item that is not to be stored as things are.
    fn refuse_item(&mut self, now: Moment, link: LinkId, item: &Item) -> Option<Verdict> {
        let key = item_key(item);
        match self.policy.admits(item) {
            // The conversation works around it until somebody else may be heard.
            Err(Unheard::UnknownSigner { .. }) => Some(self.refuse_for_now(link, key)),
            // An honest peer drops it as well once it has what goes before it.
            Err(_) => Some(Verdict::Known(key)),
            // What is being written is in the set soon; then this one is judged by all of it.
            Ok(()) if self.ledger.items_of(item.signer()) >= self.policy.share_of(item) => {
                Some(Verdict::Known(key))
            }
            Ok(()) => {
                let is_flood =
                    self.policy.displaces(item) && !self.floods.takes(now, item.signer());
                is_flood.then(|| self.refuse_for_now(link, key))
            }
        }
    }

    /// Has verified batches stored, each behind the one before it.
    pub(super) fn store(&mut self, link: LinkId, fresh: Fresh) {
        for (mut batches, aside) in [(fresh.counting, false), (fresh.aside, true)] {
            if !batches.is_empty() {
                batches.sort_by_key(|batch| {
                    let held = Held::of(batch);
                    (held.chain(), held.sequence, held.id)
                });
                self.outputs.push_back(Output::StoreBatches { link, batches, aside });
            }
        }
    }

    pub(super) fn batches_stored(&mut self, now: Moment, ids: &[BatchId]) {
        let was_all_signed = self.holdings.is_all_signed();
        let mut landing = Landing::default();
        for id in ids {
            if let Some(writing) = self.ledger.take_batch(id) {
                self.land(now, &writing, &mut landing);
            }
        }
        self.holdings.rehash();
        self.grants.rehash();
        for (link, batches) in landing.received {
            self.event(Event::Received { link, batches });
        }
        for (link, batches) in landing.quarantined {
            self.event(Event::Quarantined { link, batches });
        }
        self.moved(&landing.set_aside, &landing.readmitted);
        self.tell(now, landing.verdicts);
        if landing.was_refused {
            self.rejudge(now);
        }
        if was_all_signed && !self.holdings.is_all_signed() {
            self.regrant_all(now);
        }
        for (origins, keys) in landing.names {
            self.name(now, &keys, &origins);
        }
        for ((set, origins), keys) in landing.offers {
            self.offer(now, set, &keys, &origins);
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
        for (origins, mut keys) in offers {
            keys.retain(|key| self.policy_keys.contains(key));
            self.offer(now, Set::Policy, &keys, &origins);
        }
    }

    /// Forgets what cannot be made durable, and closes the links that wait for it.
    pub(super) fn store_failed(
        &mut self,
        now: Moment,
        (batches, items): (&[BatchId], &[ItemId]),
        why: Unstored,
    ) {
        let fault = match why {
            Unstored::Failed => SessionError::NotStored,
            Unstored::NotGranted => SessionError::NotGranted,
        };
        let mut frames: Vec<Frame> = Vec::new();
        let mut was_refused = false;
        for writing in batches.iter().filter_map(|id| self.ledger.take_batch(id)) {
            was_refused |= writing.was_refused;
            frames.extend(writing.frames);
        }
        for writing in items.iter().filter_map(|id| self.ledger.take_item(id)) {
            was_refused |= writing.was_refused;
            frames.extend(writing.frames);
        }
        let links: BTreeSet<LinkId> = frames.into_iter().map(|(link, _)| link).collect();
        for link in links {
            self.close(now, link, fault.clone().into());
        }
        if was_refused {
            self.rejudge(now);
        }
    }

    /// Durable items become part of the policy, and everything is judged by it.
    pub(super) fn take_items(&mut self, now: Moment, items: Vec<Item>) {
        let subject = |item: &Item| match item.statement() {
            Statement::Certificate(certificate) => Some(certificate.device()),
            _ => None,
        };
        let returning = self.displaced.take();
        let subjects: BTreeSet<DeviceId> =
            items.iter().chain(returning.values()).filter_map(subject).collect();
        for item in items {
            self.displaced.arrived(item.id());
            self.policy_keys.insert(item_key(&item));
            self.items.insert(item.id(), item);
        }
        // What was driven out has room again where a cut saves it, or others have none.
        let ids: BTreeSet<ItemId> = returning.keys().copied().collect();
        self.items.extend(returning);
        let policy = Policy::evaluate(self.config.tenant, self.items.values());
        let is_same = self.says_the_same(&policy, &subjects);
        for item in ids.iter().filter(|id| policy.holds(id)).filter_map(|id| self.items.get(id)) {
            self.policy_keys.insert(item_key(item));
        }
        // What came may have driven out others of the same signer, or be driven out already.
        let rest = self.items.values().filter(|item| !policy.holds(&item.id()));
        let rest: Vec<Item> = rest.cloned().collect();
        for item in rest.iter().filter(|item| !ids.contains(&item.id())) {
            self.policy_keys.remove(&item_key(item));
        }
        self.items.retain(|id, _| policy.holds(id));
        self.displaced.keep(&policy, rest);
        self.policy_keys.rehash();
        let before = std::mem::replace(&mut self.policy, policy);
        if is_same {
            // Nobody else counts, and yet more items may be admitted.
            if self.policy.hears_more_than(&before) {
                self.rejudge(now);
            }
            return;
        }
        self.event(Event::PolicyChanged);
        let moves = self.holdings.restand(&before, &self.policy);
        if moves.are_rules_new || self.may_read_otherwise(&before) {
            self.watch.policy_changed();
        }
        for spot in moves.set_aside.iter().chain(&moves.readmitted) {
            self.grants.place(&self.holdings, *spot);
        }
        self.grants.rehash();
        self.moved(&moves.set_aside, &moves.readmitted);
        self.release_waiting();
        self.rejudge(now);
        self.regrant_all(now);
    }

    /// Whether `policy` differs at most in which items exist that do not count; `subjects` are
    /// those whom new items certify.
    fn says_the_same(&self, policy: &Policy, subjects: &BTreeSet<DeviceId>) -> bool {
        let before = &self.policy;
        let is_known = |policy: &Policy, it: &DeviceId| policy.verifying_key(it).is_some();
        policy == before
            || (self.items.keys().all(|item| policy.counts(item) == before.counts(item))
                && subjects.iter().all(|it| is_known(policy, it) == is_known(before, it))
                && policy.everybody().eq(before.everybody())
                && policy.members().eq(before.members()))
    }

    /// Whether members may read something else than by the policy `before`.
    fn may_read_otherwise(&self, before: &Policy) -> bool {
        let now = self.policy.members().map(|member| (member.device, &member.read));
        !now.eq(before.members().map(|member| (member.device, &member.read)))
    }

    /// A batch that was sealed here and is durable.
    pub(super) fn local_batch(&mut self, now: Moment, held: &Held) {
        let Some(arrival) = self.holdings.insert(&self.policy, held) else { return };
        self.proofs.arrived(&self.holdings.index, arrival.spot);
        for spot in arrival.readmitted.iter().chain([&arrival.spot]) {
            self.grants.place(&self.holdings, *spot);
        }
        self.holdings.rehash();
        self.grants.rehash();
        self.event_of_fork(arrival.fork);
        let set_aside: &[Spot] = if arrival.is_aside { &[arrival.spot] } else { &[] };
        self.moved(set_aside, &arrival.readmitted);
        let set = if arrival.is_aside { Set::Quarantine } else { Set::Data };
        let index = &self.holdings.index;
        let earlier: Vec<Key> = arrival.readmitted.iter().map(|spot| index.key(*spot)).collect();
        self.name(now, &earlier, &BTreeSet::new());
        self.offer(now, set, &[held.key()], &BTreeSet::new());
    }

    /// Whether the batch is wanted: it is not here, or has its signature and the one here has not.
    fn is_lacking(&self, id: LinkId, held: &Held) -> bool {
        let Some(spot) = self.holdings.index.find(&held.id) else { return true };
        if self.holdings.index.has(spot, Mark::Lost) {
            return true;
        }
        // Only such a peer cannot be given the one that is here.
        let is_plain_peer = self.links.get(&id).is_some_and(|link| !link.takes_runs());
        is_plain_peer && held.is_signed && !self.holdings.index.has(spot, Mark::Signed)
    }

    fn is_named(&self, held: &Held) -> bool {
        self.ledger.is_named(held) || self.holdings.is_named(held)
    }

    fn judge(&self, id: LinkId, batch: &Batch) -> Result<Evidence, RefuseReason> {
        let scope = batch.header().scope;
        if !self.grants.admits(id, &scope) {
            return Err(RefuseReason::Outside { scope });
        }
        judge(&self.policy, batch)
    }

    /// Why a batch is refused that any of the links brings.
    #[cfg(test)]
    pub(crate) fn judged(&self, batch: &Batch) -> Option<RefuseReason> {
        self.links.keys().find_map(|id| self.judge(*id, batch).err())
    }

    fn refuse(&mut self, link: LinkId, held: &Held, reason: RefuseReason) -> Verdict {
        self.event(Event::Refused { link: Some(link), batch: held.id, reason });
        Verdict::Refused(held.key())
    }

    /// Has an authentic batch stored, and those that waited for it to name them.
    fn accept(&mut self, incoming: Incoming, fresh: &mut Fresh) {
        let mut authentic = vec![incoming];
        while let Some(incoming) = authentic.pop() {
            let held = Held::of(&incoming.batch);
            let (link, frame) = (incoming.link, incoming.frame);
            if let Some(verdict) = self.write(incoming, fresh) {
                self.later.extend(frame.map(|frame| (link, Settled { frame, verdict })));
                continue;
            }
            let named = self.runs.named_by(&held);
            authentic.extend(named.into_iter().map(|unnamed| Incoming {
                link: unnamed.link,
                peer: unnamed.peer,
                frame: Some(unnamed.frame),
                batch: unnamed.batch,
            }));
        }
    }

    /// Has one authentic batch stored; a verdict if it is not.
    fn write(&mut self, incoming: Incoming, fresh: &mut Fresh) -> Option<Verdict> {
        let Incoming { link, peer, frame, batch } = incoming;
        let held = Held::of(&batch);
        self.flights.arrived(&held.key());
        if !self.ledger.is_writing_batch(&held.id) {
            let here = self.holdings.index.find(&held.id);
            let is_aside = match here {
                Some(spot) => self.holdings.index.has(spot, Mark::Aside),
                None => self.holdings.excluded(&self.policy, &held).is_some(),
            };
            if is_aside
                && here.is_none()
                && let Some(reason) = self.surplus(&held)
            {
                return Some(self.refuse_surplus(link, &held, reason));
            }
            let was_let_go =
                self.let_go.get(&held.chain()).is_some_and(|end| held.sequence <= *end);
            if held.author == self.config.device && here.is_none() && !was_let_go {
                self.event(Event::OwnBatchUnknown { batch: held.id });
            }
            self.ledger.write_batch(Writing::new(held.key(), link, Arriving { held, is_aside }));
            let batch = without_purged(&self.policy, batch);
            if is_aside { fresh.aside.push(batch) } else { fresh.counting.push(batch) }
        }
        self.ledger.join_batch(&held.id, peer, frame.map(|frame| (link, frame)));
        None
    }

    /// Why there is no room for one more batch that does not count.
    fn surplus(&self, held: &Held) -> Option<RefuseReason> {
        let count = self.holdings.quarantine.len() + self.ledger.aside_count();
        let reason = if count >= QUARANTINE_MAX {
            RefuseReason::QuarantineFull
        } else if self.holdings.aside_count(&held.author) >= QUARANTINE_PER_AUTHOR_MAX {
            RefuseReason::QuarantineShare
        } else {
            return None;
        };
        (!self.is_waited_for(held)).then_some(reason)
    }

    /// Refuses a batch for which there is no room; this conversation brings it once.
    fn refuse_surplus(&mut self, link: LinkId, held: &Held, reason: RefuseReason) -> Verdict {
        self.event(Event::Refused { link: Some(link), batch: held.id, reason });
        self.refuse_for_now(link, held.key())
    }

    /// The verdict on what has no place here as things are: the conversation works around it, as long
    /// as it is little.
    fn refuse_for_now(&self, link: LinkId, key: Key) -> Verdict {
        let refused = self.links.get(&link).map_or(0, |link| link.session.stats().refused);
        if refused < SURPLUS_MAX { Verdict::Refused(key) } else { Verdict::Known(key) }
    }

    /// A batch is durable.
    fn land(&mut self, now: Moment, writing: &Writing<Arriving>, landing: &mut Landing) {
        let Arriving { held, is_aside: was_aside } = writing.content;
        let (origin, peers) = (writing.origin, &writing.peers);
        landing.was_refused |= writing.was_refused;
        settle(&mut landing.verdicts, origin, writing.key, &writing.frames);
        if let Some(spot) = self.holdings.index.find(&held.id) {
            if held.is_signed {
                self.holdings.sign(spot);
            }
            if self.holdings.recover(spot) {
                landing.names.entry(peers.clone()).or_default().push(writing.key);
            }
            self.grants.place(&self.holdings, spot);
            return;
        }
        if !held.is_signed && !self.is_named(&held) {
            // The one that named it could not be stored.
            self.unheld.insert(held.id);
            return;
        }
        self.unheld.remove(&held.id);
        let Some(arrival) = self.holdings.insert(&self.policy, &held) else { return };
        let spot = arrival.spot;
        self.proofs.arrived(&self.holdings.index, spot);
        for spot in arrival.readmitted.iter().chain([&spot]) {
            self.grants.place(&self.holdings, *spot);
        }
        self.event_of_fork(arrival.fork);
        let line = self.holdings.index.line(spot);
        for link in self.links.values_mut().filter(|link| peers.contains(&link.peer)) {
            link.receipts.brought(line);
            link.receipts.ask_soon(now);
        }
        let index = &self.holdings.index;
        let keys = arrival.readmitted.iter().map(|spot| index.key(*spot));
        landing.names.entry(peers.clone()).or_default().extend(keys);
        landing.readmitted.extend(arrival.readmitted);
        let reason = self.holdings.reason(&self.policy, spot);
        let set = if reason.is_some() { Set::Quarantine } else { Set::Data };
        landing.offers.entry((set, peers.clone())).or_default().push(writing.key);
        match reason {
            Some(reason) => {
                landing.quarantined.entry(origin).or_default().push((held.id, reason));
                landing.set_aside.extend((!was_aside).then_some(spot));
            }
            None => {
                self.watch_arrival(now, spot, peers);
                landing.received.entry(origin).or_default().push(held.id);
                landing.readmitted.extend(was_aside.then_some(spot));
            }
        }
    }

    /// Says which batches stand otherwise than before.
    fn moved(&mut self, set_aside: &[Spot], readmitted: &[Spot]) {
        let ids = |spots: &[Spot]| -> Vec<BatchId> {
            spots.iter().map(|spot| self.holdings.index.id(*spot)).collect()
        };
        let (set_aside, readmitted) = (ids(set_aside), ids(readmitted));
        if !set_aside.is_empty() {
            self.event(Event::SetAside { batches: set_aside });
        }
        if !readmitted.is_empty() {
            self.links.values_mut().for_each(|link| link.receipts.reopen());
            self.event(Event::Readmitted { batches: readmitted });
        }
    }

    /// Has those waiting batches stored whose authors are known by now.
    fn release_waiting(&mut self) {
        let policy = &self.policy;
        let released = self.waiting.release(|batch| judge(policy, batch).is_ok());
        let mut copies: Vec<Copy> = released;
        // What names another comes before it.
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.batch.header().sequence));
        let mut fresh: BTreeMap<LinkId, Fresh> = BTreeMap::new();
        for Copy { link, peer, batch, .. } in copies {
            let held = Held::of(&batch);
            let is_here = self.holds(&held.id);
            // One that nothing names yet is found by comparing once more.
            let is_authentic = held.is_signed || self.is_named(&held);
            if is_here || !is_authentic || !self.wants(&held.scope) {
                continue;
            }
            let incoming = Incoming { link, peer, frame: None, batch };
            self.accept(incoming, fresh.entry(link).or_default());
            self.ledger.was_refused(&held.id);
        }
        for (link, fresh) in fresh {
            self.store(link, fresh);
        }
    }

    /// Tells all conversations which refused batches still count as held.
    pub(super) fn rejudge(&mut self, now: Moment) {
        let mut refused = self.waiting.keys();
        refused.extend(self.ledger.refused_before());
        self.step_all(now, || Step::Rejudge(refused.clone()));
    }

    /// Settles frames whose fate another frame decided.
    pub(super) fn settle_later(&mut self, now: Moment) {
        let mut verdicts = Verdicts::new();
        for (link, settled) in std::mem::take(&mut self.later) {
            verdicts.entry(link).or_default().push(settled);
        }
        for (link, settled) in verdicts {
            self.step(now, link, Step::Settled(settled));
        }
    }

    /// Tells all conversations what became of their frames; others of the same peers may go on.
    fn tell(&mut self, now: Moment, mut verdicts: Verdicts) {
        verdicts.keys().for_each(|id| self.runs.moved(now, *id));
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let step = verdicts.remove(&id).map_or(Step::Wake, Step::Settled);
            self.step(now, id, step);
        }
    }
}

/// What comes of batches that became durable together.
#[derive(Default)]
struct Landing {
    verdicts: Verdicts,
    received: BTreeMap<LinkId, Vec<BatchId>>,
    quarantined: BTreeMap<LinkId, Vec<(BatchId, RefuseReason)>>,
    set_aside: Vec<Spot>,
    readmitted: Vec<Spot>,
    /// What counts again; some peers hold it from before, so it is only named.
    names: BTreeMap<BTreeSet<DeviceId>, Vec<Key>>,
    offers: BTreeMap<(Set, BTreeSet<DeviceId>), Vec<Key>>,
    was_refused: bool,
}

/// Notes what became of the frames of one batch or item.
fn settle(verdicts: &mut Verdicts, origin: LinkId, key: Key, frames: &[Frame]) {
    for (index, (link, frame)) in frames.iter().enumerate() {
        let is_first = index == 0 && *link == origin;
        let verdict = if is_first { Verdict::Stored } else { Verdict::Known(key) };
        verdicts.entry(*link).or_default().push(Settled { frame: *frame, verdict });
    }
}
