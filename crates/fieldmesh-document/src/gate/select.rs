//! Which of several changes counts where an actor wrote two with one sequence number.
//!
//! That happens when a device's disk was copied or its key stolen. The choice is a pure function
//! of the set of accepted changes, so every replica makes the same one.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::DeviceId;

use crate::chunk::Peeked;

/// An accepted change of one document.
#[derive(Debug, Clone, Copy)]
pub struct Rival<'a> {
    /// Its outside.
    pub change: &'a Peeked,
    /// Who wrote it.
    pub author: DeviceId,
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
/// another author builds on, else the one with the smaller hash. What builds on the others does not
/// count either, and is no rival of anything: a thief who forks early and goes on cannot take away
/// what the owner wrote later.
pub fn select(rivals: &[Rival<'_>]) -> BTreeMap<[u8; 32], Excluded> {
    let graph = Graph::new(rivals);
    let mut excluded = BTreeMap::new();
    graph.exclude_orphans(&mut excluded);
    for claim in graph.claims() {
        let mut running: Vec<_> =
            claim.into_iter().filter(|rival| !excluded.contains_key(&rival.change.hash)).collect();
        if running.len() < 2 {
            continue;
        }
        let kept = graph.winner(&running, &excluded);
        running.retain(|rival| rival.change.hash != kept);
        for lost in running {
            graph.exclude(lost.change.hash, &mut excluded);
        }
    }
    excluded
}

/// Accepted changes, each once, and what builds on each.
struct Graph<'a> {
    changes: BTreeMap<[u8; 32], Rival<'a>>,
    children: BTreeMap<[u8; 32], Vec<[u8; 32]>>,
}

impl<'a> Graph<'a> {
    fn new(rivals: &[Rival<'a>]) -> Self {
        let mut changes: BTreeMap<_, Rival<'a>> = BTreeMap::new();
        for rival in rivals {
            let known = changes.entry(rival.change.hash).or_insert(*rival);
            known.is_pinned |= rival.is_pinned;
        }
        let mut children: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (hash, rival) in &changes {
            for dep in &rival.change.deps {
                children.entry(*dep).or_default().push(*hash);
            }
        }
        Self { changes, children }
    }

    /// The changes that claim one place each, the places that can be decided first in front: a
    /// change has a greater operation number than all that it builds on.
    fn claims(&self) -> Vec<Vec<Rival<'a>>> {
        let mut claims: BTreeMap<(&[u8], u64), Vec<Rival<'a>>> = BTreeMap::new();
        for rival in self.changes.values() {
            claims.entry((&rival.change.actor, rival.change.seq)).or_default().push(*rival);
        }
        let mut claims: Vec<_> = claims.into_values().filter(|claim| claim.len() > 1).collect();
        let first = |claim: &[Rival<'_>]| claim.iter().map(|rival| rival.change.start_op).min();
        // Stable: places that begin alike stay in the order of actor and sequence.
        claims.sort_by_key(|claim| first(claim));
        claims
    }

    /// The hash of the claim's change that counts.
    fn winner(&self, claim: &[Rival<'_>], excluded: &BTreeMap<[u8; 32], Excluded>) -> [u8; 32] {
        let pinned: Vec<_> = claim.iter().filter(|rival| rival.is_pinned).collect();
        if let Some(pinned) = pinned.first() {
            return pinned.change.hash;
        }
        let used: Vec<_> = claim.iter().filter(|rival| self.is_used(rival, excluded)).collect();
        match used.as_slice() {
            [only] => only.change.hash,
            // In the order of their hashes.
            _ => claim.first().map_or([0; 32], |rival| rival.change.hash),
        }
    }

    /// Whether a change of another author builds on it, directly or not.
    fn is_used(&self, rival: &Rival<'_>, excluded: &BTreeMap<[u8; 32], Excluded>) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![rival.change.hash];
        while let Some(hash) = open.pop() {
            if excluded.contains_key(&hash) || !seen.insert(hash) {
                continue;
            }
            if self.changes.get(&hash).is_some_and(|other| other.author != rival.author) {
                return true;
            }
            open.extend(self.children.get(&hash).into_iter().flatten());
        }
        false
    }

    /// Excludes a change that lost, and what builds on it.
    fn exclude(&self, lost: [u8; 32], excluded: &mut BTreeMap<[u8; 32], Excluded>) {
        excluded.insert(lost, Excluded::Equivocation);
        self.exclude_children(lost, excluded);
    }

    fn exclude_children(&self, hash: [u8; 32], excluded: &mut BTreeMap<[u8; 32], Excluded>) {
        let mut open = vec![hash];
        while let Some(hash) = open.pop() {
            for child in self.children.get(&hash).into_iter().flatten() {
                if !excluded.contains_key(child) {
                    excluded.insert(*child, Excluded::Dependent);
                    open.push(*child);
                }
            }
        }
    }

    /// Excludes what builds on changes that are not here.
    fn exclude_orphans(&self, excluded: &mut BTreeMap<[u8; 32], Excluded>) {
        for (hash, rival) in &self.changes {
            if rival.change.deps.iter().any(|dep| !self.changes.contains_key(dep)) {
                excluded.insert(*hash, Excluded::Dependent);
            }
        }
        let orphans: Vec<_> = excluded.keys().copied().collect();
        for orphan in orphans {
            self.exclude_children(orphan, excluded);
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
            start_op: seq,
            operations: 1,
            at: Moment::ZERO,
        }
    }

    fn lost<'a>(changes: &'a [Peeked], pinned: Option<u8>) -> Vec<(u8, Excluded)> {
        let rival = |change: &'a Peeked| Rival {
            change,
            author: DeviceId::from_bytes([change.actor[0]; 32]),
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
    #[test]
    fn a_thief_who_forks_and_goes_on_takes_nothing_from_what_the_owner_wrote() {
        use Excluded::{Dependent, Equivocation};
        let root = change(1, 1, 1, &[]);
        // The owner's 3 and 4, the thief's 5 and 2, whose hash is smaller than the owner's 4.
        let (ours, later) = (change(3, 1, 2, &[1]), change(4, 1, 3, &[3]));
        let (theirs, worse) = (change(5, 1, 2, &[1]), change(2, 1, 3, &[5]));
        let all = [root.clone(), ours.clone(), later.clone(), theirs.clone(), worse];
        assert_eq!(lost(&all, None), [(2, Dependent), (5, Equivocation)]);
        // Somebody else has built on the later of the owner's.
        let builds = change(9, 2, 1, &[4]);
        let mut smaller = theirs;
        smaller.hash = [0; 32];
        assert_eq!(lost(&[root, ours, later, smaller, builds], None), [(0, Equivocation)]);
    }
}
