//! P1: connected long enough, all honest replicas of a tenant hold the same, and exactly what was
//! made.

use std::collections::BTreeSet;

use fieldmesh_model::BatchId;
use fieldmesh_trie::Key;

use crate::cable::End;
use crate::node::Node;
use crate::violation::Violation;
use crate::world::World;

/// Whether every node holds everything of its tenant.
pub(crate) fn is_converged(world: &World<'_>) -> bool {
    world.newcomers.is_empty() && world.honest().all(|(_, node)| is_whole(world, node))
}

fn is_whole(world: &World<'_>, node: &Node) -> bool {
    let tenant = &world.tenants[node.tenant];
    node.replica.len() == tenant.made.len()
        && node.replica.items().count() == tenant.office.items().len()
}

/// Why not every node holds everything.
pub(crate) fn divergence(world: &World<'_>) -> Violation {
    for (node, state) in world.honest() {
        let (held, made) = (state.replica.len(), world.tenants[state.tenant].made.len());
        if held != made {
            return Violation::NotConverged { node, held, made };
        }
    }
    let node = world.honest().find(|(_, node)| !is_whole(world, node)).map_or(0, |(node, _)| node);
    Violation::PolicyDiffers { node }
}

/// Every set is the plain set, and the disk's.
pub(crate) fn sets(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.honest() {
        let made = &world.tenants[state.tenant].made;
        let keys: BTreeSet<Key> = state.replica.keys().copied().collect();
        if let Some(key) = keys.difference(made).next() {
            return Err(Violation::Invented { node, batch: BatchId::from_bytes(key.id()) });
        }
        if keys != *made {
            return Err(divergence(world));
        }
        if state.disk.keys().collect::<BTreeSet<Key>>() != keys {
            return Err(Violation::NotDurable { node });
        }
    }
    Ok(())
}

/// Every policy is the same, and so are its roots.
pub(crate) fn policies(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.honest() {
        let first = world.honest().find(|(_, first)| first.tenant == state.tenant);
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
    for (node, state) in world.honest() {
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
