//! A clock that is wrong is told, and stops nothing.

use crate::cable::End;
use crate::violation::Violation;
use crate::world::World;

/// How long a hello may have been under way.
const TRAVEL_MILLIS_MAX: i64 = 180_000;

/// A node says how far the peer's clock is ahead of its own.
pub(crate) fn skew(world: &mut World<'_>, end: End, skew: i64) -> Result<(), Violation> {
    let Some(peer) = world.peer_of(end) else { return Ok(()) };
    let (node, peer) = (&world.nodes[end.node], &world.nodes[peer]);
    if !peer.is_honest() || !node.is_honest() {
        return Ok(());
    }
    let truth = peer.clock.ahead_of(&node.clock);
    if skew > truth || skew < truth - TRAVEL_MILLIS_MAX {
        return Err(Violation::SkewWrong { node: end.node, skew, truth });
    }
    Ok(())
}
