//! The segments of a log that are readable.
//!
//! Shared by every reader and the one appender, which publishes here what is durable.

mod entry;
mod replaced;

pub(crate) use self::entry::Source;
pub use self::replaced::Kept;
pub(crate) use self::replaced::Left;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::block::Block;
use super::blocks::{BlockScan, Blocks};
use super::cache::Cache;
use super::coverage::Fortune;
use super::index::FrameIndex;
use super::scan::{FrameScan, Frames, Scan, Step, Walk};
use super::taken::Taken;
use super::upkeep::ClosedSegment;
use super::{BadFrame, Entry, Place, ReadError, segment_name};
use crate::files::{Files, ReadFile};
use crate::frame::{Form, FrameCipher, SegmentHead};
use crate::keys::KeysInUse;

/// The largest number of segments kept open for reading.
const OPEN_SEGMENTS_MAX: usize = 64;
/// The memory for the indexes of segments that are not written any more, unless one alone needs
/// more; four bytes an entry.
const INDEX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One segment as far as it is durable.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    /// Nothing behind this is read: it is not durable, or it failed.
    pub(crate) length: u64,
}

/// Every readable segment.
pub(crate) struct Segments {
    files: Arc<dyn Files>,
    keys: KeysInUse,
    index: RwLock<Index>,
    open: Mutex<BTreeMap<u64, OpenSegment>>,
    positions: Mutex<Cache<SegmentId, Positions>>,
    /// Held while positions are read, so that readers who need the same ones wait for them.
    making: Mutex<()>,
    /// The entries read last that lie in frames of their own.
    cache: Mutex<Cache<Place, Arc<Entry>>>,
    /// The blocks read last, so that entries that are read in order cost one decoding together.
    blocks: Mutex<Cache<(SegmentId, usize), Arc<Block>>>,
    /// See [`Segments::remove_leftovers`].
    leftovers: Mutex<BTreeSet<u64>>,
    /// See [`Segments::kept_leftovers`].
    kept: Mutex<BTreeMap<u64, (Kept, Option<Segment>)>>,
}

/// The random id of a segment; a segment that is written anew gets another.
type SegmentId = [u8; 16];

/// Where the entries of a segment lie.
#[derive(Clone)]
enum Positions {
    Frames(Arc<FrameIndex>),
    Blocks(Arc<Blocks>),
}

#[derive(Default)]
struct Index {
    segments: BTreeMap<u64, Segment>,
    /// The first sequence of each segment and its number, both in order.
    starts: Vec<(u64, u64)>,
    unreadable: Vec<BadFrame>,
    end: Option<Place>,
    /// The segment being written.
    active: Option<(u64, FrameIndex)>,
}

#[derive(Clone)]
struct OpenSegment {
    file: Arc<dyn ReadFile>,
    cipher: Arc<FrameCipher>,
}

/// A segment as it is at one moment; what is read from it stays consistent.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) segment: Segment,
    /// The sequence where the next segment begins.
    end_sequence: u64,
    open: OpenSegment,
}

