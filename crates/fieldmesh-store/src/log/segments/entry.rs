//! Reading one entry by its place.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{OpenSegment, Positions, Segments, Snapshot};
use crate::files::ReadFile;
use crate::frame::{FRAME_HEAD_LENGTH, Form, FrameHead, SegmentHead};
use crate::log::blocks::{Blocks, read_block};
use crate::log::coverage::Fortune;
use crate::log::{Entry, Place, ReadError};

/// Bytes read at once for one entry; most frames fit.
const READ_AHEAD: usize = 4096;
/// What an entry in memory costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 200;

/// Where an entry may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// What was read last is in memory.
    Memory,
    Disk,
}

impl Segments {
    /// Reads the entry at a place.
    pub(crate) fn read(&self, place: Place) -> Result<Arc<Entry>, ReadError> {
        self.read_from(Source::Memory, place)
    }

    /// Reads the entry at a place from there.
    pub(crate) fn read_from(&self, source: Source, place: Place) -> Result<Arc<Entry>, ReadError> {
        loop {
            let found = self.index().find(place);
            let Some((number, form)) = found else { return Err(self.absent(place)) };
            // Where another segment has taken the place of this one since, it lies in that.
            if let Some(read) = self.read_in((number, form), source, place) {
                return read;
            }
        }
    }

    /// Reads an entry in the segment that has it; `None` if there is no such segment any more.
    fn read_in(
        &self,
        (number, form): (u64, Form),
        from: Source,
        place: Place,
    ) -> Option<Result<Arc<Entry>, ReadError>> {
        if form == Form::Frames
            && from == Source::Memory
            && let Some(entry) = self.cache().get(place)
        {
            return Some(Ok(entry));
        }
        let io_error = |source| ReadError::Io { segment: number, source };
        if let Some(offset) = self.active(number, |frames| frames.find(place.0)) {
            match self.frames_snapshot(number).map_err(io_error) {
                Ok(Some(snapshot)) => return Some(self.read_frame(&snapshot, place, offset)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        let (snapshot, positions) = match self.positions(number).map_err(io_error) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        Some(match positions {
            Positions::Frames(frames) => self.read_frame(&snapshot, place, frames.find(place.0)),
            Positions::Blocks(blocks) => match blocks.index.coverage.find(place.0) {
                Some(Fortune::Present) => self.read_in_block((&snapshot, &blocks), from, place),
                Some(Fortune::Dropped) => Err(ReadError::NotFound { place }),
                Some(Fortune::Lost) => Err(ReadError::Damaged { place }),
                None => Err(self.absent(place)),
            },
        })
    }

    fn read_frame(
        &self,
        snapshot: &Snapshot,
        place: Place,
        offset: Option<u64>,
    ) -> Result<Arc<Entry>, ReadError> {
        let Some(offset) = offset else { return Err(self.absent(place)) };
        let segment = snapshot.segment.head.number;
        let entry = read_frame(snapshot, offset)
            .map_err(|source| ReadError::Io { segment, source })?
            .ok_or(ReadError::Damaged { place })?;
        let entry = Arc::new(entry);
        let bytes = entry.bytes.len() + ENTRY_OVERHEAD_BYTES;
        self.cache().put(place, Arc::clone(&entry), bytes);
        Ok(entry)
    }

    fn read_in_block(
        &self,
        (snapshot, blocks): (&Snapshot, &Blocks),
        from: Source,
        place: Place,
    ) -> Result<Arc<Entry>, ReadError> {
        let SegmentHead { number: segment, id, .. } = snapshot.segment.head;
        let number = blocks.index.number_of(place.0);
        let damaged = ReadError::Damaged { place };
        let kept = self.blocks().get((id, number)).filter(|_| from == Source::Memory);
        let block = match (kept, blocks.index.spots.get(number)) {
            (Some(block), _) => block,
            (None, None) => return Err(damaged),
            (None, Some(spot)) => {
                let read = read_block(&self.frames(snapshot), spot);
                let read = read.map_err(|source| ReadError::Io { segment, source })?;
                let Ok(block) = read.map(Arc::new) else { return Err(damaged) };
                let bytes = block.memory_bytes();
                self.blocks().put((id, number), Arc::clone(&block), bytes);
                block
            }
        };
        block.find(place).map(Arc::new).ok_or(damaged)
    }

    /// The places of all entries that cannot be read where the one at `place` cannot: those of its
    /// block.
    pub(crate) fn damaged_with(&self, place: Place) -> Vec<Range<u64>> {
        let alone = place.0..place.0.saturating_add(1);
        let positions = self.number_of(place).map(|number| self.positions(number));
        let Some(Ok(Some((_, Positions::Blocks(blocks))))) = positions else { return vec![alone] };
        let index = &blocks.index;
        let fortune = index.coverage.find(place.0);
        let Some(spot) = index.spots.get(index.number_of(place.0)).filter(|_| fortune.is_some())
        else {
            return vec![alone];
        };
        // Where the index was made again, what a damaged block held counts as lost in it.
        let runs = index.coverage.runs(spot.start..spot.end);
        runs.filter(|(_, found)| Some(*found) == fortune).map(|(run, _)| run).collect()
    }

    fn absent(&self, place: Place) -> ReadError {
        if self.index().was_promised(place) {
            ReadError::Damaged { place }
        } else {
            ReadError::NotFound { place }
        }
    }
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
