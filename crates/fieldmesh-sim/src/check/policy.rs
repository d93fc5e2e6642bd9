//! P9 and P10: which batches count follows from the batches and the policy items alone, and a
//! revocation takes nothing back that its signer named.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Policy, Standing, Statement};
use fieldmesh_model::{BatchId, DeviceId, ItemId};

use crate::violation::Violation;
use crate::world::World;

/// What an item said to count of a device's work, because its signer held it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) tenant: usize,
    pub(crate) item: ItemId,
    pub(crate) device: DeviceId,
    pub(crate) batches: BTreeSet<BatchId>,
}

/// All batches of a tenant that any of its present members holds.
pub(crate) fn union<'a>(world: &'a World<'_>, tenant: usize) -> BTreeMap<BatchId, &'a Batch> {
    let members = world.members().filter(|(_, node)| node.tenant == tenant);
    members.flat_map(|(_, node)| node.disk.batches()).map(|batch| (batch.id(), batch)).collect()
}

/// Those of `all` that count under `policy`, found by walking each chain back from its heads.
pub(crate) fn counting(policy: &Policy, all: &BTreeMap<BatchId, &Batch>) -> BTreeSet<BatchId> {
    let mut reached = BTreeSet::new();
    let authors: BTreeSet<DeviceId> = all.values().map(|batch| batch.header().author).collect();
    for author in &authors {
        for head in policy.heads_of(author) {
            let mut next = Some(head.batch);
            while let Some(batch) = next.and_then(|id| all.get(&id)) {
                let is_own = batch.header().author == *author;
                if !is_own || !reached.insert(batch.id()) {
                    break;
                }
                next = Some(batch.header().previous);
            }
        }
    }
    let counts = |batch: &&&Batch| {
        let header = batch.header();
        match policy.standing(&header.author, &header.scope) {
            Standing::Counts => true,
            Standing::Within => reached.contains(&batch.id()),
            Standing::Refused(_) => false,
        }
    };
    all.values().filter(counts).map(|batch| batch.id()).collect()
}

/// What the signer of a revocation that counts held counts at the end.
pub(crate) fn nothing_lost(world: &World<'_>) -> Result<(), Violation> {
    for named in &world.cut_at {
        let office = &world.tenants[named.tenant].office;
        let policy = office.policy();
        let item = office.items().iter().find(|item| item.id() == named.item);
        let Some(Statement::Revocation(said)) = item.map(fieldmesh_identity::Item::statement)
        else {
            continue;
        };
        let is_in_force =
            policy.counts(&named.item) && policy.revocation(&named.device) == Some(&**said);
        if !is_in_force {
            continue;
        }
        let counting = counting(policy, &union(world, named.tenant));
        if let Some(batch) = named.batches.iter().find(|batch| !counting.contains(batch)) {
            return Err(Violation::LostByRevocation { batch: *batch });
        }
    }
    Ok(())
}
