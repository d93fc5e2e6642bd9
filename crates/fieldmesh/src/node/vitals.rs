//! How a node fares, cheap enough to be asked every few seconds.

use crate::api::{Transport, Vitals};
use crate::error::Error;

use super::Node;

impl Node {
    /// Counts for monitoring, and whether the store takes what comes; never waits for a disk.
    ///
    /// # Errors
    ///
    /// The node is shutting down.
    pub async fn vitals(&self) -> Result<Vitals, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let tally = snapshot.tally;
        let over_tcp = snapshot.links.iter().filter(|link| link.transport == Transport::Tcp);
        Ok(Vitals {
            connections: snapshot.links.len() as u64,
            connections_over_tcp: over_tcp.count() as u64,
            batches: snapshot.batches,
            bytes_received: tally.bytes_received,
            bytes_sent: tally.bytes_sent,
            append_failures: tally.append_failures,
            fault: tally.fault.or_else(|| self.inner.ledger.projector.fault()),
        })
    }

    /// Whether this node holds the tenant's authority, so that [`Node::invite`] works here.
    pub fn can_invite(&self) -> bool {
        self.inner.ledger.identity.authority_seed.is_some()
    }
}
