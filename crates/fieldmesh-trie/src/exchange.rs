//! A whole exchange in memory, with its cost: for tests, simulations and measurements.

use std::collections::BTreeSet;

use crate::answer::{Answer, Budget, answer, named};
use crate::encoding::{encode, encode_wants};
use crate::key::Key;
use crate::spine::opening;
use crate::trie::Trie;
use crate::wire::{Node, WireKey, wire_root};

/// Bytes of a message's kind and of a keyed root.
const ROOT_BYTES: usize = 9;

/// What an exchange found and what it cost, without the items themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What the second side has to send to the first.
    pub first_lacks: BTreeSet<Key>,
    /// What the first side has to send to the second.
    pub second_lacks: BTreeSet<Key>,
    /// Bytes from the first side to the second.
    pub bytes_there: usize,
    /// Bytes from the second side to the first.
    pub bytes_back: usize,
    /// Messages in turn until both sides hold everything, the last one with items included.
    pub half_trips: usize,
    /// Whether a budget ran out, so that the roots have to be compared again.
    pub is_cut: bool,
}

impl Exchange {
    /// Bytes in both directions.
    pub const fn bytes(&self) -> usize {
        self.bytes_there + self.bytes_back
    }

    fn record(&mut self, turn: usize, message: &Answer, bytes: usize) {
        let (sent, lacks) = match turn {
            0 => (&mut self.bytes_there, &mut self.second_lacks),
            _ => (&mut self.bytes_back, &mut self.first_lacks),
        };
        *sent += bytes;
        lacks.extend(&message.lacks);
        self.is_cut |= message.is_cut;
    }
}

/// Compares `first` and `second`: `first` shows its root, `second` answers, and so on.
///
/// Neither side changes; what each lacks is in the result.
pub fn exchange(first: &Trie, second: &Trie, key: &WireKey, budget: Budget) -> Exchange {
    let mut found = Exchange { half_trips: 2, ..Exchange::default() };
    found.bytes_there = ROOT_BYTES + count_bytes(first.len());
    if wire_root(first, key) == wire_root(second, key) {
        found.bytes_back = 1;
        return found;
    }
    let sides = [first, second];
    let mut offered: [Vec<Node>; 2] = Default::default();
    let mut turn = 1;
    let mut message = opening(second, key, first.len() as u64, budget);
    let mut bytes = encode(&message.nodes, key.form()).len();
    loop {
        found.record(turn, &message, bytes);
        offered[turn].clone_from(&message.nodes);
        turn = 1 - turn;
        let mut reply = answer(sides[turn], key, &message.nodes, budget);
        for want in &message.wants {
            let nodes = &offered[turn];
            let node = nodes.get(want.node).expect("invariant: wants point at offered nodes");
            reply.lacks.extend(named(sides[turn], key, node, &want.bits));
        }
        if reply.is_empty() {
            return found;
        }
        bytes = encode(&reply.nodes, key.form()).len() + encode_wants(&reply.wants).len();
        found.half_trips += 1;
        message = reply;
    }
}

/// Bytes of a number in groups of seven bits.
const fn count_bytes(count: usize) -> usize {
    let bits = (usize::BITS - count.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}
