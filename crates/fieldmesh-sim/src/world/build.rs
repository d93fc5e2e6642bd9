//! The morning: tenants, nodes, who can reach whom, and what will go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as Log;

use fieldmesh_identity::{DeviceKeys, Seed};
use fieldmesh_model::{Filter, Moment, Region, Role, Scope, StoreId};

use super::{Happening, World};
use crate::author::{Author, Wish};
use crate::clock::MORNING;
use crate::disk::{Disk, Write};
use crate::node::{Node, Part, Share};
use crate::plan::{Content, FirstBreak, Plan, Shape};
use crate::random::Random;
use crate::tenant::Tenant;
use crate::trace::Trace;
use crate::violation::Violation;

/// So much older than the morning are batches that are sent last.
const OLD_MILLIS: i64 = 100 * 24 * 3_600_000;

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
    pub(crate) fn build(
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
            shown_on: BTreeMap::new(),
            cut_at: Vec::new(),
            withheld: BTreeSet::new(),
            alarms: Vec::new(),
            proof_bytes: 0,
            signed: Vec::new(),
            shown: BTreeMap::new(),
            answered: BTreeMap::new(),
            is_haunted: false,
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
        parts.extend(vec![Part::Forker; count(plan.forkers)]);
        parts.extend(vec![Part::Hostile; count(plan.hostiles)]);
        let machines = relays.len() + first;
        let mut members = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            members.push((part, machines + index, self.random.array()));
        }
        members.extend(relay_members(plan.shape, relays));
        let shares = shares(&plan, devices, &members);
        let mut authors = Vec::new();
        for (index, (part, _, seed)) in members.iter().enumerate() {
            let keys = DeviceKeys::from_seed(&Seed::from_bytes(*seed));
            let is_newcomer = (devices..devices + count(plan.newcomers)).contains(&index);
            let is_known = tenant.office.policy().member(&keys.device()).is_some();
            if is_newcomer {
                self.newcomers.insert(first + index);
            } else if !is_known {
                let role = if index < count(plan.admins) { Role::Admin } else { role(*part) };
                let read = shares[index].read.clone();
                tenant.office.certify(&keys, role, read).map_err(impossible)?;
            }
            authors.push(Author::new(keys, tenant.office.tenant(), &mut self.random));
        }
        let common = morning(count(plan.common), &mut authors[0], Age::Any, &mut self.random);
        let old = morning(count(plan.backfill), &mut authors[0], Age::Old(&plan), &mut self.random);
        let all = authors.into_iter().zip(members).zip(shares);
        for ((author, (part, machine, _)), share) in all {
            let mut disk = Disk::default();
            disk.write_items(tenant.office.items());
            let fits = |write: &&Write| {
                let fits = |scope: &Scope| share.filter.admits(scope) && share.read.allows(scope);
                write.batches().iter().all(|batch| fits(&batch.header().scope))
            };
            common.iter().filter(fits).for_each(|write| disk.write(write));
            let index = self.nodes.len();
            if index == first {
                old.iter().for_each(|write| disk.write(write));
            }
            let whose = (number, machine);
            let mut node = Node::new(part, whose, author, disk, share, &mut self.random);
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
            if self.nodes[node].writes() && !self.newcomers.contains(&node) {
                self.plan_work(node);
            }
        }
        for node in self.newcomers.clone() {
            let at = self.random.between(1_000, self.plan.day_millis / 2);
            self.schedule(at, Happening::Certify { node });
        }
        if self.plan.shape == Shape::Faces {
            self.schedule(self.plan.day_millis * 2 / 3, Happening::Together);
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
            Shape::Faces => self.plan.day_millis / 3,
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
        plan("revocations", faults.revocations, &|_| Happening::Revoke);
        plan("adoptions", faults.adoptions, &|_| Happening::Adopt);
        plan("purges", faults.purges, &|_| Happening::Purge);
        plan("spoils", faults.spoils, &|node| Happening::Spoil { node });
        plan("evictions", faults.evictions, &|node| Happening::Evict { node });
        plan("strangers", faults.strangers, &|_| Happening::Stranger);
        self.plan_copies();
    }

    /// When disks of relays are copied, and put back from that a while later.
    fn plan_copies(&mut self) {
        let mut random = self.random_for("put-backs");
        let is_relay = |node: &usize| self.nodes[*node].part == Part::Relay;
        for node in (0..self.nodes.len()).filter(is_relay).collect::<Vec<usize>>() {
            for _ in 0..self.plan.faults.put_backs {
                let at = random.between(0, self.plan.day_millis);
                self.schedule(at, Happening::Copy { node });
                let later = random.between(at, self.plan.day_millis);
                self.schedule(later, Happening::PutBack { node });
            }
        }
    }
}

