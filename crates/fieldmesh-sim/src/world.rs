//! The world: nodes, connections, a queue of what happens next, and the end of the day.

mod build;
mod disk;
mod evict;
mod faults;
mod inputs;
mod meetings;
mod network;
mod outputs;
mod policy;
mod receipts;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as Log;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, Moment};
use fieldmesh_replica::LinkId;

use crate::cable::{Cable, End, STREAMS, Stream};
use crate::check;
use crate::check::policy::Named;
use crate::check::priority::Alarm;
use crate::check::withholding::{Shown, Signed};
use crate::disk::Write;
use crate::node::Node;
use crate::plan::{Plan, Shape};
use crate::random::Random;
use crate::tenant::Tenant;
use crate::trace::{Trace, TraceHash};
use crate::violation::{Failure, Violation};

/// More steps than any plan needs within one millisecond.
const STEPS_MAX: u64 = 100_000;

/// Within this time those who are in step have told each other which receipts they have.
const ANSWER_MILLIS: i64 = 30_000;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub trace: TraceHash,
    /// The next number that the world would have drawn.
    pub next_random: u64,
    /// Nodes, relays included once for each tenant.
    pub nodes: usize,
    /// Batches that every node of a tenant holds at the end, over all tenants.
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
    /// The most bytes that one node held for its peers at one time.
    pub held_bytes: usize,
    /// Changes of records that wait for ever for one that was lost.
    pub orphans: usize,
    /// Virtual time from the end of the faults until all sets were equal, in milliseconds.
    pub calm_millis: i64,
    /// Leaves that were erased because they were purged, on all disks together.
    pub erased: usize,
}

/// Lives through one day; writes what happens to `log`.
///
/// # Errors
///
/// Fails with the first property that does not hold.
pub fn run(plan: &Plan, seed: u64, log: Option<&mut dyn Log>) -> Result<Outcome, Box<Failure>> {
    let day = || World::build(plan, seed, log).and_then(World::live);
    let result = catch_unwind(AssertUnwindSafe(day)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Violation::Panicked { text: text.unwrap_or("no words").to_owned() })
    });
    result.map_err(|violation| Box::new(Failure { plan: plan.clone(), seed, violation }))
}

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Happening {
    /// One of a pair tries to reach the other.
    Dial { pair: usize },
    /// Two nodes happen to meet.
    Meet,
    /// Two nodes that met go their ways.
    Leave { cable: usize },
    /// The next piece leaves one end.
    Transmit { cable: usize, side: usize },
    /// Bytes arrive at the end opposite to `side`.
    Deliver { cable: usize, side: usize, stream: Stream, bytes: Vec<u8> },
    /// Bytes have left a node.
    Written { end: End, stream: Stream, bytes: usize },
    /// One end notices that the connection is gone.
    Down { end: End },
    /// A hostile end says something unasked.
    Rant { cable: usize, side: usize },
    /// Something is durable.
    Stored { node: usize, run: u64, write: Write },
    /// Something cannot be made durable.
    NotStored { node: usize, run: u64, write: Write },
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
    /// Somebody copies the disk of a node.
    Copy { node: usize },
    /// Somebody puts the copy in the place of the disk.
    PutBack { node: usize },
    /// The disk of a node cannot give some of what was durable.
    Spoil { node: usize },
    /// A device wants to hold nothing older than a month from here on.
    Evict { node: usize },
    /// It drops what is older, as far as that is safe.
    LetGo { node: usize },
    /// The network falls apart.
    Split,
    /// The network is whole again.
    Heal,
    /// One node does not reach another one.
    Block,
    /// It does again.
    Unblock { from: usize, to: usize },
    /// A connection on which nothing has come through for long is given up.
    Fade { cable: usize },
    /// Recorded messages are played into a new connection.
    Replay,
    /// A clock is set anew.
    Jump { node: usize },
    /// A disk refuses everything for a while.
    Fill { node: usize },
    /// Nodes of two tenants are connected.
    Stranger,
    /// An administrator revokes a device.
    Revoke,
    /// An administrator adopts work of a revoked device.
    Adopt,
    /// An administrator purges a document.
    Purge,
    /// A node erases what was purged, as far as it knows.
    Sweep { node: usize },
    /// All devices can reach each other from here on.
    Together,
    /// A device becomes a member.
    Certify { node: usize },
}

