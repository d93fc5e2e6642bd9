//! One exchange: both sides take turns until every difference in a set is named.

use std::collections::BTreeSet;

use fieldmesh_model::Moment;
use fieldmesh_trie::{
    Answer, Budget, Key, Node, Prefix, Trie, answer, decode, decode_wants, encode, encode_wants,
    first_answer, named,
};

use super::pace::Progress;
use super::{Phase, Session, narrow};
use crate::error::SessionError;
use crate::interface::{Lane, Output, Reader, Set, Sets};
use crate::limits::{ANSWERS_QUEUED_MAX, FRUITLESS_ROUNDS_MAX, FRUITLESS_ROUNDS_PLAIN, ROUNDS_MAX};
use crate::wire::{FrameKind, Message};

/// The exchange that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    set: Set,
    /// What this side described last; the peer's wants point into it.
    offered: Vec<Node>,
    /// The bytes of that.
    offered_bytes: usize,
    /// Whether the last turn was taken. Items may still travel.
    is_over: bool,
    rounds: u32,
    /// Items that changed sides because of it.
    moved: u64,
}

/// One turn of the peer.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) set: Set,
    pub(super) sends: u32,
    pub(super) nodes: Vec<u8>,
    pub(super) wants: Vec<u8>,
}

impl Exchange {
    const fn new(set: Set) -> Self {
        Self { set, offered: Vec::new(), offered_bytes: 0, is_over: false, rounds: 0, moved: 0 }
    }

    const fn kind(&self) -> FrameKind {
        match self.set {
            Set::Policy => FrameKind::Item,
            Set::Data => FrameKind::Batch,
            Set::Quarantine => FrameKind::Aside,
        }
    }

    /// Whether it is about batches that count nowhere.
    pub(super) fn is_aside(&self) -> bool {
        self.set == Set::Quarantine
    }

    /// How many bytes describe what the peer may ask for.
    pub(super) const fn held(&self) -> usize {
        self.offered_bytes
    }

    /// Whether every difference is named; what is lacking may still travel.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn lane_of(&self, key: &Key, sets: &Sets<'_>) -> Lane {
        match self.set {
            Set::Policy => Lane::Urgent,
            Set::Data => (sets.lane)(key),
            Set::Quarantine => Lane::Backfill,
        }
    }

    pub(super) fn moved(&mut self, count: u64) {
        self.moved += count;
    }

    pub(super) fn not_moved(&mut self, count: u64) {
        self.moved = self.moved.saturating_sub(count);
    }
}

impl Session {
    /// The accepting side takes the first turn, after roots that differ.
    pub(super) fn begin_exchange(
        &mut self,
        set: Set,
        peer_count: u64,
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        self.stats.exchanges += 1;
        let (key, budget) = (self.key(), self.budget());
        let words = self.with_set(set, sets, |trie| {
            if peer_count == 0 {
                // Everything is lacking there; that takes no words.
                let nothing = Node::Ids { prefix: Prefix::ALL, ids: Vec::new() };
                return answer(trie, &key, &[nothing], budget);
            }
            Answer { nodes: first_answer(trie, &key), ..Answer::default() }
        });
        self.take_own_turn(Exchange::new(set), words, sets)
    }

    pub(super) fn take_turn(
        &mut self,
        now: Moment,
        turn: &Turn,
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        let set = turn.set;
        let mut exchange = self.exchange_of_turn(now, set)?;
        if set != Set::Policy && sets.reader == Reader::Unknown {
            return Err(SessionError::NotMember);
        }
        exchange.rounds += 1;
        self.stats.rounds += 1;
        if exchange.rounds > ROUNDS_MAX {
            return Err(SessionError::TooManyRounds);
        }
        self.receiver.expect_more(u64::from(turn.sends));
        self.send_wanted(&mut exchange, &turn.wants, sets)?;
        let (key, budget) = (self.key(), self.budget());
        let nodes = decode(&turn.nodes, key.form())?;
        if nodes.is_empty() {
            exchange.is_over = true;
            (exchange.offered, exchange.offered_bytes) = (Vec::new(), 0);
            self.phase = Phase::Exchanging(exchange);
            return Ok(());
        }
        let words = self.with_set(set, sets, |trie| answer(trie, &key, &nodes, budget));
        let wanted: u64 = words.wants.iter().map(|want| ones(&want.bits)).sum();
        self.receiver.expect_more(wanted);
        self.take_own_turn(exchange, words, sets)
    }

    /// Ends the exchange once nothing of it is under way.
    pub(super) fn finish_exchange(
        &mut self,
        now: Moment,
        sets: &Sets<'_>,
    ) -> Result<(), SessionError> {
        let Phase::Exchanging(exchange) = &self.phase else { return Ok(()) };
        if !exchange.is_over || !self.receiver.has_answers() || !self.sender.is_idle() {
            return Ok(());
        }
        if exchange.is_aside() {
            self.phase = Phase::Resting;
            self.pace.outdated(now);
            self.release_offers(sets);
            return self.pump(now);
        }
        let patience = if self.has_lanes() { FRUITLESS_ROUNDS_MAX } else { FRUITLESS_ROUNDS_PLAIN };
        let progress = self.pace.exchanged(now, exchange.moved, patience);
        self.phase = Phase::Resting;
        if progress == Progress::Stalled {
            self.outputs.push_back(Output::Stalled);
        }
        Ok(())
    }

