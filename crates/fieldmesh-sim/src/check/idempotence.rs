//! P4: any message replayed at any time changes nothing.

use crate::cable::Stream;
use crate::violation::Violation;
use crate::world::World;

/// Gives a node what it was sent before, over a connection of its own that seems to be its peer's.
pub(crate) fn replays(
    world: &mut World<'_>,
    (node, peer): (usize, usize),
    record: Vec<(Stream, Vec<u8>)>,
) -> Result<(), Violation> {
    let root = world.nodes[node].replica.root();
    let stores = world.haunt((node, peer), record);
    if stores || world.nodes[node].replica.root() != root {
        return Err(Violation::ReplayChanged { node });
    }
    Ok(())
}
