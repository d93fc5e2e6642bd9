//! One step of one conversation, and what it leads to.

use std::collections::VecDeque;

use fieldmesh_batch::{Batch, Link as ChainLink};
use fieldmesh_identity::Item;
use fieldmesh_model::{ItemId, Moment};
use fieldmesh_session::{
    CloseReason, Greeting, Input as Step, LinkId, Loaded, Output as Effect, Reader, Received, Set,
    Sets, Settled,
};
use fieldmesh_trie::Key;

use super::{Replica, batch_id};
use crate::interface::{Event, Output};

/// What a step collects before it goes out.
#[derive(Default)]
struct Turn {
    /// Further steps of the same conversation.
    next: VecDeque<Step>,
    settled: Vec<Settled>,
    batches: Vec<Batch>,
    items: Vec<Item>,
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
        if !turn.batches.is_empty() {
            self.outputs.push_back(Output::StoreBatches { link: id, batches: turn.batches });
        }
        if let Some(reason) = fault {
            self.close(now, id, reason);
        } else if turn.is_greeted {
            self.settle_greeted(now, id);
        }
    }

    fn take_step(&mut self, now: Moment, id: LinkId, step: Step) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let is_member = self.policy.member(&link.peer).is_some();
        let mut sets = Sets {
            policy: &mut self.policy_keys,
            data: &mut self.keys,
            reader: if is_member { Reader::Member } else { Reader::Unknown },
            disk: self.ledger.disk(&link.peer),
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
                Effect::Data(bytes) => self.outputs.push_back(Output::Data { link: id, bytes }),
                Effect::Load(Set::Policy, keys) => self.load_items(&keys, &mut turn.next),
                Effect::Load(Set::Data, keys) => {
                    let ids = keys.iter().map(batch_id).collect();
                    self.outputs.push_back(Output::Load { link: id, ids });
                }
                Effect::Received(received) => self.receive(id, &received, turn)?,
                Effect::Offered(keys) => {
                    keys.into_iter().for_each(|key| self.named(now, id, key));
                }
                Effect::Greeted(greeting) => {
                    self.greeted(now, id, &greeting);
                    turn.is_greeted = true;
                }
                Effect::InStep => self.in_step(id),
                Effect::Stalled => {
                    if let Some(stats) = self.stats(id) {
                        self.event(Event::Stalled { link: id, stats });
                    }
                }
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        id: LinkId,
        received: &Received,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let verdict = match received.frame.set {
            Set::Policy => self.receive_item(id, received, &mut turn.items)?,
            Set::Data => self.receive_batch(id, received, &mut turn.batches)?,
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

    /// A peer offers a batch by its name.
    fn named(&mut self, now: Moment, id: LinkId, key: Key) {
        let is_here = self.keys.contains(&key) || self.ledger.is_writing_batch(&batch_id(&key));
        if !is_here {
            self.flights.offered(now, id, key);
        }
    }

    fn greeted(&mut self, now: Moment, id: LinkId, greeting: &Greeting) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.conversation = Some(greeting.conversation);
        let device = link.peer;
        self.event(Event::Greeted {
            link: id,
            device,
            store: greeting.store,
            store_epoch: greeting.store_epoch,
            skew_millis: greeting.clock.millis_since(now),
        });
    }

    fn in_step(&mut self, id: LinkId) {
        let Some(stats) = self.stats(id) else { return };
        self.event(Event::InStep { link: id, stats });
        let Some(reported) = &mut self.gaps else { return };
        let gaps = self.chains.gaps().map(|(chain, gap)| (*chain, gap));
        let fresh: Vec<_> = gaps.filter(|gap| reported.insert(*gap)).collect();
        for (chain, gap) in fresh {
            self.event(Event::ChainGap { chain, gap });
        }
    }

    /// Takes note of the chain of a batch that became durable.
    pub(super) fn note_chain(&mut self, header: &fieldmesh_batch::Header, key: &Key) {
        let link = self.chains.observe(header, batch_id(key));
        if let ChainLink::Fork { sequence, known, other } = link {
            let chain = fieldmesh_batch::Chain::of(header);
            self.event(Event::Fork { chain, sequence, known, other });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
