//! Receipts: signed for what is durable, kept for the next run.

use fieldmesh_batch::Receipt;
use fieldmesh_replica::{Doubt, Input, LinkId};

use super::World;
use crate::cable::End;
use crate::check;
use crate::node::Part;

impl World<'_> {
    /// The device's key signs a receipt.
    pub(super) fn sign(&mut self, node: usize, link: LinkId, receipt: &Receipt) {
        self.note("signs", node);
        self.check(|world| check::receipts::signs(world, node, receipt));
        let state = &mut self.nodes[node];
        state.signed_until = state.signed_until.max(Some(receipt.at));
        self.answered.entry(End { node, link }).or_insert(self.now);
        let bytes = receipt.sign(self.nodes[node].author.keys().signing_key());
        self.input(node, Input::Signed { link, bytes });
    }

    /// A node counts that its disk was put back; a relay with two faces would rather not.
    pub(super) fn raise_epoch(&mut self, node: usize, epoch: u64) {
        self.note("raises its epoch", node);
        let is_face = self.nodes[node].part == Part::Face;
        if !is_face && !self.nodes[node].was_put_back {
            let device = self.nodes[node].device();
            self.check(|world| check::withholding::doubts(world, node, device));
        }
        let epoch = if is_face { epoch - 1 } else { epoch };
        self.nodes[node].raise_epoch(epoch);
        self.input(node, Input::EpochRaised { epoch });
    }

    /// A node does not believe any more what a store signed.
    pub(super) fn keep_doubt(&mut self, node: usize, doubt: Doubt) {
        self.note("doubts", node);
        self.nodes[node].doubts.push(doubt);
        self.check(|world| check::withholding::doubts(world, node, doubt.device));
    }

    /// A receipt proves something new to a node.
    pub(super) fn keep_receipt(&mut self, node: usize, receipt: &Receipt) {
        self.nodes[node].receipts.push(receipt.clone());
        self.check(|world| check::receipts::proves(world, node, receipt));
    }
}
