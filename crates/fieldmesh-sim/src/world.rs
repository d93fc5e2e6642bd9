//! The world: nodes, connections, a queue of what happens next, and the end of the day.

mod build;
mod disk;
mod faults;
mod network;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Batch;
use fieldmesh_model::{Moment, Role};
use fieldmesh_replica::{Input, LinkId, Replica};
use fieldmesh_trie::Key;

use crate::cable::{Cable, End, Stream};
use crate::check;
use crate::disk::Write;
use crate::node::Node;
use crate::office::Office;
use crate::plan::Plan;
use crate::random::Random;
use crate::trace::{Trace, TraceHash};
use crate::violation::{Failure, Violation};

/// More steps than any plan needs.
const STEPS_MAX: u64 = 5_000_000;
/// 2023-11-14T22:13:20Z, the morning of every day.
const MORNING: i64 = 1_700_000_000_000;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub trace: TraceHash,
    /// Nodes, the relay included.
    pub nodes: usize,
    /// Batches that every node holds at the end.
    pub batches: usize,
    /// Conversations that took place.
    pub conversations: usize,
    /// How many of them were cut.
    pub cuts: u64,
    /// Batches put on the way, by all nodes.
    pub sent: u64,
    /// Batches that became durable at another node than the author's.
    pub stored: u64,
    /// Bytes of control messages delivered until all sets were equal.
    pub control_bytes: u64,
    /// Bytes of data streams delivered.
    pub data_bytes: u64,
    /// Virtual time from the end of the faults until all sets were equal, in milliseconds.
    pub calm_millis: i64,
}

/// Lives through one day.
///
/// # Errors
///
/// Fails with the first property that does not hold.
pub fn run(plan: &Plan, seed: u64) -> Result<Outcome, Failure> {
    World::build(plan, seed).and_then(World::live).map_err(|violation| Failure {
        plan: plan.name,
        seed,
        violation,
    })
}

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Happening {
    /// One of a pair tries to reach the other.
    Dial { pair: usize },
    /// Bytes arrive at the end opposite to `side`.
    Deliver { cable: usize, side: usize, stream: Stream, bytes: Vec<u8> },
    /// Data bytes have left a node.
    Written { end: End, bytes: usize },
    /// One end notices that the connection is gone.
    Down { end: End },
    /// Something is durable.
    Stored { node: usize, run: u64, write: Write },
    /// The disk has answered.
    Loaded { node: usize, link: LinkId, batches: Vec<Batch> },
    /// A device seals a batch.
    Seal { node: usize },
    /// A connection is cut.
    Cut,
    /// A node loses the network.
    Sleep { node: usize },
    /// A node has the network again.
    Wake { node: usize },
    /// A node loses what is not durable and starts again.
    Crash { node: usize },
    /// The network falls apart.
    Part,
    /// The network is whole again.
    Heal,
    /// Recorded messages are played into a new connection.
    Replay,
    /// A device becomes a member.
    Certify { node: usize },
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) now: i64,
    queue: BTreeMap<(i64, u64), Happening>,
    queued: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) cables: Vec<Cable>,
    pub(crate) cable_of: BTreeMap<(usize, LinkId), usize>,
    pub(crate) office: Office,
    pub(crate) newcomers: BTreeSet<usize>,
    /// The reference: every batch that became durable where it was made.
    pub(crate) made: BTreeSet<Key>,
    pub(crate) common: usize,
    /// Bytes of all made batches that were not common.
    pub(crate) made_bytes: u64,
    pub(crate) cuts: u64,
    /// Batches put on the way, by all nodes.
    pub(crate) sent: u64,
    /// Batches of peers that became durable.
    pub(crate) stored_from_peers: u64,
    /// How often a node was in step.
    pub(crate) in_steps: u64,
    /// Batches that were here already when they came again.
    pub(crate) repeated: BTreeMap<(usize, LinkId), u64>,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
}