const fn role(part: Part) -> Role {
    match part {
        Part::Device | Part::Forker | Part::Hostile => Role::Operator,
        Part::Relay | Part::Face => Role::Relay,
    }
}

/// The relays of a tenant; each has two faces where the plan has such relays.
fn relay_members(shape: Shape, relays: &[[u8; 32]]) -> Vec<(Part, usize, [u8; 32])> {
    let relays = relays.iter().enumerate();
    if shape != Shape::Faces {
        return relays.map(|(index, seed)| (Part::Relay, index, *seed)).collect();
    }
    // No device has so high a machine.
    let faces = relays.flat_map(|(index, seed)| [index, usize::MAX - index].map(|it| (it, seed)));
    faces.map(|(machine, seed)| (Part::Face, machine, *seed)).collect()
}

/// What each member holds: of those that hold a part only, each another one.
fn shares(plan: &Plan, devices: usize, members: &[(Part, usize, [u8; 32])]) -> Vec<Share> {
    let relays = members.iter().position(|(part, ..)| *part == Part::Relay);
    let first_part = devices.saturating_sub(count(plan.partials)).max(1);
    let first_old = devices.saturating_sub(count(plan.old)).max(1);
    let share = |(index, (part, _, seed)): (usize, &(Part, usize, [u8; 32]))| {
        let number = index - relays.filter(|relays| *relays <= index).unwrap_or(0);
        let is_device = *part == Part::Device && index < devices;
        let is_part = match part {
            Part::Device => is_device && index >= first_part,
            Part::Relay => number < count(plan.partial_relays),
            Part::Forker | Part::Hostile | Part::Face => false,
        };
        let mut share = Share {
            is_old: is_device && index >= first_old,
            store: (*part == Part::Face).then(|| StoreId::from_bytes(half(seed))),
            ..Share::default()
        };
        if is_part && *part == Part::Device && seed[0].is_multiple_of(2) {
            share.read.partitions = [1 + u32::from(seed[1] % 2)].into();
        } else if is_part {
            share.filter = two_partitions(number);
        }
        share
    };
    members.iter().enumerate().map(share).collect()
}

/// Two of the three partitions, which ones depends on `number`.
fn two_partitions(number: usize) -> Filter {
    let number = u32::try_from(number % 3).unwrap_or(0);
    let region = |partition| Region { partition: Some(partition % 3), ..Region::default() };
    Filter::new([region(number), region(number + 1)]).unwrap_or_default()
}

fn half(seed: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&seed[..16]);
    half
}

/// How old the batches of the morning are.
#[derive(Clone, Copy)]
enum Age<'a> {
    /// Up to some weeks.
    Any,
    /// So old that they are sent last.
    Old(&'a Plan),
}

/// Batches that are there in the morning.
fn morning(count: usize, author: &mut Author, age: Age<'_>, random: &mut Random) -> Vec<Write> {
    let spread = i64::try_from(count).unwrap_or(0) * 600_000;
    let (offset, large_once_in) = match age {
        Age::Any => (0, u64::MAX),
        Age::Old(plan) => (OLD_MILLIS, u64::try_from(plan.large_once_in).unwrap_or(1)),
    };
    let wish = Wish { large_once_in, critical_once_in: 0, since: 0, fits: &|_| true };
    (0..count)
        .filter_map(|_| {
            let at = Moment::from_millis(MORNING - offset - random.between(0, spread));
            author.seal_noise(at, wish, random).ok().map(|batch| Write::Own(Box::new(batch)))
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
        Shape::Faces => {
            let is_face = |node: usize| nodes[node].part == Part::Face;
            let is_second = *b + 1 == nodes.len();
            !is_face(*a) && is_face(*b) && (*a == first) != is_second
        }
        Shape::Meetings => false,
    })
    .collect()
}

/// Whether the plan has records at all.
pub(super) const fn has_records(plan: &Plan) -> bool {
    matches!(plan.content, Content::Records)
}
