//! Connections come up, carry bytes, and break.

use fieldmesh_replica::Lane;

use super::{Happening, World};
use crate::cable::{Cable, End, Stream};
use crate::check;
use crate::hostile::{Mask, messages, proof_bytes};
use crate::node::Part;
use crate::plan::FirstBreak;

/// How long a connection lives on which nothing comes through.
pub(super) const PATIENCE_MILLIS: i64 = 30_000;
/// What a hostile peer says unasked waits for room, or the world would hold all of it.
const RANT_WAITING_MAX: usize = 256 * 1024;

impl World<'_> {
    /// One of the pair dials the other if it knows of no connection, and tries again later.
    pub(super) fn dial(&mut self, pair: usize) {
        let again = self.now + self.random.between(200, 4_000);
        self.schedule(again, Happening::Dial { pair });
        let (a, b) = self.pairs[pair];
        let (from, to) = if self.random.once_in(2) { (a, b) } else { (b, a) };
        if self.can_reach(from, to) && !self.nodes[from].has_link_to(&self.nodes[to].device()) {
            self.connect(from, to);
            // Both dial at once; where two conversations may not both send, nobody does.
            if !self.plan.checks.exactness && self.random.once_in(6) {
                self.connect(to, from);
            }
        }
    }

    pub(super) fn can_reach(&self, from: usize, to: usize) -> bool {
        let is_blocked = self.blocked.contains(&(from, to)) || self.blocked.contains(&(to, from));
        let [from, to] = [&self.nodes[from], &self.nodes[to]];
        from.is_awake && to.is_awake && from.half == to.half && !is_blocked
    }

    /// Connects two nodes; returns the number of the connection.
    pub(super) fn connect(&mut self, from: usize, to: usize) -> usize {
        let ends = [from, to].map(|node| End { node, link: self.nodes[node].take_link() });
        let channel_key = self.random.array();
        let index = self.cables.len();
        let mut cable = Cable::new(ends, self.plan.links, &mut self.random);
        for (side, end) in ends.iter().enumerate() {
            if self.nodes[end.node].part == Part::Hostile {
                cable.masks[side] = Some(Mask::new(&mut self.random));
                self.schedule(self.now + 1_000, Happening::Rant { cable: index, side });
            }
        }
        if self.cables.is_empty() && self.plan.first_break == FirstBreak::AtSeed {
            cable.break_within(usize::try_from(self.seed).unwrap_or(usize::MAX));
        }
        self.cables.push(cable);
        for end in ends {
            self.cable_of.insert((end.node, end.link), index);
            self.note("up", end.node);
        }
        self.say(from, || format!("link {} to node {to} is up", ends[0].link.0));
        self.link_up(ends, channel_key);
        index
    }

    /// Sends bytes from one end of a connection.
    pub(super) fn send(&mut self, end: End, stream: Stream, bytes: &[u8]) {
        let Some(&index) = self.cable_of.get(&(end.node, end.link)) else { return };
        if !self.cables[index].is_up {
            return;
        }
        if stream == Stream::Control {
            let words = messages(bytes);
            self.proof_bytes += proof_bytes(bytes);
            self.say(end.node, || {
                let kinds: Vec<_> = words.iter().map(|it| it.first().copied()).collect();
                format!("says {kinds:?} over link {}", end.link.0)
            });
            self.check(|world| check::keyed::says(world, (index, end.node), &words));
        }
        let cable = &mut self.cables[index];
        let side = cable.side(end);
        let masked = cable.masks[side].as_mut().map(|mask| match stream {
            Stream::Control => mask.control(bytes),
            Stream::Data(lane) => mask.data(lane, bytes),
        });
        let bytes = masked.as_deref().unwrap_or(bytes);
        self.emit(index, side, stream, bytes);
    }

    fn emit(&mut self, index: usize, side: usize, stream: Stream, bytes: &[u8]) {
        let cable = &mut self.cables[index];
        let end = cable.ends[side];
        cable.ways[side].send(stream, bytes, &mut self.random);
        let is_sending = cable.ways[side].is_sending;
        if stream != Stream::Control {
            self.nodes[end.node].meter.sending(end.link, bytes.len());
        }
        self.check(|world| check::pressure::sending(world, index, side));
        if !is_sending {
            self.transmit(index, side);
        }
    }

    /// Lets leave what can leave now.
    pub(super) fn transmit(&mut self, index: usize, side: usize) {
        loop {
            let is_held = self.is_held(index, side);
            let cable = &mut self.cables[index];
            let end = cable.ends[side];
            let way = &mut cable.ways[side];
            way.is_sending = false;
            if !cable.is_up || is_held {
                return;
            }
            let Some(piece) = way.next(self.now, &mut self.random) else {
                if std::mem::take(&mut way.is_closing) {
                    let at = way.drained_at(self.now) + 1;
                    let end = cable.other(end);
                    self.schedule(at, Happening::Down { end });
                }
                return;
            };
            let waits = piece.left > self.now;
            way.is_sending = waits;
            let (stream, bytes) = (piece.stream, piece.bytes);
            self.schedule(piece.left, Happening::Written { end, stream, bytes: bytes.len() });
            self.schedule(piece.due, Happening::Deliver { cable: index, side, stream, bytes });
            if waits {
                self.schedule(piece.left, Happening::Transmit { cable: index, side });
                return;
            }
        }
    }

    /// Whether nothing gets through: the way is blocked, or nobody reads at its end.
    fn is_held(&self, index: usize, side: usize) -> bool {
        let cable = &self.cables[index];
        let is_deaf = cable.masks[1 - side].as_ref().is_some_and(|mask| !mask.reads());
        let [from, to] = [cable.ends[side].node, cable.ends[1 - side].node];
        is_deaf || self.blocked.contains(&(from, to))
    }

    pub(super) fn written(&mut self, end: End, stream: Stream, bytes: usize) {
        if stream != Stream::Control {
            self.nodes[end.node].meter.left(end.link, bytes);
        }
        self.has_left(end, stream, bytes);
    }

    pub(super) fn deliver(&mut self, index: usize, side: usize, stream: Stream, bytes: Vec<u8>) {
        let cable = &mut self.cables[index];
        if !cable.is_up {
            return;
        }
        let bytes = cable.deliver(side, stream, bytes);
        let is_broken = cable.is_broken();
        let end = cable.ends[1 - side];
        if side == 0 && self.plan.faults.replays > 0 {
            cable.record.push((stream, bytes.clone()));
        }
        self.trace.happened(self.now, "bytes", end.node);
        self.trace.delivered(stream, &bytes);
        self.arrived(end, stream, bytes);
        if is_broken {
            self.cut(index);
        }
    }

    /// A hostile end says something that its replica underneath knows nothing of.
    pub(super) fn rant(&mut self, index: usize, side: usize) {
        let cable = &mut self.cables[index];
        if !cable.is_up {
            return;
        }
        let has_room = cable.ways[side].waiting(Stream::Control) < RANT_WAITING_MAX;
        let words = cable.masks[side].as_mut().map(Mask::rant).unwrap_or_default();
        if !words.is_empty() && has_room {
            self.emit(index, side, Stream::Control, &words);
        }
        let stream = Stream::Data(Lane::Urgent);
        let cable = &mut self.cables[index];
        let author = &self.nodes[cable.ends[side].node].author;
        let has_room = cable.ways[side].waiting(stream) < RANT_WAITING_MAX;
        let mask = cable.masks[side].as_mut().filter(|_| has_room);
        let items = mask.map(|mask| mask.rant_items(author)).unwrap_or_default();
        if !items.is_empty() {
            self.emit(index, side, stream, &items);
        }
        self.schedule(self.now + 1_000, Happening::Rant { cable: index, side });
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
        let side = self.cables[index].side(end);
        self.nodes[end.node].meter.forget(end.link);
        if !self.cables[index].is_up {
            return;
        }
        if self.is_held(index, side) {
            let end = self.cables[index].other(end);
            self.schedule(self.now + PATIENCE_MILLIS, Happening::Down { end });
            return;
        }
        let way = &mut self.cables[index].ways[side];
        way.is_closing = true;
        if !way.is_sending {
            self.transmit(index, side);
        }
    }

    /// One end notices that a connection is gone.
    pub(super) fn down(&mut self, end: End) {
        self.note("down", end.node);
        if let Some(&index) = self.cable_of.get(&(end.node, end.link)) {
            self.cables[index].is_up = false;
        }
        self.nodes[end.node].meter.forget(end.link);
        self.link_down(end);
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
