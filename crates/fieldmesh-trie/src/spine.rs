//! The first words of an exchange: the top of a trie and the paths to its newest arrivals.
//!
//! Differences are nearly always recent arrivals, whatever their dates say, so these paths
//! usually name the difference in the first answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::{Answer, Budget};
use crate::encoding::encode;
use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;
use crate::trie::Trie;
use crate::wire::{Node, WireKey, arrange};

/// The largest first answer, in bytes.
pub const FIRST_ANSWER_BYTES_MAX: usize = 1_024;

/// The largest set whose first answer names every key.
const IDS_FIRST_MAX: usize = 96;

/// What to send first to a peer whose root differs.
pub fn first_answer(trie: &Trie, key: &WireKey) -> Vec<Node> {
    let top = trie.under(&Prefix::ALL);
    if top.len() <= IDS_FIRST_MAX {
        return vec![Node::ids(key, &Prefix::ALL, &top)];
    }
    let mut spine = Spine { trie, key, nodes: BTreeMap::new(), bytes: 0, scopes: BTreeSet::new() };
    for arrival in trie.arrivals() {
        if !spine.add_path(arrival) {
            break;
        }
    }
    spine.add(Prefix::ALL, &top);
    arrange(spine.nodes.into_values().collect())
}

/// What follows from a peer's root that differs and its number of keys: nodes to send, or, for a
/// peer that holds nothing, just everything.
pub fn opening(trie: &Trie, key: &WireKey, peer_count: u64, budget: Budget) -> Answer {
    if peer_count > 0 {
        return Answer { nodes: first_answer(trie, key), ..Answer::default() };
    }
    let lacks = trie.iter().take(budget.keys).copied().collect();
    Answer { lacks, is_cut: trie.len() > budget.keys, ..Answer::default() }
}

struct Spine<'a> {
    trie: &'a Trie,
    key: &'a WireKey,
    nodes: BTreeMap<Prefix, Node>,
    bytes: usize,
    /// Scopes whose newest leaf is named; older leaves of theirs are left as hashes.
    scopes: BTreeSet<[u8; 8]>,
}

impl Spine<'_> {
    /// Describes all regions from the top to the leaf of `arrival`; false if the room ran out.
    fn add_path(&mut self, arrival: &Key) -> bool {
        let is_newest = self.scopes.insert(arrival.scope());
        let mut region = Prefix::ALL;
        loop {
            let part = self.trie.under(&region);
            if part.branch().is_none() && !is_newest {
                return true;
            }
            if !self.add(region, &part) {
                return false;
            }
            match part.branch() {
                Some(branch) => region = Prefix::of(arrival, branch.prefix.len() + 1),
                None => return true,
            }
        }
    }

    /// Describes one region; false if there is no room.
    fn add(&mut self, region: Prefix, part: &Part<'_>) -> bool {
        if self.nodes.contains_key(&region) {
            return true;
        }
        let node = Node::of(self.key, &region, part);
        let alone = encode(std::slice::from_ref(&node)).len();
        // It stands in for its hash in the node above.
        let saved = if region.is_empty() { 0 } else { 8 };
        let bytes = self.bytes + alone.saturating_sub(saved);
        if bytes > FIRST_ANSWER_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.nodes.insert(region, node);
        true
    }
}
