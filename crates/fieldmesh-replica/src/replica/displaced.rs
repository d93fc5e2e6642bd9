//! Policy items that were driven out and may be wanted back.
//!
//! Whoever steals the key of an issuer or of an administrator can sign items that go before the
//! honest ones and so takes their room. Once a higher rank has said up to which item the key was in
//! good hands, the honest ones go before all others; until then they are kept here, where they
//! neither count nor travel.

use std::collections::BTreeMap;

use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::ItemId;

use crate::limits::{DISPLACED_MAX, DISPLACED_PER_SIGNER_MAX};

/// What was driven out. Of each signer the items stay that came first: those of before a theft came
/// before all that a thief signs.
#[derive(Debug, Default)]
pub(super) struct Displaced {
    items: BTreeMap<ItemId, Item>,
    /// The order in which items came, of those that are in force or here.
    ages: BTreeMap<ItemId, u64>,
    arrivals: u64,
}

impl Displaced {
    /// An item has come.
    pub(super) fn arrived(&mut self, item: ItemId) {
        self.arrivals += 1;
        self.ages.entry(item).or_insert(self.arrivals);
    }

    /// All that is here, to be judged anew.
    pub(super) fn take(&mut self) -> BTreeMap<ItemId, Item> {
        std::mem::take(&mut self.items)
    }

    /// Keeps what `policy` has no room for, as far as its signers speak for others.
    pub(super) fn keep(&mut self, policy: &Policy, mut items: Vec<Item>) {
        items.retain(|item| policy.speaks_for_others(item));
        items.sort_by_key(|item| self.ages.get(&item.id()).copied());
        let mut counts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for item in items {
            let count = counts.entry(*item.signer()).or_default();
            if *count < DISPLACED_PER_SIGNER_MAX && self.items.len() < DISPLACED_MAX {
                *count += 1;
                self.items.insert(item.id(), item);
            }
        }
        let items = &self.items;
        self.ages.retain(|id, _| policy.holds(id) || items.contains_key(id));
    }
}
