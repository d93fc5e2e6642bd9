//! Items and batches on their way out, in lanes that share the window of the peer.

use std::collections::BTreeSet;

use fieldmesh_trie::{KEY_LENGTH, Key};

use super::outlet::{Outlet, Page, Ready};
use crate::error::SessionError;
use crate::interface::{Lane, LinkStats, Set};
use crate::limits::{
    BACKFILL_UNWRITTEN_MAX, BACKFILL_WINDOW_SHARE, DATA_FRAME_MAX, FLUSH_GROUP_MAX, GIVEN_MAX,
    INGEST_WINDOW_MAX, PART_MAX, UNWRITTEN_MAX,
};
use crate::wire::{FrameKind, Part};

/// The outgoing half of the data streams.
pub(super) struct Sender {
    window: u64,
    /// Whether the peer knows lanes and parts.
    has_lanes: bool,
    /// The peer has begun batches and has not named them yet: large ones wait for that.
    waits_for_resume: bool,
    /// What the peer has of begun batches: id, length in all, length there.
    resumes: Vec<([u8; 32], u32, u32)>,
    lanes: [Outlet; 3],
    /// What is on its way, since nothing was: the same is not sent again.
    given: BTreeSet<[u8; 32]>,
    /// How many new items wait.
    pushes: usize,
    unacknowledged_frames: u64,
    unacknowledged_bytes: u64,
    /// An upper bound of what of it is backfill; credits do not tell.
    backfill_bytes: u64,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            window: 0,
            has_lanes: false,
            waits_for_resume: false,
            resumes: Vec::new(),
            lanes: Default::default(),
            given: BTreeSet::new(),
            pushes: 0,
            unacknowledged_frames: 0,
            unacknowledged_bytes: 0,
            backfill_bytes: 0,
        }
    }

    /// The peer takes so many bytes before they are durable.
    pub(super) fn open(&mut self, window: u32, has_lanes: bool, waits_for_resume: bool) {
        self.window = u64::from(window.min(INGEST_WINDOW_MAX));
        self.has_lanes = has_lanes;
        self.waits_for_resume = waits_for_resume;
    }

    /// The peer has the beginnings of these batches.
    pub(super) fn resume(&mut self, resumes: Vec<([u8; 32], u32, u32)>) {
        self.waits_for_resume = false;
        self.resumes = resumes;
    }

    /// The peer has sent something else where it would have named begun batches.
    pub(super) fn give_up_resume(&mut self) {
        self.waits_for_resume = false;
    }

    /// Has an item sent; false if it is on its way already.
    pub(super) fn enqueue(&mut self, lane: Lane, kind: FrameKind, key: Key) -> bool {
        let id = key.id();
        if self.given.contains(&id) {
            return false;
        }
        if self.given.len() < GIVEN_MAX {
            self.given.insert(id);
        }
        self.pushes += usize::from(!kind.is_answer());
        let lane = if self.has_lanes { lane } else { Lane::Recent };
        self.lanes[lane.index()].queue.push_back((kind, key));
        true
    }

    /// How many items wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(Outlet::waiting).sum()
    }

    /// How many of them are new, and not found lacking by an exchange.
    pub(super) const fn pushes_waiting(&self) -> usize {
        self.pushes
    }

    /// The bytes it keeps.
    pub(super) fn held(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(Outlet::held).sum();
        lanes + self.given.len() * 32 + self.resumes.len() * KEY_LENGTH
    }

    /// The peer has turned out to hold this: it is not sent. Gives how many answers are left out.
    pub(super) fn forget(&mut self, key: &Key) -> usize {
        let is_unknown = self.given.len() < GIVEN_MAX && !self.given.contains(&key.id());
        if is_unknown {
            return 0;
        }
        let (has_lanes, mut left) = (self.has_lanes, [0, 0]);
        for lane in &mut self.lanes {
            lane.queue.retain(|(kind, queued)| {
                let stays = queued != key || (kind.is_answer() && !has_lanes);
                left[usize::from(kind.is_answer())] += usize::from(!stays);
                stays
            });
        }
        let [pushes, answers] = left;
        self.pushes -= pushes;
        self.rest();
        answers
    }

    /// When nothing is on its way, everything may be sent again.
    fn rest(&mut self) {
        if self.is_idle() {
            self.given.clear();
        }
    }

    /// The next items to load, when there is room for them.
    pub(super) fn next_page(&mut self) -> Option<Page> {
        if self.unacknowledged_bytes >= self.window {
            return None;
        }
        let lanes = Lane::ALL.into_iter().zip(&mut self.lanes);
        lanes
            .filter(|(lane, outlet)| outlet.unwritten < unwritten_max(*lane))
            .find_map(|(_, outlet)| outlet.next_page())
    }

    pub(super) fn loaded(&mut self, id: [u8; 32], bytes: Vec<u8>) -> Result<(), SessionError> {
        let may_pack = self.has_lanes;
        let Some((outlet, kind)) = self.take_loading(&id) else { return Ok(()) };
        if bytes.len() > DATA_FRAME_MAX {
            return Err(SessionError::BatchTooLarge { length: bytes.len() });
        }
        outlet.ready.push_back(Ready::new(kind, id, bytes, may_pack));
        Ok(())
    }

    /// It cannot be loaded; true if the peer expects it.
    pub(super) fn failed(&mut self, id: &[u8; 32]) -> bool {
        let Some((_, kind)) = self.take_loading(id) else { return false };
        self.given.remove(id);
        self.pushes -= usize::from(!kind.is_answer());
        self.rest();
        kind.is_answer()
    }

    /// The next flushed group of frames that the windows allow, of the most urgent lane that can.
    pub(super) fn write_group(
        &mut self,
        stats: &mut LinkStats,
    ) -> Result<Option<(Lane, Vec<u8>)>, SessionError> {
        for lane in Lane::ALL {
            let mut group = 0;
            while group < FLUSH_GROUP_MAX
                && let Some(length) = self.admits(lane)
                && (group == 0 || group + length <= FLUSH_GROUP_MAX)
            {
                group += self.write_front(lane, length, stats)?.max(1);
            }
            let outlet = &mut self.lanes[lane.index()];
            if group > 0 {
                let bytes = outlet.writer.flush()?;
                outlet.unwritten += bytes.len();
                return Ok(Some((lane, bytes)));
            }
            // Less urgent frames are not to take the room for which a large one waits.
            if !outlet.ready.is_empty() && !self.fits(lane) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    pub(super) fn written(&mut self, lane: Lane, bytes: usize) {
        let outlet = &mut self.lanes[lane.index()];
        outlet.unwritten = outlet.unwritten.saturating_sub(bytes);
    }

    /// The peer has made so many frames durable or judged them.
    pub(super) fn credit(&mut self, frames: u32, bytes: u64) -> Result<(), SessionError> {
        let left = self.unacknowledged_frames.checked_sub(u64::from(frames));
        let bytes_left = self.unacknowledged_bytes.checked_sub(bytes);
        let (Some(left), Some(bytes_left)) = (left, bytes_left) else {
            return Err(SessionError::Credit);
        };
        (self.unacknowledged_frames, self.unacknowledged_bytes) = (left, bytes_left);
        self.backfill_bytes = self.backfill_bytes.min(bytes_left);
        self.rest();
        Ok(())
    }

    /// Whether everything was sent and is durable at the peer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.unacknowledged_frames == 0
    }

    fn take_loading(&mut self, id: &[u8; 32]) -> Option<(&mut Outlet, FrameKind)> {
        self.lanes.iter_mut().find_map(|outlet| {
            let kind = outlet.loading.remove(id)?;
            Some((outlet, kind))
        })
    }

    /// The length of the next frame of `lane`, if it may be written.
    fn admits(&self, lane: Lane) -> Option<usize> {
        let outlet = &self.lanes[lane.index()];
        let ready = outlet.ready.front()?;
        let is_part = self.goes_in_parts(ready);
        let is_free = outlet.unwritten < unwritten_max(lane);
        let waits = is_part && self.waits_for_resume;
        let is_admitted = is_free && !waits && self.fits(lane);
        let rest = ready.bytes.len() - self.offset(ready);
        is_admitted.then_some(if is_part { rest.min(PART_MAX) } else { rest })
    }

    /// Whether the window has room for the next batch of `lane`; for one in parts, for all of them.
    fn fits(&self, lane: Lane) -> bool {
        let Some(ready) = self.lanes[lane.index()].ready.front() else { return true };
        if ready.sent.is_some() || self.unacknowledged_frames == 0 {
            return true;
        }
        let length = (ready.length - self.offset(ready)) as u64;
        let (part, whole) = BACKFILL_WINDOW_SHARE;
        let share = self.window / whole * part;
        let is_share_free =
            !self.has_lanes || lane != Lane::Backfill || self.backfill_bytes + length <= share;
        is_share_free && self.unacknowledged_bytes + length <= self.window
    }

    fn goes_in_parts(&self, ready: &Ready) -> bool {
        self.has_lanes && ready.kind.set() != Set::Policy && ready.bytes.len() > PART_MAX
    }

    /// Where the next frame of a batch begins.
    fn offset(&self, ready: &Ready) -> usize {
        if let Some(sent) = ready.sent {
            return sent;
        }
        let here = ready.bytes.len();
        let known = self.resumes.iter().find(|(id, total, offset)| {
            *id == ready.id && *total as usize == here && (*offset as usize) < here
        });
        known.filter(|_| self.goes_in_parts(ready)).map_or(0, |(_, _, offset)| *offset as usize)
    }

    /// Writes `length` bytes of the front batch of `lane`.
    fn write_front(
        &mut self,
        lane: Lane,
        length: usize,
        stats: &mut LinkStats,
    ) -> Result<usize, SessionError> {
        let Some(mut ready) = self.lanes[lane.index()].ready.pop_front() else { return Ok(0) };
        let (offset, total) = (self.offset(&ready), ready.bytes.len());
        if ready.sent.is_none() {
            self.unacknowledged_bytes += (ready.length - offset) as u64;
            if lane == Lane::Backfill {
                self.backfill_bytes += (ready.length - offset) as u64;
            }
        }
        self.unacknowledged_frames += 1;
        let is_part = self.goes_in_parts(&ready);
        let outlet = &mut self.lanes[lane.index()];
        if is_part {
            let part = Part { id: ready.id, total: total as u32, offset: offset as u32 };
            let end = offset + length;
            outlet.writer.write_part(ready.kind, part, &ready.bytes[offset..end])?;
            if end < total {
                ready.sent = Some(end);
                outlet.ready.push_front(ready);
                return Ok(length);
            }
            self.resumes.retain(|(id, ..)| *id != ready.id);
        } else if ready.is_packed() {
            outlet.writer.write_packed(ready.kind, &ready.bytes, ready.length)?;
        } else {
            outlet.writer.write(ready.kind, &ready.bytes)?;
        }
        self.pushes -= usize::from(!ready.kind.is_answer());
        match ready.kind.set() {
            Set::Policy => stats.items_sent += 1,
            Set::Data | Set::Quarantine => stats.batches_sent += 1,
        }
        Ok(length)
    }
}

const fn unwritten_max(lane: Lane) -> usize {
    match lane {
        Lane::Urgent | Lane::Recent => UNWRITTEN_MAX,
        Lane::Backfill => BACKFILL_UNWRITTEN_MAX,
    }
}
