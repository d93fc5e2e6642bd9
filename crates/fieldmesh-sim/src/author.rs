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
    priority: Priority,
}

/// What kind of batch is to be sealed.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// One of so many is large.
    pub(crate) large_once_in: u64,
    /// One of so many is critical; 0 if none is.
    pub(crate) critical_once_in: u64,
    /// The first month that the device holds: what is older counts among that.
    pub(crate) since: u32,
    /// Whether its scope is one that the device holds.
    pub(crate) fits: &'a dyn Fn(&Scope) -> bool,
}

impl Author {
    pub(crate) fn new(keys: DeviceKeys, tenant: TenantId, random: &mut Random) -> Self {
        Self {
            keys,
            tenant,
            epoch: Epoch(random.next()),
            heads: BTreeMap::new(),
            priority: Priority::NORMAL,
        }
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

    /// Goes back in one of its chains, so that what it seals next is a second one for its place.
    pub(crate) fn fork(&mut self, batch: &Batch) {
        let header = batch.header();
        if header.epoch == self.epoch && header.author == self.keys.device() {
            self.heads.insert(header.scope, (header.sequence, batch.id()));
        }
    }

    /// Seals a batch that says nothing.
    pub(crate) fn seal_noise(
        &mut self,
        now: Moment,
        wish: Wish<'_>,
        random: &mut Random,
    ) -> Result<Batch, SealError> {
        let dates = [FAR_FUTURE, Moment::ZERO, now];
        let at = dates[random.index(40).min(2)];
        let held = |scope: Scope| Scope { month: scope.month.max(wish.since), ..scope };
        let mut scope = held(Scope::of(3, u32::try_from(random.index(3)).unwrap_or(0), at));
        // Who holds a part only works in that part.
        if !(wish.fits)(&scope) {
            let scopes = (0..3).map(|partition| held(Scope::of(3, partition, at)));
            scope = scopes.into_iter().find(wish.fits).unwrap_or(scope);
        }
        let leaves = leaves(wish.large_once_in, random);
        let is_critical = wish.critical_once_in > 0 && random.once_in(wish.critical_once_in);
        self.priority = if is_critical { Priority::CRITICAL } else { Priority::NORMAL };
        self.seal(scope, at, leaves, random)
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
            priority: self.priority,
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
