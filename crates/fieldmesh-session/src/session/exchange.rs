//! One exchange: both sides take turns until every difference in a set is named.

use fieldmesh_model::Moment;
use fieldmesh_trie::{
    Answer, Budget, Form, Key, Node, Prefix, Trie, answer, decode, decode_wants, encode,
    encode_wants, first_answer, named,
};

use super::pace::Progress;
use super::{Phase, Session, narrow};
use crate::error::SessionError;
use crate::interface::{Output, Reader, Set, Sets};
use crate::limits::ROUNDS_MAX;
use crate::wire::{FrameKind, Message};

/// The exchange that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    set: Set,
    /// What this side described last; the peer's wants point into it.
    offered: Vec<Node>,
    /// Whether the last turn was taken. Items may still travel.
    is_over: bool,
    rounds: u32,
    /// Items that changed sides because of it.
    moved: u64,
}

impl Exchange {
    const fn new(set: Set) -> Self {
        Self { set, offered: Vec::new(), is_over: false, rounds: 0, moved: 0 }
    }

    const fn kind(&self) -> FrameKind {
        match self.set {
            Set::Policy => FrameKind::Item,
            Set::Data => FrameKind::Batch,
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
        let key = self.key;
        let words = self.with_set(set, sets, |trie| {
            if peer_count == 0 {
                // Everything is lacking there; that takes no words.
                let nothing = Node::Ids { prefix: Prefix::ALL, ids: Vec::new() };
                return answer(trie, &key, &[nothing], Budget::default());
            }
            Answer { nodes: first_answer(trie, &key, Form::Plain), ..Answer::default() }
        });
        self.take_own_turn(Exchange::new(set), words)
    }

    pub(super) fn take_turn(
        &mut self,
        set: Set,
        sends: u32,
        nodes: &[u8],
        wants: &[u8],
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        let mut exchange = self.exchange_of_turn(set)?;
        if set == Set::Data && sets.reader == Reader::Unknown {
            return Err(SessionError::NotMember);
        }
        exchange.rounds += 1;
        self.stats.rounds += 1;
        if exchange.rounds > ROUNDS_MAX {
            return Err(SessionError::TooManyRounds);
        }
        self.receiver.expect_more(u64::from(sends));
        self.send_wanted(&mut exchange, wants, sets)?;
        let nodes = decode(nodes)?;
        if nodes.is_empty() {
            exchange.is_over = true;
            exchange.offered = Vec::new();
            self.phase = Phase::Exchanging(exchange);
            return Ok(());
        }
        let key = self.key;
        let words = self.with_set(set, sets, |trie| answer(trie, &key, &nodes, Budget::default()));
        let wanted: u64 = words.wants.iter().map(|want| ones(&want.bits)).sum();
        self.receiver.expect_more(wanted);
        self.take_own_turn(exchange, words)
    }

    /// Ends the exchange once nothing of it is under way.
    pub(super) fn finish_exchange(&mut self, now: Moment) {
        let Phase::Exchanging(exchange) = &self.phase else { return };
        if !exchange.is_over || !self.receiver.has_answers() || !self.sender.is_idle() {
            return;
        }
        let progress = self.pace.exchanged(now, exchange.moved);
        self.phase = Phase::Resting;
        if progress == Progress::Stalled {
            self.outputs.push_back(Output::Stalled);
        }
    }

    fn exchange_of_turn(&mut self, set: Set) -> Result<Exchange, SessionError> {
        match std::mem::replace(&mut self.phase, Phase::Resting) {
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

    fn take_own_turn(&mut self, mut exchange: Exchange, words: Answer) -> Result<(), SessionError> {
        let lacks = words.lacks.iter().filter(|key| !self.is_excluded(exchange.set, key));
        let lacks: Vec<Key> = lacks.copied().collect();
        for key in &lacks {
            self.sender.enqueue(exchange.kind(), *key);
        }
        exchange.moved(lacks.len() as u64);
        exchange.rounds += 1;
        self.stats.rounds += 1;
        self.send(&Message::Nodes {
            set: exchange.set.into(),
            sends: narrow(lacks.len()),
            nodes: encode(&words.nodes),
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
        let key = self.key;
        let mut short = 0;
        for want in decode_wants(wants)? {
            let Some(node) = exchange.offered.get(want.node) else {
                return Err(SessionError::OutOfTurn { name: "Want" });
            };
            let asked = asked(node, &want.bits);
            let mut keys =
                self.with_set(exchange.set, sets, |trie| named(trie, &key, node, &want.bits));
            keys.retain(|key| !self.is_excluded(exchange.set, key));
            keys.truncate(asked);
            short += asked - keys.len();
            exchange.moved(keys.len() as u64);
            for key in keys {
                self.sender.enqueue(exchange.kind(), key);
            }
        }
        if short > 0 {
            self.send(&Message::Short { count: narrow(short) })?;
        }
        Ok(())
    }

    fn is_excluded(&self, set: Set, key: &Key) -> bool {
        set == Set::Data && self.excluded.contains(key)
    }

    fn with_set<R>(&self, set: Set, sets: &mut Sets<'_>, read: impl FnOnce(&Trie) -> R) -> R {
        match set {
            Set::Policy => {
                sets.policy.rehash();
                read(sets.policy)
            }
            Set::Data => self.with_held(sets.data, read),
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
