//! What a trie holds in one region.

use crate::key::Key;
use crate::prefix::Prefix;
use crate::subtree::{Branch, Digest, Subtree, leaf_digest};
use crate::trie::Keys;

/// The keys of one region: nothing, a whole subtree, or some keys of a leaf that reaches beyond
/// the region.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    Empty,
    Whole(&'a Subtree),
    Slice(&'a [Key]),
}

impl<'a> Part<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Whole(subtree) => subtree.len(),
            Self::Slice(keys) => keys.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of these keys: the same on two sides that hold the same keys in the region,
    /// whatever the shape of their trees above it.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Empty => leaf_digest(&[]),
            Self::Whole(subtree) => subtree.digest(),
            Self::Slice(keys) => leaf_digest(keys),
        }
    }

    /// The branch, unless these are few keys.
    pub(crate) fn branch(&self) -> Option<&'a Branch> {
        match self {
            Self::Whole(subtree) => subtree.branch(),
            Self::Empty | Self::Slice(_) => None,
        }
    }

    /// How many hashes or ids describe these keys one level deep.
    pub(crate) fn width(&self) -> usize {
        self.branch().map_or_else(|| self.len(), |branch| branch.kids().count())
    }

    pub(crate) fn keys(&self) -> Keys<'a> {
        match *self {
            Self::Empty => Keys::of_slice(&[]),
            Self::Whole(subtree) => Keys::of_subtree(subtree),
            Self::Slice(keys) => Keys::of_slice(keys),
        }
    }

    /// The parts of this one that lie outside `inner`, in the order of a walk towards it.
    ///
    /// The cost is the depth of the tree, not the number of keys.
    pub(crate) fn outside(&self, inner: &Prefix) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut part = *self;
        loop {
            let Some(branch) = part.branch() else {
                parts.extend(outside_leaf(&part, inner));
                return parts;
            };
            let depth = branch.prefix.len();
            let shared = branch.prefix.shared(inner);
            if shared < depth.min(inner.len()) {
                parts.push(part);
                return parts;
            }
            if depth >= inner.len() {
                return parts;
            }
            let towards = inner.nibble(depth);
            let others = branch.kids().filter(|(nibble, _)| *nibble != towards);
            parts.extend(others.map(|(_, kid)| Self::Whole(kid)));
            match branch.kid(towards) {
                Some(kid) => part = Self::Whole(kid),
                None => return parts,
            }
        }
    }
}

/// The keys before and after those of `inner` in a leaf.
fn outside_leaf<'a>(part: &Part<'a>, inner: &Prefix) -> [Part<'a>; 2] {
    let keys = match *part {
        Part::Empty => &[],
        Part::Whole(subtree) => subtree.leaf_keys(),
        Part::Slice(keys) => keys,
    };
    let inside = inner.range(keys);
    [Part::Slice(&keys[..inside.start]), Part::Slice(&keys[inside.end..])]
}
