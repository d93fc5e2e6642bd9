//! Every input that a replica gets: this file and `outputs.rs` are all that knows them.

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_replica::{Held, Input, LinkId, Output, Side, Unstored};

use super::World;
use crate::cable::{End, Stream};
use crate::disk::Write;
use crate::violation::Violation;

impl World<'_> {
    /// Gives a node an input and performs what follows.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        let now = self.moment(node);
        if self.nodes[node].replica.handle(now, input).is_err() {
            self.violate(Violation::Accused { node, reason: "of a mistake of its shell".into() });
        }
        self.perform(node);
        self.refresh_deadline(node);
    }

    pub(super) fn tick(&mut self, node: usize) {
        self.input(node, Input::Tick);
    }

    /// Both ends learn that they are connected.
    pub(super) fn link_up(&mut self, ends: [End; 2], channel_key: [u8; 32]) {
        for (end, side) in ends.into_iter().zip([Side::Dialled, Side::Accepted]) {
            let other = if end == ends[0] { ends[1] } else { ends[0] };
            let peer = self.nodes[other.node].device();
            self.input(
                end.node,
                Input::LinkUp { link: end.link, peer, side, channel_key, filter: None },
            );
            // From the first word on it says what has left, also where nobody ever reads.
            self.input(end.node, Input::ControlWritten { link: end.link, bytes: 0 });
        }
    }

    pub(super) fn link_down(&mut self, end: End) {
        self.input(end.node, Input::LinkDown { link: end.link });
    }

    pub(super) fn arrived(&mut self, end: End, stream: Stream, bytes: Vec<u8>) {
        self.input(end.node, arrival(end.link, stream, bytes));
    }

    pub(super) fn has_left(&mut self, end: End, stream: Stream, bytes: usize) {
        let link = end.link;
        let input = match stream {
            Stream::Control => Input::ControlWritten { link, bytes },
            Stream::Data(lane) => Input::DataWritten { link, lane, bytes },
        };
        self.input(end.node, input);
    }

    pub(super) fn loaded(&mut self, node: usize, link: LinkId, batches: Vec<Batch>) {
        self.input(node, Input::BatchesLoaded { link, batches });
    }

    /// The replica learns that what it asked for is durable.
    pub(super) fn tell_stored(&mut self, node: usize, write: &Write) {
        let input = match write {
            Write::Own(batch) => Input::LocalBatch { held: Held::of(batch) },
            Write::Batches(batches) => {
                Input::BatchesStored { ids: batches.iter().map(Batch::id).collect() }
            }
            Write::Items(items) => Input::ItemsStored { ids: items.iter().map(Item::id).collect() },
        };
        self.input(node, input);
    }

    /// The replica learns that it is not.
    pub(super) fn tell_not_stored(&mut self, node: usize, write: &Write) {
        let (batches, items) = match write {
            Write::Own(_) => return,
            Write::Batches(batches) => (batches.iter().map(Batch::id).collect(), Vec::new()),
            Write::Items(items) => (Vec::new(), items.iter().map(Item::id).collect()),
        };
        self.input(node, Input::StoreFailed { batches, items, why: Unstored::Failed });
    }

    pub(super) fn tell_item(&mut self, node: usize, item: Item) {
        self.input(node, Input::LocalItem { item });
    }

    /// Plays bytes into a connection of which only one end is real; true if the replica stores
    /// anything because of them.
    pub(crate) fn haunt(
        &mut self,
        (node, peer): (usize, usize),
        record: Vec<(Stream, Vec<u8>)>,
    ) -> bool {
        let link = self.nodes[node].take_link();
        let peer = self.nodes[peer].device();
        let channel_key = self.random.array();
        let mut inputs =
            vec![Input::LinkUp { link, peer, side: Side::Accepted, channel_key, filter: None }];
        inputs.extend(record.into_iter().map(|(stream, bytes)| arrival(link, stream, bytes)));
        inputs.push(Input::LinkDown { link });
        let mut stores = false;
        self.is_haunted = true;
        for input in inputs {
            let now = self.moment(node);
            let replica = &mut self.nodes[node].replica;
            stores |= replica.handle(now, input).is_err();
            let outputs: Vec<Output> = std::iter::from_fn(|| replica.poll()).collect();
            for output in outputs {
                stores |= matches!(output, Output::StoreBatches { .. } | Output::StoreItems { .. });
                self.perform_one(node, output);
            }
        }
        self.is_haunted = false;
        self.refresh_deadline(node);
        stores
    }
}

fn arrival(link: LinkId, stream: Stream, bytes: Vec<u8>) -> Input {
    match stream {
        Stream::Control => Input::Control { link, bytes },
        Stream::Data(lane) => Input::Data { link, lane, bytes },
    }
}
