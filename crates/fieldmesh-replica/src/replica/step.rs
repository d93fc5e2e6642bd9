//! One step of one conversation, and what it leads to.

use std::collections::{BTreeSet, VecDeque};

use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, ItemId, Moment, Scope};
use fieldmesh_session::{
    CloseReason, Greeting, Input as Step, LinkId, Loaded, Output as Effect, Reader, Received, Set,
    Sets, Settled,
};
use fieldmesh_trie::Key;

use super::arrivals::Fresh;
use super::{Replica, batch_id};
use crate::interface::{Event, Fork, Output};
use crate::limits::GAPS_REPORTED_MAX;

/// What a step collects before it goes out.
#[derive(Default)]
struct Turn {
    /// Further steps of the same conversation.
    next: VecDeque<Step>,
    settled: Vec<Settled>,
    batches: Fresh,
    items: Vec<Item>,
    /// Links of which a name was left alone, so that comparing has to find the batch.
    left: BTreeSet<LinkId>,
    is_greeted: bool,
}

impl Replica {
    /// Lets the conversation over `id` take `step`; unknown links are gone and do not matter.
    pub(super) fn step(&mut self, now: Moment, id: LinkId, step: Step) {
        self.run(now, id, Some(step));
    }

    /// Performs what a conversation has left to do.
    pub(super) fn drain(&mut self, now: Moment, id: LinkId) {
        self.run(now, id, None);
    }

    fn run(&mut self, now: Moment, id: LinkId, step: Option<Step>) {
        let mut turn = Turn { next: step.into_iter().collect(), ..Turn::default() };
        let mut fault = None;
        loop {
            fault = fault.or_else(|| self.perform_effects(now, id, &mut turn).err());
            if !turn.settled.is_empty() {
                turn.next.push_back(Step::Settled(std::mem::take(&mut turn.settled)));
            }
            let Some(step) = turn.next.pop_front().filter(|_| fault.is_none()) else { break };
            fault = self.take_step(now, id, step).err();
        }
        if !turn.items.is_empty() {
            self.outputs.push_back(Output::StoreItems { link: id, items: turn.items });
        }
        self.store(id, turn.batches);
        self.settle_later(now);
        if let Some(reason) = fault {
            turn.left.remove(&id);
            self.close(now, id, reason);
        }
        for link in turn.left {
            self.step(now, link, Step::Check);
        }
        if !self.links.contains_key(&id) {
            return;
        }
        if turn.is_greeted {
            self.settle_greeted(now, id);
        }
        self.greet_relay(now, id);
    }

