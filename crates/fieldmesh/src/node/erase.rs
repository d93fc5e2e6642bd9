//! What a node does when it learns that its own device was revoked.

use std::sync::atomic::Ordering;

use fieldmesh_identity::Policy;
use fieldmesh_model::DeviceId;

use crate::error::Error;
use crate::ledger::{Ledger, revoker};
use crate::mesh::Call;

use super::{Inner, Node};

impl Node {
    /// Looks whether the policy shuts this device out, and erases the home if it orders that.
    ///
    /// An order that came in an exchange is obeyed when the exchange of items is over: what takes it
    /// back may come in the same one.
    ///
    /// The keys go at once, the store when the node is shut down; every call fails from here on.
    pub(super) async fn obey_policy(&self) {
        let inner = std::sync::Arc::clone(&self.inner);
        let policy = self.inner.mesh.policy();
        let is_agreed = self.inner.mesh.news().borrow().is_policy_agreed();
        // Nothing comes before the order: what cannot be written must not put it off.
        let Some(reason) = order(&policy, &inner.ledger.device()).filter(|_| is_agreed) else {
            if let Err(error) = self.blocking(Ledger::note_own_end).await {
                tracing::warn!(%error, "when this device was revoked could not be written");
            }
            return;
        };
        // One of those that learn of it does it; the second one would find another home here.
        if inner.is_erasing.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(reason, "this home erases itself");
        inner.rekey.ask_to_stop();
        let words = reason.clone();
        let erased = tokio::task::spawn_blocking(move || inner.home.erase_keys(&words)).await;
        let told = erased.unwrap_or_else(|error| {
            tracing::error!(%error, "a home was not erased in order");
            format!("{reason}, which is not done in order ({error}); look into its folder")
        });
        self.inner.erased.send_replace(Some(told));
        self.inner.mesh.urgent(Call::Stop);
    }

    /// Whether there is an order to erase that is obeyed once a peer has told all it knows.
    pub(super) fn awaits_agreement(&self) -> bool {
        let has_order = order(&self.inner.mesh.policy(), &self.inner.ledger.device()).is_some();
        has_order && !self.inner.mesh.news().borrow().is_policy_agreed()
    }

    /// Waits until the home has erased itself; gives the reason, in words.
    pub async fn erased(&self) -> String {
        let mut erased = self.inner.erased.subscribe();
        match erased.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The node is gone, and with it whoever would have erased anything.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Inner {
    /// Fails once the home has erased itself.
    pub(super) fn check_erased(&self) -> Result<(), Error> {
        match self.erased.borrow().clone() {
            Some(reason) => Err(Error::Erased { reason }),
            None => Ok(()),
        }
    }
}

/// What the policy orders `device` to do, in words, if it is to erase itself.
fn order(policy: &Policy, device: &DeviceId) -> Option<String> {
    // A demotion orders nothing, whatever it says beside.
    let revocation = policy.revocation(device).filter(|_| policy.is_revoked(device))?;
    if !revocation.wipe {
        return None;
    }
    let why = match revocation.reason.trim() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    Some(format!(
        "this device was revoked{why} by {} with the order to erase its home",
        revoker(policy, device)
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fieldmesh_model::Role;
    use fieldmesh_replica::{Event, LinkId, LinkStats};

    use super::*;
    use crate::TenantOptions;
    use crate::api::{InviteOptions, RevokeOptions};
    use crate::mesh::MeshEvent;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_home_is_not_erased_before_the_peer_has_told_all_it_knows_of_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("lead")).passphrase("one");
        let (lead, _) = builder.create_tenant(options).await.unwrap();
        lead.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
        let valid = Duration::from_secs(600);
        let invite = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
        let invitation = lead.invite(invite).await.unwrap().remove(0).invitation;
        let home = folder.path().join("truck");
        let builder = Node::builder(&home).passphrase("two");
        let (truck, _) = builder.join(&invitation, Some("truck".into())).await.unwrap();
        let wipe = RevokeOptions { reason: "stolen".into(), wipe: true };
        lead.revoke("truck", wipe).await.unwrap();

        // The first part of what a peer knows arrives.
        let items = lead.blocking(Ledger::policy_items).await.unwrap();
        let add = move |ledger: &Ledger| ledger.add_items(&items);
        truck.blocking(add).await.unwrap();
        truck.inner.mesh.announce(MeshEvent::Replica(Event::PolicyChanged));
        truck.obey_policy().await;
        assert!(truck.inner.check_erased().is_ok());
        assert!(home.join("identity").exists());

        let (link, stats) = (LinkId(1), LinkStats::default());
        truck.inner.mesh.announce(MeshEvent::Replica(Event::InStep { link, stats }));
        assert!(truck.erased().await.contains("stolen"));
        assert!(!home.join("identity").exists());
        truck.shutdown().await.unwrap();
        lead.shutdown().await.unwrap();
    }
}
