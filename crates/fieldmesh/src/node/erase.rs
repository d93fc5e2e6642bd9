//! What a node does when it learns that its own device was revoked.

use std::sync::atomic::Ordering;

use fieldmesh_identity::Policy;
use fieldmesh_model::DeviceId;

use crate::error::Error;
use crate::mesh::Call;

use super::{Inner, Node};

impl Node {
    /// Looks whether the policy shuts this device out, and erases the home if it orders that.
    ///
    /// The keys go at once, the store when the node is shut down; every call fails from here on.
    pub(super) async fn obey_policy(&self) {
        let inner = std::sync::Arc::clone(&self.inner);
        let policy = self.inner.mesh.policy();
        let Some(reason) = order(&policy, &inner.ledger.device()) else { return };
        // One of those that learn of it does it; the second one would find another home here.
        if inner.is_erasing.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(reason, "this home erases itself");
        let words = reason.clone();
        let erased = tokio::task::spawn_blocking(move || inner.home.erase_keys(&words)).await;
        let failure = match erased {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let reason = match failure {
            None => reason,
            Some(error) => {
                tracing::error!(error, "a home was not erased in order");
                format!("{reason} (not all of it went in order: {error}; look into its folder)")
            }
        };
        self.inner.erased.send_replace(Some(reason));
        self.inner.mesh.urgent(Call::Stop);
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
pub(super) fn order(policy: &Policy, device: &DeviceId) -> Option<String> {
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
        "this device was revoked{why} with the order to erase its home, which is done; what it had \
         sent to others is safe with them; join again with a new invitation"
    ))
}
