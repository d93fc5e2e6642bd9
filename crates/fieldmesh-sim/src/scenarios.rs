//! What the scenarios of the design cost between two devices, in the deterministic world.

use crate::check;
use crate::plan::Plan;
use crate::violation::Violation;
use crate::world::World;

/// Entries that both devices hold before most scenarios.
const COMMON: i64 = 10_000;

/// What one scenario costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// What happens.
    pub name: &'static str,
    /// What the design says about finding the difference.
    pub design: &'static str,
    /// Bytes of control messages both ways, without questions for receipts and their answers.
    pub reconciliation_bytes: u64,
    /// Bytes of questions for receipts and their answers.
    pub receipt_bytes: u64,
    /// Turns of exchanges, both ways.
    pub turns: u64,
    /// Bytes of batches, as they travelled.
    pub payload_bytes: u64,
}

/// Lives through each scenario once; a batch holds one entry that says nothing.
///
/// # Errors
///
/// Fails if the devices do not become equal.
pub fn scenarios() -> Result<Vec<Scenario>, Violation> {
    let mut rows = Vec::new();
    let mut world = apart(COMMON, 0, 0)?;
    meet(&mut world)?;
    let (name, design) = ("idle check on an open connection", "14 B");
    rows.push(measure(&mut world, (name, design), |world| world.pass(60_000))?);
    let (name, design) = ("one new entry, live", "0 B");
    rows.push(measure(&mut world, (name, design), |world| {
        world.write_one(0);
        meet(world)
    })?);
    let (name, design) = ("one new entry after reconnect", "270 to 720 B");
    rows.push(measure(&mut world, (name, design), |world| {
        world.part();
        world.write_one(0);
        world.pass(10_000)?;
        world.calm();
        meet(world)
    })?);
    let mut world = apart(COMMON, 0, 150)?;
    let (name, design) = ("150 changes on each side among 10,000", "2.2 KB");
    rows.push(measure(&mut world, (name, design), meet)?);
    let mut world = apart(0, COMMON, 0)?;
    let (name, design) = ("cold sync of 10,000", "about 0");
    rows.push(measure(&mut world, (name, design), meet)?);
    Ok(rows)
}

/// Two devices that have not met, each with so many batches of its own.
fn apart(common: i64, backfill: i64, own: i64) -> Result<World<'static>, Violation> {
    let mut plan = Plan::named("recent").ok_or(Violation::PolicyDiffers { node: 0 })?;
    (plan.common, plan.backfill) = (common, backfill);
    (plan.batches, plan.large_once_in) = ((own, own), i64::MAX);
    let mut world = World::build(&plan, 1, None)?;
    world.run_until(plan.day_millis + 10_000)?;
    world.calm();
    Ok(world)
}

/// Passes until both hold everything and have said so.
fn meet(world: &mut World<'_>) -> Result<(), Violation> {
    world.pass(2_000)?;
    for _ in 0..600 {
        if check::convergence::is_converged(world) {
            return Ok(());
        }
        world.pass(1_000)?;
    }
    Err(check::convergence::divergence(world).unwrap_or(Violation::PolicyDiffers { node: 0 }))
}

fn measure(
    world: &mut World<'_>,
    (name, design): (&'static str, &'static str),
    happens: impl FnOnce(&mut World<'_>) -> Result<(), Violation>,
) -> Result<Scenario, Violation> {
    let (moved, proofs) = (world.moved(), world.proof_bytes);
    happens(world)?;
    let receipt_bytes = world.proof_bytes - proofs;
    let [control, data] = world.moved();
    let turns = world.nodes[0]
        .replica
        .links()
        .filter_map(|(link, _)| world.nodes[0].replica.stats(link).map(|stats| stats.rounds));
    Ok(Scenario {
        name,
        design,
        reconciliation_bytes: (control - moved[0]).saturating_sub(receipt_bytes),
        receipt_bytes,
        turns: turns.sum(),
        payload_bytes: data - moved[1],
    })
}