/// Everything there is.
pub(crate) struct World<'a> {
    pub(crate) plan: Plan,
    pub(crate) seed: u64,
    pub(crate) random: Random,
    pub(crate) now: i64,
    queue: BTreeMap<(i64, u64), Happening>,
    queued: u64,
    /// When each replica wants to be told that time has passed.
    deadlines: BTreeSet<(i64, usize)>,
    deadline_of: Vec<Option<i64>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) cables: Vec<Cable>,
    pub(crate) cable_of: BTreeMap<(usize, LinkId), usize>,
    /// Nodes whose bytes do not reach another one.
    pub(crate) blocked: BTreeSet<(usize, usize)>,
    pub(crate) newcomers: BTreeSet<usize>,
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
    /// The hashes that were shown to compare sets, and on which connection.
    pub(crate) shown_on: BTreeMap<[u8; 8], usize>,
    /// What each revocation left to its subject, as its signer knew it.
    pub(crate) cut_at: Vec<Named>,
    /// Who found which relay to have kept what back.
    pub(crate) withheld: BTreeSet<(usize, BatchId)>,
    /// Critical batches on connections that are busy with others.
    pub(crate) alarms: Vec<Alarm>,
    /// Bytes of questions for receipts and their answers.
    pub(crate) proof_bytes: u64,
    /// Every receipt of a face.
    pub(crate) signed: Vec<Signed>,
    /// When each conversation with a face began, and how often it was in step.
    pub(crate) shown: BTreeMap<End, Shown>,
    /// When a node first signed in a conversation, for what the other one asked.
    pub(crate) answered: BTreeMap<End, i64>,
    /// Whether bytes of a recorded conversation are played, which no transport lets happen.
    pub(crate) is_haunted: bool,
    pub(crate) trace: Trace<'a>,
    pub(crate) violation: Option<Violation>,
}

