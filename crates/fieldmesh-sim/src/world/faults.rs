//! What goes wrong during the day, and its end.

use fieldmesh_batch::Batch;
use fieldmesh_identity::Access;
use fieldmesh_model::{BatchId, Role};
use fieldmesh_replica::Input;

use super::network::PATIENCE_MILLIS;
use super::{Happening, World};
use crate::check;
use crate::node::Part;
use crate::violation::Violation;

/// How long a disk refuses everything, in milliseconds.
const FULL_MILLIS: (i64, i64) = (500, 15_000);

impl World<'_> {
    /// Cuts a connection at once, or at some byte to come.
    pub(super) fn cut_one(&mut self) {
        let up: Vec<usize> =
            (0..self.cables.len()).filter(|index| self.cables[*index].is_up).collect();
        if up.is_empty() {
            return;
        }
        let index = up[self.random.index(up.len())];
        match self.random.index(4) {
            0 => self.cut(index),
            1 => self.cables[index].break_within(1 + self.random.index(200)),
            2 => self.cables[index].break_within(1 + self.random.index(5_000)),
            _ => self.cables[index].break_within(1 + self.random.index(100_000)),
        }
    }

    pub(super) fn sleep(&mut self, node: usize) {
        let at = self.now + self.random.between(1_000, self.plan.day_millis / 4);
        for node in self.machine(node) {
            self.note("sleeps", node);
            self.nodes[node].is_awake = false;
            self.unplug(node);
            self.schedule(at, Happening::Wake { node });
        }
    }

    pub(super) fn wake(&mut self, node: usize) {
        self.note("wakes", node);
        self.nodes[node].is_awake = true;
    }

    pub(super) fn crash(&mut self, node: usize) {
        let at = self.now + self.random.between(10, 10_000);
        for node in self.machine(node) {
            self.note("crashes", node);
            self.unplug(node);
            self.tear_writes(node);
            self.nodes[node].is_awake = false;
            let safe = check::durability::safe(&self.nodes[node]);
            self.nodes[node].restart(&mut self.random);
            self.nodes[node].run_began = self.now;
            self.check(|world| check::durability::restarted(world, node, &safe));
            self.reread(node);
            self.refresh_deadline(node);
            self.schedule(at, Happening::Wake { node });
        }
    }

    /// A node is started from a copy of its disk, without its knowing.
    pub(super) fn put_back(&mut self, node: usize) {
        if self.nodes[node].copy.is_none() {
            return;
        }
        self.note("is put back", node);
        self.unplug(node);
        self.tear_writes(node);
        self.nodes[node].put_back();
        self.nodes[node].restart(&mut self.random);
        self.reread(node);
        self.refresh_deadline(node);
    }

    /// A disk loses batches that at least one other honest disk holds, and the node finds that out.
    pub(super) fn spoil(&mut self, node: usize) {
        let state = &self.nodes[node];
        if !state.is_honest() {
            return;
        }
        let others: Vec<&crate::node::Node> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(index, it)| *index != node && it.is_honest() && it.tenant == state.tenant)
            .map(|(_, other)| other)
            .collect();
        let is_elsewhere = |id: &BatchId| others.iter().any(|it| it.disk.batch(id).is_some());
        let ids = state.disk.batches().map(Batch::id).filter(|id| state.replica.holds(id));
        let mut ids: Vec<BatchId> = ids.filter(is_elsewhere).collect();
        if ids.is_empty() {
            return;
        }
        let first = self.random.index(ids.len());
        ids.drain(..first);
        ids.truncate(1 + self.random.index(5));
        self.note("loses batches", node);
        self.nodes[node].spoil(&ids);
        self.input(node, Input::BatchesLost { ids });
    }

    /// The nodes that fail together with this one; none that is no member yet.
    fn machine(&self, node: usize) -> Vec<usize> {
        let machine = self.nodes[node].machine;
        let of_machine =
            (0..self.nodes.len()).filter(|other| self.nodes[*other].machine == machine);
        of_machine.filter(|other| !self.newcomers.contains(other)).collect()
    }

    pub(super) fn split(&mut self) {
        for node in &mut self.nodes {
            node.half = self.random.index(2);
        }
        for index in 0..self.cables.len() {
            let [a, b] = self.cables[index].ends.map(|end| self.nodes[end.node].half);
            if a != b {
                self.cut(index);
            }
        }
        let at = self.now + self.random.between(1_000, self.plan.day_millis / 4);
        self.schedule(at, Happening::Heal);
    }

    pub(super) fn heal(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.half = 0);
    }

    /// What one node sends does not reach another one for a while.
    pub(super) fn block(&mut self) {
        if self.pairs.is_empty() {
            return;
        }
        let (a, b) = self.pairs[self.random.index(self.pairs.len())];
        let (from, to) = if self.random.once_in(2) { (a, b) } else { (b, a) };
        self.note("is not heard", from);
        self.blocked.insert((from, to));
        let at = self.now + self.random.between(1_000, self.plan.day_millis / 5);
        self.schedule(at, Happening::Unblock { from, to });
        for cable in 0..self.cables.len() {
            if self.cables[cable].is_up && self.is_between(cable, from, to) {
                self.schedule(self.now + PATIENCE_MILLIS, Happening::Fade { cable });
            }
        }
    }

    pub(super) fn unblock(&mut self, from: usize, to: usize) {
        self.note("is heard", from);
        self.blocked.remove(&(from, to));
        for cable in 0..self.cables.len() {
            if self.cables[cable].is_up && self.is_between(cable, from, to) {
                (0..2).for_each(|side| self.transmit(cable, side));
            }
        }
    }

    fn is_between(&self, cable: usize, from: usize, to: usize) -> bool {
        let [a, b] = self.cables[cable].ends.map(|end| end.node);
        (a, b) == (from, to) || (b, a) == (from, to)
    }

    /// The transport gives a connection up if nothing comes through.
    pub(super) fn fade(&mut self, cable: usize) {
        let [a, b] = self.cables[cable].ends.map(|end| end.node);
        if self.blocked.contains(&(a, b)) || self.blocked.contains(&(b, a)) {
            self.cut(cable);
        }
    }

    pub(super) fn jump(&mut self, node: usize) {
        self.note("clock jumps", node);
        self.nodes[node].clock.jump(&mut self.random);
    }

    pub(super) fn fill(&mut self, node: usize) {
        self.note("disk is full", node);
        let until = self.now + self.random.between(FULL_MILLIS.0, FULL_MILLIS.1);
        self.nodes[node].is_full_until = until;
    }

    /// Connects nodes of two tenants, as no transport should.
    pub(super) fn stranger(&mut self) {
        let count = self.nodes.len();
        let (a, b) = (self.random.index(count), self.random.index(count));
        let is_other = self.nodes[a].tenant != self.nodes[b].tenant;
        let is_same_device = self.nodes[a].device() == self.nodes[b].device();
        if is_other && !is_same_device && self.can_reach(a, b) {
            self.connect(a, b);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, millis: i64) -> Result<(), Violation> {
        self.run_until(self.now + millis)
    }

    /// A device seals a batch.
    pub(crate) fn write_one(&mut self, node: usize) {
        self.schedule(self.now, Happening::Seal { node });
    }

    /// Each node is on its own until the calm.
    pub(crate) fn part(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].half = node;
            self.unplug(node);
        }
    }

    /// From here on nothing goes wrong any more.
    pub(crate) fn calm(&mut self) {
        self.note("calm", 0);
        self.queue.retain(|_, happening| {
            !matches!(
                happening,
                Happening::Cut
                    | Happening::Sleep { .. }
                    | Happening::Crash { .. }
                    | Happening::PutBack { .. }
                    | Happening::Spoil { .. }
                    | Happening::Evict { .. }
                    | Happening::Split
                    | Happening::Block
                    | Happening::Replay
                    | Happening::Jump { .. }
                    | Happening::Fill { .. }
                    | Happening::Stranger
                    | Happening::Revoke
                    | Happening::Adopt
                    | Happening::Purge
            )
        });
        self.heal();
        for (from, to) in self.blocked.clone() {
            self.unblock(from, to);
        }
        for node in &mut self.nodes {
            node.is_awake = true;
            node.is_full_until = 0;
        }
        // Nobody talks to who was revoked; it tries in vain as long as anybody does not know.
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_honest() && !self.is_member(node) {
                self.nodes[node].is_awake = false;
                self.unplug(node);
            }
        }
        self.cables.iter_mut().for_each(|cable| cable.break_within(usize::MAX));
        self.plan_meetings(self.now, self.now + self.plan.calm_millis);
    }

    /// Plays what a node was sent before into a new connection of it.
    pub(super) fn replay(&mut self) {
        let recorded: Vec<usize> =
            (0..self.cables.len()).filter(|index| !self.cables[*index].record.is_empty()).collect();
        if recorded.is_empty() {
            return;
        }
        let index = recorded[self.random.index(recorded.len())];
        let record = self.cables[index].record.clone();
        let [dialler, accepter] = self.cables[index].ends;
        self.note("replay", accepter.node);
        let ends = (accepter.node, dialler.node);
        self.check(|world| check::idempotence::replays(world, ends, record));
    }

    pub(super) fn certify(&mut self, node: usize) {
        let state = &self.nodes[node];
        let (tenant, keys) = (state.tenant, state.author.keys());
        let Ok(item) = self.tenants[tenant].office.certify(keys, Role::Operator, Access::ALL)
        else {
            return;
        };
        self.note("is certified", node);
        self.newcomers.remove(&node);
        let items = self.tenants[tenant].office.items().to_vec();
        self.nodes[node].disk.write_items(&items);
        self.nodes[node].restart(&mut self.random);
        self.nodes[node].is_awake = true;
        self.refresh_deadline(node);
        let is_witness = |other: &usize| {
            let state = &self.nodes[*other];
            *other != node && state.tenant == tenant && state.part == Part::Device
        };
        let witnesses: Vec<usize> = (0..self.nodes.len())
            .filter(is_witness)
            .filter(|other| !self.newcomers.contains(other))
            .collect();
        let witness = witnesses[self.random.index(witnesses.len())];
        self.nodes[witness].disk.write_items(std::slice::from_ref(&item));
        self.tell_item(witness, item);
        // Its first batches travel as soon as its certificate does, and may be faster.
        for _ in 0..3 {
            let at = self.now + self.random.between(0, 5_000);
            self.schedule(at, Happening::Seal { node });
        }
        self.plan_work(node);
    }
}
