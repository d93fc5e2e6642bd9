//! The newest item of each signer: the one that reaches the most of the signer's items.
//!
//! The sequence numbers that a signer states decide nothing. Whoever has a key could state the
//! largest one and reach nothing with it: the cut of a revocation would then leave out what the
//! signer had said before, and no later item could ever come after that one.

use std::collections::BTreeMap;

use fieldmesh_model::ItemId;

use crate::Item;
use crate::statement::Cut;

/// The newest item of each signer, by public key.
pub(super) fn heads(items: &BTreeMap<ItemId, &Item>) -> BTreeMap<[u8; 32], Cut> {
    let mut reached = BTreeMap::new();
    let mut heads: BTreeMap<[u8; 32], (u64, Cut)> = BTreeMap::new();
    for (id, item) in items {
        let count = count_reached(item, items, &mut reached);
        let cut = Cut { sequence: item.place().sequence, item: *id };
        let head = heads.entry(*item.signer()).or_insert((count, cut));
        // Of two that reach as many the smaller id stays, whatever order they came in.
        if count > head.0 {
            *head = (count, cut);
        }
    }
    heads.into_iter().map(|(signer, (_, cut))| (signer, cut)).collect()
}

/// How many items of its signer `item` reaches through its predecessors, itself included.
fn count_reached(
    item: &Item,
    items: &BTreeMap<ItemId, &Item>,
    reached: &mut BTreeMap<ItemId, u64>,
) -> u64 {
    let mut path = Vec::new();
    let mut next = Some(item);
    let mut count = 0;
    // An id is a hash over that of the predecessor, so no path comes back to where it was.
    while let Some(item) = next {
        if let Some(known) = reached.get(&item.id()) {
            count = *known;
            break;
        }
        path.push(item.id());
        let previous = item.place().previous.and_then(|id| items.get(&id).copied());
        next = previous.filter(|previous| previous.signer() == item.signer());
    }
    for id in path.into_iter().rev() {
        count += 1;
        reached.insert(id, count);
    }
    count
}