    fn exchange_of_turn(&mut self, now: Moment, set: Set) -> Result<Exchange, SessionError> {
        if set == Set::Quarantine && !self.has_lanes() {
            return Err(SessionError::OutOfTurn { name: "Nodes" });
        }
        match std::mem::replace(&mut self.phase, Phase::Resting) {
            Phase::Checking if set == Set::Quarantine => {
                self.pace.begun_quarantine(now)?;
                self.stats.exchanges += 1;
                if self.offers.is_empty() && !self.has_lost_offers {
                    self.in_step(now);
                }
                Ok(Exchange::new(set))
            }
            Phase::Checking => {
                self.stats.exchanges += 1;
                // What became new meanwhile is found by this exchange.
                self.offers.clear();
                Ok(Exchange::new(set))
            }
            Phase::Exchanging(exchange) if exchange.set == set && !exchange.is_over => Ok(exchange),
            Phase::Exchanging(_) | Phase::Greeting | Phase::Resting => {
                Err(SessionError::OutOfTurn { name: "Nodes" })
            }
        }
    }

    fn take_own_turn(
        &mut self,
        mut exchange: Exchange,
        words: Answer,
        sets: &Sets<'_>,
    ) -> Result<(), SessionError> {
        let lacks = self.enqueue_answers(&exchange, &words.lacks, sets);
        exchange.moved(lacks as u64);
        exchange.rounds += 1;
        self.stats.rounds += 1;
        let nodes = encode(&words.nodes, self.key().form());
        exchange.offered_bytes = nodes.len();
        self.send(&Message::Nodes {
            set: exchange.set.into(),
            sends: narrow(lacks),
            nodes,
            wants: encode_wants(&words.wants),
        })?;
        exchange.is_over = words.nodes.is_empty();
        exchange.offered = words.nodes;
        self.phase = Phase::Exchanging(exchange);
        Ok(())
    }

    /// Sends what the peer's bitmaps mean.
    fn send_wanted(
        &mut self,
        exchange: &mut Exchange,
        wants: &[u8],
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        let key = self.key();
        let mut short = 0;
        for want in decode_wants(wants)? {
            let Some(node) = exchange.offered.get(want.node) else {
                return Err(SessionError::OutOfTurn { name: "Want" });
            };
            let asked = asked(node, &want.bits);
            let mut keys =
                self.with_set(exchange.set, sets, |trie| named(trie, &key, node, &want.bits));
            keys.truncate(asked.min(ANSWERS_QUEUED_MAX.saturating_sub(self.sender.waiting())));
            let sent = self.enqueue_answers(exchange, &keys, sets);
            short += asked - sent;
            exchange.moved(sent as u64);
        }
        if short > 0 {
            self.send(&Message::Short { count: narrow(short) })?;
        }
        Ok(())
    }

    /// Has what the peer lacks sent, except what is on its way already; gives how many that are.
    fn enqueue_answers(&mut self, exchange: &Exchange, keys: &[Key], sets: &Sets<'_>) -> usize {
        let mut enqueued = 0;
        for key in keys {
            let is_held = self.is_excluded(exchange.set, key);
            if !is_held && self.sender.enqueue(exchange.lane_of(key, sets), exchange.kind(), *key) {
                enqueued += 1;
            }
        }
        // What became new meanwhile and is found by this exchange need not be passed on as well.
        if !self.offers.is_empty() {
            let found: BTreeSet<&Key> = keys.iter().collect();
            self.offers.retain(|(_, key, _)| !found.contains(key));
        }
        enqueued
    }

    /// What is found lacking beyond what may wait is found once more by the next exchange.
    fn budget(&self) -> Budget {
        let keys = ANSWERS_QUEUED_MAX.saturating_sub(self.sender.waiting());
        Budget { keys, ..Budget::default() }
    }

    fn is_excluded(&self, set: Set, key: &Key) -> bool {
        self.excluded.get(key) == Some(&set)
    }

    fn with_set<R>(&self, set: Set, sets: &mut Sets<'_>, read: impl FnOnce(&Trie) -> R) -> R {
        match set {
            Set::Policy => self.with_held(set, sets.policy, read),
            Set::Data => self.with_held(set, sets.data, read),
            Set::Quarantine => self.with_held(set, sets.quarantine, read),
        }
    }
}

fn ones(bits: &[u8]) -> u64 {
    bits.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

/// How many ids of `node` the peer's bits name; bits beyond the ids do not count.
fn asked(node: &Node, bits: &[u8]) -> usize {
    let Node::Ids { ids, .. } = node else { return 0 };
    let is_set =
        |index: usize| bits.get(index / 8).is_some_and(|byte| byte & 1 << (index % 8) != 0);
    (0..ids.len()).filter(|index| is_set(*index)).count()
}
