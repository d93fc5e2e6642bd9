//! A disk in memory: what is written becomes durable later, and a crash loses what is not.

use std::collections::BTreeMap;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, ItemId};
use fieldmesh_trie::Key;

/// What survives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    batches: BTreeMap<BatchId, Batch>,
    items: BTreeMap<ItemId, Item>,
}

/// Something on its way to the disk.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A batch that was sealed here.
    Own(Box<Batch>),
    /// Batches of a peer.
    Batches(Vec<Batch>),
    /// Policy items of a peer.
    Items(Vec<Item>),
}

impl Disk {
    pub(crate) fn write(&mut self, write: &Write) {
        match write {
            Write::Own(batch) => {
                self.batches.insert(batch.id(), (**batch).clone());
            }
            Write::Batches(batches) => {
                self.batches.extend(batches.iter().map(|batch| (batch.id(), batch.clone())));
            }
            Write::Items(items) => self.write_items(items),
        }
    }

    pub(crate) fn write_items(&mut self, items: &[Item]) {
        self.items.extend(items.iter().map(|item| (item.id(), item.clone())));
    }

    pub(crate) fn batch(&self, id: &BatchId) -> Option<&Batch> {
        self.batches.get(id)
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        self.items.values().cloned().collect()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.batches.values().map(|batch| Key::from_bytes(batch.key_bytes()))
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}
