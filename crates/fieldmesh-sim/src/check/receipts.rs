//! P11: a receipt is signed only for what a crash does not lose, and nothing claims more than was
//! signed.

use std::collections::BTreeSet;

use fieldmesh_batch::Receipt;
use fieldmesh_model::{BatchId, DeviceId};
use fieldmesh_replica::LinkId;

use super::withholding::Signed;
use crate::cable::End;
use crate::disk::Disk;
use crate::node::{Node, Part};
use crate::violation::Violation;
use crate::world::World;

/// After this time an answer that a relay has signed has been heard.
const HEARD_MILLIS: i64 = 10_000;

/// A node is about to sign: everything that the receipt names is durable, with all before it.
pub(crate) fn signs(
    world: &mut World<'_>,
    node: usize,
    receipt: &Receipt,
) -> Result<(), Violation> {
    let at = world.now;
    let state = &mut world.nodes[node];
    let Some(covered) = covered(&state.disk, receipt) else {
        return Err(Violation::PromisedTooMuch { node });
    };
    if world.plan.faults.evictions > 0 {
        let rebuilt = state.rebuilt();
        if covered.iter().any(|id| !rebuilt.holds(id)) {
            return Err(Violation::PromisedTooMuch { node });
        }
    }
    if state.part == Part::Face {
        let batches = covered.clone();
        world.signed.push(Signed { face: node, at, batches });
    }
    let state = &mut world.nodes[node];
    state.ever_promised.extend(&covered);
    state.promised.extend(covered);
    Ok(())
}

/// A receipt that a node believes: its signer signed it, for no more than it said.
pub(crate) fn proves(
    world: &mut World<'_>,
    node: usize,
    receipt: &Receipt,
) -> Result<(), Violation> {
    let is_signer =
        |other: &&Node| other.device() == receipt.signer && other.author.tenant() == receipt.tenant;
    let heads: BTreeSet<BatchId> = receipt.heads.iter().map(head).collect();
    let mut signers = world.nodes.iter().filter(is_signer);
    let is_promised = signers.any(|signer| heads.is_subset(&signer.ever_promised));
    if is_promised { Ok(()) } else { Err(Violation::ClaimsTooMuch { node }) }
}

/// What each node takes for proven, against what the others signed for.
pub(crate) fn proofs(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.honest() {
        let others: Vec<&Node> = world
            .nodes
            .iter()
            .filter(|other| other.tenant == state.tenant && other.device() != state.device())
            .collect();
        for batch in state.disk.batches() {
            let id = batch.id();
            let holders = others.iter().filter(|other| other.promised.contains(&id));
            let (count, relays) = holders.fold((0, 0), |(count, relays), other| {
                (count + 1, relays + usize::from(matches!(other.part, Part::Relay | Part::Face)))
            });
            let proof = state.replica.proof(&id);
            if proof.devices > count || (proof.is_safe && relays == 0) {
                return Err(Violation::ClaimsTooMuch { node });
            }
        }
    }
    Ok(())
}

/// A node that is in touch with all relays says of nothing that it is safe that none of them holds.
pub(crate) fn held(world: &World<'_>, node: usize) -> Result<(), Violation> {
    let state = &world.nodes[node];
    if world.plan.faults.put_backs == 0 || !state.is_honest() {
        return Ok(());
    }
    let is_relay = |other: &&Node| other.part == Part::Relay && other.tenant == state.tenant;
    let relays: Vec<&Node> = world.nodes.iter().filter(is_relay).collect();
    // Who has not heard a relay since it was put back cannot know.
    let hears = |(link, device): (LinkId, DeviceId), relay: &Node| {
        let cable = world.cable_of.get(&(node, link)).map(|cable| &world.cables[*cable]);
        let cable = cable.filter(|cable| cable.is_up);
        let answered = cable.and_then(|it| world.answered.get(&it.other(End { node, link })));
        device == relay.device() && answered.is_some_and(|at| at + HEARD_MILLIS <= world.now)
    };
    if relays.iter().any(|relay| !state.replica.links().any(|link| hears(link, relay))) {
        return Ok(());
    }
    let is_lost = |id: &BatchId| relays.iter().all(|relay| relay.disk.batch(id).is_none());
    let mut ids = state.disk.batches().map(fieldmesh_batch::Batch::id).filter(is_lost);
    if ids.any(|id| state.replica.proof(&id).is_safe) {
        return Err(Violation::ClaimsTooMuch { node });
    }
    Ok(())
}

/// Every device learns that a relay holds what it made, once it was in step with one for a while.
pub(crate) fn safe(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.honest() {
        let knows = |peer: &Node| state.has_link_to(&peer.device()) && peer.part == Part::Relay;
        let has_relay = world.honest().any(|(_, peer)| knows(peer));
        if state.part != Part::Device || !has_relay {
            continue;
        }
        if !world.is_member(node) {
            continue;
        }
        let own = state.disk.batches().filter(|batch| batch.header().author == state.device());
        if let Some(batch) =
            own.map(fieldmesh_batch::Batch::id).find(|id| !state.replica.proof(id).is_safe)
        {
            return Err(Violation::NeverSafe { node, batch });
        }
    }
    Ok(())
}

/// The batches that a receipt acknowledges, if all of them are on the disk.
fn covered(disk: &Disk, receipt: &Receipt) -> Option<BTreeSet<BatchId>> {
    let mut covered = BTreeSet::new();
    for key in &receipt.heads {
        let mut next = head(key);
        while next != BatchId::default() && covered.insert(next) {
            next = disk.batch(&next)?.header().previous;
        }
    }
    Some(covered)
}

/// The batch that a head of a receipt names.
fn head(key: &[u8; fieldmesh_trie::KEY_LENGTH]) -> BatchId {
    BatchId::from_bytes(fieldmesh_trie::Key::from_bytes(*key).id())
}
