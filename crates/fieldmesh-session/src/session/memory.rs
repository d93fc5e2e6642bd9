//! What a conversation keeps in memory.

use fieldmesh_trie::KEY_LENGTH;

use super::{Held, Phase, Session};
use crate::interface::Output;

impl Session {
    /// The bytes that this conversation keeps for its peer, at most
    /// [`crate::limits::held_max`]: what is not understood, not whole, not polled or not sent yet.
    ///
    /// The fixed size of the session and of its compressors is not part of it.
    pub fn held_bytes(&self) -> usize {
        let described = match &self.phase {
            Phase::Exchanging(exchange) => exchange.held(),
            Phase::Greeting | Phase::Checking | Phase::Resting => 0,
        };
        let keys = self.offers.len() + self.names.len() + self.excluded.len();
        self.control.held()
            + self.held.as_ref().map_or(0, Held::bytes)
            + self.receiver.held()
            + self.sender.held()
            + keys * KEY_LENGTH
            + described
            + self.outputs.iter().map(held_by).sum::<usize>()
    }
}

fn held_by(output: &Output) -> usize {
    let content = match output {
        Output::Control(bytes) | Output::Data(_, bytes) => bytes.len(),
        Output::Received(received) => received.bytes.len(),
        Output::Load(_, keys) | Output::Offered(keys) | Output::Unproven(keys) => {
            keys.len() * KEY_LENGTH
        }
        Output::Receipts(receipts) => receipts.iter().map(Vec::len).sum(),
        Output::Greeted(greeting) => greeting.filter.encode().iter().map(Vec::len).sum(),
        Output::InStep | Output::Stalled => 0,
    };
    size_of::<Output>() + content
}
