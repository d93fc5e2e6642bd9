//! The segments of a log that are readable, and reading one entry by its place.
//!
//! Shared by every reader and the one appender, which publishes here what is durable.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cache::Cache;
use super::index::FrameIndex;
use super::scan::{Frames, Scan, Step, Walk};
use super::{BadFrame, Entry, Place, ReadError, segment_name};
use crate::files::{Files, ReadFile};
use crate::frame::{FRAME_HEAD_LENGTH, FrameCipher, FrameHead, SegmentHead};
use crate::key::DataKey;

/// The largest number of segments kept open for reading.
const OPEN_SEGMENTS_MAX: usize = 64;
/// The memory for the indexes of segments that are not written any more, unless one alone needs
/// more; four bytes an entry.
const INDEX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes read at once for one entry; most frames fit.
const READ_AHEAD: usize = 4096;
/// What an entry in memory costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 200;

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
    key: DataKey,
    index: RwLock<Index>,
    open: Mutex<BTreeMap<u64, OpenSegment>>,
    frames: Mutex<Cache<u64, Arc<FrameIndex>>>,
    /// Held while an index is made, so that readers who need the same one wait for it.
    making: Mutex<()>,
    cache: Mutex<Cache<Place, Arc<Entry>>>,
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
    open: OpenSegment,
}

