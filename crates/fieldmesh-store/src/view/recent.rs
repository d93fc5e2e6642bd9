//! What was written last and is in no page so far.
//!
//! It lies on the disk set by set and in memory by key, so that a small set costs one small row
//! and not a page for each of its keys.

use std::collections::BTreeMap;
use std::ops::Range;

use super::page::RowRef;
use super::write::Next;

/// Changes that are kept outside the pages: with more of them more share a page when it is
/// written, and an open reads all of them.
pub(crate) const RECENT_CHANGES_MAX: usize = 8_192;
/// The bytes of them.
pub(crate) const RECENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much more of both is kept while more follows at once: most sets change most pages, so what
/// a page costs is shared by all changes that wait for it.
const MORE_FOLLOWS_FACTOR: usize = 4;

/// Changes that are fewer than one in so many rows are put in their places one by one: going
/// through all rows takes longer then.
const FEW: usize = 16;

/// The newest contents by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recent {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    changes: usize,
    bytes: usize,
    /// Under which numbers they lie on the disk.
    numbers: Range<u64>,
}

impl Recent {
    pub(crate) fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }

    pub(crate) fn numbers(&self) -> Range<u64> {
        self.numbers.clone()
    }

    /// Whether further changes may stay outside the pages.
    pub(crate) fn has_room(&self, changes: &BTreeMap<Vec<u8>, Vec<u8>>, next: Next) -> bool {
        let factor = match next {
            Next::Unknown => 1,
            Next::More => MORE_FOLLOWS_FACTOR,
        };
        let bytes: usize = changes.iter().map(size).sum();
        self.changes + changes.len() <= RECENT_CHANGES_MAX * factor
            && self.bytes + bytes <= RECENT_BYTES_MAX * factor
    }

    /// Takes in what lies on the disk in front of number `end`.
    pub(crate) fn add(&mut self, mut changes: BTreeMap<Vec<u8>, Vec<u8>>, end: u64) {
        self.changes += changes.len();
        self.bytes += changes.iter().map(size).sum::<usize>();
        if changes.len() < self.rows.len() / FEW {
            self.rows.extend(changes);
        } else {
            self.rows.append(&mut changes);
        }
        self.numbers.end = end;
    }

    /// All of it is in pages.
    pub(crate) fn clear(&mut self) {
        let end = self.numbers.end;
        *self = Self { numbers: end..end, ..Self::default() };
    }

    /// Everything with further changes on top.
    pub(crate) fn with<'a>(&'a self, changes: &'a BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<RowRef<'a>> {
        let rows = self.rows.iter().chain(changes).map(|(key, content)| (&key[..], &content[..]));
        rows.collect::<BTreeMap<&[u8], &[u8]>>().into_iter().collect()
    }

    /// Begins with what lies on the disk from number `start` on.
    pub(crate) fn starting_at(start: u64) -> Self {
        Self { numbers: start..start, ..Self::default() }
    }
}

fn size((key, content): (&Vec<u8>, &Vec<u8>)) -> usize {
    key.len() + content.len()
}
