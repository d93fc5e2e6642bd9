//! How a node fares, cheap enough to be asked every few seconds.

use std::collections::BTreeSet;

use fieldmesh_model::DeviceId;

use crate::api::{Dealings, Transport, Vitals};
use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// Counts for monitoring, and whether the store takes what comes; of the disk only the rows of
    /// damage are read.
    ///
    /// # Errors
    ///
    /// The node is shutting down, or what is damaged cannot be read.
    pub async fn vitals(&self) -> Result<Vitals, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let tally = snapshot.tally;
        let damaged = self.blocking(Ledger::damaged_count).await?;
        let quota = self.inner.ledger.store.quota();
        let over_tcp = snapshot.links.iter().filter(|link| link.transport == Transport::Tcp);
        Ok(Vitals {
            connections: snapshot.links.len() as u64,
            connections_over_tcp: over_tcp.count() as u64,
            batches: snapshot.batches,
            bytes_received: tally.bytes_received,
            bytes_sent: tally.bytes_sent,
            append_failures: tally.append_failures,
            quota_refusals: quota.refusals(),
            is_quota_used_up: quota.is_used_up(),
            fault: tally.fault.or_else(|| self.inner.ledger.projector.fault()),
            damaged,
        })
    }

    /// Grants so many bytes of the disk, of which `taken_bytes` are taken; everything where that is
    /// `None`. To be said again now and then: this node counts what it takes itself, and neither what
    /// it frees nor the files beside its store.
    pub fn grant(&self, bytes_max: Option<u64>, taken_bytes: u64) {
        let quota = self.inner.ledger.store.quota();
        quota.measured(taken_bytes);
        quota.grant(bytes_max);
    }

    /// What passed with each device since this was asked last; what nobody asks for is lost with the
    /// node.
    ///
    /// # Errors
    ///
    /// The node is shutting down.
    pub async fn take_dealings(&self) -> Result<Dealings, Error> {
        self.inner.mesh.take_dealings().await.ok_or(Error::ShuttingDown)
    }

    /// The devices that belong to the tenant, by the policy as it is here.
    pub fn members(&self) -> BTreeSet<DeviceId> {
        self.inner.mesh.policy().members().map(|member| member.device).collect()
    }

    /// Whether this node holds the tenant's authority, so that [`Node::invite`] works here.
    pub fn can_invite(&self) -> bool {
        self.inner.ledger.identity.authority_seed.is_some()
    }
}