impl Segments {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        keys: KeysInUse,
        segments: BTreeMap<u64, Segment>,
        unreadable: Vec<BadFrame>,
        cache_bytes_max: usize,
    ) -> Self {
        let starts = starts(&segments);
        let index = Index { segments, starts, unreadable, end: None, active: None };
        Self {
            files,
            keys,
            index: RwLock::new(index),
            open: Mutex::new(BTreeMap::new()),
            positions: Mutex::new(Cache::new(INDEX_BYTES_MAX)),
            making: Mutex::new(()),
            cache: Mutex::new(Cache::new(cache_bytes_max / 2)),
            blocks: Mutex::new(Cache::new(cache_bytes_max / 2)),
            leftovers: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The last durable entry.
    pub(crate) fn end(&self) -> Option<Place> {
        self.index().end
    }

    /// Says what an open found of a segment: how far it is good, and where its frames begin.
    pub(crate) fn settle(&self, number: u64, length: u64, frames: FrameIndex) {
        let mut index = self.index_mut();
        let last = frames.end().and_then(|end| end.checked_sub(1)).map(Place);
        index.end = index.end.max(last);
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.length = length;
            self.keep(segment.head.id, Positions::Frames(Arc::new(frames)));
        }
    }

    /// Says that a segment which was written anew is at the end of the log.
    pub(crate) fn settle_rewritten(&self, head: &SegmentHead) {
        let mut index = self.index_mut();
        // What was dropped was durable once, and the view may have seen it.
        let last = head.covered_end().checked_sub(1).map(Place);
        index.end = index.end.max(last.filter(|_| head.covered > 0));
    }

    /// Says what is durable: up to `length` in this segment, with these new frames.
    pub(crate) fn publish(&self, segment: Segment, frames: &[(u64, u64)]) {
        let number = segment.head.number;
        let mut index = self.index_mut();
        if index.active.as_ref().is_none_or(|(active, _)| *active != number) {
            self.end_writing(&mut index);
            index.active = Some((number, FrameIndex::default()));
        }
        if let Some((_, active)) = &mut index.active {
            for (sequence, offset) in frames {
                active.push(*sequence, *offset);
            }
        }
        if !index.segments.contains_key(&number) {
            index.starts.push((segment.head.first_sequence, number));
        }
        index.segments.insert(number, segment);
        index.end = frames.last().map(|(sequence, _)| Place(*sequence)).or(index.end);
    }

    /// Says that nothing more comes into the segment being written; whether there was one.
    pub(crate) fn end_active(&self) -> bool {
        let mut index = self.index_mut();
        let is_writing = index.active.is_some();
        self.end_writing(&mut index);
        is_writing
    }

    fn end_writing(&self, index: &mut Index) {
        if let Some((closed, mut frames)) = index.active.take()
            && let Some(segment) = index.segments.get(&closed)
        {
            frames.shrink();
            // Under the lock, so that no reader finds it in neither place.
            self.keep(segment.head.id, Positions::Frames(Arc::new(frames)));
        }
    }

    /// Whether a segment is being written.
    pub(crate) fn is_active(&self, number: u64) -> bool {
        self.index().active.as_ref().is_some_and(|(active, _)| *active == number)
    }

    /// The segments that are not being written, in order.
    pub(crate) fn closed(&self) -> Result<Vec<ClosedSegment>, ReadError> {
        let numbers = self.numbers_from(0);
        let mut closed = Vec::with_capacity(numbers.len());
        for number in numbers.into_iter().filter(|number| !self.is_active(*number)) {
            let segment = self.index().segments.get(&number).cloned();
            let Some(Segment { head, length }) = segment else { continue };
            let io_error = |source| ReadError::Io { segment: number, source };
            let places = head.first_sequence..self.covered_end(&head).map_err(io_error)?;
            let (entries, has_index) = match self.blocks_of(&head).map_err(io_error)? {
                Some(blocks) => {
                    (blocks.index.coverage.count(Fortune::Present), blocks.damage.is_none())
                }
                None => (places.end.saturating_sub(places.start), true),
            };
            let (first_number, form) = (head.first_number(), head.form);
            let bytes = length;
            closed.push(ClosedSegment {
                number,
                first_number,
                places,
                entries,
                bytes,
                form,
                has_index,
            });
        }
        Ok(closed)
    }

    /// What a segment that is not being written has taken the place of.
    pub(crate) fn taken(&self, head: &SegmentHead) -> io::Result<Taken> {
        let Some(blocks) = self.blocks_of(head)? else { return Ok(Taken::default()) };
        if let Some(taken) = blocks.taken(head) {
            return Ok(taken);
        }
        // What the disk did not give then it may give by now.
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).remove(head.id);
        let Some(blocks) = self.blocks_of(head)? else { return Ok(Taken::default()) };
        blocks.taken(head).ok_or_else(|| {
            io::Error::other("which segments one was made of is unreadable at the moment")
        })
    }

    fn blocks_of(&self, head: &SegmentHead) -> io::Result<Option<Arc<Blocks>>> {
        if head.form == Form::Frames {
            return Ok(None);
        }
        Ok(match self.positions(head.number)? {
            Some((_, Positions::Blocks(blocks))) => Some(blocks),
            Some((_, Positions::Frames(_))) | None => None,
        })
    }

    /// The sequence behind those that a segment answers for which is not being written.
    pub(crate) fn covered_end(&self, head: &SegmentHead) -> io::Result<u64> {
        if head.form == Form::Blocks {
            return Ok(head.covered_end());
        }
        let number = head.number;
        let (next, limit) = {
            let index = self.index();
            let behind = number.saturating_add(1);
            let next = index.segments.range(behind..).next().map(|(_, next)| &next.head);
            let next = next.filter(|next| next.first_number() == behind);
            (next.map(SegmentHead::promised_end), index.end_sequence(number))
        };
        // The next one tells without a look into this one, unless frames survived that it gave up.
        let end = match next {
            Some(next) if next == limit => next,
            Some(_) | None => self.end_of(Some(head))?.max(next.unwrap_or(0)),
        };
        Ok(end.min(limit).max(head.first_sequence))
    }

    pub(crate) fn numbers_from(&self, number: u64) -> Vec<u64> {
        self.index().segments.range(number..).map(|(number, _)| *number).collect()
    }

    /// The first number of a segment from this one on.
    pub(crate) fn next_number(&self, number: u64) -> Option<u64> {
        self.index().segments.range(number..).next().map(|(number, _)| *number)
    }

    /// The number of the last segment.
    pub(crate) fn last_number(&self) -> Option<u64> {
        self.index().segments.last_key_value().map(|(number, _)| *number)
    }

    /// The number of the segment where an entry lies, if it lies anywhere.
    pub(crate) fn number_of(&self, place: Place) -> Option<u64> {
        self.index().number_of(place)
    }

    /// The head of a segment as it is at this moment.
    pub(crate) fn head(&self, number: u64) -> Option<SegmentHead> {
        self.index().segments.get(&number).map(|segment| segment.head.clone())
    }

    /// The segments from a number on whose heads are lost.
    pub(crate) fn unreadable_from(&self, number: u64) -> Vec<BadFrame> {
        let index = self.index();
        index.unreadable.iter().filter(|bad| bad.segment >= number).cloned().collect()
    }

    /// A segment as it is at this moment.
    pub(crate) fn snapshot(&self, number: u64) -> io::Result<Option<Snapshot>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (segment, end_sequence) = {
            let index = self.index();
            let Some(segment) = index.segments.get(&number).cloned() else { return Ok(None) };
            (segment, index.end_sequence(number))
        };
        if let Some(open) = open.get(&number) {
            return Ok(Some(Snapshot { segment, end_sequence, open: open.clone() }));
        }
        let opened = OpenSegment {
            file: self.files.open(&segment_name(number))?,
            cipher: Arc::new(self.cipher(&segment.head)),
        };
        if open.len() >= OPEN_SEGMENTS_MAX {
            open.pop_first();
        }
        open.insert(number, opened.clone());
        Ok(Some(Snapshot { segment, end_sequence, open: opened }))
    }

    /// With the wrong key nothing in the segment opens, which is damage like any other.
    fn cipher(&self, head: &SegmentHead) -> FrameCipher {
        let keys = self.keys.all();
        let key = keys.named(head.store, head.key_check).unwrap_or(keys.current());
        FrameCipher::new(key, head)
    }

    /// A segment with one entry in a frame: one that was being written a moment ago may have been
    /// closed and written anew since.
    fn frames_snapshot(&self, number: u64) -> io::Result<Option<Snapshot>> {
        let snapshot = self.snapshot(number)?;
        Ok(snapshot.filter(|snapshot| snapshot.segment.head.form == Form::Frames))
    }

    /// A walk over the entries of a segment, behind `after`.
    pub(crate) fn scan(&self, number: u64, after: Option<Place>) -> io::Result<Option<Scan>> {
        let from = after.map_or(0, |after| after.0.saturating_add(1));
        let near = |frames: &FrameIndex| after.and_then(|after| frames.last_up_to(after.0));
        // From the beginning no index of frames is needed.
        let near = match after {
            Some(_) => self.active(number, near),
            None => Some(None),
        };
        if let Some(near) = near
            && let Some(snapshot) = self.frames_snapshot(number)?
        {
            return Ok(Some(self.frame_scan(&snapshot, near, from)));
        }
        let Some((snapshot, positions)) = self.positions(number)? else { return Ok(None) };
        Ok(Some(match positions {
            Positions::Frames(frames) => {
                let near = after.and_then(|after| frames.last_up_to(after.0));
                self.frame_scan(&snapshot, near, from)
            }
            Positions::Blocks(blocks) => {
                Scan::Blocks(BlockScan::new(self.frames(&snapshot), blocks, from))
            }
        }))
    }

    fn frame_scan(&self, snapshot: &Snapshot, near: Option<(u64, u64)>, from: u64) -> Scan {
        let mut scan = FrameScan::new(self.frames(snapshot));
        if let Some(near) = near {
            scan.start_at(near, from);
        }
        Scan::Frames(scan)
    }

    /// A walk over the frames of a segment.
    pub(crate) fn walk(&self, snapshot: &Snapshot) -> Walk {
        Walk::new(self.frames(snapshot))
    }

    /// A segment that is not being written, and where its entries lie.
    fn positions(&self, number: u64) -> io::Result<Option<(Snapshot, Positions)>> {
        let Some(snapshot) = self.snapshot(number)? else { return Ok(None) };
        let id = snapshot.segment.head.id;
        if let Some(positions) = self.kept(id) {
            return Ok(Some((snapshot, positions)));
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(positions) = self.kept(id) {
            return Ok(Some((snapshot, positions)));
        }
        let positions = match snapshot.segment.head.form {
            Form::Frames => Positions::Frames(Arc::new(find_frames(self.walk(&snapshot))?)),
            Form::Blocks => Positions::Blocks(Arc::new(Blocks::read(&self.frames(&snapshot))?)),
        };
        self.keep(id, positions.clone());
        Ok(Some((snapshot, positions)))
    }

    /// The sequences that were in segments which are gone or unreadable; `end` is the next one.
    pub(crate) fn lost(&self, end: u64) -> io::Result<Vec<Range<u64>>> {
        let heads: Vec<SegmentHead> =
            self.index().segments.values().map(|segment| segment.head.clone()).collect();
        let mut lost = Vec::new();
        let mut before: Option<&SegmentHead> = None;
        for head in &heads {
            if before.map_or(1, |before| before.number.saturating_add(1)) < head.first_number() {
                lost.push(self.end_of(before)?..head.promised_end());
            }
            before = Some(head);
        }
        let behind = before.map_or(0, |before| before.number.saturating_add(1));
        if !self.unreadable_from(behind).is_empty() {
            lost.push(self.end_of(before)?..end);
        }
        lost.retain(|lost| !lost.is_empty());
        Ok(lost)
    }

    /// The sequence behind the last in a segment that is not being written.
    fn end_of(&self, head: Option<&SegmentHead>) -> io::Result<u64> {
        let Some(head) = head else { return Ok(0) };
        Ok(match self.positions(head.number)? {
            Some((_, Positions::Frames(frames))) => {
                frames.end().unwrap_or(0).max(head.first_sequence)
            }
            Some((_, Positions::Blocks(_))) | None => head.covered_end(),
        })
    }

    fn kept(&self, id: SegmentId) -> Option<Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).get(id)
    }

    fn keep(&self, id: SegmentId, positions: Positions) {
        let bytes = match &positions {
            Positions::Frames(frames) => frames.bytes(),
            Positions::Blocks(blocks) => blocks.bytes(),
        };
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).keep(id, positions, bytes);
    }

    /// Asks the index of the segment being written, if it is this one.
    fn active<T>(&self, number: u64, ask: impl FnOnce(&FrameIndex) -> T) -> Option<T> {
        let index = self.index();
        let (_, frames) = index.active.as_ref().filter(|(active, _)| *active == number)?;
        Some(ask(frames))
    }

    fn frames(&self, snapshot: &Snapshot) -> Frames {
        let head = &snapshot.segment.head;
        Frames {
            file: Arc::clone(&snapshot.open.file),
            cipher: Arc::clone(&snapshot.open.cipher),
            segment: head.number,
            first_sequence: head.first_sequence,
            end_sequence: match head.form {
                Form::Frames => snapshot.end_sequence,
                Form::Blocks => head.covered_end(),
            },
            length: snapshot.segment.length,
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache<Place, Arc<Entry>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocks(&self) -> MutexGuard<'_, Cache<(SegmentId, usize), Arc<Block>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn number_of(&self, place: Place) -> Option<u64> {
        let behind = self.starts.partition_point(|(first, _)| *first <= place.0);
        Some(self.starts.get(behind.checked_sub(1)?)?.1)
    }

    /// The segment where an entry lies, if it lies anywhere, and its form.
    fn find(&self, place: Place) -> Option<(u64, Form)> {
        let number = self.number_of(place)?;
        self.segments.get(&number).map(|segment| (number, segment.head.form))
    }

    /// The sequence where the next segment begins.
    fn end_sequence(&self, number: u64) -> u64 {
        let behind = self.starts.partition_point(|(_, other)| *other <= number);
        self.starts.get(behind).map_or(u64::MAX, |(first, _)| *first)
    }

    /// Whether an entry with this place was durable once, if it is in none of the segments.
    fn was_promised(&self, place: Place) -> bool {
        let from = self.number_of(place).map_or(0, |number| number.saturating_add(1));
        match self.segments.range(from..).next() {
            Some((_, next)) => place.0 < next.head.promised_end(),
            None => self.end.is_some_and(|end| place <= end),
        }
    }
}

/// The first sequence of each segment, in order; a foreign head among them changes nothing.
fn starts(segments: &BTreeMap<u64, Segment>) -> Vec<(u64, u64)> {
    let mut following = u64::MAX;
    let mut starts: Vec<(u64, u64)> = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().rev() {
        following = following.min(segment.head.first_sequence);
        starts.push((following, *number));
    }
    starts.reverse();
    starts
}

fn find_frames(mut walk: Walk) -> io::Result<FrameIndex> {
    let mut frames = FrameIndex::default();
    while let Some(step) = walk.next()? {
        if let Step::Frame { offset, head } = step {
            frames.push(head.sequence, offset);
        }
    }
    Ok(frames)
}
