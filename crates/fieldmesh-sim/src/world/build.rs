//! The morning: tenants, nodes, who can reach whom, and what will go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as Log;

use fieldmesh_identity::{DeviceKeys, Seed};
use fieldmesh_model::{Moment, Role};

use super::{Happening, World};
use crate::author::Author;
use crate::clock::MORNING;
use crate::disk::{Disk, Write};
use crate::node::{Node, Part};
use crate::plan::{Content, FirstBreak, Plan, Shape};
use crate::random::Random;
use crate::tenant::Tenant;
use crate::trace::Trace;
use crate::violation::Violation;

/// What the random numbers come from.
const fn drawn(plan: &Plan, seed: u64) -> u64 {
    match plan.first_break {
        FirstBreak::Never => seed,
        FirstBreak::AtSeed => 0,
    }
}

/// Whether devices work apart before they meet.
const fn is_apart(plan: &Plan) -> bool {
    plan.checks.recent_cost || matches!(plan.first_break, FirstBreak::AtSeed)
}

/// A number of things in a plan, which are never negative.
fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

impl<'a> World<'a> {
    pub(super) fn build(
        plan: &Plan,
        seed: u64,
        log: Option<&'a mut dyn Log>,
    ) -> Result<Self, Violation> {
        let mut world = Self {
            plan: plan.clone(),
            seed,
            random: Random::new(plan.name, drawn(plan, seed)),
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            deadlines: BTreeSet::new(),
            deadline_of: Vec::new(),
            nodes: Vec::new(),
            tenants: Vec::new(),
            pairs: Vec::new(),
            cables: Vec::new(),
            cable_of: BTreeMap::new(),
            blocked: BTreeSet::new(),
            newcomers: BTreeSet::new(),
            made_bytes: 0,
            cuts: 0,
            in_steps: 0,
            sent: 0,
            stored_from_peers: 0,
            repeated: BTreeMap::new(),
            trace: Trace::logged(log),
            violation: None,
        };
        let relays: Vec<[u8; 32]> = (0..plan.relays).map(|_| world.random.array()).collect();
        for _ in 0..plan.tenants {
            world.found_tenant(&relays)?;
        }
        world.deadline_of = vec![None; world.nodes.len()];
        world.plan_day();
        Ok(world)
    }

    /// A generator of its own for each purpose, so that a smaller plan leaves the rest as it was.
    fn random_for(&self, purpose: &str) -> Random {
        let seed = drawn(&self.plan, self.seed);
        Random::new(&format!("{}/{purpose}", self.plan.name), seed)
    }

