//! Whether a batch is authentic and belongs to the tenant: a function of its bytes and the policy.

use fieldmesh_batch::{Batch, SignatureError};
use fieldmesh_identity::{Policy, Refusal};
use fieldmesh_model::{Scope, TenantId};

use crate::limits::{QUARANTINE_MAX, QUARANTINE_PER_AUTHOR_MAX};

/// Why a batch is not stored, or is stored and does not count.
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
    /// Somebody on the way took leaves out of it that nobody purged, as far as is known here;
    /// another peer may have it whole.
    #[error("leaves of the batch are missing that nobody purged")]
    Erased,
    /// It lies outside what both sides of the link may read and want to hold.
    #[error(
        "collection {}, partition {} lie outside of what the link may carry",
        .scope.collection, .scope.partition
    )]
    Outside {
        /// Where it lies.
        scope: Scope,
    },
    /// Too many batches are held that do not count.
    #[error("{QUARANTINE_MAX} batches that do not count are held already")]
    QuarantineFull,
    /// Too many batches of its author are held that do not count.
    #[error("{QUARANTINE_PER_AUTHOR_MAX} batches of its author that do not count are held already")]
    QuarantineShare,
    /// Its author was revoked, and no head that the policy names leads to it.
    #[error("its author was revoked, and no accepted head leads to it")]
    BeyondHeads,
    /// The policy does not let the author write this.
    #[error("policy does not allow it")]
    Policy(#[from] Refusal),
}

impl RefuseReason {
    /// Whether another policy could allow the batch.
    pub const fn may_pass_later(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::BeyondHeads)
    }
}

/// How a batch shows who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// By its signature.
    Signature,
    /// It has none: an authentic batch has to name it.
    Successor,
}

/// Whether `batch` belongs to the tenant and comes from a known author, and what shows that.
pub(crate) fn judge(policy: &Policy, batch: &Batch) -> Result<Evidence, RefuseReason> {
    let header = batch.header();
    if header.tenant != policy.tenant() {
        return Err(RefuseReason::Tenant { tenant: header.tenant });
    }
    if !has_known_gaps(policy, batch) {
        return Err(RefuseReason::Erased);
    }
    let Some(key) = policy.verifying_key(&header.author) else {
        return Err(Refusal::UnknownDevice { device: header.author }.into());
    };
    if !batch.is_signed() {
        return Ok(Evidence::Successor);
    }
    batch.verify(key)?;
    Ok(Evidence::Signature)
}

/// Whether a purge names every leaf that the batch lacks, so that nobody hides another one.
pub fn has_known_gaps(policy: &Policy, batch: &Batch) -> bool {
    batch.erased_hashes().all(|hash| policy.is_purged_leaf(hash))
}

/// The batch without the contents that purges name; whoever signed it still stands for it.
///
/// The hash of a leaf decides and not its document, of which a gap tells nothing: so replicas that
/// got a batch whole and those that got it with gaps hold the same in the end. A leaf of a purged
/// document that no purge names so far stays, for with an unknown gap nobody would take the batch
/// and what else is in it.
pub fn without_purged(policy: &Policy, batch: Batch) -> Batch {
    if !policy.has_purges() {
        return batch;
    }
    let hashes = batch.leaf_hashes();
    let purged = hashes.iter().enumerate().filter(|(_, hash)| policy.is_purged_leaf(hash));
    purged.fold(batch, |batch, (index, _)| match batch.leaves().get(index) {
        // A purge of one record that names a leaf of another erases nothing of that.
        Some(leaf) if !leaf.is_erased() && policy.is_purged(&leaf.document) => {
            batch.erase(index).unwrap_or(batch)
        }
        _ => batch,
    })
}
