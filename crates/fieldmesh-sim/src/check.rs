//! The checkers: real replicas against plain sets, one property in each file.

pub(crate) mod canonical;
pub(crate) mod chains;
pub(crate) mod clocks;
pub(crate) mod convergence;
pub(crate) mod cost;
pub(crate) mod durability;
pub(crate) mod evictions;
pub(crate) mod exactness;
pub(crate) mod hops;
pub(crate) mod hostile;
pub(crate) mod idempotence;
pub(crate) mod keyed;
pub(crate) mod partial;
pub(crate) mod policy;
pub(crate) mod pressure;
pub(crate) mod priority;
pub(crate) mod progress;
pub(crate) mod purges;
pub(crate) mod receipts;
pub(crate) mod records;
pub(crate) mod tenants;
pub(crate) mod withholding;

use crate::violation::Violation;
use crate::world::World;

/// What the day cost, once everybody holds everything.
pub(crate) fn day(world: &World<'_>) -> Result<(), Violation> {
    if world.plan.checks.retransmission {
        progress::retransmission(world)?;
    }
    if world.plan.checks.recent_cost {
        cost::recent(world)?;
    }
    priority::overtaken(world)?;
    Ok(())
}

/// The state at the very end.
pub(crate) fn end(world: &World<'_>) -> Result<(), Violation> {
    convergence::sets(world)?;
    convergence::policies(world)?;
    convergence::refusals(world)?;
    canonical::roots(world)?;
    chains::whole(world)?;
    policy::nothing_lost(world)?;
    withholding::reported(world)?;
    hostile::intact(world)?;
    tenants::apart(world)?;
    receipts::proofs(world)?;
    records::all(world)?;
    purges::forgotten(world)?;
    if world.plan.checks.exactness {
        exactness::nothing_needless(world)?;
    }
    Ok(())
}