impl Segments {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        key: DataKey,
        segments: BTreeMap<u64, Segment>,
        unreadable: Vec<BadFrame>,
        cache_bytes_max: usize,
    ) -> Self {
        let starts = starts(&segments);
        let index = Index { segments, starts, unreadable, end: None, active: None };
        Self {
            files,
            key,
            index: RwLock::new(index),
            open: Mutex::new(BTreeMap::new()),
            frames: Mutex::new(Cache::new(INDEX_BYTES_MAX)),
            making: Mutex::new(()),
            cache: Mutex::new(Cache::new(cache_bytes_max)),
        }
    }

    /// The last durable entry.
    pub(crate) fn end(&self) -> Option<Place> {
        self.index().end
    }

    /// Says what an open found of a segment: how far it is good, and where its frames begin.
    pub(crate) fn settle(&self, number: u64, length: u64, frames: FrameIndex) {
        let mut index = self.index_mut();
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.length = length;
        }
        let last = frames.end().and_then(|end| end.checked_sub(1)).map(Place);
        index.end = index.end.max(last);
        drop(index);
        self.keep(number, Arc::new(frames));
    }

    /// Says what is durable: up to `length` in this segment, with these new frames.
    pub(crate) fn publish(&self, segment: Segment, frames: &[(u64, u64)]) {
        let number = segment.head.number;
        let mut index = self.index_mut();
        if index.active.as_ref().is_none_or(|(active, _)| *active != number)
            && let Some((closed, frames)) = index.active.replace((number, FrameIndex::default()))
        {
            // Under the lock, so that no reader finds it in neither place.
            self.keep(closed, Arc::new(frames));
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

    pub(crate) fn numbers_from(&self, number: u64) -> Vec<u64> {
        self.index().segments.range(number..).map(|(number, _)| *number).collect()
    }

    /// The number of the segment where an entry lies, if it lies anywhere.
    pub(crate) fn number_of(&self, place: Place) -> Option<u64> {
        self.index().number_of(place)
    }

    /// The segments from a number on whose heads are lost.
    pub(crate) fn unreadable_from(&self, number: u64) -> Vec<BadFrame> {
        let index = self.index();
        index.unreadable.iter().filter(|bad| bad.segment >= number).cloned().collect()
    }

    /// A segment as it is at this moment.
    pub(crate) fn snapshot(&self, number: u64) -> io::Result<Option<Snapshot>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(segment) = self.index().segments.get(&number).cloned() else { return Ok(None) };
        if let Some(open) = open.get(&number) {
            return Ok(Some(Snapshot { segment, open: open.clone() }));
        }
        let opened = OpenSegment {
            file: self.files.open(&segment_name(number))?,
            cipher: Arc::new(FrameCipher::new(&self.key, &segment.head)),
        };
        if open.len() >= OPEN_SEGMENTS_MAX {
            open.pop_first();
        }
        open.insert(number, opened.clone());
        Ok(Some(Snapshot { segment, open: opened }))
    }

    /// A walk over the entries of a segment.
    pub(crate) fn scan(&self, snapshot: &Snapshot) -> Scan {
        Scan::new(self.frames(snapshot))
    }

    /// A walk over the frames of a segment.
    pub(crate) fn walk(&self, snapshot: &Snapshot) -> Walk {
        Walk::new(self.frames(snapshot))
    }

    /// Lets a walk begin with the first entry behind `after`.
    pub(crate) fn skip(
        &self,
        snapshot: &Snapshot,
        scan: &mut Scan,
        after: Place,
    ) -> io::Result<()> {
        let number = snapshot.segment.head.number;
        let first = match self.active(number, |frames| frames.last_up_to(after.0)) {
            Some(first) => first,
            None => self.frame_index(number)?.last_up_to(after.0),
        };
        if let Some(first) = first {
            scan.start_at(first, after.0.saturating_add(1));
        }
        Ok(())
    }

    /// Reads the entry at a place.
    pub(crate) fn read(&self, place: Place) -> Result<Arc<Entry>, ReadError> {
        if let Some(entry) = self.cache().get(place) {
            return Ok(entry);
        }
        let Some(number) = self.number_of(place) else { return Err(self.absent(place)) };
        let io_error = |source| ReadError::Io { segment: number, source };
        let offset = match self.active(number, |frames| frames.find(place.0)) {
            Some(offset) => offset,
            None => self.frame_index(number).map_err(io_error)?.find(place.0),
        };
        let snapshot = self.snapshot(number).map_err(io_error)?;
        let (Some(offset), Some(snapshot)) = (offset, snapshot) else {
            return Err(self.absent(place));
        };
        let entry = read_frame(&snapshot, offset).map_err(io_error)?;
        let entry = Arc::new(entry.ok_or(ReadError::Damaged { place })?);
        let bytes = entry.bytes.len() + ENTRY_OVERHEAD_BYTES;
        self.cache().put(place, Arc::clone(&entry), bytes);
        Ok(entry)
    }

    fn absent(&self, place: Place) -> ReadError {
        if self.index().was_promised(place) {
            ReadError::Damaged { place }
        } else {
            ReadError::NotFound { place }
        }
    }

    /// Where the frames of a segment begin that is not being written.
    fn frame_index(&self, number: u64) -> io::Result<Arc<FrameIndex>> {
        if let Some(frames) = self.kept(number) {
            return Ok(frames);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = self.kept(number) {
            return Ok(frames);
        }
        let mut frames = FrameIndex::default();
        let Some(snapshot) = self.snapshot(number)? else { return Ok(Arc::default()) };
        let mut walk = self.walk(&snapshot);
        while let Some(step) = walk.next()? {
            if let Step::Frame { offset, head } = step {
                frames.push(head.sequence, offset);
            }
        }
        let frames = Arc::new(frames);
        self.keep(number, Arc::clone(&frames));
        Ok(frames)
    }

    /// The sequences that were in segments which are gone or unreadable; `end` is the next one.
    pub(crate) fn lost(&self, end: u64) -> io::Result<Vec<Range<u64>>> {
        let heads: Vec<SegmentHead> =
            self.index().segments.values().map(|segment| segment.head.clone()).collect();
        let mut lost = Vec::new();
        let mut before: Option<&SegmentHead> = None;
        for head in &heads {
            if before.map_or(1, |before| before.number.saturating_add(1)) < head.number {
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

    /// The sequence behind the last in a segment.
    fn end_of(&self, head: Option<&SegmentHead>) -> io::Result<u64> {
        let Some(head) = head else { return Ok(0) };
        let end = self.frame_index(head.number)?.end();
        Ok(end.unwrap_or(0).max(head.first_sequence))
    }

    fn kept(&self, number: u64) -> Option<Arc<FrameIndex>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).get(number)
    }

    fn keep(&self, number: u64, frames: Arc<FrameIndex>) {
        let bytes = frames.bytes();
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).keep(number, frames, bytes);
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
            end_sequence: self.index().end_sequence(head.number),
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
}

impl Index {
    fn number_of(&self, place: Place) -> Option<u64> {
        let behind = self.starts.partition_point(|(first, _)| *first <= place.0);
        Some(self.starts.get(behind.checked_sub(1)?)?.1)
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

fn read_frame(snapshot: &Snapshot, offset: u64) -> io::Result<Option<Entry>> {
    let OpenSegment { file, cipher } = &snapshot.open;
    let rest = snapshot.segment.length.saturating_sub(offset);
    let rest = usize::try_from(rest).unwrap_or(usize::MAX);
    let ahead = read(&**file, offset, rest.min(READ_AHEAD));
    // A dead sector behind a frame must not cost the frame.
    let mut bytes = match ahead {
        Ok(bytes) => bytes,
        Err(_) => read(&**file, offset, rest.min(FRAME_HEAD_LENGTH))?,
    };
    let Some(head) = FrameHead::decode(&bytes, cipher.segment()) else { return Ok(None) };
    let length = head.frame_length();
    if length > rest {
        return Ok(None);
    }
    if length > bytes.len() {
        let have = bytes.len();
        bytes.extend(read(&**file, offset + have as u64, length - have)?);
    }
    let body = bytes.get(FRAME_HEAD_LENGTH..length);
    Ok(body.and_then(|body| cipher.open(&head, body)))
}

fn read(file: &dyn ReadFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read_at(offset, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}
