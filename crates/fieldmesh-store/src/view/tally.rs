//! What the view knows about itself: how many rows it stores, how large they are, a digest of
//! them, and how far it is applied.
//!
//! The tally is written with every set, so rows that a damaged database forgets are noticed. Rows
//! are those on the disk: pages, what was written last, pieces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use super::{OWN_TREE, ViewError};
use crate::log::Place;

/// Where the tally stands.
pub(crate) const KEY: &[u8] = &[OWN_TREE, b't', b'a', b'l', b'l', b'y'];

/// Counts and digest of all rows but the view's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) applied: Option<Place>,
    counts: BTreeMap<u8, u64>,
    /// Keys and values together.
    bytes: u64,
    /// The sum of the hashes of all rows, so that order does not matter and rows can be taken out.
    digest: u128,
}

impl Tally {
    /// Of no rows.
    pub(crate) fn new(applied: Option<Place>) -> Self {
        Self { applied, ..Self::default() }
    }

    pub(crate) fn add(&mut self, key: &[u8], stored: &[u8]) {
        let count = self.counts.entry(tree_of(key)).or_default();
        *count = count.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(size(key, stored));
        self.digest = self.digest.wrapping_add(hash(key, stored));
    }

    pub(crate) fn remove(&mut self, key: &[u8], stored: &[u8]) {
        let count = self.counts.entry(tree_of(key)).or_default();
        *count = count.wrapping_sub(1);
        self.bytes = self.bytes.wrapping_sub(size(key, stored));
        self.digest = self.digest.wrapping_sub(hash(key, stored));
    }

    /// Adds what another one counts on its own, rows taken out included.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (tree, count) in &other.counts {
            let sum = self.counts.entry(*tree).or_default();
            *sum = sum.wrapping_add(*count);
        }
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    /// What the rows take before the database below adds its own.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&self, tree: u8) -> u64 {
        self.counts.get(&tree).copied().unwrap_or(0)
    }

    pub(crate) fn same_rows(&self, other: &Self) -> bool {
        let trees = self.counts.keys().chain(other.counts.keys());
        self.digest == other.digest && { trees }.all(|t| self.count(*t) == other.count(*t))
    }

    pub(crate) fn encode(&self, sealer: &Sealer) -> Result<Vec<u8>, ViewError> {
        let plain = postcard::to_stdvec(self)
            .expect("invariant: a struct of integers and a map always encodes");
        sealer.seal(KEY, &plain)
    }

    pub(crate) fn decode(sealer: &Sealer, stored: Vec<u8>) -> Option<Self> {
        postcard::from_bytes(&sealer.open(KEY, stored)?).ok()
    }
}

fn tree_of(key: &[u8]) -> u8 {
    key.first().copied().unwrap_or(OWN_TREE)
}

fn size(key: &[u8], stored: &[u8]) -> u64 {
    (key.len() + stored.len()) as u64
}

fn hash(key: &[u8], stored: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(stored);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_be_bytes(bytes)
}
