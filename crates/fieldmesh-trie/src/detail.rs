//! How closely an answer describes the regions in which both sides differ.
//!
//! One level of children is always described. Some bytes more are spent where they most likely
//! save a round trip: small regions are named by their ids at once, narrow ones get more levels,
//! and of several children the one with the newest arrival is the likeliest to differ.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;
use crate::trie::Trie;
use crate::wire::{IDS_MAX, Node, WireKey, arrange};

/// How many bytes a message spends on saving round trips.
pub(crate) const DETAIL_BYTES_MAX: usize = 512;

/// About how many bytes a node takes besides its hashes or ids.
const NODE_OVERHEAD: usize = 6;

/// How many nodes those bytes can buy.
pub(crate) const DETAIL_NODES_MAX: usize = DETAIL_BYTES_MAX / NODE_OVERHEAD;

/// The chance that a region differs if it certainly does.
const CERTAIN: u64 = 1 << 32;

/// The nodes that describe the `differing` parts of `trie`, each with its region.
pub(crate) fn describe(
    trie: &Trie,
    key: &WireKey,
    mut differing: Vec<(Prefix, Part<'_>)>,
) -> Vec<Node> {
    differing.sort_by_key(|(_, part)| part.len());
    let arrivals: Vec<Key> = trie.arrivals().copied().collect();
    let hash = key.form().hash_length();
    let mut detail = Detail { arrivals, room: DETAIL_BYTES_MAX, hash, open: BTreeMap::new() };
    let mut nodes = Vec::new();
    for (region, part) in differing {
        let extra = hash * (part.len() - part.width());
        if part.len() <= IDS_MAX && extra <= detail.room {
            detail.room -= extra;
            nodes.push(Node::ids(key, &region, &part));
        } else {
            nodes.push(Node::of(key, &region, &part));
            detail.open_kids(CERTAIN, &region, &part);
        }
    }
    while let Some((_, child)) = detail.open.pop_last() {
        if let Some(room) = detail.room.checked_sub(child.cost(hash)) {
            detail.room = room;
            nodes.push(Node::of(key, &child.region, &child.part));
            detail.open_kids(child.chance, &child.region, &child.part);
        }
    }
    arrange(nodes)
}

/// Decides what else to describe.
struct Detail<'a> {
    /// Newest first.
    arrivals: Vec<Key>,
    /// Bytes left.
    room: usize,
    /// Bytes of a hash.
    hash: usize,
    /// Children that may get a node of their own, by what a byte spent on them is worth.
    open: BTreeMap<(u64, Prefix), Child<'a>>,
}

struct Child<'a> {
    region: Prefix,
    part: Part<'a>,
    /// How likely it differs, out of [`CERTAIN`].
    chance: u64,
}

impl<'a> Detail<'a> {
    /// Considers the children of a described region that differs with this `chance`.
    fn open_kids(&mut self, chance: u64, region: &Prefix, part: &Part<'a>) {
        let Some(branch) = part.branch().filter(|_| self.room >= NODE_OVERHEAD) else { return };
        let newest = self.arrivals.iter().find(|arrival| region.contains(arrival));
        let likely = match newest {
            Some(arrival) => Some(arrival.nibble(branch.prefix.len())),
            None => branch.kids().map(|(nibble, _)| nibble).last(),
        };
        for (nibble, kid) in branch.kids() {
            let share = chance / 2 * kid.len() as u64 / part.len() as u64;
            let bonus = if Some(nibble) == likely { chance / 2 } else { 0 };
            let region = branch.prefix.child(nibble);
            let child = Child { region, part: Part::Whole(kid), chance: share + bonus };
            let cost = child.cost(self.hash) as u64;
            self.open.insert((child.chance / cost, region), child);
        }
    }
}

impl Child<'_> {
    /// Bytes of its node, without the hash that the node replaces.
    fn cost(&self, hash: usize) -> usize {
        let prefix = self.part.branch().map_or(&self.region, |branch| &branch.prefix);
        let beyond = prefix.len() - self.region.len();
        NODE_OVERHEAD + beyond.div_ceil(2) + hash * (self.part.width() - 1)
    }
}
