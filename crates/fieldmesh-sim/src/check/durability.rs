//! P11: what a replica says it holds is on its disk, and "in step" means durable on both sides.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_model::BatchId;
use fieldmesh_trie::Key;

use crate::cable::End;
use crate::node::Node;
use crate::violation::Violation;
use crate::world::World;

/// After this time a message has certainly arrived.
const TRAVEL_MILLIS_MAX: i64 = 60_000;

/// One end says that it is in step with the other.
pub(crate) fn in_step(world: &mut World<'_>, end: End) -> Result<(), Violation> {
    let node = end.node;
    let mine: BTreeSet<&Key> = world.nodes[node].replica.keys().collect();
    if mine.len() + beside(&world.nodes[node]) != world.nodes[node].disk.len() {
        return Err(Violation::NotDurable { node });
    }
    let Some(cable) = world.cable_of.get(&(node, end.link)).map(|index| &world.cables[*index])
    else {
        return Ok(());
    };
    let is_doubtful = |end: &End| {
        let state = &world.nodes[end.node];
        !state.is_honest() || state.replica.stats(end.link).is_none_or(|stats| stats.refused > 0)
    };
    if cable.ends.iter().any(is_doubtful) {
        return Ok(());
    }
    let other = cable.other(end).node;
    let (lacking, late) = (lacking(world, node, other), lacking(world, other, node));
    // What the accepting side compares with was sent a while ago, and what the dialling side hears
    // was: since then the other one may have got more, but not lost anything.
    let late = late.iter().filter(|since| **since > TRAVEL_MILLIS_MAX).count();
    if lacking.len() + late > 0 {
        return Err(Violation::NotInStep { node, lacking: lacking.len() + late });
    }
    Ok(())
}

/// The batches that a node takes for safe.
pub(crate) fn safe(node: &Node) -> BTreeSet<BatchId> {
    let ids = node.disk.batches().map(Batch::id);
    ids.filter(|id| node.replica.proof(id).is_safe).collect()
}

/// A node has started again that took the batches `before` for safe.
pub(crate) fn restarted(
    world: &World<'_>,
    node: usize,
    before: &BTreeSet<BatchId>,
) -> Result<(), Violation> {
    match before.difference(&safe(&world.nodes[node])).next() {
        Some(batch) => Err(Violation::ProofForgotten { node, batch: *batch }),
        None => Ok(()),
    }
}

/// The batches on the disk that do not count, and those that nothing shows to be authentic.
fn beside(node: &Node) -> usize {
    node.replica.quarantine_len() + node.replica.unheld().count()
}

/// For how long `one` holds each batch that `other` lacks.
fn lacking(world: &World<'_>, one: usize, other: usize) -> Vec<i64> {
    let [one, other] = [&world.nodes[one], &world.nodes[other]];
    let since = |batch: &Batch| {
        let since = one.held_since.get(&crate::disk::key(batch));
        since.map_or(i64::MAX, |since| world.now.saturating_sub(*since))
    };
    let is_shown = |batch: &&Batch| {
        let scope = &batch.header().scope;
        let is_old = one.is_old || other.is_old;
        one.counts(&batch.id())
            && (one.wants(scope) && other.wants(scope))
            && (batch.is_signed() || !is_old)
    };
    let batches = one.disk.batches().filter(is_shown);
    batches.filter(|batch| !other.replica.holds(&batch.id())).map(since).collect()
}
