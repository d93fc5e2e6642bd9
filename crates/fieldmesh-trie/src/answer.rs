//! What to say to the nodes that a peer sent.

use std::collections::BTreeSet;

use crate::detail::{DETAIL_BYTES_MAX, DETAIL_NODES_MAX, describe};
use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;
use crate::subtree::LEAF_KEYS_MAX;
use crate::trie::Trie;
use crate::wire::{DESCRIBED, Form, NODES_MAX, Node, Rest, WireKey, arrange};

/// The bytes around the hashes or ids of a node, estimated.
const NODE_OVERHEAD: usize = 8;

/// The bytes of a hash or an id in the longest form.
const HASH_BYTES_MAX: usize = Form::Plain.hash_length();

/// The most that the answer to one node of a peer takes: 16 regions of a leaf each, and their names.
const ANSWER_TO_ONE_BYTES_MAX: usize = 16
    * (HASH_BYTES_MAX * LEAF_KEYS_MAX + 2 * NODE_OVERHEAD + Prefix::LENGTH_MAX)
    + Prefix::LENGTH_MAX;

/// The most that one answer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of encoded nodes; at least [`Self::BYTES_MIN`] count.
    pub bytes: usize,
    /// Keys to send.
    pub keys: usize,
}

impl Budget {
    /// With fewer bytes an answer could fail to make progress.
    pub const BYTES_MIN: usize = ANSWER_TO_ONE_BYTES_MAX + DETAIL_BYTES_MAX;
}

impl Default for Budget {
    /// With the wants beside it such an answer fits into a message of 64 KiB.
    fn default() -> Self {
        Self { bytes: 48 * 1024, keys: 65_536 }
    }
}

/// Which ids of a node that the peer sent are missing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The position of the node in the peer's message.
    pub node: usize,
    /// One bit an id, the first one in the lowest bit of the first byte.
    pub bits: Vec<u8>,
}

/// What follows from the nodes that a peer sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// To be sent back; nothing if all is said. Keep the nodes of ids until the peer's wants came.
    pub nodes: Vec<Node>,
    /// Keys that the peer lacks, in order: send these items.
    pub lacks: Vec<Key>,
    /// What this side lacks; to be sent back.
    pub wants: Vec<Want>,
    /// Whether the budget ran out: compare the roots again when all of this has travelled.
    pub is_cut: bool,
}

impl Answer {
    /// Whether nothing has to be sent back or transferred.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.lacks.is_empty() && self.wants.is_empty()
    }
}

/// Answers `nodes` of the peer, in the order in which it sent them.
///
/// Regions of the answer are smaller than those it answers, or are described by ids, to which
/// nothing is answered, or name children that were one hash before: two sides that both answer this
/// way end after at most 93 messages, because no answer has such hashes.
pub fn answer(trie: &Trie, key: &WireKey, nodes: &[Node], budget: Budget) -> Answer {
    let bytes_max = budget.bytes.max(Budget::BYTES_MIN) - DETAIL_BYTES_MAX;
    let mut reply = Reply {
        trie,
        key,
        described: nodes.iter().map(Node::region).collect(),
        differing: Vec::new(),
        others: Vec::new(),
        bytes: 0,
        keys_max: budget.keys.max(1),
        answer: Answer::default(),
    };
    let mut before: Option<Prefix> = None;
    let mut settled: Option<Prefix> = None;
    for (index, node) in nodes.iter().enumerate() {
        let region = node.region();
        // Regions ascend in what `decode` gives. Skipping others bounds the work.
        let is_late = before.is_some_and(|before| before >= region);
        if is_late || settled.is_some_and(|settled| region.is_within(&settled)) {
            continue;
        }
        if reply.is_full(bytes_max) {
            reply.answer.is_cut = true;
            break;
        }
        before = Some(region);
        settled = match node {
            Node::Kids { prefix, kids, rest, .. } => {
                let end = reply.kids(&region, prefix, kids, rest.map_or(0, |rest| rest.kids));
                if let (None, Some(rest)) = (end, rest) {
                    reply.rest(prefix, *rest);
                }
                end.or(settled)
            }
            Node::Ids { prefix, ids } => {
                reply.ids(index, prefix, ids);
                Some(*prefix)
            }
        };
    }
    reply.finish()
}

/// The keys that the peer's `bits` mean, over a node of ids that this side sent.
///
/// Keys that are gone since are left out; so are bits beyond the ids.
pub fn named(trie: &Trie, key: &WireKey, node: &Node, bits: &[u8]) -> Vec<Key> {
    let Node::Ids { prefix, ids } = node else { return Vec::new() };
    let wanted: BTreeSet<u64> = ids
        .iter()
        .enumerate()
        .filter(|(index, _)| bits.get(index / 8).is_some_and(|byte| byte & 1 << (index % 8) != 0))
        .map(|(_, id)| *id)
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let keys = trie.under(prefix).keys();
    keys.filter(|item| wanted.contains(&key.short_id(item))).copied().collect()
}

/// An answer in the making.
struct Reply<'a> {
    trie: &'a Trie,
    key: &'a WireKey,
    /// Regions that the peer describes in this message.
    described: BTreeSet<Prefix>,
    /// Regions in which both sides differ, to be described to the peer.
    differing: Vec<(Prefix, Part<'a>)>,
    /// Branches of which those children are to be described that the peer gave as one hash.
    others: Vec<Node>,
    bytes: usize,
    keys_max: usize,
    answer: Answer,
}

