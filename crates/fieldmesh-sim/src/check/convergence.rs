//! P1: connected long enough, all honest replicas of a tenant hold the same, and exactly what was
//! made.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_model::BatchId;
use fieldmesh_trie::Key;

use super::policy;
use crate::cable::End;
use crate::node::Node;
use crate::violation::Violation;
use crate::world::World;

/// Whether every node holds everything of its tenant that it wants to.
pub(crate) fn is_converged(world: &World<'_>) -> bool {
    world.newcomers.is_empty() && divergence(world).is_none()
}

/// Why not every node holds everything; None if each does.
pub(crate) fn divergence(world: &World<'_>) -> Option<Violation> {
    for (number, tenant) in world.tenants.iter().enumerate() {
        let members = || world.members().filter(|(_, node)| node.tenant == number);
        let root = members().next().map(|(_, node)| node.replica.policy_root());
        let lacks = |node: &Node, item: &Item| !node.replica.policy().holds(&item.id());
        let differs = |node: &Node| {
            Some(node.replica.policy_root()) != root
                || tenant.office.items().iter().any(|item| lacks(node, item))
        };
        if let Some((node, _)) = members().find(|(_, node)| differs(node)) {
            return Some(Violation::PolicyDiffers { node });
        }
        let all = policy::union(world, number);
        for (node, state) in members() {
            let made = all.values().filter(|batch| state.wants(&batch.header().scope)).count();
            let held = state.replica.len() + state.replica.quarantine_len();
            if held != made {
                return Some(Violation::NotConverged { node, held, made });
            }
        }
    }
    None
}

/// Every set is the plain set, and the disk's.
pub(crate) fn sets(world: &World<'_>) -> Result<(), Violation> {
    if let Some(violation) = divergence(world) {
        return Err(violation);
    }
    for (number, tenant) in world.tenants.iter().enumerate() {
        let all = policy::union(world, number);
        let counting = policy::counting(tenant.office.policy(), &all);
        for (node, state) in world.members().filter(|(_, node)| node.tenant == number) {
            let keys: BTreeSet<Key> = state.disk.keys().collect();
            if let Some(key) = keys.difference(&tenant.made).next() {
                return Err(Violation::Invented { node, batch: BatchId::from_bytes(key.id()) });
            }
            if state.replica.unheld().count() > 0 {
                return Err(Violation::NotDurable { node });
            }
            let is_right = |batch: &Batch| {
                let key = crate::disk::key(batch);
                let does_count = counting.contains(&batch.id());
                state.replica.contains(&key) == does_count
                    && state.replica.is_aside(&batch.id()) != does_count
            };
            if !state.disk.batches().all(is_right) {
                return Err(Violation::OtherCount { node });
            }
        }
    }
    Ok(())
}

/// Every policy is the same, and so are its roots.
pub(crate) fn policies(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.members() {
        let first = world.members().find(|(_, first)| first.tenant == state.tenant);
        let Some((_, first)) = first else { continue };
        if state.replica.policy() != first.replica.policy()
            || state.replica.policy_root() != first.replica.policy_root()
        {
            return Err(Violation::PolicyDiffers { node });
        }
    }
    Ok(())
}

/// What was refused for want of a policy item is refused no more.
pub(crate) fn refusals(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.members() {
        for (link, _) in state.replica.links() {
            let peer = world.peer_of(End { node, link });
            let is_honest = peer.is_some_and(|peer| world.nodes[peer].is_honest());
            let count = state.replica.stats(link).map_or(0, |stats| stats.refused);
            if is_honest && count > 0 {
                return Err(Violation::StillRefused { node, count });
            }
        }
    }
    Ok(())
}
