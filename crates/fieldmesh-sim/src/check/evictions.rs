//! P11: a device lets nothing go but what a relay holds.

use fieldmesh_model::BatchId;

use crate::node::Part;
use crate::violation::Violation;
use crate::world::World;

/// A node is about to drop these batches.
pub(crate) fn lets_go(world: &World<'_>, node: usize, ids: &[BatchId]) -> Result<(), Violation> {
    let tenant = world.nodes[node].tenant;
    let relays =
        || world.nodes.iter().filter(|other| other.part == Part::Relay && other.tenant == tenant);
    let is_nowhere = |id: &&BatchId| relays().all(|relay| relay.disk.batch(id).is_none());
    match ids.iter().find(is_nowhere) {
        Some(batch) => Err(Violation::LetGoUnsafe { node, batch: *batch }),
        None => Ok(()),
    }
}
