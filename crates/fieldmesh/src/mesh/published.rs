//! The policy that everybody reads: that of the replica, and what was made here since.

use std::sync::{Arc, MutexGuard};

use fieldmesh_identity::{Item, Policy};

use super::{Mesh, MeshTask};

impl Mesh {
    /// Lets policy items count that were made here; `policy` is what they lead to. Does nothing and
    /// gives false where another one than `before` is in force by now: what a peer has brought since
    /// is in that alone.
    ///
    /// They go on counting while the replica has heard of an earlier one only.
    pub(crate) fn publish_own(&self, items: &[Item], before: &Arc<Policy>, policy: Policy) -> bool {
        let mut unheard = self.unheard();
        let mut published = self.policy.write().expect("no holder of this lock panics");
        let is_latest = Arc::ptr_eq(&published, before);
        if is_latest {
            unheard.extend_from_slice(items);
            *published = Arc::new(policy);
        }
        is_latest
    }

    /// Goes by the replica alone from here on for an item that it takes, whether it finds room for
    /// it or not.
    pub(super) fn heard(&self, item: &Item) {
        self.unheard().retain(|unheard| unheard.id() != item.id());
    }

    fn unheard(&self) -> MutexGuard<'_, Vec<Item>> {
        self.unheard.lock().expect("no holder of this lock panics")
    }
}

impl MeshTask {
    /// Makes the replica's policy the one that everybody reads, with what is in force here and has
    /// not come to the replica so far.
    pub(super) fn publish_policy(&self) {
        let mut unheard = self.mesh.unheard();
        unheard.retain(|item| !self.replica.policy().holds(&item.id()));
        // Evaluated while nobody who reads the policy has to wait.
        let policy = Arc::new(match unheard.is_empty() {
            true => self.replica.policy().clone(),
            false => self.replica.policy_with(&unheard),
        });
        *self.mesh.policy.write().expect("no holder of this lock panics") = policy;
        drop(unheard);
        // It may have decided which of two changes counts.
        self.projector.wake();
    }
}
