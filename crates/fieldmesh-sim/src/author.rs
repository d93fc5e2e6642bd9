//! A device's own batches: chains, scopes, dates and contents as a crew would make them.

use std::collections::BTreeMap;

use fieldmesh_batch::{Batch, Draft, Leaf, Priority, SealError};
use fieldmesh_identity::DeviceKeys;
use fieldmesh_model::{BatchId, DocumentId, Epoch, Moment, Scope, TenantId};

use crate::random::Random;

/// A date that no honest clock shows: batches from 2060.
const FAR_FUTURE: Moment = Moment::from_millis(2_840_140_800_000);

/// Where a device's chains stand.
pub(crate) struct Author {
    keys: DeviceKeys,
    tenant: TenantId,
    epoch: Epoch,
    heads: BTreeMap<Scope, (u64, BatchId)>,
}

impl Author {
    pub(crate) fn new(keys: DeviceKeys, tenant: TenantId, random: &mut Random) -> Self {
        Self { keys, tenant, epoch: Epoch(random.next()), heads: BTreeMap::new() }
    }

    pub(crate) const fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(crate) const fn keys(&self) -> &DeviceKeys {
        &self.keys
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The device cannot be sure of its own past any more.
    pub(crate) fn begin_epoch(&mut self, random: &mut Random) {
        self.epoch = Epoch(random.next());
        self.heads.clear();
    }

    /// Seals a batch that says nothing; one of `large_once_in` is large.
    pub(crate) fn seal_noise(
        &mut self,
        now: Moment,
        large_once_in: u64,
        random: &mut Random,
    ) -> Result<Batch, SealError> {
        let at = match random.index(40) {
            0 => FAR_FUTURE,
            1 => Moment::ZERO,
            _ => now,
        };
        let partition = u32::try_from(random.index(3)).unwrap_or(0);
        let leaves = leaves(large_once_in, random);
        self.seal(Scope::of(3, partition, at), at, leaves, random)
    }

    /// Seals the next batch of its chain.
    pub(crate) fn seal(
        &mut self,
        scope: Scope,
        at: Moment,
        leaves: Vec<Leaf>,
        random: &mut Random,
    ) -> Result<Batch, SealError> {
        let (sequence, previous) = self.heads.get(&scope).copied().unwrap_or_default();
        let draft = Draft {
            tenant: self.tenant,
            scope,
            author: self.keys.device(),
            epoch: self.epoch,
            sequence: sequence + 1,
            previous,
            priority: Priority::NORMAL,
            first: at,
            last: at,
            leaves,
        };
        let batch = Batch::seal(draft, self.keys.signing_key(), random.array())?;
        self.heads.insert(scope, (sequence + 1, batch.id()));
        Ok(batch)
    }
}

fn leaves(large_once_in: u64, random: &mut Random) -> Vec<Leaf> {
    let is_large = random.once_in(large_once_in);
    let count = if is_large { 1 } else { 1 + random.index(6) };
    let length_max = if is_large { 60_000 } else { 400 };
    (0..count)
        .map(|_| {
            let length = usize::try_from(random.between(20, length_max)).unwrap_or(20);
            let mut change = random.bytes(length);
            if !is_large {
                // Half of it repeats, as text does.
                change[length / 2..].fill(b'a');
            }
            Leaf { document: DocumentId::from_bytes(random.array()), change }
        })
        .collect()
}