impl World<'_> {
    fn live(mut self) -> Result<Outcome, Violation> {
        self.run_until(self.plan.day_millis)?;
        self.calm();
        let calm_from = self.now;
        while !check::convergence::is_converged(&self) {
            if self.now > calm_from + self.plan.calm_millis {
                let violation = check::convergence::divergence(&self);
                return Err(violation.unwrap_or(Violation::PolicyDiffers { node: 0 }));
            }
            self.run_until(self.now + 500)?;
        }
        let calm_millis = self.now - calm_from;
        let [control_bytes, data_bytes] = self.moved();
        check::day(&self)?;
        if self.plan.shape == Shape::Faces {
            self.run_until(self.now + ANSWER_MILLIS)?;
        }
        if self.plan.checks.idle_cost {
            check::cost::nothing_new(&mut self)?;
            check::pressure::links(&self)?;
            if self.plan.checks.safety {
                check::receipts::safe(&self)?;
            }
            check::hops::passed_on(&mut self)?;
        }
        self.sweep_all();
        check::end(&self)?;
        Ok(Outcome {
            trace: self.trace.hash(),
            next_random: self.random.next(),
            nodes: self.nodes.len(),
            batches: self.tenants.iter().map(|tenant| tenant.made.len()).sum(),
            conversations: self.cables.len(),
            cuts: self.cuts,
            sent: self.sent,
            stored: self.stored_from_peers,
            control_bytes,
            data_bytes,
            held_bytes: self.honest().map(|(_, node)| node.meter.most).max().unwrap_or(0),
            orphans: self.tenants.iter().map(|tenant| tenant.reference.orphans_count()).sum(),
            calm_millis,
            erased: check::purges::erased(&self),
        })
    }

    /// Lets everything happen that happens until the moment `end`.
    pub(crate) fn run_until(&mut self, end: i64) -> Result<(), Violation> {
        let mut steps = 0;
        loop {
            let queued = self.queue.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            let (tick, node) = self.deadlines.first().copied().unwrap_or((i64::MAX, 0));
            let next = queued.min(tick).max(self.now);
            if next > end {
                self.now = end;
                return Ok(());
            }
            steps = if next > self.now { 0 } else { steps + 1 };
            if steps > STEPS_MAX {
                return Err(Violation::Spins { steps });
            }
            self.now = next;
            if tick < queued {
                self.note("tick", node);
                self.tick(node);
            } else if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
    }

    /// Takes note of when a replica wants to be told that time has passed.
    fn refresh_deadline(&mut self, node: usize) {
        let state = &self.nodes[node];
        let deadline = state.replica.deadline().map(|moment| state.clock.when(moment));
        if let Some(before) = std::mem::replace(&mut self.deadline_of[node], deadline) {
            self.deadlines.remove(&(before, node));
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, node)));
    }

    pub(crate) fn schedule(&mut self, at: i64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Dial { pair } => self.dial(pair),
            Happening::Meet => self.meet(),
            Happening::Leave { cable } => self.leave(cable),
            Happening::Transmit { cable, side } => self.transmit(cable, side),
            Happening::Deliver { cable, side, stream, bytes } => {
                self.deliver(cable, side, stream, bytes);
            }
            Happening::Written { end, stream, bytes } => self.written(end, stream, bytes),
            Happening::Down { end } => self.down(end),
            Happening::Rant { cable, side } => self.rant(cable, side),
            Happening::Stored { node, run, write } => self.stored(node, run, &write),
            Happening::NotStored { node, run, write } => self.not_stored(node, run, &write),
            Happening::Loaded { node, link, batches } => self.loaded(node, link, batches),
            Happening::Seal { node } => self.seal(node),
            Happening::Cut => self.cut_one(),
            Happening::Sleep { node } => self.sleep(node),
            Happening::Wake { node } => self.wake(node),
            Happening::Crash { node } => self.crash(node),
            Happening::Copy { node } => self.nodes[node].copy_disk(),
            Happening::PutBack { node } => self.put_back(node),
            Happening::Spoil { node } => self.spoil(node),
            Happening::Evict { node } => self.evict(node),
            Happening::LetGo { node } => self.let_go(node),
            Happening::Split => self.split(),
            Happening::Heal => self.heal(),
            Happening::Block => self.block(),
            Happening::Unblock { from, to } => self.unblock(from, to),
            Happening::Fade { cable } => self.fade(cable),
            Happening::Replay => self.replay(),
            Happening::Jump { node } => self.jump(node),
            Happening::Fill { node } => self.fill(node),
            Happening::Stranger => self.stranger(),
            Happening::Revoke => self.revoke(),
            Happening::Adopt => self.adopt(),
            Happening::Purge => self.purge(),
            Happening::Sweep { node } => self.sweep(node),
            Happening::Together => self.together(),
            Happening::Certify { node } => self.certify(node),
        }
    }

    /// What the clock of a node shows its replica.
    pub(crate) fn moment(&self, node: usize) -> Moment {
        self.nodes[node].moment(self.now)
    }

    /// Takes note of something that happens to a node.
    pub(crate) fn note(&mut self, what: &str, node: usize) {
        self.trace.happened(self.now, what, node);
        self.trace.say(self.now, node, || what.to_owned());
    }

    /// Says more of it in the log.
    pub(crate) fn say(&mut self, node: usize, words: impl FnOnce() -> String) {
        self.trace.say(self.now, node, words);
    }

    /// Notes the first thing that goes wrong.
    pub(crate) fn violate(&mut self, violation: Violation) {
        if self.violation.is_none() {
            self.trace.say(self.now, 0, || format!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    /// The nodes that keep to the protocol.
    pub(crate) fn honest(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_honest())
    }

    /// Whether the node is one that all others will take for a member in the end.
    pub(crate) fn is_member(&self, node: usize) -> bool {
        let state = &self.nodes[node];
        let policy = self.tenants[state.tenant].office.policy();
        state.is_honest() && policy.member(&state.device()).is_some()
    }

    /// The nodes that keep to the protocol and were not revoked.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.honest().filter(|(node, _)| self.is_member(*node))
    }

    /// The node at the other end of a link, if the link is a real one.
    pub(crate) fn peer_of(&self, end: End) -> Option<usize> {
        let index = self.cable_of.get(&(end.node, end.link))?;
        Some(self.cables[*index].other(end).node)
    }

    /// Bytes delivered so far by control and by data streams.
    pub(crate) fn moved(&self) -> [u64; 2] {
        let [control, data @ ..] = self.delivered();
        [control, data.iter().sum()]
    }

    /// Bytes delivered so far by each stream.
    pub(crate) fn delivered(&self) -> [u64; STREAMS] {
        let sum =
            |stream: Stream| self.cables.iter().map(|cable| cable.delivered[stream.index()]).sum();
        Stream::ALL.map(sum)
    }
}
