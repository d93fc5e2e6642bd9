//! What travels between two sides: described regions and keyed hashes.
//!
//! Hashes and ids on the wire are short and keyed with a secret of the connection: nobody can
//! prepare a collision, and one that happens by chance is gone with the next connection. Roots have
//! 8 bytes whatever the [`Form`], so a collision below them is seen: the roots go on to differ. The
//! byte layout is in `encoding`.

use std::collections::BTreeSet;

use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;
use crate::subtree::Digest;
use crate::trie::Trie;

/// The largest number of nodes in one message.
pub const NODES_MAX: usize = 2_048;
/// The largest number of short ids in one node.
pub const IDS_MAX: usize = 512;

/// Stands for the hash of a child that needs none: it has a node of its own in the same message, or
/// was settled by the message before.
///
/// A child whose true hash is this number is compared under the key of the next connection.
pub const DESCRIBED: u64 = 0;

/// How nodes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Hashes and ids have 8 bytes, and every child has a hash of its own: all that version 1 of the
    /// protocol reads.
    Plain,
    /// They have 6 bytes, and children beside the paths to the newest arrivals share one hash.
    ///
    /// A relay that compares twenty million hashes a day, with a thousand devices, takes one
    /// difference for none in 38,000 years, and finds it when the device connects again.
    Summed,
}

impl Form {
    /// The bytes of a hash or an id.
    pub const fn hash_length(self) -> usize {
        match self {
            Self::Plain => 8,
            Self::Summed => 6,
        }
    }
}

/// The secret of one connection under which hashes and ids are shortened, and how far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireKey {
    secret: [u8; 32],
    form: Form,
}

impl WireKey {
    /// The key of a connection with this secret.
    pub const fn new(secret: [u8; 32], form: Form) -> Self {
        Self { secret, form }
    }

    /// How nodes are written.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The bytes that stand for a hash, as a number.
    pub fn short_digest(&self, digest: &Digest) -> u64 {
        self.short(&digest.0)
    }

    /// The bytes that stand for a key, as a number: its short id.
    pub fn short_id(&self, key: &Key) -> u64 {
        self.short(key.as_bytes())
    }

    /// The bytes that stand for some children of a branch, each with its half byte, as a number.
    pub(crate) fn short_rest(&self, kids: impl Iterator<Item = (u8, Digest)>) -> u64 {
        let mut bytes = Vec::with_capacity(16 * 33);
        for (nibble, digest) in kids {
            bytes.push(nibble);
            bytes.extend(digest.0);
        }
        self.short(&bytes)
    }

    fn short(&self, bytes: &[u8]) -> u64 {
        self.keyed(bytes) >> (64 - 8 * self.form.hash_length())
    }

    fn keyed(&self, bytes: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.secret, bytes);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(first)
    }
}

impl std::fmt::Debug for WireKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireKey(..)")
    }
}

/// The root of `trie` as it is shown to the peer of a connection.
pub fn wire_root(trie: &Trie, key: &WireKey) -> u64 {
    key.keyed(&trie.digest(&Prefix::ALL).0)
}

/// Children of a branch that are unlikely to differ: one hash for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Their half bytes, one bit each.
    pub kids: u16,
    /// The short hash over their half bytes and hashes.
    pub hash: u64,
}

/// Everything the sender holds in one region, in more or less detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A branch: the hashes of its children.
    Kids {
        /// What all keys of the region begin with.
        prefix: Prefix,
        /// How many half bytes of `prefix` name the region; the rest is shared by chance, and
        /// says that the sender holds nothing else in the region.
        within: usize,
        /// Half byte and short hash of each child, in order. The hash is [`DESCRIBED`] for a
        /// child that the same message describes, or that needs no words any more.
        kids: Vec<(u8, u64)>,
        /// Further children, where they stand as one hash.
        rest: Option<Rest>,
    },
    /// All keys of the region as short ids, in the order of the keys.
    Ids {
        /// The region.
        prefix: Prefix,
        /// The short ids.
        ids: Vec<u64>,
    },
}

impl Node {
    /// The region that this node describes.
    pub fn region(&self) -> Prefix {
        match self {
            Self::Kids { prefix, within, .. } => prefix.first(*within),
            Self::Ids { prefix, .. } => *prefix,
        }
    }

    /// The prefix that the encoding writes.
    pub fn prefix(&self) -> &Prefix {
        match self {
            Self::Kids { prefix, .. } | Self::Ids { prefix, .. } => prefix,
        }
    }

    /// Describes `part`, which is everything in `region`: a branch by the hashes of its children,
    /// a leaf by its short ids.
    pub(crate) fn of(key: &WireKey, region: &Prefix, part: &Part<'_>) -> Self {
        let Some(branch) = part.branch() else { return Self::ids(key, region, part) };
        let kids = branch.kids().map(|(nibble, kid)| {
            let nibble = u8::try_from(nibble).expect("invariant: a half byte is below 16");
            (nibble, key.short_digest(&kid.digest()))
        });
        Self::Kids { prefix: branch.prefix, within: region.len(), kids: kids.collect(), rest: None }
    }

    /// Describes `part`, which is everything in `region`, by its short ids.
    pub(crate) fn ids(key: &WireKey, region: &Prefix, part: &Part<'_>) -> Self {
        let ids = part.keys().map(|item| key.short_id(item)).collect();
        Self::Ids { prefix: *region, ids }
    }
}

/// Orders the nodes of a message and leaves out the hashes of children that have their own node.
pub(crate) fn arrange(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by_key(Node::region);
    nodes.dedup_by_key(|node| node.region());
    let described: BTreeSet<Prefix> = nodes.iter().map(Node::region).collect();
    for node in &mut nodes {
        if let Node::Kids { prefix, kids, .. } = node {
            for (nibble, hash) in kids {
                if described.contains(&prefix.child(usize::from(*nibble))) {
                    *hash = DESCRIBED;
                }
            }
        }
    }
    nodes
}
