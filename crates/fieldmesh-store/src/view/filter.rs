//! Which records a view cannot have, so that nobody has to look: a Bloom filter of their keys.
//!
//! Ids of records say nothing of where others lie, so to find out that one is new a page has to be
//! read, and another one for nearly every record. A view that began empty knows all it was given.

use super::{OWN_TREE, Tree};

/// The bits of the filter: of 1.6 million records one in a hundred is looked for in vain.
const BITS: usize = 16 * 1024 * 1024;
/// The bits of one key.
const PROBES: usize = 4;

/// The keys of records that a view was given.
pub(crate) struct Filter {
    /// Nothing until there is a record: many views never have one.
    words: Vec<u64>,
}

impl Filter {
    /// Of a view without rows.
    pub(crate) fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Takes in the physical key of a row.
    pub(crate) fn add(&mut self, key: &[u8]) {
        if !is_filtered(key) {
            return;
        }
        if self.words.is_empty() {
            self.words = vec![0; BITS / 64];
        }
        for bit in bits(key) {
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether a row with this physical key may be there.
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        let is_set =
            |bit: usize| self.words.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0);
        !is_filtered(key) || bits(key).all(is_set)
    }
}

fn is_filtered(key: &[u8]) -> bool {
    debug_assert!(key.first() != Some(&OWN_TREE), "invariant: callers have other trees");
    key.first() == Some(&(Tree::Document as u8))
}

fn bits(key: &[u8]) -> impl Iterator<Item = usize> {
    let hash = *blake3::hash(key).as_bytes();
    (0..PROBES).map(move |probe| {
        let part = [hash[4 * probe], hash[4 * probe + 1], hash[4 * probe + 2], hash[4 * probe + 3]];
        u32::from_be_bytes(part) as usize % BITS
    })
}

#[cfg(test)]
mod tests {
    use super::super::opened::physical;
    use super::*;

    #[test]
    fn what_was_given_is_never_denied_and_little_else_is_looked_for() {
        let key = |number: u32| physical(Tree::Document, &number.to_be_bytes());
        let mut filter = Filter::new();
        assert!(!filter.may_have(&key(0)));
        (0..10_000).for_each(|number| filter.add(&key(number)));
        assert!((0..10_000).all(|number| filter.may_have(&key(number))));
        let in_vain = (10_000..20_000).filter(|number| filter.may_have(&key(*number))).count();
        assert!(in_vain < 10, "{in_vain} of 10,000");
        assert!(filter.may_have(&physical(Tree::Meta, b"never given")));
    }
}
