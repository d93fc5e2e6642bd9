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
use crate::wire::{DESCRIBED, Form, Node, Rest, WireKey, arrange};

/// The largest first answer, in bytes.
pub const FIRST_ANSWER_BYTES_MAX: usize = 1_024;

/// The largest set whose first answer names every key.
const IDS_FIRST_MAX: usize = 96;

/// How many children beside a path keep a hash of their own. Measured: 1 takes a third of the bytes
/// off a difference of some recent keys and no more turns than hashes for all; 0 takes more turns.
const NEIGHBOURS: usize = 1;

/// How many bytes of paths are worth their cost where one key differs; measured.
const fn room(form: Form) -> usize {
    match form {
        Form::Plain => FIRST_ANSWER_BYTES_MAX,
        Form::Summed => FIRST_ANSWER_BYTES_MAX * 7 / 8,
    }
}

/// What to send first to a peer whose root differs.
pub fn first_answer(trie: &Trie, key: &WireKey) -> Vec<Node> {
    let top = trie.under(&Prefix::ALL);
    if top.len() <= IDS_FIRST_MAX {
        return vec![Node::ids(key, &Prefix::ALL, &top)];
    }
    let (nodes, scopes) = (BTreeMap::new(), BTreeSet::new());
    let mut spine = Spine { trie, key, nodes, bytes: 0, scopes };
    for arrival in trie.arrivals() {
        if !spine.add_path(arrival) {
            break;
        }
    }
    spine.add(Prefix::ALL, &top);
    spine.finish()
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

    /// The message. Of what lies beside the paths only the newest has a hash of its own.
    fn finish(self) -> Vec<Node> {
        let mut nodes = arrange(self.nodes.into_values().collect());
        for node in nodes.iter_mut().filter(|_| self.key.form() == Form::Summed) {
            if let Node::Kids { prefix, kids, rest, .. } = node {
                *rest = summarise(self.trie, self.key, prefix, kids);
            }
        }
        nodes
    }

    /// Describes one region; false if there is no room.
    fn add(&mut self, region: Prefix, part: &Part<'_>) -> bool {
        if self.nodes.contains_key(&region) {
            return true;
        }
        let (node, form) = (Node::of(self.key, &region, part), self.key.form());
        let alone = encode(std::slice::from_ref(&node), form).len();
        let hash = form.hash_length();
        let saved = match (&node, form) {
            // It stands in for its hash in the node above.
            (_, Form::Plain) => hash * usize::from(!region.is_empty()),
            (Node::Kids { kids, .. }, Form::Summed) => {
                hash * kids.len().saturating_sub(NEIGHBOURS + 1)
            }
            (Node::Ids { .. }, Form::Summed) => 0,
        };
        let bytes = self.bytes + alone.saturating_sub(saved);
        if bytes > room(form) {
            return false;
        }
        self.bytes = bytes;
        self.nodes.insert(region, node);
        true
    }
}

/// Takes all but the newest children that have no node of their own out of `kids` and gives the
/// hash that stands for them.
fn summarise(
    trie: &Trie,
    key: &WireKey,
    prefix: &Prefix,
    kids: &mut Vec<(u8, u64)>,
) -> Option<Rest> {
    let others = kids.iter().filter(|(_, hash)| *hash != DESCRIBED).map(|(nibble, _)| *nibble);
    let mut others: Vec<u8> = others.collect();
    others.truncate(others.len().saturating_sub(NEIGHBOURS));
    if others.len() < 3 || others.len() == kids.len() {
        return None;
    }
    kids.retain(|(nibble, _)| !others.contains(nibble));
    let digest = |nibble: u8| trie.under(&prefix.child(usize::from(nibble))).digest();
    let hash = key.short_rest(others.iter().map(|nibble| (*nibble, digest(*nibble))));
    Some(Rest { kids: others.iter().fold(0, |bits, nibble| bits | 1 << nibble), hash })
}
