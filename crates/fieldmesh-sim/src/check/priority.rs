//! P14: a critical batch arrives before any other one that was not yet on its way, old or new.

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, Scope};
use fieldmesh_replica::LinkId;

use crate::cable::End;
use crate::violation::Violation;
use crate::world::World;

/// Bytes of other batches that leave while the critical one is read, or while a packet of it is lost
/// and sent again, on a connection of 64 kbit/s.
const HANDOVER_BYTES: u64 = 16 * 1024;

/// A critical batch on a connection that is busy with others.
#[derive(Debug)]
pub(crate) struct Alarm {
    batch: BatchId,
    scope: Scope,
    cable: usize,
    side: usize,
    /// Bytes of others that may arrive before it: those that have left.
    limit: u64,
}

/// A node holds a new batch of its own.
pub(crate) fn sealed(world: &mut World<'_>, node: usize, batch: &Batch) {
    // What does not count is in no hurry, and what is new waits for the answer to a comparison.
    let is_calm = world.plan.backfill > 0 && !world.has_changing_policy();
    if !batch.header().priority.is_critical() || !is_calm {
        return;
    }
    for (cable, state) in world.cables.iter().enumerate().filter(|(_, cable)| cable.is_up) {
        let Some(side) = state.ends.iter().position(|end| end.node == node) else { continue };
        let limit = state.ways[side].unhurried() + HANDOVER_BYTES;
        let (batch, scope) = (batch.id(), batch.header().scope);
        world.alarms.push(Alarm { batch, scope, cable, side, limit });
    }
}

/// Batches have come over a link.
pub(crate) fn arrives(
    world: &mut World<'_>,
    (node, link): (usize, LinkId),
    batches: &[Batch],
) -> Result<(), Violation> {
    let Some(cable) = world.cable_of.get(&(node, link)).copied() else { return Ok(()) };
    let side = 1 - world.cables[cable].side(End { node, link });
    let alarms = std::mem::take(&mut world.alarms);
    let (mine, others) = alarms.into_iter().partition(|alarm| {
        (alarm.cable, alarm.side) == (cable, side)
            && batches.iter().any(|batch| batch.id() == alarm.batch)
    });
    world.alarms = others;
    let mine: Vec<Alarm> = mine;
    let bytes = world.cables[cable].unhurried[side];
    match mine.iter().find(|alarm| bytes > alarm.limit) {
        Some(alarm) => Err(Violation::Overtaken {
            batch: alarm.batch,
            bytes: bytes + HANDOVER_BYTES - alarm.limit,
        }),
        None => Ok(()),
    }
}

/// No connection that stayed up still owes a critical batch. Nobody owes one to a device that has let
/// its month go.
pub(crate) fn overtaken(world: &World<'_>) -> Result<(), Violation> {
    let is_owed = |alarm: &&Alarm| {
        let cable = &world.cables[alarm.cable];
        let end = &world.nodes[cable.ends[1 - alarm.side].node];
        let is_wanted = end.is_honest() && end.filter.admits(&alarm.scope);
        cable.is_up && is_wanted && !end.replica.holds(&alarm.batch)
    };
    match world.alarms.iter().find(is_owed) {
        Some(alarm) => Err(Violation::Overtaken { batch: alarm.batch, bytes: 0 }),
        None => Ok(()),
    }
}
