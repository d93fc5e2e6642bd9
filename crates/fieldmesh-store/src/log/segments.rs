//! The segments of a log that are readable, and reading one entry by its place.
//!
//! Shared by every reader and the one appender, which publishes here what is durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cache::Cache;
use super::scan::Scan;
use super::{BadFrame, Entry, Place, ReadError, segment_name};
use crate::files::{Files, ReadFile};
use crate::frame::{FRAME_HEAD_LENGTH, FRAMES_START, FrameCipher, FrameHead, SegmentHead};
use crate::key::DataKey;

/// The largest number of segments kept open for reading.
const OPEN_SEGMENTS_MAX: usize = 64;
/// Bytes read at once for one entry; most frames fit.
const READ_AHEAD: usize = 4096;

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
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Index {
    segments: BTreeMap<u64, Segment>,
    unreadable: Vec<BadFrame>,
    end: Option<Place>,
}

#[derive(Clone)]
struct OpenSegment {
    file: Arc<dyn ReadFile>,
    cipher: Arc<FrameCipher>,
}

impl Segments {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        key: DataKey,
        segments: BTreeMap<u64, Segment>,
        unreadable: Vec<BadFrame>,
        cache_bytes_max: usize,
    ) -> Self {
        Self {
            files,
            key,
            index: RwLock::new(Index { segments, unreadable, end: None }),
            open: Mutex::new(BTreeMap::new()),
            cache: Mutex::new(Cache::new(cache_bytes_max)),
        }
    }

    /// The last durable entry.
    pub(crate) fn end(&self) -> Option<Place> {
        self.index().end
    }

    /// Says what is durable: up to `length` in this segment, the last entry at `end`.
    pub(crate) fn publish(&self, number: u64, segment: Segment, end: Option<Place>) {
        let mut index = self.index_mut();
        index.segments.insert(number, segment);
        index.end = end.or(index.end);
    }

    pub(crate) fn numbers_from(&self, number: u64) -> Vec<u64> {
        self.index().segments.range(number..).map(|(number, _)| *number).collect()
    }

    pub(crate) fn segment(&self, number: u64) -> Option<Segment> {
        self.index().segments.get(&number).cloned()
    }

    /// The segments behind a place whose heads are lost.
    pub(crate) fn unreadable_behind(&self, after: Option<Place>) -> Vec<BadFrame> {
        let index = self.index();
        let unreadable = index.unreadable.iter();
        unreadable.filter(|bad| after.is_none_or(|after| bad.place > after)).cloned().collect()
    }

    /// A walk over a segment, as far as it is durable at this moment.
    pub(crate) fn scan(&self, number: u64) -> Result<Option<(SegmentHead, Scan)>, ReadError> {
        let Some(segment) = self.segment(number) else { return Ok(None) };
        let open = self.open(number, &segment.head).map_err(|source| {
            let place = Place { segment: number, offset: 0 };
            ReadError::Io { place, source }
        })?;
        let first_sequence = segment.head.first_sequence;
        let scan = Scan::new(open.file, open.cipher, number, first_sequence, segment.length);
        Ok(Some((segment.head, scan)))
    }

    /// Reads the entry at a place.
    pub(crate) fn read(&self, place: Place) -> Result<Arc<Entry>, ReadError> {
        if let Some(entry) = self.cache().get(place) {
            return Ok(entry);
        }
        let segment = self.segment(place.segment).ok_or(ReadError::NotFound { place })?;
        let rest = segment.length.saturating_sub(place.offset);
        if place.offset < FRAMES_START || rest < FRAME_HEAD_LENGTH as u64 {
            return Err(ReadError::NotFound { place });
        }
        let entry = self
            .read_frame(place, &segment, rest)
            .map_err(|source| ReadError::Io { place, source })?
            .ok_or(ReadError::Damaged { place })?;
        let entry = Arc::new(entry);
        self.cache().put(place, &entry);
        Ok(entry)
    }

    fn read_frame(&self, place: Place, segment: &Segment, rest: u64) -> io::Result<Option<Entry>> {
        let open = self.open(place.segment, &segment.head)?;
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        let ahead = read(&*open.file, place.offset, rest.min(READ_AHEAD));
        // A dead sector behind a frame must not cost the frame.
        let mut bytes = match ahead {
            Ok(bytes) => bytes,
            Err(_) => read(&*open.file, place.offset, FRAME_HEAD_LENGTH)?,
        };
        let Some(head) = FrameHead::decode(&bytes, open.cipher.segment()) else {
            return Ok(None);
        };
        let length = head.frame_length();
        if length > rest {
            return Ok(None);
        }
        if length > bytes.len() {
            let have = bytes.len();
            bytes.extend(read(&*open.file, place.offset + have as u64, length - have)?);
        }
        let body = bytes.get(FRAME_HEAD_LENGTH..length);
        Ok(body.and_then(|body| open.cipher.open(&head, body)))
    }

    fn open(&self, number: u64, head: &SegmentHead) -> io::Result<OpenSegment> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open.get(&number) {
            return Ok(segment.clone());
        }
        let segment = OpenSegment {
            file: self.files.open(&segment_name(number))?,
            cipher: Arc::new(FrameCipher::new(&self.key, head)),
        };
        if open.len() >= OPEN_SEGMENTS_MAX {
            open.pop_first();
        }
        open.insert(number, segment.clone());
        Ok(segment)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &dyn ReadFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read_at(offset, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}
