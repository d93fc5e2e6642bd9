//! How much of the disk each tenant may take.
//!
//! All files of a tenant's home count. A store that is open counts what it takes itself; what it
//! frees, and what lies beside it, it is told now and then by being measured anew.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use fieldmesh::Node;
use fieldmesh::api::TenantReport;

use super::pool::Pool;
use super::slot::Slot;
use super::{Known, Relay};
use crate::data::size_on_disk;
use crate::settings::Grant;

/// What the operator grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quotas {
    others: Grant,
    /// By slug or by the end of the id.
    tenants: BTreeMap<String, Grant>,
}

impl Quotas {
    /// What `known` says of each tenant, and of `others` that it says nothing of.
    pub(crate) fn new(others: Grant, known: &BTreeMap<String, Known>) -> Self {
        let said = |(name, known): (&String, &Known)| Some((name.clone(), known.granted?));
        Self { others, tenants: known.iter().filter_map(said).collect() }
    }

    /// What all others are granted.
    pub(crate) const fn others(&self) -> Grant {
        self.others
    }

    /// What single tenants are granted.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&str, Grant)> {
        self.tenants.iter().map(|(name, grant)| (name.as_str(), *grant))
    }

    fn of(&self, tenant: &TenantReport) -> Grant {
        let said = self.tenants.get(&tenant.tenant.short());
        said.or_else(|| self.tenants.get(&tenant.slug)).copied().unwrap_or(self.others)
    }
}

impl Pool {
    /// How many bytes a tenant may take; nothing where there is no limit.
    pub(super) fn bytes_max(&self, slot: &Slot) -> Option<u64> {
        let quotas = self.inner.quotas.read().unwrap_or_else(PoisonError::into_inner);
        quotas.of(&slot.tenant).bytes_max()
    }

    /// Tells an open tenant what it is granted and how much of that it takes.
    pub(super) async fn grant(&self, slot: &Slot, node: &Node) {
        let bytes_max = self.bytes_max(slot);
        let taken = if bytes_max.is_some() { size(slot).await } else { 0 };
        node.grant(bytes_max, taken);
    }

    /// Has other quotas hold from here on.
    pub(super) async fn grant_all(&self, quotas: Quotas) {
        *self.inner.quotas.write().unwrap_or_else(PoisonError::into_inner) = quotas;
        for slot in self.slots() {
            // One that is being opened may still be told the quota of before.
            let open = slot.node.lock().await;
            let node = open.clone();
            drop(open);
            if let Some(node) = node {
                self.grant(&slot, &node).await;
            }
        }
    }
}

impl Relay {
    /// Has other quotas hold from here on.
    pub(crate) async fn set_quotas(&self, quotas: Quotas) {
        self.inner.tenants.grant_all(quotas).await;
    }
}

/// The bytes of all files of a tenant.
pub(super) async fn size(slot: &Slot) -> u64 {
    let home = slot.home.clone();
    tokio::task::spawn_blocking(move || size_on_disk(&home)).await.unwrap_or_default()
}
