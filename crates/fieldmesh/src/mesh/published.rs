//! The policy that everybody reads: that of the replica, and what was made here since.

use std::sync::{Arc, MutexGuard};

use fieldmesh_identity::{Item, Policy};

use super::{Mesh, MeshTask};

impl Mesh {
    /// Lets a policy item count that was made here; `policy` is what it leads to.
    ///
    /// It goes on counting while the replica has heard of an earlier one only.
    pub(crate) fn publish_own(&self, item: &Item, policy: Policy) {
        let mut published = self.policy.write().expect("no holder of this lock panics");
        self.unheard().push(item.clone());
        *published = Arc::new(policy);
    }

    fn unheard(&self) -> MutexGuard<'_, Vec<Item>> {
        self.unheard.lock().expect("no holder of this lock panics")
    }
}

impl MeshTask {
    /// Makes the replica's policy the one that everybody reads, with what is in force here and has
    /// not come to the replica so far.
    pub(super) fn publish_policy(&self) {
        let mut published = self.mesh.policy.write().expect("no holder of this lock panics");
        let mut unheard = self.mesh.unheard();
        unheard.retain(|item| !self.replica.policy().holds(&item.id()));
        *published = Arc::new(match unheard.is_empty() {
            true => self.replica.policy().clone(),
            false => self.replica.policy_with(&unheard),
        });
        drop((published, unheard));
        // It may have decided which of two changes counts.
        self.projector.wake();
    }
}
