//! P5: nothing is sent twice in one conversation, and nothing that the peer has.

use fieldmesh_model::BatchId;

use crate::cable::End;
use crate::violation::Violation;
use crate::world::World;

/// A node is about to send these batches.
pub(crate) fn sends(world: &mut World<'_>, end: End, ids: &[BatchId]) -> Result<(), Violation> {
    let peer = world.peer_of(end);
    let is_honest = peer.is_some_and(|peer| world.nodes[peer].is_honest());
    let node = &world.nodes[end.node];
    // Who holds a copy without signature is sent one with it by a peer of the first version.
    let has_old = node.is_old || peer.is_some_and(|peer| world.nodes[peer].is_old);
    let node = &mut world.nodes[end.node];
    // A run whose last batch does not follow in time, or is cut off by the policy, comes again.
    let checks = world.plan.checks;
    let is_steady = checks.exactness || checks.idle_cost;
    let is_honest = is_honest && node.is_honest() && !has_old && is_steady;
    let sent = node.sent.entry(end.link).or_default();
    let again = ids.iter().copied().find(|id| !sent.insert(*id));
    // Who asks again for what it was sent may be sent it again.
    match again.filter(|_| is_honest) {
        Some(batch) => Err(Violation::SentTwice { node: end.node, batch }),
        None => Ok(()),
    }
}

/// Nothing came that was here.
pub(crate) fn nothing_needless(world: &World<'_>) -> Result<(), Violation> {
    let count: u64 = world.repeated.values().sum();
    if count > 0 {
        return Err(Violation::SentNeedlessly { count });
    }
    Ok(())
}