impl World {
    fn live(mut self) -> Result<Outcome, Violation> {
        self.run_until(self.plan.day_millis)?;
        self.calm();
        let calm_from = self.now;
        while !check::is_converged(&self) {
            if self.now > calm_from + self.plan.calm_millis {
                return Err(check::divergence(&self));
            }
            self.run_until(self.now + 500)?;
        }
        let calm_millis = self.now - calm_from;
        let [control_bytes, data_bytes] = self.delivered();
        check::day(&self)?;
        check::nothing_new(&mut self)?;
        check::ends(&self)?;
        Ok(Outcome {
            trace: self.trace.hash(),
            nodes: self.nodes.len(),
            batches: self.made.len(),
            conversations: self.cables.len(),
            cuts: self.cuts,
            sent: self.sent,
            stored: self.stored_from_peers,
            control_bytes,
            data_bytes,
            calm_millis,
        })
    }

    /// Lets everything happen that happens until the moment `end`.
    pub(crate) fn run_until(&mut self, end: i64) -> Result<(), Violation> {
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Violation::Spins { steps });
            }
            let queued = self.queue.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            let (tick, node) = self.next_deadline();
            let next = queued.min(tick).max(self.now);
            if next > end {
                self.now = end;
                return Ok(());
            }
            self.now = next;
            if tick < queued {
                self.trace.happened(next, "tick", node);
                self.input(node, Input::Tick);
            } else if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
    }

    fn next_deadline(&self) -> (i64, usize) {
        let deadlines = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let deadline = node.replica.deadline()?;
            Some((deadline.millis_since(Moment::from_millis(MORNING)), index))
        });
        deadlines.min().unwrap_or((i64::MAX, 0))
    }

    pub(crate) fn schedule(&mut self, at: i64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Dial { pair } => self.dial(pair),
            Happening::Deliver { cable, side, stream, bytes } => {
                self.deliver(cable, side, stream, bytes);
            }
            Happening::Written { end, bytes } => {
                self.input(end.node, Input::DataWritten { link: end.link, bytes });
            }
            Happening::Down { end } => self.down(end),
            Happening::Stored { node, run, write } => self.stored(node, run, &write),
            Happening::Loaded { node, link, batches } => {
                self.input(node, Input::BatchesLoaded { link, batches });
            }
            Happening::Seal { node } => self.seal(node),
            Happening::Cut => self.cut_one(),
            Happening::Sleep { node } => self.sleep(node),
            Happening::Wake { node } => self.nodes[node].is_awake = true,
            Happening::Crash { node } => self.crash(node),
            Happening::Part => self.part(),
            Happening::Heal => self.heal(),
            Happening::Replay => self.replay(),
            Happening::Certify { node } => self.certify(node),
        }
    }

    /// Gives a node an input and performs what follows.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = self.moment();
        if self.nodes[node].replica.handle(now, input).is_err() {
            self.violate(Violation::Accused { node, reason: "of a mistake of its shell".into() });
        }
        self.perform(node);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::from_millis(MORNING + self.now)
    }

    /// Notes the first thing that goes wrong.
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Bytes delivered so far by control and by data streams.
    pub(crate) fn delivered(&self) -> [u64; 2] {
        let sum =
            |stream: Stream| self.cables.iter().map(|cable| cable.delivered[stream.index()]).sum();
        [sum(Stream::Control), sum(Stream::Data)]
    }

    /// The root that a replica with the same batches in another order has.
    pub(crate) fn rebuilt(&self, node: usize) -> Replica {
        let mut keys: Vec<Key> = self.nodes[node].disk.keys().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.id()));
        Replica::new(*self.nodes[node].replica.config(), Vec::new(), keys)
    }

    fn certify(&mut self, node: usize) {
        let Ok(item) = self.office.certify(self.nodes[node].author.keys(), Role::Operator) else {
            return;
        };
        self.newcomers.remove(&node);
        let items = self.office.items().to_vec();
        self.nodes[node].disk.write_items(&items);
        self.nodes[node].restart(&mut self.random);
        self.nodes[node].is_awake = true;
        let witnesses: Vec<usize> = (0..self.nodes.len())
            .filter(|other| *other != node && !self.newcomers.contains(other))
            .collect();
        let witness = witnesses[self.random.index(witnesses.len())];
        self.nodes[witness].disk.write_items(std::slice::from_ref(&item));
        self.input(witness, Input::LocalItem { item });
        self.plan_work(node);
    }
}
