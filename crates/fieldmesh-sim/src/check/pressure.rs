//! P13: a slow disk, a slow peer or one that never reads fill no memory.

use std::collections::BTreeSet;

use fieldmesh_session::limits::{CONTROL_UNWRITTEN_MAX, DATA_FRAME_MAX, UNWRITTEN_MAX};

use crate::cable::Stream;
use crate::violation::Violation;
use crate::world::World;

/// Words that a conversation does not count: its first, before it knows that they wait, and its
/// last, which say why it ends.
const UNCOUNTED_MAX: usize = 1_024;

/// What came and is not durable: a window, and one more frame, of each peer.
pub(crate) fn storing(world: &mut World<'_>, node: usize) -> Result<(), Violation> {
    let state = &world.nodes[node];
    let peers = world.nodes.iter().filter(|peer| peer.tenant == state.tenant).count() - 1;
    let limit = peers * (state.ingest_window as usize + DATA_FRAME_MAX);
    let bytes = state.meter.unstored;
    if state.is_honest() && bytes > limit {
        return Err(Violation::MemoryGrows { node, what: "unstored", bytes, limit });
    }
    Ok(())
}

/// What waits to leave one end of a connection.
pub(crate) fn sending(world: &mut World<'_>, index: usize, side: usize) -> Result<(), Violation> {
    let cable = &world.cables[index];
    let end = cable.ends[side];
    let node = end.node;
    let state = &world.nodes[node];
    if !state.is_honest() {
        return Ok(());
    }
    let (bytes, limit) = (state.meter.unsent(end.link), UNWRITTEN_MAX + DATA_FRAME_MAX);
    if bytes > limit {
        return Err(Violation::MemoryGrows { node, what: "unsent data", bytes, limit });
    }
    let limit = CONTROL_UNWRITTEN_MAX + UNCOUNTED_MAX;
    let bytes = cable.ways[side].waiting(Stream::Control);
    if bytes > limit {
        return Err(Violation::MemoryGrows { node, what: "unsent words", bytes, limit });
    }
    Ok(())
}

/// One conversation with each peer, once everything has settled.
pub(crate) fn links(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.honest() {
        let mut peers = BTreeSet::new();
        if !state.replica.links().all(|(_, peer)| peers.insert(peer)) {
            return Err(Violation::TwoLinks { node });
        }
    }
    Ok(())
}
