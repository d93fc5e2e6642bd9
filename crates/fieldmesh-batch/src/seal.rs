//! Making a batch from the changes of this device.

use ed25519_dalek::{Signer, SigningKey};
use fieldmesh_model::limits::CHANGE_SIZE_MAX;
use fieldmesh_model::{BatchId, DeviceId, Epoch, Moment, Scope, TenantId};

use crate::batch::{Batch, signed_bytes};
use crate::body::{Body, Salting};
use crate::header::{Header, HeaderError, Priority, VERSION, check_chain, check_size};
use crate::leaf::Leaf;

/// What becomes a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The part of the tenant's data that all its changes belong to.
    pub scope: Scope,
    /// The device that signs it.
    pub author: DeviceId,
    /// The author's run.
    pub epoch: Epoch,
    /// Position in the chain of author, epoch and scope, from 1.
    pub sequence: u64,
    /// The batch before it in the chain; zeros for the first one.
    pub previous: BatchId,
    /// How soon it wants to travel.
    pub priority: Priority,
    /// The earliest change-time.
    pub first: Moment,
    /// The latest change-time.
    pub last: Moment,
    /// The changes, in the order in which they were made.
    pub leaves: Vec<Leaf>,
}

/// A draft that cannot become a batch: a mistake of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The header would be refused by everybody.
    #[error("draft breaks a rule of batches")]
    Header(#[from] HeaderError),
    /// A change without bytes.
    #[error("change {index} is empty")]
    EmptyChange {
        /// Its position.
        index: usize,
    },
    /// A change beyond the limit; it does not fit even alone.
    #[error("change {index} has {length} bytes, limit is {CHANGE_SIZE_MAX}")]
    ChangeTooLarge {
        /// Its position.
        index: usize,
        /// Its size.
        length: usize,
    },
    /// Partition or month do not fit into 24 bits.
    #[error("scope has a partition or month beyond 24 bits")]
    Scope,
    /// The signing key belongs to another device.
    #[error("signing key does not belong to the author")]
    OtherKey,
}

impl Batch {
    /// Signs `draft`. The `salt_seed` is random and secret until the batch is sent.
    ///
    /// # Errors
    ///
    /// Fails for drafts that other replicas would refuse; split or correct them.
    pub fn seal(draft: Draft, key: &SigningKey, salt_seed: [u8; 16]) -> Result<Self, SealError> {
        check(&draft, key)?;
        let length = draft.leaves.iter().map(|leaf| leaf.change.len()).sum();
        check_size(draft.leaves.len(), length)?;
        let body = Body { salting: Salting::Seed(salt_seed), leaves: draft.leaves };
        let count = body.leaves.len();
        let header = Header {
            version: VERSION,
            tenant: draft.tenant,
            scope: draft.scope,
            author: draft.author,
            epoch: draft.epoch,
            sequence: draft.sequence,
            previous: draft.previous,
            first: stored(draft.first),
            last: stored(draft.last),
            priority: draft.priority,
            change_count: u16::try_from(count).expect("invariant: a batch has few changes"),
            raw_length: u32::try_from(length).expect("invariant: a batch is small"),
            merkle_root: body.merkle_root(),
        };
        let header_bytes = header.to_bytes();
        let signature = key.sign(&signed_bytes(&header_bytes)).to_bytes();
        let id = Header::id_of(&header_bytes);
        Ok(Self { header_bytes, header, id, signature: Some(signature), body })
    }
}

fn check(draft: &Draft, key: &SigningKey) -> Result<(), SealError> {
    if DeviceId::of_key(key.verifying_key().as_bytes()) != draft.author {
        return Err(SealError::OtherKey);
    }
    if Scope::from_bytes(draft.scope.to_bytes()) != draft.scope {
        return Err(SealError::Scope);
    }
    check_chain(draft.sequence, &draft.previous)?;
    if stored(draft.first) > stored(draft.last) {
        return Err(HeaderError::Times.into());
    }
    for (index, leaf) in draft.leaves.iter().enumerate() {
        match leaf.change.len() {
            0 => return Err(SealError::EmptyChange { index }),
            length if length > CHANGE_SIZE_MAX => {
                return Err(SealError::ChangeTooLarge { index, length });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A moment as a header keeps it.
fn stored(moment: Moment) -> Moment {
    Moment::from_millis(i64::try_from(moment.to_u48()).expect("invariant: 48 bits fit"))
}
