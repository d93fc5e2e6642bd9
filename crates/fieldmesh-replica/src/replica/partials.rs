//! Batches of which a link brought only the beginning, kept for the next link to the same peer.

use std::collections::{BTreeMap, VecDeque};

use fieldmesh_model::DeviceId;
use fieldmesh_session::Partial;

use crate::limits::{PARTIAL_PEERS_MAX, PARTIALS_PER_PEER_MAX};

/// The begun batches of the peers that left last; never shown to another peer.
#[derive(Debug, Default)]
pub(super) struct Partials {
    of: BTreeMap<DeviceId, Vec<Partial>>,
    /// Who left first.
    order: VecDeque<DeviceId>,
}

impl Partials {
    pub(super) fn keep(&mut self, peer: DeviceId, mut partials: Vec<Partial>) {
        partials.truncate(PARTIALS_PER_PEER_MAX);
        self.take(&peer);
        if partials.is_empty() {
            return;
        }
        if self.order.len() == PARTIAL_PEERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
        self.order.push_back(peer);
        self.of.insert(peer, partials);
    }

    pub(super) fn take(&mut self, peer: &DeviceId) -> Vec<Partial> {
        self.order.retain(|it| it != peer);
        self.of.remove(peer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(number: u8) -> Partial {
        Partial { id: [number; 32], total: 40_000, bytes: vec![number; 10] }
    }

    #[test]
    fn begun_batches_go_to_the_same_peer_only_and_those_of_the_last_few_peers_are_kept() {
        let mut partials = Partials::default();
        let peer = |number: u8| DeviceId::from_bytes([number; 32]);
        let count = u8::try_from(PARTIAL_PEERS_MAX).unwrap();
        for number in 0..=count {
            partials.keep(peer(number), (0..5).map(|_| partial(number)).collect());
        }
        assert!(partials.take(&peer(0)).is_empty(), "the oldest made room");
        assert_eq!(partials.take(&peer(1)), vec![partial(1); PARTIALS_PER_PEER_MAX]);
        assert!(partials.take(&peer(1)).is_empty(), "given once");
        partials.keep(peer(2), Vec::new());
        assert!(partials.take(&peer(2)).is_empty());
        assert_eq!(partials.of.len(), usize::from(count) - 2);
        assert_eq!(partials.order.len(), partials.of.len());
    }
}
