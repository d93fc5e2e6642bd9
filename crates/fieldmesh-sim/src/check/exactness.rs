//! P5: nothing is sent twice in one conversation, and nothing back to whom it came from.
//!
//! Between two replicas that know no others nothing is sent that the peer has.

use fieldmesh_model::BatchId;

use crate::cable::{Cable, End};
use crate::violation::Violation;
use crate::world::World;

/// A node is about to send these batches.
///
/// A batch travels once in a conversation. It may travel once more where the receiver has refused
/// it in between or has set it aside, see [`refuses`] and
/// [`sets_aside`]; whoever lost it in a crash or to a full disk,
/// or was cut off, is on a new conversation.
pub(crate) fn sends(world: &mut World<'_>, end: End, ids: &[BatchId]) -> Result<(), Violation> {
    if !is_strict(world, end) {
        return Ok(());
    }
    let node = &mut world.nodes[end.node];
    let got = node.got.entry(end.link).or_default();
    if let Some(batch) = ids.iter().find(|id| got.contains(id)) {
        return Err(Violation::SentBack { node: end.node, batch: *batch });
    }
    let sent = node.sent.entry(end.link).or_default();
    match ids.iter().find(|id| !sent.insert(**id)) {
        Some(batch) => Err(Violation::SentTwice { node: end.node, batch: *batch }),
        None => Ok(()),
    }
}

/// These batches came over a link first and are durable.
pub(crate) fn gets(world: &mut World<'_>, end: End, ids: &[BatchId]) {
    world.nodes[end.node].got.entry(end.link).or_default().extend(ids);
}

/// A node refuses a batch by the policy that it knows; under another one it may need it again.
pub(crate) fn refuses(world: &mut World<'_>, end: End, batch: BatchId) {
    let Some(cable) = world.cable_of.get(&(end.node, end.link)) else { return };
    let from = world.cables[*cable].other(end);
    forget(world, from, &[batch]);
}

/// A node does not count these batches, or not any longer: where others do, they are lacking in its
/// set, and its peers cannot know that they are here.
pub(crate) fn sets_aside(world: &mut World<'_>, node: usize, ids: &[BatchId]) {
    let other = |cable: &Cable| {
        let end = cable.ends.into_iter().find(|end| end.node == node)?;
        Some(cable.other(end))
    };
    let up = world.cables.iter().filter(|cable| cable.is_up);
    let others: Vec<End> = up.filter_map(other).collect();
    others.into_iter().for_each(|end| forget(world, end, ids));
}

/// These may be sent over a link once more.
fn forget(world: &mut World<'_>, end: End, ids: &[BatchId]) {
    let node = &mut world.nodes[end.node];
    for of_links in [&mut node.sent, &mut node.got] {
        let of_link = of_links.get_mut(&end.link);
        of_link.into_iter().for_each(|of_link| of_link.retain(|id| !ids.contains(id)));
    }
}

/// Whether both ends keep to the protocol; one of the first version is sent what it holds without
/// signature once more.
fn is_strict(world: &World<'_>, end: End) -> bool {
    let Some(peer) = world.peer_of(end) else { return false };
    [end.node, peer].map(|node| &world.nodes[node]).iter().all(|it| it.is_honest() && !it.is_old)
}

/// Nothing came that was here.
pub(crate) fn nothing_needless(world: &World<'_>) -> Result<(), Violation> {
    let count: u64 = world.repeated.values().sum();
    if count > 0 {
        return Err(Violation::SentNeedlessly { count });
    }
    Ok(())
}
