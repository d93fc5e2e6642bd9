//! P2: recent differences cost their share, and nothing new costs at most 16 bytes a minute.

use crate::violation::Violation;
use crate::world::World;

/// What finding recent differences costs in any case: two hellos, the first answer, and credits.
const RECENT_BASE_BYTES: u64 = 3_072;
/// What each recent difference adds, as the design has it.
const RECENT_BYTES: u64 = 16;
/// What one comparison of equal sets may cost.
const IDLE_BYTES_MAX: u64 = 16;
/// For how long idle connections are watched: a little longer than three comparisons take.
const IDLE_MILLIS: i64 = 180_500;
/// The most comparisons of one connection in that time.
const IDLE_CHECKS_MAX: u64 = 4;

/// Finding what two devices made while they were apart.
pub(crate) fn recent(world: &World<'_>) -> Result<(), Violation> {
    let [control, _] = world.moved();
    // Who holds what is asked and answered beside the comparison.
    let control = control.saturating_sub(world.proof_bytes);
    let new = world.tenants.iter().map(|tenant| tenant.made.len() - tenant.common).sum::<usize>();
    let differences = new as u64;
    let limit = RECENT_BASE_BYTES + RECENT_BYTES * differences;
    if control > limit {
        return Err(Violation::RecentCost { differences, bytes: control, limit });
    }
    Ok(())
}

/// Comparing equal sets, once a minute on each connection.
pub(crate) fn nothing_new(world: &mut World<'_>) -> Result<(), Violation> {
    // Connections that are gone without one side knowing are given up within this time.
    world.run_until(world.now + 240_000)?;
    let mut before = world.moved();
    // What a slow connection was given before that is still under way.
    for _ in 0..world.plan.calm_millis / 60_000 {
        world.run_until(world.now + 60_000)?;
        let [_, data] = std::mem::replace(&mut before, world.moved());
        if data == before[1] {
            break;
        }
    }
    let in_steps = world.in_steps;
    world.run_until(world.now + IDLE_MILLIS)?;
    let after = world.moved();
    let (control, data) = (after[0] - before[0], after[1] - before[1]);
    let checks = world.in_steps - in_steps;
    let per_connection = world.cables.iter().filter(|cable| cable.is_up).count() as u64;
    // Each comparison puts both sides in step.
    let is_often = checks > 2 * IDLE_CHECKS_MAX * per_connection;
    let is_dear = data > 0 || control > checks.div_ceil(2) * IDLE_BYTES_MAX;
    if is_dear || is_often || checks < per_connection {
        return Err(Violation::IdleCost { control, data, checks });
    }
    Ok(())
}