impl<'a> Reply<'a> {
    fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes + ANSWER_TO_ONE_BYTES_MAX > bytes_max
            || self.differing.len() + self.others.len() + 16 + DETAIL_NODES_MAX > NODES_MAX
            || self.answer.lacks.len() >= self.keys_max
    }

    /// Compares a branch of the peer with what is here; gives the region that needs no more words.
    fn kids(
        &mut self,
        region: &Prefix,
        prefix: &Prefix,
        kids: &[(u8, u64)],
        rest: u16,
    ) -> Option<Prefix> {
        for part in self.trie.under(region).outside(prefix) {
            self.lack(&part);
        }
        if self.trie.under(prefix).is_empty() {
            self.differ(*prefix, Part::Empty);
            return Some(*prefix);
        }
        for nibble in 0..16_u8 {
            let child = prefix.child(usize::from(nibble));
            if self.described.contains(&child) || rest & 1 << nibble != 0 {
                continue;
            }
            let mine = self.trie.under(&child);
            let theirs = kids.iter().find(|(kid, _)| *kid == nibble);
            match theirs {
                None => self.lack(&mine),
                Some((_, DESCRIBED)) => {}
                Some((_, hash)) if mine.is_empty() || *hash != self.hash(&mine) => {
                    self.differ(child, mine);
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Compares the children of a branch that the peer gave as one hash with what is here; where
    /// they differ they are named one by one.
    fn rest(&mut self, prefix: &Prefix, rest: Rest) {
        let (mut kids, mut mine) = (Vec::new(), Vec::new());
        for nibble in 0..16_u8 {
            if rest.kids & 1 << nibble == 0 {
                kids.push((nibble, DESCRIBED));
                continue;
            }
            let part = self.trie.under(&prefix.child(usize::from(nibble)));
            if !part.is_empty() {
                mine.push((nibble, part.digest()));
                kids.push((nibble, self.hash(&part)));
            }
        }
        if self.key.short_rest(mine.into_iter()) == rest.hash {
            return;
        }
        if kids.is_empty() {
            self.differ(*prefix, Part::Empty);
        } else {
            self.bytes += NODE_OVERHEAD + HASH_BYTES_MAX * kids.len() + prefix.len().div_ceil(2);
            let (prefix, within) = (*prefix, prefix.len());
            // News lie side by side: the newest of them is the likeliest to differ.
            if let Some((nibble, _)) = kids.iter().rfind(|(_, hash)| *hash != DESCRIBED) {
                let child = prefix.child(usize::from(*nibble));
                self.differ(child, self.trie.under(&child));
            }
            self.others.push(Node::Kids { prefix, within, kids, rest: None });
        }
    }

    /// Compares all short ids of the peer in a region with what is here.
    ///
    /// Where more is lacking there than may be sent, it stops: few ids must not have everything
    /// here hashed. What is wanted of them is found when the rest is compared.
    fn ids(&mut self, index: usize, prefix: &Prefix, ids: &[u64]) {
        let mine = self.trie.under(prefix);
        if ids.is_empty() {
            self.lack(&mine);
            return;
        }
        let theirs: BTreeSet<u64> = ids.iter().copied().collect();
        let mut known = BTreeSet::new();
        for item in mine.keys() {
            let id = self.key.short_id(item);
            if theirs.contains(&id) {
                known.insert(id);
            } else if !self.lack_key(item) {
                return;
            }
        }
        let mut bits = vec![0; ids.len().div_ceil(8)];
        for (position, _) in ids.iter().enumerate().filter(|(_, id)| !known.contains(id)) {
            bits[position / 8] |= 1 << (position % 8);
        }
        while bits.last() == Some(&0) {
            bits.pop();
        }
        if !bits.is_empty() {
            self.answer.wants.push(Want { node: index, bits });
        }
    }

    fn lack(&mut self, part: &Part<'_>) {
        let room = self.keys_max - self.answer.lacks.len();
        self.answer.lacks.extend(part.keys().take(room));
        self.answer.is_cut |= part.len() > room;
    }

    /// False if there is no room for it.
    fn lack_key(&mut self, key: &Key) -> bool {
        let has_room = self.answer.lacks.len() < self.keys_max;
        if has_room {
            self.answer.lacks.push(*key);
        } else {
            self.answer.is_cut = true;
        }
        has_room
    }

    fn differ(&mut self, region: Prefix, part: Part<'a>) {
        self.bytes += cost(&region, &part);
        self.differing.push((region, part));
    }

    fn hash(&self, part: &Part<'_>) -> u64 {
        self.key.short_digest(&part.digest())
    }

    /// Describes what differs.
    fn finish(mut self) -> Answer {
        let mut nodes = describe(self.trie, self.key, self.differing);
        if !self.others.is_empty() {
            nodes.append(&mut self.others);
            nodes = arrange(nodes);
        }
        self.answer.nodes = nodes;
        self.answer.lacks.sort_unstable();
        self.answer.lacks.dedup();
        self.answer
    }
}

/// About how many bytes it takes to describe `part` one level deep.
fn cost(region: &Prefix, part: &Part<'_>) -> usize {
    let prefix = part.branch().map_or(region.len(), |branch| branch.prefix.len());
    NODE_OVERHEAD + HASH_BYTES_MAX * part.width() + prefix.div_ceil(2)
}
