//! P18: a relay that hides what it signed for is reported, and no other.

use std::collections::BTreeSet;

use fieldmesh_model::{BatchId, DeviceId};

use crate::node::Part;
use crate::plan::Shape;
use crate::violation::Violation;
use crate::world::World;

/// A receipt of a relay with two faces may be so much older than it was when it was asked for.
const MARGIN_MILLIS: i64 = 5_000;

/// A receipt of a face.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) peer: Option<usize>,
    pub(crate) at: i64,
    pub(crate) batches: BTreeSet<BatchId>,
}

/// A node says that a relay kept a batch back.
pub(crate) fn says(
    world: &mut World<'_>,
    node: usize,
    relay: DeviceId,
    batch: BatchId,
) -> Result<(), Violation> {
    let faces = world.nodes.iter().filter(|it| it.part == Part::Face && it.device() == relay);
    let has_signed = faces.clone().any(|face| face.ever_promised.contains(&batch));
    // A relay whose clock is set back signs for what it gets later at an earlier time.
    if !has_signed && world.plan.faults.jumps > 0 {
        return Ok(());
    }
    if !has_signed {
        return Err(Violation::FalselyReported { node });
    }
    world.withheld.insert((node, batch));
    Ok(())
}

/// Whoever was in step with one face reports the relay if it gets any of that which the other one
/// signed for before.
pub(crate) fn reported(world: &World<'_>) -> Result<(), Violation> {
    if world.plan.shape != Shape::Faces {
        return Ok(());
    }
    let is_device = |node: &usize| world.nodes[*node].part == Part::Device;
    for node in (1..world.nodes.len()).filter(is_device) {
        // The face was in step with the node as of the last receipt that it signed for it alone.
        let heard = world.signed.iter().filter(|signed| {
            signed.peer == Some(node) && signed.at < world.plan.day_millis * 2 / 3
        });
        let Some(heard) = heard.map(|signed| signed.at).max() else { continue };
        let early = world
            .signed
            .iter()
            .filter(|signed| signed.peer == Some(0) && signed.at < heard - MARGIN_MILLIS);
        // A receipt that takes the place of an older one proves a later time only.
        let late = world
            .signed
            .iter()
            .filter(|signed| signed.peer == Some(0) && signed.at >= heard - MARGIN_MILLIS);
        let late: BTreeSet<&BatchId> = late.flat_map(|signed| &signed.batches).collect();
        let author = world.nodes[0].device();
        for id in early.flat_map(|signed| &signed.batches) {
            let is_its = |batch: &fieldmesh_batch::Batch| batch.header().author == author;
            let since = world.nodes[0].disk.batch(id).filter(|batch| is_its(batch));
            let since = since.and_then(|it| world.nodes[0].held_since.get(&crate::disk::key(it)));
            let is_new = since.is_some_and(|since| *since > 0);
            let has_reported = world.withheld.iter().any(|(reporter, _)| *reporter == node);
            if is_new && !late.contains(id) && !has_reported {
                return Err(Violation::NotReported { node, batch: *id });
            }
        }
    }
    Ok(())
}
