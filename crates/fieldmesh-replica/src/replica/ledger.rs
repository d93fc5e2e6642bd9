//! What is on its way to the disk, and which frames wait for it.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Header;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, ItemId};
use fieldmesh_session::{Disk, FrameMark, LinkId};
use fieldmesh_trie::Key;

/// A frame that waits, and the link that brought it.
pub(super) type Frame = (LinkId, FrameMark);

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
    pub(super) frames: Vec<Frame>,
    /// The peers that hold it.
    pub(super) peers: BTreeSet<DeviceId>,
    /// Whether it was refused before; conversations treat it as held until it is.
    pub(super) was_refused: bool,
}

impl<T> Writing<T> {
    pub(super) const fn new(key: Key, origin: LinkId, content: T) -> Self {
        Self {
            key,
            origin,
            content,
            frames: Vec::new(),
            peers: BTreeSet::new(),
            was_refused: false,
        }
    }
}

impl Ledger {
    /// Whether everything that came from `peer` is durable.
    pub(super) fn disk(&self, peer: &DeviceId) -> Disk {
        if self.per_peer.contains_key(peer) { Disk::Writing } else { Disk::Settled }
    }

    pub(super) fn write_batch(&mut self, id: BatchId, writing: Writing<Header>) {
        self.batches.insert(id, writing);
    }

    pub(super) fn write_item(&mut self, id: ItemId, writing: Writing<Item>) {
        self.items.insert(id, writing);
    }

    pub(super) fn is_writing_batch(&self, id: &BatchId) -> bool {
        self.batches.contains_key(id)
    }

    pub(super) fn is_writing_item(&self, id: &ItemId) -> bool {
        self.items.contains_key(id)
    }

    /// A frame of `peer` brought a batch that is being written.
    pub(super) fn join_batch(&mut self, id: &BatchId, peer: DeviceId, frame: Option<Frame>) {
        if let Some(writing) = self.batches.get_mut(id) {
            join(&mut self.per_peer, writing, peer, frame);
        }
    }

    /// A frame of `peer` brought an item that is being written.
    pub(super) fn join_item(&mut self, id: &ItemId, peer: DeviceId, frame: Frame) {
        if let Some(writing) = self.items.get_mut(id) {
            join(&mut self.per_peer, writing, peer, Some(frame));
        }
    }

    /// The keys of batches that were refused before and are being written.
    pub(super) fn refused_before(&self) -> impl Iterator<Item = Key> {
        self.batches.values().filter(|writing| writing.was_refused).map(|writing| writing.key)
    }

    pub(super) fn items_count(&self) -> usize {
        self.items.len()
    }

    /// The batch is durable, or never will be.
    pub(super) fn take_batch(&mut self, id: &BatchId) -> Option<Writing<Header>> {
        let writing = self.batches.remove(id)?;
        self.less(&writing.peers);
        Some(writing)
    }

    /// The item is durable, or never will be.
    pub(super) fn take_item(&mut self, id: &ItemId) -> Option<Writing<Item>> {
        let writing = self.items.remove(id)?;
        self.less(&writing.peers);
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

    fn less(&mut self, peers: &BTreeSet<DeviceId>) {
        for peer in peers {
            if let Some(count) = self.per_peer.get_mut(peer) {
                *count -= 1;
                if *count == 0 {
                    self.per_peer.remove(peer);
                }
            }
        }
    }
}

fn join<T>(
    per_peer: &mut BTreeMap<DeviceId, u64>,
    writing: &mut Writing<T>,
    peer: DeviceId,
    frame: Option<Frame>,
) {
    writing.frames.extend(frame);
    if writing.peers.insert(peer) {
        *per_peer.entry(peer).or_default() += 1;
    }
}
