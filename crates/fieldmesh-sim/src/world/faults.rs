//! What goes wrong during the day, and its end.

use fieldmesh_replica::{Input, Output, Side};

use super::{Happening, World};
use crate::cable::Stream;
use crate::violation::Violation;

impl World {
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
        if self.newcomers.contains(&node) {
            return;
        }
        self.trace.happened(self.now, "sleep", node);
        self.nodes[node].is_awake = false;
        self.unplug(node);
        let at = self.now + self.random.between(1_000, self.plan.day_millis / 4);
        self.schedule(at, Happening::Wake { node });
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.newcomers.contains(&node) {
            return;
        }
        self.trace.happened(self.now, "crash", node);
        self.unplug(node);
        self.nodes[node].is_awake = false;
        self.nodes[node].restart(&mut self.random);
        let at = self.now + self.random.between(10, 10_000);
        self.schedule(at, Happening::Wake { node });
    }

    pub(super) fn part(&mut self) {
        for node in &mut self.nodes {
            node.part = self.random.index(2);
        }
        for index in 0..self.cables.len() {
            let [a, b] = self.cables[index].ends.map(|end| self.nodes[end.node].part);
            if a != b {
                self.cut(index);
            }
        }
        let at = self.now + self.random.between(1_000, self.plan.day_millis / 4);
        self.schedule(at, Happening::Heal);
    }

    pub(super) fn heal(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.part = 0);
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.queue.retain(|_, happening| {
            !matches!(
                happening,
                Happening::Cut
                    | Happening::Sleep { .. }
                    | Happening::Crash { .. }
                    | Happening::Part
                    | Happening::Replay
            )
        });
        self.heal();
        self.nodes.iter_mut().for_each(|node| node.is_awake = true);
        self.cables.iter_mut().for_each(|cable| cable.break_within(usize::MAX));
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
        let node = accepter.node;
        let link = self.nodes[node].take_link();
        let peer = self.nodes[dialler.node].device();
        let root = self.nodes[node].replica.root();
        let channel_key = self.random.array();
        let mut inputs = vec![Input::LinkUp { link, peer, side: Side::Accepted, channel_key }];
        inputs.extend(record.into_iter().map(|(stream, bytes)| match stream {
            Stream::Control => Input::Control { link, bytes },
            Stream::Data => Input::Data { link, bytes },
        }));
        inputs.push(Input::LinkDown { link });
        for input in inputs {
            self.replay_one(node, input);
        }
        if self.nodes[node].replica.root() != root {
            self.violate(Violation::ReplayChanged { node });
        }
        self.perform(node);
    }

    fn replay_one(&mut self, node: usize, input: Input) {
        let now = self.moment();
        let replica = &mut self.nodes[node].replica;
        let mut is_changed = replica.handle(now, input).is_err();
        let mut rest = Vec::new();
        while let Some(output) = replica.poll() {
            is_changed |= matches!(output, Output::StoreBatches { .. } | Output::StoreItems { .. });
            rest.push(output);
        }
        for output in rest {
            self.perform_one(node, output);
        }
        if is_changed {
            self.violate(Violation::ReplayChanged { node });
        }
    }
}
