//! The morning: nodes, who can reach whom, and what will go wrong.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_identity::{DeviceKeys, Seed};
use fieldmesh_model::{Moment, Role};
use fieldmesh_trie::Key;

use super::{Happening, MORNING, World};
use crate::author::Author;
use crate::disk::{Disk, Write};
use crate::node::Node;
use crate::office::Office;
use crate::plan::{Plan, Shape};
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::Violation;

impl World {
    pub(super) fn build(plan: &Plan, seed: u64) -> Result<Self, Violation> {
        let mut random = Random::new(plan.name, seed);
        let impossible = |_| Violation::PolicyDiffers { node: 0 };
        let mut office = Office::open(&mut random).map_err(impossible)?;
        let devices = usize::try_from(random.between(plan.devices.0, plan.devices.1)).unwrap_or(2);
        let count = devices + plan.newcomers + usize::from(plan.has_relay);
        let newcomers: BTreeSet<usize> = (devices..devices + plan.newcomers).collect();
        let mut authors = Vec::new();
        for index in 0..count {
            let keys = DeviceKeys::from_seed(&Seed::from_bytes(random.array()));
            let is_relay = index >= devices + plan.newcomers;
            let role = if is_relay { Role::Relay } else { Role::Operator };
            if !newcomers.contains(&index) {
                office.certify(&keys, role).map_err(impossible)?;
            }
            authors.push(Author::new(keys, office.tenant(), &mut random));
        }
        let common = common(plan.common, &mut authors[0], &mut random);
        let nodes = authors.into_iter().enumerate().map(|(index, author)| {
            let mut disk = Disk::default();
            disk.write_items(office.items());
            common.iter().for_each(|write| disk.write(write));
            let is_writer = index < devices + plan.newcomers;
            let mut node = Node::new(author, disk, is_writer, &mut random);
            node.is_awake = !newcomers.contains(&index);
            // Who is to work apart before meeting begins in a part of its own.
            node.part = if plan.checks.recent_cost { index } else { 0 };
            node
        });
        let nodes: Vec<Node> = nodes.collect();
        let made: BTreeSet<Key> = nodes[0].disk.keys().collect();
        let mut world = Self {
            plan: plan.clone(),
            random,
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            pairs: pairs(plan.shape, nodes.len()),
            nodes,
            cables: Vec::new(),
            cable_of: BTreeMap::new(),
            office,
            newcomers,
            common: made.len(),
            made,
            made_bytes: 0,
            cuts: 0,
            in_steps: 0,
            sent: 0,
            stored_from_peers: 0,
            repeated: BTreeMap::new(),
            trace: Trace::default(),
            violation: None,
        };
        world.plan_day();
        Ok(world)
    }

    fn plan_day(&mut self) {
        for pair in 0..self.pairs.len() {
            let at = self.random.between(0, 3_000);
            self.schedule(at, Happening::Dial { pair });
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_writer && !self.newcomers.contains(&node) {
                self.plan_work(node);
            }
        }
        for node in self.newcomers.clone() {
            let at = self.random.between(1_000, self.plan.day_millis / 2);
            self.schedule(at, Happening::Certify { node });
        }
        self.plan_faults();
    }

    /// Spreads the batches of a device over the rest of the day.
    pub(super) fn plan_work(&mut self, node: usize) {
        let (low, high) = self.plan.batches;
        for _ in 0..self.random.between(low, high) {
            let at = self.random.between(self.now, self.plan.day_millis);
            self.schedule(at, Happening::Seal { node });
        }
    }

    fn plan_faults(&mut self) {
        let faults = self.plan.faults;
        let count = self.nodes.len();
        let mut plan = |mean: i64, happening: &dyn Fn(&mut Random) -> Happening| {
            for _ in 0..self.random.between(mean / 2, mean + mean / 2) {
                let at = self.random.between(0, self.plan.day_millis);
                let happening = happening(&mut self.random);
                self.queued += 1;
                self.queue.insert((at, self.queued), happening);
            }
        };
        plan(faults.cuts, &|_| Happening::Cut);
        plan(faults.sleeps, &|random| Happening::Sleep { node: random.index(count) });
        plan(faults.crashes, &|random| Happening::Crash { node: random.index(count) });
        plan(faults.partitions, &|_| Happening::Part);
        plan(faults.replays, &|_| Happening::Replay);
    }
}

/// Batches that everybody holds in the morning.
fn common(count: usize, author: &mut Author, random: &mut Random) -> Vec<Write> {
    let spread = i64::try_from(count).unwrap_or(0) * 600_000;
    (0..count)
        .filter_map(|_| {
            let at = Moment::from_millis(MORNING - random.between(0, spread));
            author.seal(at, u64::MAX, random).ok().map(|batch| Write::Own(Box::new(batch)))
        })
        .collect()
}

fn pairs(shape: Shape, count: usize) -> Vec<(usize, usize)> {
    let all = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    all.filter(|(a, b)| match shape {
        Shape::Mesh => true,
        Shape::Line => b - a == 1,
        Shape::Star => *b == count - 1,
    })
    .collect()
}
