//! P6: nothing is given to a peer that lies outside what it wants to hold and may read.

use fieldmesh_model::BatchId;

use crate::cable::End;
use crate::violation::Violation;
use crate::world::World;

/// A node is about to send these batches.
pub(crate) fn sends(world: &mut World<'_>, end: End, ids: &[BatchId]) -> Result<(), Violation> {
    let Some(peer) = world.peer_of(end) else { return Ok(()) };
    let cable = world.cable_of.get(&(end.node, end.link)).map(|index| &world.cables[*index]);
    // Whoever wants less has hung up before: what is put on that way arrives nowhere.
    if cable.is_some_and(|cable| !cable.is_up) {
        return Ok(());
    }
    let (node, peer) = (&world.nodes[end.node], &world.nodes[peer]);
    let is_outside = |id: &&BatchId| {
        let batch = node.disk.batch(id);
        batch.is_some_and(|batch| !peer.wants(&batch.header().scope))
    };
    match ids.iter().find(is_outside) {
        Some(batch) => Err(Violation::SentOutside { node: end.node, batch: *batch }),
        None => Ok(()),
    }
}
