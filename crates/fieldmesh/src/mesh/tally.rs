//! What a mesh has moved and what failed since it was started, for those who watch over it.

use fieldmesh_replica::{Input, LinkStats};

/// Counts since the mesh was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) append_failures: u64,
    /// Why the store refused what came last; nothing once it took something again.
    pub(crate) fault: Option<String>,
}

impl Tally {
    /// Counts an input on its way to the replica.
    pub(super) fn count(&mut self, input: &Input) {
        match input {
            Input::Control { bytes, .. } | Input::Data { bytes, .. } => {
                self.bytes_received += bytes.len() as u64;
            }
            Input::BatchesStored { .. } | Input::ItemsStored { .. } => self.fault = None,
            _ => {}
        }
    }

    /// Counts bytes on their way to a peer.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
    }

    /// The store did not take what a link sent.
    pub(super) fn failed(&mut self, reason: &str) {
        self.append_failures += 1;
        self.fault = Some(reason.to_owned());
    }
}

/// What passed over two links with one device.
pub(crate) const fn sum(one: &LinkStats, other: &LinkStats) -> LinkStats {
    LinkStats {
        batches_received: one.batches_received + other.batches_received,
        batches_sent: one.batches_sent + other.batches_sent,
        items_received: one.items_received + other.items_received,
        items_sent: one.items_sent + other.items_sent,
        repeated: one.repeated + other.repeated,
        refused: one.refused + other.refused,
        control_bytes_in: one.control_bytes_in + other.control_bytes_in,
        control_bytes_out: one.control_bytes_out + other.control_bytes_out,
        data_bytes_in: one.data_bytes_in + other.data_bytes_in,
        data_bytes_out: one.data_bytes_out + other.data_bytes_out,
        rounds: one.rounds + other.rounds,
        exchanges: one.exchanges + other.exchanges,
    }
}
