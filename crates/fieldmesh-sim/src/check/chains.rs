//! P9: who never signed two batches for one place is never taken for one who did, and what a member
//! lost before anybody had it leaves no gap.
//!
//! A batch may overtake the one before it, as critical ones do. Where its author is revoked in
//! between, nobody talks to it any more, and the gap stays.

use fieldmesh_model::DeviceId;

use crate::node::Part;
use crate::violation::Violation;
use crate::world::World;

/// The chains of all devices that sign each place once, as every member knows them at the end.
pub(crate) fn whole(world: &World<'_>) -> Result<(), Violation> {
    let is_single = |author| {
        let mut nodes = world.nodes.iter();
        nodes.any(|node| node.part == Part::Device && node.device() == author)
    };
    for (node, state) in world.members() {
        let forked = state.replica.forks().map(|fork| fork.chain.author);
        let is_revoked = |author: &DeviceId| state.replica.policy().is_revoked(author);
        let gapped = state.replica.gaps().map(|(chain, _)| chain.author);
        let gapped = gapped.filter(|author| !is_revoked(author));
        if let Some(author) = forked.chain(gapped).find(|author| is_single(*author)) {
            return Err(Violation::ChainBroken { node, author });
        }
    }
    Ok(())
}
