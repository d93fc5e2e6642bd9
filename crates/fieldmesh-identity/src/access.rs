//! Which collections and partitions a certificate opens.

use std::collections::BTreeSet;

use fieldmesh_model::Scope;
use serde::{Deserialize, Serialize};

/// The collections and partitions that a member may read, or may write; an empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Access {
    /// The collections; all if empty.
    pub collections: BTreeSet<u16>,
    /// The partitions; all if empty. Partition 0, the one of collections without partitions, is
    /// always open.
    pub partitions: BTreeSet<u32>,
}

impl Access {
    /// Everything.
    pub const ALL: Self = Self { collections: BTreeSet::new(), partitions: BTreeSet::new() };

    /// Whether `scope` lies inside.
    pub fn allows(&self, scope: &Scope) -> bool {
        let collection =
            self.collections.is_empty() || self.collections.contains(&scope.collection);
        let partition = scope.partition == 0
            || self.partitions.is_empty()
            || self.partitions.contains(&scope.partition);
        collection && partition
    }

    /// Whether everything that `other` opens lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.collections, &other.collections) && covers(&self.partitions, &other.partitions)
    }
}

fn covers<T: Ord>(outer: &BTreeSet<T>, inner: &BTreeSet<T>) -> bool {
    outer.is_empty() || (!inner.is_empty() && inner.is_subset(outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_means_all_and_is_covered_only_by_all() {
        let some = Access { collections: [3].into(), partitions: [7].into() };
        let scope = |collection, partition| Scope { collection, partition, month: 0 };
        assert!(some.allows(&scope(3, 7)) && some.allows(&scope(3, 0)));
        assert!(!some.allows(&scope(4, 7)) && !some.allows(&scope(3, 8)));
        assert!(Access::ALL.allows(&scope(9, 9)));
        assert!(Access::ALL.covers(&some) && some.covers(&some) && !some.covers(&Access::ALL));
    }
}