    fn found_tenant(&mut self, relays: &[[u8; 32]]) -> Result<(), Violation> {
        let impossible = |_| Violation::PolicyDiffers { node: 0 };
        let number = self.tenants.len();
        let mut tenant = Tenant::open(&mut self.random).map_err(impossible)?;
        let plan = self.plan.clone();
        let devices = count(self.random.between(plan.devices.0, plan.devices.1));
        let first = self.nodes.len();
        let mut parts = vec![Part::Device; devices + count(plan.newcomers)];
        parts.extend(vec![Part::Hostile; count(plan.hostiles)]);
        let machines = relays.len() + first;
        let mut members = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            members.push((part, machines + index, self.random.array()));
        }
        members.extend(relays.iter().enumerate().map(|(index, seed)| (Part::Relay, index, *seed)));
        let mut authors = Vec::new();
        for (index, (part, _, seed)) in members.iter().enumerate() {
            let keys = DeviceKeys::from_seed(&Seed::from_bytes(*seed));
            let is_newcomer = (devices..devices + count(plan.newcomers)).contains(&index);
            if is_newcomer {
                self.newcomers.insert(first + index);
            } else {
                tenant.office.certify(&keys, role(*part)).map_err(impossible)?;
            }
            authors.push(Author::new(keys, tenant.office.tenant(), &mut self.random));
        }
        let common = common(count(plan.common), &mut authors[0], &mut self.random);
        for (author, (part, machine, _)) in authors.into_iter().zip(members) {
            let mut disk = Disk::default();
            disk.write_items(tenant.office.items());
            common.iter().for_each(|write| disk.write(write));
            let index = self.nodes.len();
            let mut node = Node::new(part, (number, machine), author, disk, &mut self.random);
            node.is_awake = !self.newcomers.contains(&index);
            // Who is to work apart before meeting begins in a part of its own.
            node.half = if is_apart(&plan) { index } else { 0 };
            self.nodes.push(node);
        }
        tenant.made = self.nodes[first].disk.keys().collect();
        tenant.common = tenant.made.len();
        self.tenants.push(tenant);
        self.pairs.extend(pairs(plan.shape, first, &self.nodes));
        Ok(())
    }

    fn plan_day(&mut self) {
        for pair in 0..self.pairs.len() {
            let at = self.random.between(0, 3_000);
            self.schedule(at, Happening::Dial { pair });
        }
        self.plan_meetings(0, self.plan.day_millis);
        for node in 0..self.nodes.len() {
            if self.nodes[node].part == Part::Device && !self.newcomers.contains(&node) {
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
        let mut random = self.random_for(&format!("work/{node}"));
        // Where nodes only meet by chance, the last of the day is for passing on.
        let end = match self.plan.shape {
            Shape::Meetings => self.plan.day_millis / 2,
            Shape::Mesh | Shape::Line | Shape::Star | Shape::Stars => self.plan.day_millis,
        };
        for _ in 0..random.between(low, high) {
            let at = random.between(self.now.min(end), end);
            self.schedule(at, Happening::Seal { node });
        }
    }

    fn plan_faults(&mut self) {
        let faults = self.plan.faults;
        let count = self.nodes.len();
        let mut plan = |purpose: &str, mean: i64, happening: &dyn Fn(usize) -> Happening| {
            let mut random = self.random_for(purpose);
            for _ in 0..random.between(mean / 2, mean + mean / 2) {
                let at = random.between(0, self.plan.day_millis);
                self.schedule(at, happening(random.index(count)));
            }
        };
        plan("cuts", faults.cuts, &|_| Happening::Cut);
        plan("sleeps", faults.sleeps, &|node| Happening::Sleep { node });
        plan("crashes", faults.crashes, &|node| Happening::Crash { node });
        plan("partitions", faults.partitions, &|_| Happening::Split);
        plan("one-ways", faults.one_ways, &|_| Happening::Block);
        plan("replays", faults.replays, &|_| Happening::Replay);
        plan("jumps", faults.jumps, &|node| Happening::Jump { node });
        plan("full-disks", faults.full_disks, &|node| Happening::Fill { node });
        plan("strangers", faults.strangers, &|_| Happening::Stranger);
    }
}

const fn role(part: Part) -> Role {
    match part {
        Part::Device | Part::Hostile => Role::Operator,
        Part::Relay => Role::Relay,
    }
}

/// Batches that everybody holds in the morning.
fn common(count: usize, author: &mut Author, random: &mut Random) -> Vec<Write> {
    let spread = i64::try_from(count).unwrap_or(0) * 600_000;
    (0..count)
        .filter_map(|_| {
            let at = Moment::from_millis(MORNING - random.between(0, spread));
            author.seal_noise(at, u64::MAX, random).ok().map(|batch| Write::Own(Box::new(batch)))
        })
        .collect()
}

/// The pairs of one tenant, whose nodes begin at `first`.
fn pairs(shape: Shape, first: usize, nodes: &[Node]) -> Vec<(usize, usize)> {
    let range = first..nodes.len();
    let is_relay = |node: usize| nodes[node].part == Part::Relay;
    let relays: Vec<usize> = range.clone().filter(|node| is_relay(*node)).collect();
    let all = range.clone().flat_map(|a| (a + 1..range.end).map(move |b| (a, b)));
    all.filter(|(a, b)| match shape {
        Shape::Mesh => true,
        Shape::Line => b - a == 1,
        Shape::Star => is_relay(*b) && !is_relay(*a),
        Shape::Stars => {
            let own = relays.get((a - first) % relays.len().max(1));
            !is_relay(*a) && is_relay(*b) && (*a == first || own == Some(b))
        }
        Shape::Meetings => false,
    })
    .collect()
}

/// Whether the plan has records at all.
pub(super) const fn has_records(plan: &Plan) -> bool {
    matches!(plan.content, Content::Records)
}
