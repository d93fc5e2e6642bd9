//! One lane on its way out: queued, loaded in pages, ready to be written.

use std::collections::{BTreeMap, VecDeque};

use fieldmesh_batch::pack;
use fieldmesh_trie::Key;

use crate::interface::Set;
use crate::limits::{LOAD_PAGE_MAX, PART_MAX};
use crate::wire::{DataWriter, FrameKind};

/// Keys of one set to be loaded.
pub(super) type Page = (Set, Vec<Key>);

/// One lane.
#[derive(Default)]
pub(super) struct Outlet {
    pub(super) writer: DataWriter,
    pub(super) queue: VecDeque<(FrameKind, Key)>,
    pub(super) loading: BTreeMap<[u8; 32], FrameKind>,
    pub(super) ready: VecDeque<Ready>,
    /// Compressed bytes handed to the shell that it has not written yet.
    pub(super) unwritten: usize,
}

/// A loaded batch or item.
pub(super) struct Ready {
    pub(super) kind: FrameKind,
    pub(super) id: [u8; 32],
    /// Its bytes, or what they are packed into.
    pub(super) bytes: Vec<u8>,
    /// How long it is; more than the bytes where these are packed.
    pub(super) length: usize,
    /// How far it has gone, once its first part has.
    pub(super) sent: Option<usize>,
}

impl Ready {
    /// Packs a batch where that lets it go in one frame.
    pub(super) fn new(kind: FrameKind, id: [u8; 32], bytes: Vec<u8>, may_pack: bool) -> Self {
        let length = bytes.len();
        let may_pack = may_pack && kind.set() != Set::Policy;
        let packed = if may_pack { pack(&bytes) } else { None };
        let bytes = packed.filter(|packed| packed.len() <= PART_MAX).unwrap_or(bytes);
        Self { kind, id, bytes, length, sent: None }
    }

    pub(super) const fn is_packed(&self) -> bool {
        self.bytes.len() < self.length
    }
}

impl Outlet {
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.loading.len() + self.ready.len()
    }

    /// The bytes it keeps.
    pub(super) fn held(&self) -> usize {
        let ready: usize = self.ready.iter().map(|ready| ready.bytes.len()).sum();
        self.waiting() * size_of::<(FrameKind, Key)>() + ready
    }

    /// The next items to load, once the ones before are written.
    pub(super) fn next_page(&mut self) -> Option<Page> {
        if !self.loading.is_empty() || !self.ready.is_empty() {
            return None;
        }
        let set = self.queue.front()?.0.set();
        let mut keys = Vec::new();
        while let Some((kind, key)) = self.queue.front().copied() {
            if kind.set() != set || keys.len() == LOAD_PAGE_MAX {
                break;
            }
            self.queue.pop_front();
            self.loading.insert(key.id(), kind);
            keys.push(key);
        }
        Some((set, keys))
    }
}
