//! What is on its way to the disk, and which frames wait for it.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_batch::Chain;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, ItemId};
use fieldmesh_session::{Disk, FrameMark, LinkId};
use fieldmesh_trie::Key;

use crate::interface::Held;

/// A frame that waits, and the link that brought it.
pub(super) type Frame = (LinkId, FrameMark);

/// Everything that was given to the shell to store and is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    batches: BTreeMap<BatchId, Writing<Arriving>>,
    /// The places that batches being written name as before them, and how many do.
    named: BTreeMap<(BatchId, Chain, u64), usize>,
    /// How many of the batches do not count.
    aside: usize,
    items: BTreeMap<ItemId, Writing<Item>>,
    /// How many of the items each signer has.
    per_signer: BTreeMap<[u8; 32], usize>,
    /// How many of these came from each peer.
    per_peer: BTreeMap<DeviceId, usize>,
}

/// A batch that is being written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    pub(super) held: Held,
    /// Whether the shell was told that it does not count.
    pub(super) is_aside: bool,
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

    pub(super) fn write_batch(&mut self, writing: Writing<Arriving>) {
        let Arriving { held, is_aside } = writing.content;
        *self.named.entry(before(&held)).or_default() += 1;
        self.aside += usize::from(is_aside);
        self.batches.insert(held.id, writing);
    }

    /// Whether a batch that is being written names `held` as the one before it.
    pub(super) fn is_named(&self, held: &Held) -> bool {
        self.named.contains_key(&(held.id, held.chain(), held.sequence))
    }

    /// How many batches are being written that do not count.
    pub(super) const fn aside_count(&self) -> usize {
        self.aside
    }

    pub(super) fn write_item(&mut self, id: ItemId, writing: Writing<Item>) {
        *self.per_signer.entry(*writing.content.signer()).or_default() += 1;
        self.items.insert(id, writing);
    }

    /// How many items are being written of a signer, by its public key.
    pub(super) fn items_of(&self, signer: &[u8; 32]) -> usize {
        self.per_signer.get(signer).copied().unwrap_or(0)
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

    /// The batch was refused in conversations that treat it as held until it is.
    pub(super) fn was_refused(&mut self, id: &BatchId) {
        if let Some(writing) = self.batches.get_mut(id) {
            writing.was_refused = true;
        }
    }

    /// The batch is durable, or never will be.
    pub(super) fn take_batch(&mut self, id: &BatchId) -> Option<Writing<Arriving>> {
        let writing = self.batches.remove(id)?;
        let Arriving { held, is_aside } = writing.content;
        self.aside -= usize::from(is_aside);
        decrease(&mut self.named, &before(&held));
        self.less(&writing.peers);
        Some(writing)
    }

    /// The item is durable, or never will be.
    pub(super) fn take_item(&mut self, id: &ItemId) -> Option<Writing<Item>> {
        let writing = self.items.remove(id)?;
        decrease(&mut self.per_signer, writing.content.signer());
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
            decrease(&mut self.per_peer, peer);
        }
    }
}

/// The place that `held` names as the one before it.
fn before(held: &Held) -> (BatchId, Chain, u64) {
    (held.previous, held.chain(), held.sequence.saturating_sub(1))
}

/// Counts one less, and forgets what comes to nothing.
fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn join<T>(
    per_peer: &mut BTreeMap<DeviceId, usize>,
    writing: &mut Writing<T>,
    peer: DeviceId,
    frame: Option<Frame>,
) {
    writing.frames.extend(frame);
    if writing.peers.insert(peer) {
        *per_peer.entry(peer).or_default() += 1;
    }
}
