//! How many changes each link has carried: what people count, where the wire counts batches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fieldmesh_batch::Batch;
use fieldmesh_replica::LinkId;

/// Links of which the counts are kept, those that are gone among them; the oldest go first.
const LINKS_MAX: usize = 4_096;

/// The changes that passed over one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Carried {
    /// What has passed since `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
        }
    }
}

/// The counts of all links, shared with whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Freights(Arc<Mutex<BTreeMap<LinkId, Carried>>>);

impl Freights {
    pub(super) fn received(&self, link: LinkId, changes: u64) {
        self.change(link, |carried| carried.received += changes);
    }

    pub(super) fn sent(&self, link: LinkId, changes: u64) {
        self.change(link, |carried| carried.sent += changes);
    }

    pub(super) fn all(&self) -> BTreeMap<LinkId, Carried> {
        self.lock().clone()
    }

    fn change(&self, link: LinkId, change: impl FnOnce(&mut Carried)) {
        let mut links = self.lock();
        change(links.entry(link).or_default());
        if links.len() > LINKS_MAX {
            links.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LinkId, Carried>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// The changes in `batches`.
pub(super) fn changes(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.leaves().len() as u64).sum()
}
