//! Which of several changes counts where an actor wrote two with one sequence number.
//!
//! That happens when a device's disk was copied or its key stolen. The choice is a pure function
//! of the set of accepted changes, so every replica makes the same one.

use std::collections::{BTreeMap, BTreeSet};

use crate::chunk::Peeked;

/// An accepted change of one document.
#[derive(Debug, Clone, Copy)]
pub struct Rival<'a> {
    /// Its outside.
    pub change: &'a Peeked,
    /// Whether policy has decided for it.
    pub is_pinned: bool,
}

/// Why an accepted change does not count after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excluded {
    /// Another change of the same actor and sequence number counts.
    Equivocation,
    /// It builds on a change that does not count, or that is not here.
    Dependent,
}

/// The changes that do not count, by hash; all others can be loaded together.
///
/// Of changes with one actor and sequence number a pinned one counts, else the only one that
/// another actor builds on, else the one with the smaller hash. What builds on the others does not
/// count either.
pub fn select(rivals: &[Rival<'_>]) -> BTreeMap<[u8; 32], Excluded> {
    let mut claims: BTreeMap<(&[u8], u64), Vec<&Rival<'_>>> = BTreeMap::new();
    for rival in rivals {
        claims.entry((&rival.change.actor, rival.change.seq)).or_default().push(rival);
    }
    let mut excluded = BTreeMap::new();
    for mut claim in claims.into_values() {
        claim.sort_by_key(|rival| rival.change.hash);
        claim.dedup_by_key(|rival| rival.change.hash);
        if let [_, _, ..] = claim.as_slice() {
            let kept = winner(&claim, rivals);
            let lost = claim.iter().map(|rival| rival.change.hash).filter(|hash| *hash != kept);
            excluded.extend(lost.map(|hash| (hash, Excluded::Equivocation)));
        }
    }
    exclude_dependents(rivals, &mut excluded);
    excluded
}

fn winner(claim: &[&Rival<'_>], rivals: &[Rival<'_>]) -> [u8; 32] {
    if let Some(pinned) = claim.iter().find(|rival| rival.is_pinned) {
        return pinned.change.hash;
    }
    let is_used = |one: &&&Rival<'_>| {
        rivals.iter().any(|other| {
            other.change.actor != one.change.actor && other.change.deps.contains(&one.change.hash)
        })
    };
    let used: Vec<_> = claim.iter().filter(is_used).collect();
    let first = claim.first().map_or([0; 32], |rival| rival.change.hash);
    match used.as_slice() {
        [only] => only.change.hash,
        _ => first,
    }
}

fn exclude_dependents(rivals: &[Rival<'_>], excluded: &mut BTreeMap<[u8; 32], Excluded>) {
    let mut counting: BTreeSet<_> = rivals
        .iter()
        .map(|rival| rival.change.hash)
        .filter(|hash| !excluded.contains_key(hash))
        .collect();
    loop {
        let lost: Vec<_> = rivals
            .iter()
            .filter(|rival| counting.contains(&rival.change.hash))
            .filter(|rival| rival.change.deps.iter().any(|dep| !counting.contains(dep)))
            .map(|rival| rival.change.hash)
            .collect();
        if lost.is_empty() {
            return;
        }
        for hash in lost {
            counting.remove(&hash);
            excluded.insert(hash, Excluded::Dependent);
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;

    fn change(hash: u8, actor: u8, seq: u64, deps: &[u8]) -> Peeked {
        Peeked {
            hash: [hash; 32],
            deps: deps.iter().map(|dep| [*dep; 32]).collect(),
            actor: vec![actor],
            seq,
            start_op: 1,
            operations: 1,
            at: Moment::ZERO,
        }
    }

    fn lost(changes: &[Peeked], pinned: Option<u8>) -> Vec<(u8, Excluded)> {
        let rival = |change| Rival {
            change,
            is_pinned: pinned.map(|hash| [hash; 32]) == Some(change.hash),
        };
        let rivals: Vec<_> = changes.iter().map(rival).collect();
        let mut reversed = rivals.clone();
        reversed.reverse();
        assert_eq!(select(&rivals), select(&reversed), "the order of arrival does not matter");
        select(&rivals).into_iter().map(|(hash, why)| (hash[0], why)).collect()
    }

    #[test]
    fn one_of_two_changes_with_one_number_counts() {
        use Excluded::{Dependent, Equivocation};
        let root = change(1, 1, 1, &[]);
        let (small, large) = (change(2, 1, 2, &[1]), change(3, 1, 2, &[1]));
        let builds = change(4, 2, 1, &[3]);
        let forked = [root.clone(), small.clone(), large.clone()];
        assert_eq!(lost(&forked, None), [(3, Equivocation)]);
        assert_eq!(lost(&forked, Some(3)), [(2, Equivocation)]);
        let used = [root.clone(), small.clone(), large, builds.clone()];
        assert_eq!(lost(&used, None), [(2, Equivocation)]);
        assert_eq!(lost(&used, Some(2)), [(3, Equivocation), (4, Dependent)]);
        assert_eq!(lost(&[root.clone(), small.clone()], None), []);
        assert_eq!(lost(&[root, small, builds], None), [(4, Dependent)]);
    }
}
