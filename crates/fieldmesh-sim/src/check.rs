//! The checkers: real replicas against plain sets.

use std::collections::BTreeSet;

use fieldmesh_model::BatchId;
use fieldmesh_trie::Key;

use crate::cable::End;
use crate::violation::Violation;
use crate::world::World;

/// What one cut may cost: the largest group of frames, and the words to find out what is lacking.
const CUT_BYTES_MAX: u64 = 64 * 1024;
/// What the data streams of a conversation cost beside the batches.
const CONVERSATION_BYTES: u64 = 512;
/// What finding recent differences costs in any case: two hellos, the first answer, and credits.
const RECENT_BASE_BYTES: u64 = 3_072;
/// What each recent difference adds, as the design has it.
const RECENT_BYTES: u64 = 16;
/// After this time a message has certainly arrived.
const TRAVEL_MILLIS_MAX: i64 = 60_000;
/// What one comparison of equal sets may cost.
const IDLE_BYTES_MAX: u64 = 16;

/// Whether every node holds everything.
pub(crate) fn is_converged(world: &World) -> bool {
    world.newcomers.is_empty()
        && world.nodes.iter().all(|node| {
            node.replica.len() == world.made.len()
                && node.replica.items().count() == world.office.items().len()
        })
}

/// Why not every node holds everything.
pub(crate) fn divergence(world: &World) -> Violation {
    for (node, state) in world.nodes.iter().enumerate() {
        let held = state.replica.len();
        if held != world.made.len() {
            return Violation::NotConverged { node, held, made: world.made.len() };
        }
    }
    let differs = |(_, node): &(usize, &crate::node::Node)| {
        node.replica.items().count() != world.office.items().len()
    };
    let node = world.nodes.iter().enumerate().find(differs).map_or(0, |(index, _)| index);
    Violation::PolicyDiffers { node }
}

/// What one end says when it is in step with the other.
pub(crate) fn in_step(world: &World, end: End) -> Result<(), Violation> {
    let node = end.node;
    let mine: BTreeSet<&Key> = world.nodes[node].replica.keys().collect();
    if mine.len() != world.nodes[node].disk.len() {
        return Err(Violation::NotDurable { node });
    }
    let Some(cable) = world.cable_of.get(&(node, end.link)).map(|index| &world.cables[*index])
    else {
        return Ok(());
    };
    let refused = |end: End| {
        world.nodes[end.node].replica.stats(end.link).is_none_or(|stats| stats.refused > 0)
    };
    if cable.ends.iter().any(|end| refused(*end)) {
        return Ok(());
    }
    let other = cable.ends[1 - cable.side(end)].node;
    let (lacking, late) = (lacking(world, node, other), lacking(world, other, node));
    // What the accepting side compares with was sent a while ago, and what the dialling side hears
    // was: since then the other one may have got more, but not lost anything.
    let late = late.iter().filter(|since| **since > TRAVEL_MILLIS_MAX).count();
    if lacking.len() + late > 0 {
        return Err(Violation::NotInStep { node, lacking: lacking.len() + late });
    }
    Ok(())
}

/// For how long `one` holds each batch that `other` lacks.
fn lacking(world: &World, one: usize, other: usize) -> Vec<i64> {
    let [one, other] = [&world.nodes[one], &world.nodes[other]];
    let since = |key: &Key| {
        one.held_since.get(key).map_or(i64::MAX, |since| world.moment().millis_since(*since))
    };
    let keys = one.replica.keys().filter(|key| !other.replica.contains(key));
    keys.map(since).collect()
}

/// What the day cost, once everybody holds everything.
pub(crate) fn day(world: &World) -> Result<(), Violation> {
    let [control, data] = world.delivered();
    let conversations = world.cables.len() as u64;
    if world.plan.checks.retransmission {
        let limit =
            world.made_bytes + world.cuts * CUT_BYTES_MAX + conversations * CONVERSATION_BYTES;
        if data > limit {
            return Err(Violation::Retransmission { bytes: data, cuts: world.cuts, limit });
        }
    }
    if world.plan.checks.recent_cost {
        let differences = (world.made.len() - world.common) as u64;
        let limit = RECENT_BASE_BYTES + RECENT_BYTES * differences;
        if control > limit {
            return Err(Violation::RecentCost { differences, bytes: control, limit });
        }
    }
    Ok(())
}

/// Nothing new costs at most 16 bytes on each connection, once a minute.
pub(crate) fn nothing_new(world: &mut World) -> Result<(), Violation> {
    // Connections that are gone without one side knowing are given up within this time.
    world.run_until(world.now + 240_000)?;
    let before = world.delivered();
    let in_steps = world.in_steps;
    world.run_until(world.now + 180_500)?;
    let after = world.delivered();
    let (control, data) = (after[0] - before[0], after[1] - before[1]);
    let checks = world.in_steps - in_steps;
    let per_connection = world.cables.iter().filter(|cable| cable.is_up).count() as u64;
    // Each comparison puts both sides in step.
    if data > 0 || checks < per_connection || control > checks.div_ceil(2) * IDLE_BYTES_MAX {
        return Err(Violation::IdleCost { control, data, checks });
    }
    Ok(())
}

/// The state at the very end.
pub(crate) fn ends(world: &World) -> Result<(), Violation> {
    for (node, state) in world.nodes.iter().enumerate() {
        let keys: BTreeSet<Key> = state.replica.keys().copied().collect();
        if let Some(key) = keys.difference(&world.made).next() {
            return Err(Violation::Invented { node, batch: BatchId::from_bytes(key.id()) });
        }
        if keys != world.made {
            return Err(divergence(world));
        }
        if state.disk.keys().collect::<BTreeSet<Key>>() != keys {
            return Err(Violation::NotDurable { node });
        }
        if world.rebuilt(node).root() != state.replica.root()
            || state.replica.root() != world.nodes[0].replica.root()
        {
            return Err(Violation::RootNotCanonical { node });
        }
        if state.replica.policy() != world.nodes[0].replica.policy()
            || state.replica.policy_root() != world.nodes[0].replica.policy_root()
        {
            return Err(Violation::PolicyDiffers { node });
        }
    }
    let count: u64 = world.repeated.values().sum();
    if world.plan.checks.exactness && count > 0 {
        return Err(Violation::SentNeedlessly { count });
    }
    Ok(())
}
