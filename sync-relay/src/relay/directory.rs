//! The tenants of a relay as requests name them, and what executes their commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_dialect::Dialects;
use fieldmesh_http::{Executes, Passed};
use fieldmesh_model::TenantId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Relay;
use super::executor::Executor;
use super::slot::Slot;
use crate::accounts;
use crate::gateway::{Tenant, Tenants};
use crate::settings::Grant;

/// What the operator says of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Further names that requests may use.
    pub(crate) aliases: BTreeSet<String>,
    /// The dialects that it uses.
    pub(crate) dialects: Dialects,
    /// How much of the disk it may take, where that differs from the others.
    pub(crate) granted: Option<Grant>,
}

/// The tenants of a relay.
pub(crate) struct Directory {
    relay: Relay,
}

impl Directory {
    pub(crate) const fn new(relay: Relay) -> Self {
        Self { relay }
    }

    fn is_called(&self, slot: &Slot, name: &str) -> bool {
        slot.tenant.slug == name
            || slot.tenant.tenant.short() == name
            || self.relay.said_of(slot).is_some_and(|known| known.aliases.contains(name))
    }

    fn describe(&self, slot: &Slot) -> Tenant {
        let said = self.relay.said_of(slot);
        let mut aliases = said.map(|known| known.aliases.clone()).unwrap_or_default();
        aliases.extend([slot.tenant.slug.clone(), slot.tenant.tenant.short()]);
        let dialects = said.map_or_else(Dialects::all, |known| known.dialects.clone());
        Tenant { id: slot.tenant.tenant, aliases, dialects }
    }
}

impl Relay {
    /// What the operator says of a tenant.
    pub(super) fn said_of(&self, slot: &Slot) -> Option<&Known> {
        let known = &self.inner.known;
        known.get(&slot.tenant.tenant.short()).or_else(|| known.get(&slot.tenant.slug))
    }

    /// What the operator says of tenants that leads to none of them; fragments without a full stop.
    pub(crate) fn name_warnings(&self) -> Vec<String> {
        let slots = self.inner.tenants.slots();
        let called = |slot: &Slot| [slot.tenant.slug.clone(), slot.tenant.tenant.short()];
        let names: BTreeSet<String> = slots.iter().flat_map(|slot| called(slot)).collect();
        let mut warnings = Vec::new();
        for (name, known) in &self.inner.known {
            if !names.contains(name) {
                warnings.push(format!(
                    "[tenants.{name}] is about no tenant of this relay; `sync-relay tenant list` \
                     names those"
                ));
            }
            let is_own = |alias: &&String| {
                slots.iter().any(|slot| {
                    let called = called(slot);
                    called.contains(name) && called.contains(alias)
                })
            };
            let taken = known.aliases.intersection(&names).filter(|alias| !is_own(alias));
            warnings.extend(taken.map(|alias| {
                format!(
                    "{alias:?} is an alias of [tenants.{name}] and the name of another tenant, so \
                     requests by it are for neither"
                )
            }));
        }
        warnings
    }
}

impl Tenants for Directory {
    fn named(&self, name: &str) -> Option<Tenant> {
        let name = name.trim().to_lowercase();
        if let Ok(id) = name.parse::<TenantId>() {
            return self.relay.inner.tenants.slot(&id).map(|slot| self.describe(&slot));
        }
        let slots = self.relay.inner.tenants.slots();
        let mut meant = slots.iter().filter(|slot| self.is_called(slot, &name));
        // What names two tenants names none: nobody is to end up with the other one.
        let first = meant.next()?;
        meant.next().is_none().then(|| self.describe(first))
    }

    fn only(&self) -> Option<Tenant> {
        match self.relay.inner.tenants.slots().as_slice() {
            [slot] => Some(self.describe(slot)),
            _ => None,
        }
    }

    fn passed(&self, tenant: TenantId, device: &str, passed: &Passed) {
        if let Some(slot) = self.relay.inner.tenants.slot(&tenant) {
            slot.fleet().pass(device, passed, accounts::now());
        }
    }

    fn executor(&self, tenant: TenantId) -> BoxFuture<'_, Option<Arc<dyn Executes>>> {
        async move {
            let slot = self.relay.inner.tenants.slot(&tenant)?;
            // Why it cannot be opened is in the log and in the tenant's state.
            let node = self.relay.inner.tenants.node(&slot).await.ok()?;
            let executor: Arc<dyn Executes> =
                Arc::new(Executor::open(node, slot, self.relay.accounts()).await?);
            Some(executor)
        }
        .boxed()
    }
}
