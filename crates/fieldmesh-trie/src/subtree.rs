//! The tree inside a trie. Its shape is a function of the set of keys alone.
//!
//! A subtree of at most [`LEAF_KEYS_MAX`] keys is a leaf. A larger one branches at the longest
//! prefix that all its keys share, so a chain of single children never exists.

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;

/// The largest number of keys in a leaf.
pub(crate) const LEAF_KEYS_MAX: usize = 32;

/// Leaves grow by so many keys at once, which wastes little and moves keys seldom.
const LEAF_GROWTH: usize = 4;

/// Separates the hashes of leaves from all other uses of BLAKE3.
const LEAF_DOMAIN: &[u8; 32] = b"fieldmesh trie 1: a leaf of keys";
/// Separates the hashes of branches from all other uses of BLAKE3.
const BRANCH_DOMAIN: &[u8; 32] = b"fieldmesh trie 1: branch of kids";

/// The BLAKE3 Merkle hash of a set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// All keys in one region.
#[derive(Debug, Clone)]
pub(crate) struct Subtree {
    /// None after a change, until the next rehash.
    digest: Option<Digest>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Leaf(Vec<Key>),
    Branch(Box<Branch>),
}

/// More keys than a leaf holds, split by the first half byte in which they differ.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    /// What all keys begin with; the half byte after it chooses the child.
    pub(crate) prefix: Prefix,
    count: usize,
    kids: [Option<Box<Subtree>>; 16],
}

impl Branch {
    /// The children that hold keys, each with its half byte.
    pub(crate) fn kids(&self) -> impl Iterator<Item = (usize, &Subtree)> {
        self.kids.iter().enumerate().filter_map(|(nibble, kid)| Some((nibble, kid.as_deref()?)))
    }

    /// The child at `nibble`.
    pub(crate) fn kid(&self, nibble: usize) -> Option<&Subtree> {
        self.kids[nibble & 15].as_deref()
    }
}

impl Subtree {
    pub(crate) const fn new() -> Self {
        Self::leaf(Vec::new())
    }

    const fn leaf(keys: Vec<Key>) -> Self {
        Self { digest: None, body: Body::Leaf(keys) }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.body {
            Body::Leaf(keys) => keys.len(),
            Body::Branch(branch) => branch.count,
        }
    }

    /// The branch, unless this is a leaf.
    pub(crate) fn branch(&self) -> Option<&Branch> {
        match &self.body {
            Body::Leaf(_) => None,
            Body::Branch(branch) => Some(branch),
        }
    }

    /// The keys of a leaf; nothing for a branch.
    pub(crate) fn leaf_keys(&self) -> &[Key] {
        match &self.body {
            Body::Leaf(keys) => keys,
            Body::Branch(_) => &[],
        }
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        let mut subtree = self;
        loop {
            match &subtree.body {
                Body::Leaf(keys) => return keys.binary_search(key).is_ok(),
                Body::Branch(branch) => {
                    let depth = branch.prefix.len();
                    match branch.kid(key.nibble(depth)) {
                        Some(kid) if branch.prefix.contains(key) => subtree = kid,
                        _ => return false,
                    }
                }
            }
        }
    }

    /// Adds `key`; false if it was there.
    pub(crate) fn insert(&mut self, key: Key) -> bool {
        let inserted = match &mut self.body {
            Body::Leaf(keys) => match keys.binary_search(&key) {
                Ok(_) => false,
                Err(at) => {
                    insert_at(keys, at, key);
                    if keys.len() > LEAF_KEYS_MAX {
                        self.body = split(keys);
                    }
                    true
                }
            },
            Body::Branch(branch) => {
                let shared = branch.prefix.shared_with(&key);
                if shared < branch.prefix.len() {
                    self.branch_above(shared, key);
                    true
                } else {
                    let kid = branch.kids[key.nibble(shared)].get_or_insert_with(Box::default);
                    let inserted = kid.insert(key);
                    branch.count += usize::from(inserted);
                    inserted
                }
            }
        };
        if inserted {
            self.digest = None;
        }
        inserted
    }

    /// Puts a branch above this one, at `depth`, where `key` leaves its prefix.
    fn branch_above(&mut self, depth: usize, key: Key) {
        let below = std::mem::take(self);
        let count = below.len() + 1;
        let towards = below.branch().map_or(0, |branch| branch.prefix.nibble(depth));
        let mut kids: [Option<Box<Self>>; 16] = Default::default();
        kids[towards] = Some(Box::new(below));
        kids[key.nibble(depth)] = Some(Box::new(Self::leaf(vec![key])));
        let prefix = Prefix::of(&key, depth);
        self.body = Body::Branch(Box::new(Branch { prefix, count, kids }));
    }

