//! P18: a relay that hides what it signed for is reported, and no other is reported or doubted.

use std::collections::BTreeSet;

use fieldmesh_model::{BatchId, DeviceId};

use crate::cable::End;
use crate::node::Part;
use crate::plan::Shape;
use crate::violation::Violation;
use crate::world::World;

/// A receipt of a face.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) face: usize,
    pub(crate) at: i64,
    pub(crate) batches: BTreeSet<BatchId>,
}

/// What a face has shown in one conversation.
#[derive(Debug)]
pub(crate) struct Shown {
    face: usize,
    begun: i64,
    in_steps: u32,
    /// What the other side held when it was in step for the last time.
    held: BTreeSet<BatchId>,
}

/// A conversation with a face begins.
pub(crate) fn greeted(world: &mut World<'_>, end: End) {
    let Some(face) = world.peer_of(end).filter(|peer| world.nodes[*peer].part == Part::Face) else {
        return;
    };
    let begun = world.now;
    world.shown.insert(end, Shown { face, begun, in_steps: 0, held: BTreeSet::new() });
}

/// A node is in step, with a face perhaps.
pub(crate) fn in_step(world: &mut World<'_>, end: End) {
    let Some(shown) = world.shown.get_mut(&end) else { return };
    shown.in_steps += 1;
    shown.held = world.nodes[end.node].disk.batches().map(fieldmesh_batch::Batch::id).collect();
}

/// A node says that a relay kept a batch back.
pub(crate) fn says(
    world: &mut World<'_>,
    node: usize,
    relay: DeviceId,
    batch: BatchId,
) -> Result<(), Violation> {
    let mut relays = world.nodes.iter().filter(|it| it.device() == relay);
    let has_signed = relays.any(|it| {
        let may_hide = it.part == Part::Face || it.was_put_back;
        may_hide && it.ever_promised.contains(&batch)
    });
    if !has_signed {
        return Err(Violation::FalselyReported { node });
    }
    world.withheld.insert((node, batch));
    Ok(())
}

/// A node does not believe a device any more, or that device itself.
pub(crate) fn doubts(world: &World<'_>, node: usize, device: DeviceId) -> Result<(), Violation> {
    let may_be = world.nodes.iter().filter(|it| it.device() == device);
    let is_honest = may_be.clone().all(|it| it.is_honest() && !it.was_put_back);
    if is_honest && !world.is_haunted && world.nodes[node].is_honest() {
        return Err(Violation::FalselyReported { node });
    }
    Ok(())
}

/// Whoever was in step with one face reports the relay if it gets from another any of that which
/// the other face had signed for before the conversation began.
pub(crate) fn reported(world: &World<'_>) -> Result<(), Violation> {
    if world.plan.shape != Shape::Faces {
        return Ok(());
    }
    for (end, shown) in &world.shown {
        let node = end.node;
        let is_over = world.nodes[node].run_began > shown.begun;
        // The first time may be before the face has signed.
        if world.nodes[node].part != Part::Device || shown.in_steps < 2 || is_over {
            continue;
        }
        let early = |signed: &&Signed| signed.face != shown.face && signed.at < shown.begun;
        let hidden = world.signed.iter().filter(early).flat_map(|signed| &signed.batches);
        let since = |node: usize, id: &BatchId| {
            let batch = world.nodes[node].disk.batch(id)?;
            world.nodes[node].held_since.get(&crate::disk::key(batch)).copied()
        };
        // What the face itself got sooner it may have brought in the end.
        let from_other = |id: &BatchId| since(node, id) < since(shown.face, id);
        let hidden = hidden.filter(|batch| !shown.held.contains(*batch) && from_other(batch));
        let has_reported = world.withheld.iter().any(|(reporter, _)| *reporter == node);
        if let Some(batch) = hidden.copied().next().filter(|_| !has_reported) {
            return Err(Violation::NotReported { node, batch });
        }
    }
    Ok(())
}
