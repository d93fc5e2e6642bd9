//! Nothing of one tenant ever reaches a node of another one.

use crate::cable::Stream;
use crate::disk::Write;
use crate::violation::Violation;
use crate::world::World;

/// What two nodes of different tenants may say to each other: a hello and its refusal.
const STRANGER_BYTES_MAX: u64 = 512;

/// A node is about to write what a peer sent.
pub(crate) fn stores(world: &mut World<'_>, node: usize, write: &Write) -> Result<(), Violation> {
    let own = world.nodes[node].author.tenant();
    let is_foreign = match write {
        Write::Own(batch) => batch.header().tenant != own,
        Write::Batches(batches) => batches.iter().any(|batch| batch.header().tenant != own),
        Write::Items(items) => items.iter().any(|item| item.tenant() != own),
    };
    if is_foreign { Err(Violation::Leaked { node }) } else { Ok(()) }
}

/// What went over connections between tenants.
pub(crate) fn apart(world: &World<'_>) -> Result<(), Violation> {
    for cable in &world.cables {
        let [a, b] = cable.ends.map(|end| &world.nodes[end.node]);
        if a.tenant == b.tenant {
            continue;
        }
        let control = cable.delivered[Stream::Control.index()];
        let all: u64 = cable.delivered.iter().sum();
        if all > control || control > STRANGER_BYTES_MAX {
            return Err(Violation::Leaked { node: cable.ends[1].node });
        }
    }
    Ok(())
}