    /// Takes `key` out; false if it was not there.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let removed = match &mut self.body {
            Body::Leaf(keys) => match keys.binary_search(key) {
                Ok(at) => {
                    keys.remove(at);
                    true
                }
                Err(_) => false,
            },
            Body::Branch(branch) => {
                let slot = &mut branch.kids[key.nibble(branch.prefix.len())];
                let removed = slot.as_mut().is_some_and(|kid| kid.remove(key));
                if slot.as_ref().is_some_and(|kid| kid.len() == 0) {
                    *slot = None;
                }
                branch.count -= usize::from(removed);
                removed
            }
        };
        if removed {
            self.digest = None;
            self.contract();
        }
        removed
    }

    /// Restores the canonical shape after a removal: few keys are a leaf, one child is no branch.
    fn contract(&mut self) {
        let Body::Branch(branch) = &mut self.body else { return };
        if branch.count <= LEAF_KEYS_MAX {
            let mut keys = Vec::with_capacity(branch.count);
            for (_, kid) in branch.kids() {
                kid.collect(&mut keys);
            }
            self.body = Body::Leaf(keys);
        } else if branch.kids().count() == 1
            && let Some(only) = branch.kids.iter_mut().find_map(Option::take)
        {
            *self = *only;
        }
    }

    /// Appends all keys in order.
    fn collect(&self, keys: &mut Vec<Key>) {
        match &self.body {
            Body::Leaf(own) => keys.extend(own),
            Body::Branch(branch) => branch.kids().for_each(|(_, kid)| kid.collect(keys)),
        }
    }

    /// The keys of `region`.
    pub(crate) fn under(&self, region: &Prefix) -> Part<'_> {
        let mut subtree = self;
        loop {
            match &subtree.body {
                Body::Leaf(keys) => {
                    let part = &keys[region.range(keys)];
                    return match part.len() {
                        0 => Part::Empty,
                        length if length == keys.len() => Part::Whole(subtree),
                        _ => Part::Slice(part),
                    };
                }
                Body::Branch(branch) => {
                    let depth = branch.prefix.len();
                    if depth >= region.len() {
                        let inside = branch.prefix.is_within(region);
                        return if inside { Part::Whole(subtree) } else { Part::Empty };
                    }
                    match branch.kid(region.nibble(depth)) {
                        Some(kid) if region.is_within(&branch.prefix) => subtree = kid,
                        _ => return Part::Empty,
                    }
                }
            }
        }
    }

    /// The hash, computed again where it is out of date and kept.
    pub(crate) fn rehash(&mut self) -> Digest {
        if let Some(digest) = self.digest {
            return digest;
        }
        let digest = match &mut self.body {
            Body::Leaf(keys) => leaf_digest(keys),
            Body::Branch(branch) => {
                let kids = branch.kids.iter_mut().enumerate();
                branch_digest(kids.filter_map(|(n, kid)| Some((n, kid.as_mut()?.rehash()))))
            }
        };
        self.digest = Some(digest);
        digest
    }

    /// The hash, computed again where it is out of date; slow there, because nothing is kept.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| match &self.body {
            Body::Leaf(keys) => leaf_digest(keys),
            Body::Branch(branch) => branch_digest(branch.kids().map(|(n, kid)| (n, kid.digest()))),
        })
    }
}

impl Default for Subtree {
    fn default() -> Self {
        Self::new()
    }
}

/// Inserts into a leaf that may have to grow.
fn insert_at(keys: &mut Vec<Key>, at: usize, key: Key) {
    if keys.len() == keys.capacity() {
        keys.reserve_exact(LEAF_GROWTH);
    }
    keys.insert(at, key);
}

/// The branch over the sorted keys of a leaf that overflowed.
fn split(keys: &[Key]) -> Body {
    let depth = match keys {
        [first, .., last] => first.shared(last),
        _ => 0,
    };
    let mut kids: [Option<Box<Subtree>>; 16] = Default::default();
    for group in keys.chunk_by(|one, next| one.nibble(depth) == next.nibble(depth)) {
        kids[group[0].nibble(depth)] = Some(Box::new(Subtree::leaf(group.to_vec())));
    }
    let prefix = Prefix::of(&keys[0], depth);
    Body::Branch(Box::new(Branch { prefix, count: keys.len(), kids }))
}

/// The hash of at most [`LEAF_KEYS_MAX`] sorted keys, wherever they stand in a tree.
pub(crate) fn leaf_digest(keys: &[Key]) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(LEAF_DOMAIN);
    for key in keys {
        hasher.update(key.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

/// The hash of a branch from the hashes of its children.
fn branch_digest(kids: impl Iterator<Item = (usize, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(BRANCH_DOMAIN);
    for (nibble, digest) in kids {
        hasher.update(&[u8::try_from(nibble).expect("invariant: a half byte is below 16")]);
        hasher.update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}
