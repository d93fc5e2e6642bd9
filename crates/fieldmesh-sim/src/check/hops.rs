//! P7: what a device made reaches nodes that it never meets, passed on by those in between.
//!
//! Nodes restart with nothing but their disks, so no state about single peers can be behind it.

use crate::plan::Shape;
use crate::violation::Violation;
use crate::world::World;

/// Batches came to nodes without a connection to their author.
pub(crate) fn passed_on(world: &World<'_>) -> Result<(), Violation> {
    let is_indirect = matches!(world.plan.shape, Shape::Line | Shape::Star | Shape::Stars);
    if !is_indirect {
        return Ok(());
    }
    for (node, state) in world.honest() {
        for batch in state.disk.batches() {
            let author = batch.header().author;
            let author = world.honest().find(|(_, other)| other.device() == author);
            let Some((author, _)) = author else { continue };
            let knows = |pair: &(usize, usize)| *pair == (author, node) || *pair == (node, author);
            let is_held = state.replica.holds(&batch.id());
            if !world.pairs.iter().any(knows) && !is_held {
                return Err(Violation::NotPassedOn { node, batch: batch.id() });
            }
        }
    }
    Ok(())
}