    fn take_step(&mut self, now: Moment, id: LinkId, step: Step) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let is_member = self.policy.member(&link.peer).is_some();
        let (data, quarantine, lane) = self.holdings.split();
        let (data, quarantine) = self.grants.lend(id, data, quarantine);
        let mut sets = Sets {
            policy: &mut self.policy_keys,
            data,
            quarantine,
            reader: if is_member { Reader::Member } else { Reader::Unknown },
            disk: self.ledger.disk(&link.peer),
            lane: &lane,
        };
        link.session.handle(now, step, &mut sets)
    }

    fn perform_effects(
        &mut self,
        now: Moment,
        id: LinkId,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        while let Some(effect) = self.links.get_mut(&id).and_then(|link| link.session.poll()) {
            match effect {
                Effect::Control(bytes) => {
                    self.outputs.push_back(Output::Control { link: id, bytes });
                }
                Effect::Data(lane, bytes) => {
                    self.outputs.push_back(Output::Data { link: id, lane, bytes });
                }
                Effect::Load(Set::Policy, keys) => self.load_items(&keys, &mut turn.next),
                Effect::Load(Set::Data | Set::Quarantine, keys) => {
                    self.note_lacking(id, &keys);
                    self.load_batches(id, &keys, &mut turn.next);
                }
                Effect::Received(received) => self.receive(now, id, &received, turn)?,
                Effect::Offered(keys) => {
                    turn.left.extend(keys.into_iter().filter_map(|key| self.named(now, id, key)));
                }
                Effect::Greeted(greeting) => {
                    self.greeted(now, id, greeting)?;
                    turn.next.push_front(Step::Granted);
                    turn.is_greeted = true;
                }
                Effect::InStep => self.in_step(now, id),
                Effect::Stalled => {
                    if let Some(stats) = self.stats(id) {
                        self.event(Event::Stalled { link: id, stats });
                    }
                }
                Effect::Unproven(keys) => self.asked(now, id, &keys),
                Effect::Receipts(receipts) => self.take_receipts(now, id, &receipts)?,
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        now: Moment,
        id: LinkId,
        received: &Received,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let verdict = match received.frame.set {
            Set::Policy => self.receive_item(now, id, received, &mut turn.items)?,
            Set::Data | Set::Quarantine => {
                self.receive_batch(now, id, received, &mut turn.batches)?
            }
        };
        let frame = received.frame;
        turn.settled.extend(verdict.map(|verdict| Settled { frame, verdict }));
        Ok(())
    }

    fn load_items(&self, keys: &[Key], next: &mut VecDeque<Step>) {
        let mut loaded = Vec::new();
        let mut failed = Vec::new();
        for id in keys.iter().map(Key::id) {
            match self.items.get(&ItemId::from_bytes(id)) {
                Some(item) => loaded.push(Loaded { id, bytes: item.encode().to_vec() }),
                None => failed.push(id),
            }
        }
        next.push_back(Step::Loaded(loaded));
        next.push_back(Step::LoadFailed(failed));
    }

    /// Has batches read for a peer; what it may not be given is none of them.
    fn load_batches(&mut self, id: LinkId, keys: &[Key], next: &mut VecDeque<Step>) {
        let is_shown = |batch: &BatchId| {
            let spot = self.holdings.index.find(batch);
            spot.is_some_and(|spot| self.grants.shows(id, &self.holdings, spot))
        };
        let (ids, outside): (Vec<BatchId>, Vec<BatchId>) =
            keys.iter().map(batch_id).partition(is_shown);
        if !outside.is_empty() {
            next.push_back(Step::LoadFailed(outside.iter().map(|id| *id.as_bytes()).collect()));
        }
        next.extend(self.provers_of(id, &ids));
        if !ids.is_empty() {
            self.outputs.push_back(Output::Load { link: id, ids });
        }
    }

    /// A peer offers a batch by its name; given is the link of which a name is left alone for it.
    fn named(&mut self, now: Moment, id: LinkId, key: Key) -> Option<LinkId> {
        let batch = batch_id(&key);
        let is_here = self.holds(&batch) || self.ledger.is_writing_batch(&batch);
        let is_wanted = !is_here && self.grants.admits(id, &Scope::from_bytes(key.scope()));
        if is_wanted { self.flights.offered(now, id, key) } else { None }
    }

    fn greeted(&mut self, now: Moment, id: LinkId, greeting: Greeting) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.conversation = Some(greeting.conversation);
        let device = link.peer;
        let (store, store_epoch) = (greeting.store, greeting.store_epoch);
        let (skew_millis, version) = (greeting.clock.millis_since(now), greeting.version);
        link.greeting = Some(greeting);
        let link = id;
        self.event(Event::Greeted { link, device, store, store_epoch, skew_millis, version });
        self.note_epoch(now, (device, store), store_epoch);
        self.grant_for_peer(now, id)?;
        self.may_suspect(id);
        Ok(())
    }

    fn in_step(&mut self, now: Moment, id: LinkId) {
        let Some(stats) = self.stats(id) else { return };
        self.event(Event::InStep { link: id, stats });
        let open: BTreeSet<_> = self.holdings.index.gaps().collect();
        self.gaps.retain(|gap| open.contains(gap));
        let room = GAPS_REPORTED_MAX.saturating_sub(self.gaps.len());
        let gaps = open.into_iter().filter(|gap| !self.gaps.contains(gap));
        let fresh: Vec<_> = gaps.take(room).collect();
        for (chain, gap) in fresh {
            self.gaps.insert((chain, gap));
            self.event(Event::ChainGap { chain, gap });
        }
        self.settle_suspicion(now, id);
        self.watch_relay(id);
        self.ask(now, id);
    }

    pub(super) fn event_of_fork(&mut self, fork: Option<Fork>) {
        if let Some(fork) = fork {
            self.event(Event::Fork(fork));
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
