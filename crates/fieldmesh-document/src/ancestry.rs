//! Who knew what: the order of the changes of one document.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::Meta;

/// The changes that any of `hashes` builds on, they included: one walk, however many there are.
pub(crate) fn closure(
    hashes: impl IntoIterator<Item = [u8; 32]>,
    metas: &BTreeMap<[u8; 32], &Meta>,
) -> BTreeSet<[u8; 32]> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<_> = hashes.into_iter().collect();
    while let Some(next) = open.pop() {
        if let Some(meta) = metas.get(&next)
            && seen.insert(next)
        {
            open.extend(&meta.deps);
        }
    }
    seen
}
