//! P8: whatever one peer does, honest replicas accuse no honest one.
//!
//! No forged batch gets onto an honest disk, and of the policy items of one member only as many are
//! held as it may have. That honest replicas keep their sets equal, their memory bounded and do not
//! panic is checked where all others are: in `convergence`, `pressure` and the run itself.

use fieldmesh_identity::policy::ITEMS_PER_MEMBER_MAX;
use fieldmesh_replica::{CloseReason, SessionError};

use crate::cable::End;
use crate::node::{Node, Part};
use crate::violation::Violation;
use crate::world::World;

/// A node closes a link and says why.
pub(crate) fn accuses(
    world: &mut World<'_>,
    end: End,
    reason: &CloseReason,
) -> Result<(), Violation> {
    let CloseReason::Fault(fault) = reason else { return Ok(()) };
    let Some(peer) = world.peer_of(end) else { return Ok(()) };
    let (node, peer) = (&world.nodes[end.node], &world.nodes[peer]);
    let is_deserved = match fault {
        SessionError::Silent => true,
        SessionError::Tenant => node.tenant != peer.tenant,
        SessionError::NotStored => world.plan.faults.full_disks > 0,
        SessionError::NotMember => world.has_changing_policy(),
        SessionError::Reported { code, .. } => {
            let is = |fault: SessionError| *code == CloseReason::from(fault).code();
            (is(SessionError::NotStored) && world.plan.faults.full_disks > 0)
                || is(SessionError::Silent)
                || (is(SessionError::NotMember) && world.has_changing_policy())
                || (is(SessionError::Tenant) && node.tenant != peer.tenant)
        }
        _ => false,
    };
    if is_deserved || !node.is_honest() || !peer.is_honest() {
        return Ok(());
    }
    Err(Violation::Accused { node: end.node, reason: reason.to_string() })
}

/// Every batch on an honest disk is what its author signed.
pub(crate) fn intact(world: &World<'_>) -> Result<(), Violation> {
    if world.plan.hostiles == 0 {
        return Ok(());
    }
    for (node, state) in world.honest() {
        let made = world.tenants[state.tenant].office.items().len();
        let floods = |it: &&Node| it.tenant == state.tenant && it.part == Part::Hostile;
        let limit = made + world.nodes.iter().filter(floods).count() * ITEMS_PER_MEMBER_MAX;
        let held = state.replica.items().count();
        if held > limit {
            return Err(Violation::PolicyFlooded { node, held, limit });
        }
        for batch in state.disk.batches() {
            let key = state.replica.policy().verifying_key(&batch.header().author);
            let is_proven = !batch.is_signed() || key.is_some_and(|key| batch.verify(key).is_ok());
            let is_made = world.tenants[state.tenant].made.contains(&crate::disk::key(batch));
            if !is_proven || !is_made {
                return Err(Violation::Invented { node, batch: batch.id() });
            }
        }
    }
    Ok(())
}
