//! Parts of a tree, and how they are asked for.

use std::ops::Bound;

use super::rows::RowRange;

/// Where a scan begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest key.
    Ascending,
    /// From the highest key.
    Descending,
}

/// A part of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Everything.
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key between two bounds.
    pub fn new(start: Bound<&[u8]>, end: Bound<&[u8]>) -> Self {
        Self { start: start.map(<[u8]>::to_vec), end: end.map(<[u8]>::to_vec) }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bound::Included(prefix.to_vec()), end: prefix_end(prefix) }
    }

    /// The part of this range behind `key`, to go on with a scan that reached its limit.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        self.start = Bound::Excluded(key.to_vec());
        self
    }

    /// The part of this range before `key`, to go on with a descending scan.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Self {
        self.end = Bound::Excluded(key.to_vec());
        self
    }

    pub(crate) fn in_tree(&self, tree: u8) -> RowRange {
        let physical = |key: &Vec<u8>| [&[tree], &key[..]].concat();
        let start = match &self.start {
            Bound::Unbounded => Bound::Included(vec![tree]),
            bound => bound.as_ref().map(physical),
        };
        let end = match &self.end {
            Bound::Unbounded => Bound::Excluded(vec![tree + 1]),
            bound => bound.as_ref().map(physical),
        };
        (start, end)
    }
}

fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Whether no key lies in a range; sorted maps panic when asked for such a one.
pub(crate) fn is_empty_range((start, end): &RowRange) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end))
        | (Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
