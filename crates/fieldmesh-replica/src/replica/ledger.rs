//! What is on its way to the disk, and which frames wait for it.

use std::collections::BTreeMap;

use fieldmesh_batch::Header;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, ItemId};
use fieldmesh_session::{Disk, FrameMark, LinkId};
use fieldmesh_trie::Key;

/// Everything that was given to the shell to store and is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    batches: BTreeMap<BatchId, Writing<Header>>,
    items: BTreeMap<ItemId, Writing<Item>>,
    /// How many of these came from each peer.
    per_peer: BTreeMap<DeviceId, u64>,
}

/// One batch or item that is being written.
#[derive(Debug)]
pub(super) struct Writing<T> {
    pub(super) key: Key,
    /// The link that brought the first copy.
    pub(super) origin: LinkId,
    pub(super) content: T,
    /// The frames of all copies that wait; the first one brought it.
    pub(super) frames: Vec<(LinkId, FrameMark)>,
    pub(super) peer: DeviceId,
}

impl<T> Writing<T> {
    pub(super) const fn new(key: Key, origin: LinkId, peer: DeviceId, content: T) -> Self {
        Self { key, origin, content, frames: Vec::new(), peer }
    }
}

impl Ledger {
    /// Whether everything that came from `peer` is durable.
    pub(super) fn disk(&self, peer: &DeviceId) -> Disk {
        if self.per_peer.contains_key(peer) { Disk::Writing } else { Disk::Settled }
    }

    pub(super) fn write_batch(&mut self, id: BatchId, writing: Writing<Header>) {
        *self.per_peer.entry(writing.peer).or_default() += 1;
        self.batches.insert(id, writing);
    }

    pub(super) fn write_item(&mut self, id: ItemId, writing: Writing<Item>) {
        *self.per_peer.entry(writing.peer).or_default() += 1;
        self.items.insert(id, writing);
    }

    pub(super) fn batch(&mut self, id: &BatchId) -> Option<&mut Writing<Header>> {
        self.batches.get_mut(id)
    }

    pub(super) fn item(&mut self, id: &ItemId) -> Option<&mut Writing<Item>> {
        self.items.get_mut(id)
    }

    pub(super) fn items_count(&self) -> usize {
        self.items.len()
    }

    /// The batch is durable.
    pub(super) fn batch_stored(&mut self, id: &BatchId) -> Option<Writing<Header>> {
        let writing = self.batches.remove(id)?;
        self.less(&writing.peer);
        Some(writing)
    }

    /// The item is durable.
    pub(super) fn item_stored(&mut self, id: &ItemId) -> Option<Writing<Item>> {
        let writing = self.items.remove(id)?;
        self.less(&writing.peer);
        Some(writing)
    }

    /// The link is gone; what it brought is stored all the same.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        for writing in self.batches.values_mut() {
            writing.frames.retain(|(id, _)| *id != link);
        }
        for writing in self.items.values_mut() {
            writing.frames.retain(|(id, _)| *id != link);
        }
    }

    fn less(&mut self, peer: &DeviceId) {
        if let Some(count) = self.per_peer.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(peer);
            }
        }
    }
}
