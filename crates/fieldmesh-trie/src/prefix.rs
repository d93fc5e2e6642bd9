//! The first half bytes of keys: a place in the trie.

use std::fmt;
use std::ops::Range;

use crate::key::{KEY_LENGTH, Key, NIBBLES, nibble_of, shared_nibbles};

/// The first half bytes of keys; names the region of all keys that begin with them.
///
/// Prefixes order as a walk through the trie meets them: a region comes before its parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Half bytes beyond `length` are zero, so that the derived order is the walk's.
    bytes: [u8; KEY_LENGTH],
    length: u8,
}

impl Prefix {
    /// The region of all keys.
    pub const ALL: Self = Self { bytes: [0; KEY_LENGTH], length: 0 };

    /// The half bytes in a whole key.
    pub const LENGTH_MAX: usize = NIBBLES;

    /// The region of keys that begin with `bytes`; only the first 46 bytes count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let length = bytes.len().min(KEY_LENGTH);
        let mut prefix = Self::ALL;
        prefix.bytes[..length].copy_from_slice(&bytes[..length]);
        prefix.length = narrow(2 * length);
        prefix
    }

    /// The first `length` half bytes of `key`; at most a whole key.
    pub fn of(key: &Key, length: usize) -> Self {
        Self { bytes: *key.as_bytes(), length: narrow(NIBBLES) }.first(length)
    }

    /// How many half bytes it has.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether it is the region of all keys.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The half byte at `index`, counted from the front; 0 beyond the end.
    pub const fn nibble(&self, index: usize) -> usize {
        if index < self.len() { nibble_of(&self.bytes, index) } else { 0 }
    }

    /// The first `length` half bytes of this prefix, or all if it has fewer.
    pub fn first(&self, length: usize) -> Self {
        let length = length.min(self.len());
        let mut bytes = self.bytes;
        bytes[length.div_ceil(2)..].fill(0);
        if length % 2 == 1 {
            bytes[length / 2] &= 0xf0;
        }
        Self { bytes, length: narrow(length) }
    }

    /// This prefix and one half byte more; a whole key stays as it is.
    pub fn child(&self, nibble: usize) -> Self {
        let index = self.len();
        if index == NIBBLES {
            return *self;
        }
        let mut child = *self;
        let half = narrow(nibble & 15);
        child.bytes[index / 2] |= if index.is_multiple_of(2) { half << 4 } else { half };
        child.length += 1;
        child
    }

    /// Whether `key` lies in this region.
    pub fn contains(&self, key: &Key) -> bool {
        shared_nibbles(&self.bytes, key.as_bytes()) >= self.len()
    }

    /// Whether this region lies inside `region` or is the same.
    pub fn is_within(&self, region: &Self) -> bool {
        self.len() >= region.len() && self.shared(region) >= region.len()
    }

    /// How many half bytes both begin with.
    pub(crate) fn shared(&self, other: &Self) -> usize {
        shared_nibbles(&self.bytes, &other.bytes).min(self.len()).min(other.len())
    }

    /// How many half bytes this prefix and `key` begin with.
    pub(crate) fn shared_with(&self, key: &Key) -> usize {
        shared_nibbles(&self.bytes, key.as_bytes()).min(self.len())
    }

    /// Where the keys of this region stand among sorted `keys`.
    pub(crate) fn range(&self, keys: &[Key]) -> Range<usize> {
        let start = keys.partition_point(|key| key.as_bytes() < &self.bytes);
        start..start + keys[start..].partition_point(|key| self.contains(key))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix(")?;
        for index in 0..self.len() {
            write!(f, "{:x}", self.nibble(index))?;
        }
        write!(f, ")")
    }
}

/// A count of half bytes, or one half byte, as the byte that stores it.
fn narrow(value: usize) -> u8 {
    u8::try_from(value).expect("invariant: no prefix is longer than 92 half bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_the_keys_that_begin_with_it() {
        let key = Key::new([0x12; 8], 5, [0xab; 32]);
        let prefix = Prefix::of(&key, 3);
        assert_eq!(format!("{prefix:?}"), "Prefix(121)");
        assert!(prefix.contains(&key));
        assert!(prefix.is_within(&Prefix::ALL.child(1)));
        assert!(!prefix.is_within(&Prefix::ALL.child(2)));
        assert!(!prefix.is_within(&Prefix::of(&key, 4)));
        assert!(!prefix.first(2).child(7).contains(&key));
        assert_eq!(Prefix::of(&key, 92).child(3), Prefix::of(&key, 92));
        assert_eq!(Prefix::from_bytes(&[0x12, 0x12]), Prefix::of(&key, 4));
    }

    #[test]
    fn a_region_comes_before_its_parts_and_after_what_lies_left_of_it() {
        let region = Prefix::ALL.child(1);
        assert!(region < region.child(0));
        assert!(region.child(0) < region.child(0).child(0));
        assert!(Prefix::ALL.child(0).child(15) < region);
        assert!(region.child(15) < Prefix::ALL.child(2));
    }
}
