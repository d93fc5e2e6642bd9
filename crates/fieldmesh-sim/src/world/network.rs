//! Connections come up, carry bytes, and break.

use fieldmesh_replica::{Input, Side};

use super::{Happening, World};
use crate::cable::{Cable, End, Stream};

impl World {
    /// One of the pair dials the other if it knows of no connection, and tries again later.
    pub(super) fn dial(&mut self, pair: usize) {
        let again = self.now + self.random.between(200, 4_000);
        self.schedule(again, Happening::Dial { pair });
        let (a, b) = self.pairs[pair];
        let (from, to) = if self.random.once_in(2) { (a, b) } else { (b, a) };
        if self.can_reach(from, to) && !self.nodes[from].has_link_to(&self.nodes[to].device()) {
            self.connect(from, to);
        }
    }

    fn can_reach(&self, from: usize, to: usize) -> bool {
        let [from, to] = [&self.nodes[from], &self.nodes[to]];
        from.is_awake && to.is_awake && from.part == to.part
    }

    fn connect(&mut self, from: usize, to: usize) {
        let ends = [from, to].map(|node| End { node, link: self.nodes[node].take_link() });
        let channel_key = self.random.array();
        let cable = self.cables.len();
        self.cables.push(Cable::new(ends, &mut self.random));
        for end in ends {
            self.cable_of.insert((end.node, end.link), cable);
            self.trace.happened(self.now, "up", end.node);
        }
        for (end, side) in ends.into_iter().zip([Side::Dialled, Side::Accepted]) {
            let other = if end == ends[0] { ends[1] } else { ends[0] };
            let peer = self.nodes[other.node].device();
            self.input(end.node, Input::LinkUp { link: end.link, peer, side, channel_key });
        }
    }

    /// Sends bytes from one end of a connection.
    pub(super) fn send(&mut self, end: End, stream: Stream, bytes: &[u8]) {
        let Some(&index) = self.cable_of.get(&(end.node, end.link)) else { return };
        let cable = &mut self.cables[index];
        if !cable.is_up {
            return;
        }
        let side = cable.side(end);
        for (at, bytes) in cable.send(self.now, side, stream, bytes, &mut self.random) {
            if stream == Stream::Data {
                self.schedule(at, Happening::Written { end, bytes: bytes.len() });
            }
            self.schedule(at, Happening::Deliver { cable: index, side, stream, bytes });
        }
    }

    pub(super) fn deliver(&mut self, index: usize, side: usize, stream: Stream, bytes: Vec<u8>) {
        let cable = &mut self.cables[index];
        if !cable.is_up {
            return;
        }
        let bytes = cable.deliver(stream, bytes);
        let is_broken = cable.is_broken();
        let End { node, link } = cable.ends[1 - side];
        if side == 0 && self.plan.faults.replays > 0 {
            cable.record.push((stream, bytes.clone()));
        }
        self.trace.happened(self.now, "bytes", node);
        self.trace.delivered(stream, &bytes);
        let input = match stream {
            Stream::Control => Input::Control { link, bytes },
            Stream::Data => Input::Data { link, bytes },
        };
        self.input(node, input);
        if is_broken {
            self.cut(index);
        }
    }

    /// Breaks a connection; each end notices in its own time.
    pub(super) fn cut(&mut self, index: usize) {
        if !self.cables[index].is_up {
            return;
        }
        self.cables[index].is_up = false;
        self.cuts += 1;
        for end in self.cables[index].ends {
            let patience = if self.random.once_in(4) { 20_000 } else { 100 };
            let at = self.now + self.random.between(0, patience);
            self.schedule(at, Happening::Down { end });
        }
    }

    /// One end has closed the connection; the other gets what was sent before.
    pub(super) fn close(&mut self, end: End) {
        let Some(&index) = self.cable_of.get(&(end.node, end.link)) else { return };
        let cable = &self.cables[index];
        if !cable.is_up {
            return;
        }
        let other = if cable.ends[0] == end { cable.ends[1] } else { cable.ends[0] };
        let at = cable.drained_at(self.now) + 1;
        self.schedule(at, Happening::Down { end: other });
    }

    /// One end notices that a connection is gone.
    pub(super) fn down(&mut self, end: End) {
        self.trace.happened(self.now, "down", end.node);
        if let Some(&index) = self.cable_of.get(&(end.node, end.link)) {
            self.cables[index].is_up = false;
        }
        self.input(end.node, Input::LinkDown { link: end.link });
    }

    /// Breaks all connections of a node.
    pub(super) fn unplug(&mut self, node: usize) {
        for index in 0..self.cables.len() {
            let ends = self.cables[index].ends;
            if ends.iter().any(|end| end.node == node) {
                self.cut(index);
            }
        }
    }
}
