//! Receipts: signed for what is durable, kept for the next run.

use fieldmesh_batch::Receipt;
use fieldmesh_replica::{Input, LinkId};

use super::World;
use crate::check;

impl World<'_> {
    /// The device's key signs a receipt.
    pub(super) fn sign(&mut self, node: usize, link: LinkId, receipt: &Receipt) {
        self.note("signs", node);
        self.check(|world| check::receipts::signs(world, (node, link), receipt));
        let bytes = receipt.sign(self.nodes[node].author.keys().signing_key());
        self.input(node, Input::Signed { link, bytes });
    }

    /// A receipt proves something new to a node.
    pub(super) fn keep_receipt(&mut self, node: usize, receipt: &Receipt) {
        self.nodes[node].receipts.push(receipt.clone());
        self.check(|world| check::receipts::proves(world, node, receipt));
    }
}
