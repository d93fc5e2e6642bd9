//! Items and batches on their way out: queued, loaded in pages, sent within the peer's window.

use std::collections::{BTreeMap, VecDeque};

use fieldmesh_trie::Key;

use crate::error::SessionError;
use crate::interface::{LinkStats, Set};
use crate::limits::{
    DATA_FRAME_MAX, FLUSH_GROUP_MAX, INGEST_WINDOW_MAX, LOAD_PAGE_MAX, UNWRITTEN_MAX,
};
use crate::wire::{DataWriter, FrameKind};

/// The outgoing half of the data streams.
pub(super) struct Sender {
    writer: DataWriter,
    window: u64,
    queue: VecDeque<(FrameKind, Key)>,
    loading: BTreeMap<[u8; 32], FrameKind>,
    ready: VecDeque<(FrameKind, Vec<u8>)>,
    unacknowledged_frames: u64,
    unacknowledged_bytes: u64,
    unwritten: usize,
}

impl Sender {
    pub(super) const fn new() -> Self {
        Self {
            writer: DataWriter::new(),
            window: 0,
            queue: VecDeque::new(),
            loading: BTreeMap::new(),
            ready: VecDeque::new(),
            unacknowledged_frames: 0,
            unacknowledged_bytes: 0,
            unwritten: 0,
        }
    }

    /// The peer takes so many bytes before they are durable.
    pub(super) fn open(&mut self, window: u32) {
        self.window = u64::from(window.min(INGEST_WINDOW_MAX));
    }

    pub(super) fn enqueue(&mut self, kind: FrameKind, key: Key) {
        self.queue.push_back((kind, key));
    }

    /// How many items wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.loading.len() + self.ready.len()
    }

    /// The peer has turned out to hold this: it need not be passed on.
    pub(super) fn forget(&mut self, key: &Key) {
        self.queue.retain(|(kind, queued)| kind.is_answer() || queued != key);
    }

    /// Passing on stops because a comparison finds the same; answers stay.
    pub(super) fn is_queued(&self, key: &Key) -> bool {
        self.loading.contains_key(&key.id()) || self.queue.iter().any(|(_, queued)| queued == key)
    }

    /// The next items to load, when there is room for them.
    pub(super) fn next_page(&mut self) -> Option<(Set, Vec<Key>)> {
        let is_full = self.unacknowledged_bytes >= self.window || self.unwritten >= UNWRITTEN_MAX;
        if is_full || !self.loading.is_empty() || !self.ready.is_empty() {
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

    pub(super) fn loaded(&mut self, id: [u8; 32], bytes: Vec<u8>) -> Result<(), SessionError> {
        let Some(kind) = self.loading.remove(&id) else { return Ok(()) };
        if bytes.len() > DATA_FRAME_MAX {
            return Err(SessionError::BatchTooLarge { length: bytes.len() });
        }
        self.ready.push_back((kind, bytes));
        Ok(())
    }

    /// It cannot be loaded; true if the peer expects it.
    pub(super) fn failed(&mut self, id: &[u8; 32]) -> bool {
        self.loading.remove(id).is_some_and(FrameKind::is_answer)
    }

    /// The next flushed group of frames that the window allows.
    pub(super) fn write_group(
        &mut self,
        stats: &mut LinkStats,
    ) -> Result<Option<Vec<u8>>, SessionError> {
        let mut group = 0;
        while group < FLUSH_GROUP_MAX && self.unwritten < UNWRITTEN_MAX {
            let Some((_, bytes)) = self.ready.front() else { break };
            if group > 0 && group + bytes.len() > FLUSH_GROUP_MAX {
                break;
            }
            let unacknowledged = self.unacknowledged_bytes + bytes.len() as u64;
            if self.unacknowledged_frames > 0 && unacknowledged > self.window {
                break;
            }
            let Some((kind, bytes)) = self.ready.pop_front() else { break };
            self.writer.write(kind, &bytes)?;
            self.unacknowledged_bytes = unacknowledged;
            self.unacknowledged_frames += 1;
            group += bytes.len().max(1);
            match kind.set() {
                Set::Policy => stats.items_sent += 1,
                Set::Data => stats.batches_sent += 1,
            }
        }
        if group == 0 {
            return Ok(None);
        }
        let bytes = self.writer.flush()?;
        self.unwritten += bytes.len();
        Ok(Some(bytes))
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// The peer has made so many frames durable or judged them.
    pub(super) fn credit(&mut self, frames: u32, bytes: u64) -> Result<(), SessionError> {
        let left = self.unacknowledged_frames.checked_sub(u64::from(frames));
        let bytes_left = self.unacknowledged_bytes.checked_sub(bytes);
        let (Some(left), Some(bytes_left)) = (left, bytes_left) else {
            return Err(SessionError::Credit);
        };
        (self.unacknowledged_frames, self.unacknowledged_bytes) = (left, bytes_left);
        Ok(())
    }

    /// Whether everything was sent and is durable at the peer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.unacknowledged_frames == 0
    }
}
