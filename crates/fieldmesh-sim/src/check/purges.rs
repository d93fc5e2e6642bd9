//! What was purged is nowhere in the end, nobody stores it who knows, and what is left of its batch
//! verifies and is held by everybody as before.

use fieldmesh_batch::Batch;
use fieldmesh_identity::Policy;
use fieldmesh_replica::has_known_gaps;

use crate::violation::Violation;
use crate::world::World;

/// A replica stores batches of a peer.
pub(crate) fn stores(world: &World<'_>, node: usize, batches: &[Batch]) -> Result<(), Violation> {
    let policy = world.nodes[node].replica.policy();
    match batches.iter().find(|batch| has_purged(policy, batch)) {
        Some(batch) => Err(Violation::NotErased { node, batch: batch.id() }),
        None => Ok(()),
    }
}

/// No disk holds any of it, by what the whole tenant has said.
pub(crate) fn forgotten(world: &World<'_>) -> Result<(), Violation> {
    for (node, state) in world.members() {
        let policy = world.tenants[state.tenant].office.policy();
        for batch in state.disk.batches() {
            if has_purged(policy, batch) {
                return Err(Violation::NotErased { node, batch: batch.id() });
            }
            let key = policy.verifying_key(&batch.header().author);
            let verifies = key.is_some_and(|key| !batch.is_signed() || batch.verify(key).is_ok());
            if !verifies || !has_known_gaps(policy, batch) {
                return Err(Violation::Unexplained { node, batch: batch.id() });
            }
        }
    }
    Ok(())
}

/// How many leaves were erased, on all disks together.
pub(crate) fn erased(world: &World<'_>) -> usize {
    let batches = world.members().flat_map(|(_, state)| state.disk.batches());
    batches.map(|batch| batch.erased_hashes().count()).sum()
}

fn has_purged(policy: &Policy, batch: &Batch) -> bool {
    let hashes = batch.leaf_hashes();
    let mut leaves = batch.leaves().iter().zip(&hashes);
    leaves.any(|(leaf, hash)| !leaf.is_erased() && policy.is_purged_leaf(hash))
}
