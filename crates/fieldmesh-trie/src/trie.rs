//! The set of keys that one side holds.

use std::collections::VecDeque;
use std::slice;

use crate::key::Key;
use crate::part::Part;
use crate::prefix::Prefix;
use crate::subtree::{Digest, Subtree};

/// How many of the newest arrivals a trie remembers for the first answer of an exchange.
pub const ARRIVALS_MAX: usize = 64;

/// A set of keys with a Merkle hash over any region of it.
///
/// Root and shape depend on the set alone, never on the order of insertions and removals. A change
/// marks the hashes above it as out of date; [`Self::rehash`] brings them up to date, once for any
/// number of changes. Reading hashes without it is correct and slow.
///
/// # Examples
///
/// ```
/// use fieldmesh_trie::{Key, Trie};
///
/// let mut trie = Trie::new();
/// let empty = trie.root();
/// let key = Key::new([0; 8], 1_700_000_000_000, [7; 32]);
/// assert!(trie.insert(key));
/// assert_ne!(trie.root(), empty);
/// assert!(trie.remove(&key));
/// assert_eq!(trie.root(), empty);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Trie {
    top: Subtree,
    /// Oldest first.
    arrivals: VecDeque<Key>,
}

impl Trie {
    /// The empty set.
    pub const fn new() -> Self {
        Self { top: Subtree::new(), arrivals: VecDeque::new() }
    }

    /// Adds `key`; false if it was there.
    pub fn insert(&mut self, key: Key) -> bool {
        let inserted = self.top.insert(key);
        if inserted {
            if self.arrivals.len() == ARRIVALS_MAX {
                self.arrivals.pop_front();
            }
            self.arrivals.push_back(key);
        }
        inserted
    }

    /// Takes `key` out; false if it was not there.
    pub fn remove(&mut self, key: &Key) -> bool {
        let removed = self.top.remove(key);
        if removed {
            self.arrivals.retain(|arrival| arrival != key);
        }
        removed
    }

    /// Whether `key` is in the set.
    pub fn contains(&self, key: &Key) -> bool {
        self.top.contains(key)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.top.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of the whole set, brought up to date.
    pub fn root(&mut self) -> Digest {
        self.top.rehash()
    }

    /// Brings all hashes up to date, so that reading them costs nothing.
    pub fn rehash(&mut self) {
        self.top.rehash();
    }

    /// The hash of the keys that begin with `prefix`; equal sets have equal hashes.
    pub fn digest(&self, prefix: &Prefix) -> Digest {
        self.under(prefix).digest()
    }

    /// All keys in order.
    pub fn iter(&self) -> Keys<'_> {
        Keys::of_subtree(&self.top)
    }

    /// The keys that begin with `bytes`, in order.
    pub fn iter_prefix(&self, bytes: &[u8]) -> Keys<'_> {
        self.under(&Prefix::from_bytes(bytes)).keys()
    }

    /// The last inserted keys that are still in the set, newest first.
    pub fn arrivals(&self) -> impl Iterator<Item = &Key> {
        self.arrivals.iter().rev()
    }

    pub(crate) fn under(&self, region: &Prefix) -> Part<'_> {
        self.top.under(region)
    }
}

impl Extend<Key> for Trie {
    fn extend<I: IntoIterator<Item = Key>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl FromIterator<Key> for Trie {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut trie = Self::new();
        trie.extend(keys);
        trie
    }
}

impl<'a> IntoIterator for &'a Trie {
    type Item = &'a Key;
    type IntoIter = Keys<'a>;

    fn into_iter(self) -> Keys<'a> {
        self.iter()
    }
}

/// Keys of a trie in order.
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    leaf: slice::Iter<'a, Key>,
    /// Subtrees still to visit, the next one last.
    rest: Vec<&'a Subtree>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of_slice(keys: &'a [Key]) -> Self {
        Self { leaf: keys.iter(), rest: Vec::new() }
    }

    pub(crate) fn of_subtree(subtree: &'a Subtree) -> Self {
        Self { leaf: [].iter(), rest: vec![subtree] }
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a Key;

    fn next(&mut self) -> Option<&'a Key> {
        loop {
            if let Some(key) = self.leaf.next() {
                return Some(key);
            }
            let subtree = self.rest.pop()?;
            match subtree.branch() {
                Some(branch) => {
                    let kids = branch.kids().map(|(_, kid)| kid);
                    let from = self.rest.len();
                    self.rest.extend(kids);
                    self.rest[from..].reverse();
                }
                None => self.leaf = subtree.leaf_keys().iter(),
            }
        }
    }
}
