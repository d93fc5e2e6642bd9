//! Whether a batch belongs to the set: a pure function of its bytes and the policy.

use fieldmesh_batch::{Batch, SignatureError};
use fieldmesh_identity::{Policy, Refusal};
use fieldmesh_model::TenantId;

/// Why a batch is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseReason {
    /// It belongs to another tenant.
    #[error("batch belongs to another tenant")]
    Tenant {
        /// The tenant it names.
        tenant: TenantId,
    },
    /// The author's signature does not stand.
    #[error("signature does not stand")]
    Signature(#[from] SignatureError),
    /// Somebody on the way took leaves out of it; another peer may have it whole.
    #[error("leaves of the batch are missing")]
    Erased,
    /// The policy does not let the author write this.
    #[error("policy does not allow it")]
    Policy(#[from] Refusal),
}

impl RefuseReason {
    /// Whether another policy could allow the batch.
    pub const fn may_pass_later(&self) -> bool {
        matches!(self, Self::Policy(_))
    }
}

/// Whether `batch` belongs to the set of the tenant.
pub(crate) fn judge(policy: &Policy, batch: &Batch) -> Result<(), RefuseReason> {
    let header = batch.header();
    if header.tenant != policy.tenant() {
        return Err(RefuseReason::Tenant { tenant: header.tenant });
    }
    // Nothing may be erased so far, so whoever sends a batch with gaps made them.
    if batch.has_erased_leaves() {
        return Err(RefuseReason::Erased);
    }
    policy.may_write(&header.author, &header.scope)?;
    let Some(key) = policy.verifying_key(&header.author) else {
        return Err(Refusal::UnknownDevice { device: header.author }.into());
    };
    batch.verify(key)?;
    Ok(())
}
