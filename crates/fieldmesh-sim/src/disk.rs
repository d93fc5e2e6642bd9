//! A disk in memory: what is written becomes durable later, and a crash loses what is not.

use std::collections::BTreeMap;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, ItemId};
use fieldmesh_replica::Held;
use fieldmesh_trie::Key;

/// What survives a crash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    batches: BTreeMap<BatchId, Batch>,
    items: BTreeMap<ItemId, Item>,
    /// The batches in the order in which they became durable.
    log: Vec<BatchId>,
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

/// The key under which a batch stands in the set.
pub(crate) fn key(batch: &Batch) -> Key {
    Key::from_bytes(batch.key_bytes())
}

impl Write {
    /// The batches in it.
    pub(crate) fn batches(&self) -> &[Batch] {
        match self {
            Self::Own(batch) => std::slice::from_ref(batch),
            Self::Batches(batches) => batches,
            Self::Items(_) => &[],
        }
    }

    /// Its bytes.
    pub(crate) fn length(&self) -> usize {
        let batches: usize = self.batches().iter().map(|batch| batch.encode().len()).sum();
        match self {
            Self::Own(_) | Self::Batches(_) => batches,
            Self::Items(items) => items.iter().map(|item| item.encode().len()).sum(),
        }
    }

    /// The first `count` things of it, as a crash in the middle of the write leaves them.
    pub(crate) fn prefix(mut self, count: usize) -> Self {
        match &mut self {
            Self::Own(_) => {}
            Self::Batches(batches) => batches.truncate(count),
            Self::Items(items) => items.truncate(count),
        }
        self
    }
}

impl Disk {
    pub(crate) fn write(&mut self, write: &Write) {
        for batch in write.batches() {
            let id = batch.id();
            let before = self.batches.get(&id);
            if before.is_none() {
                self.log.push(id);
            }
            // A signature is never given up for a copy without one.
            if before.is_none_or(|before| !before.is_signed()) {
                self.batches.insert(id, batch.clone());
            }
        }
        if let Write::Items(items) = write {
            self.write_items(items);
        }
    }

    pub(crate) fn write_items(&mut self, items: &[Item]) {
        self.items.extend(items.iter().map(|item| (item.id(), item.clone())));
    }

    /// Takes out what `erase` takes out of each batch.
    pub(crate) fn erase(&mut self, erase: impl Fn(Batch) -> Batch) {
        for batch in self.batches.values_mut() {
            *batch = erase(batch.clone());
        }
    }

    /// It cannot be read any more.
    pub(crate) fn remove(&mut self, id: &BatchId) -> Option<Batch> {
        self.log.retain(|it| it != id);
        self.batches.remove(id)
    }

    pub(crate) fn batch(&self, id: &BatchId) -> Option<&Batch> {
        self.batches.get(id)
    }

    /// The batches in the order in which they became durable.
    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &Batch> {
        self.log.iter().filter_map(|id| self.batches.get(id))
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        self.items.values().cloned().collect()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.batches.values().map(key)
    }

    /// What a replica is told of the batches.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held> {
        self.batches.values().map(Held::of)
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}
