//! P7: what a device made reaches nodes that it never meets, passed on by those in between.
//!
//! Nodes restart with nothing but their disks, so no state about single peers can be behind it. That
//! everything arrives in the end is checked in `convergence`; here it has to arrive before any link
//! is idle for so long that its ends compare: whoever gets something passes it on by itself.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::Scope;
use fieldmesh_trie::Key;

use crate::violation::Violation;
use crate::world::World;

/// What a way takes at most: several packets lost one after the other behind a satellite, and a
/// question for what was only named.
const TRAVEL_MILLIS_MAX: i64 = 9_000;
/// What a write takes at most on a disk that the plan does not make slower.
const WRITE_MILLIS_MAX: i64 = 6_000;
/// Bytes that the slowest connection carries in a millisecond.
const RATE_MIN: i64 = 8;

/// In each tenant one device, the last one, makes something; all connections stay.
pub(crate) fn passed_on(world: &mut World<'_>) -> Result<(), Violation> {
    for tenant in 0..world.tenants.len() {
        let is_author = |(_, node): &(usize, &crate::node::Node)| {
            node.tenant == tenant && node.writes() && !node.is_old
        };
        let author = world.members().filter(is_author).map(|(node, _)| node).last();
        if let Some(author) = author {
            from(world, author)?;
        }
    }
    Ok(())
}

/// What `author` makes arrives everywhere in time.
fn from(world: &mut World<'_>, author: usize) -> Result<(), Violation> {
    let before: BTreeSet<Key> = world.nodes[author].disk.keys().collect();
    world.write_one(author);
    // Its own disk comes first.
    let write_millis = WRITE_MILLIS_MAX.max(world.plan.slow_disk);
    let end = world.now + write_millis + 1;
    let made = loop {
        let made = world.nodes[author].disk.batches().next_back();
        let made = made.filter(|batch| !before.contains(&crate::disk::key(batch)));
        if made.is_some() || world.now >= end {
            break made.cloned();
        }
        world.run_until(world.now + 1)?;
    };
    // A record may have nothing to edit.
    let Some(made) = made else { return Ok(()) };
    let length = i64::try_from(made.encode().len()).unwrap_or(i64::MAX / 1_000);
    let hop_millis = TRAVEL_MILLIS_MAX + write_millis + length / RATE_MIN;
    let hops = hops(world, author, &made.header().scope);
    let began = world.now;
    for far in 1..=hops.values().copied().max().unwrap_or(0) {
        world.run_until(began + far * hop_millis)?;
        let late = hops
            .iter()
            .find(|(node, hops)| **hops <= far && !world.nodes[**node].replica.holds(&made.id()));
        if let Some((node, _)) = late {
            return Err(Violation::NotPassedOn { node: *node, batch: made.id() });
        }
    }
    Ok(())
}

/// How many connections lie between `author` and each member that takes what lies in `scope`.
fn hops(world: &World<'_>, author: usize, scope: &Scope) -> BTreeMap<usize, i64> {
    let mut hops = BTreeMap::from([(author, 0)]);
    let mut next = vec![author];
    for far in 1.. {
        let mut reached = Vec::new();
        for node in std::mem::take(&mut next) {
            let ends = world.pairs.iter().filter(|(a, b)| *a == node || *b == node);
            reached.extend(ends.map(|(a, b)| if *a == node { *b } else { *a }));
        }
        reached.retain(|node| !hops.contains_key(node));
        reached.retain(|node| world.is_member(*node) && world.nodes[*node].wants(scope));
        next.extend(reached.into_iter().filter(|node| hops.insert(*node, far).is_none()));
        if next.is_empty() {
            break;
        }
    }
    hops
}
