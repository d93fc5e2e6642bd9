//! Reads a segment from end to end, going on behind damage.
//!
//! A bad body is stepped over by the length in its intact head; a bad head by searching for the
//! next intact one. What was stepped over is named, never skipped silently.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::files::ReadFile;
use crate::frame::{FRAME_HEAD_LENGTH, FRAME_MAGIC, FRAMES_START, FrameCipher, FrameHead};
use crate::log::{BadFrame, Damage, Entry, Place};

/// Bytes read from the disk at once.
const WINDOW_LENGTH: usize = 1024 * 1024;
/// What a disk loses at once.
const SECTOR_LENGTH: u64 = 4096;

/// The next thing in a segment.
pub(crate) enum Found {
    Entry { place: Place, sequence: u64, entry: Entry },
    Bad(BadFrame),
}

/// A walk over the frames of one segment.
pub(crate) struct Scan {
    window: Window,
    cipher: Arc<FrameCipher>,
    segment: u64,
    offset: u64,
    /// The sequence that comes next, if nothing is missing.
    expected: u64,
    good_end: u64,
}

impl Scan {
    /// Walks from the first frame up to `end` bytes into the file.
    pub(crate) fn new(
        file: Arc<dyn ReadFile>,
        cipher: Arc<FrameCipher>,
        segment: u64,
        first_sequence: u64,
        end: u64,
    ) -> Self {
        Self {
            window: Window { file, end, start: 0, bytes: Vec::new(), is_unreadable: false },
            cipher,
            segment,
            offset: FRAMES_START.min(end),
            expected: first_sequence,
            good_end: FRAMES_START.min(end),
        }
    }

    /// Starts at a frame whose offset is known instead of at the first.
    pub(crate) fn start_at(&mut self, offset: u64) {
        self.offset = offset.clamp(FRAMES_START, self.window.end.max(FRAMES_START));
    }

    /// Behind the last frame that could be decrypted.
    pub(crate) fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Whether the disk refused to give some of the bytes.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.window.is_unreadable
    }

    /// The next frame or the next damage; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.offset >= self.window.end {
            return Ok(None);
        }
        let start = self.offset;
        let Some(head) = self.head_at(start)? else {
            return self.step_over_head(start).map(Some);
        };
        let length = head.frame_length() as u64;
        let bytes = self.window.bytes(start, head.frame_length())?;
        let entry = self.cipher.open(&head, &bytes[FRAME_HEAD_LENGTH..]);
        self.offset = start + length;
        self.expected = head.sequence.saturating_add(1);
        let place = Place { segment: self.segment, offset: start };
        let Some(entry) = entry else {
            let sequences = head.sequence..self.expected;
            return Ok(Some(Found::Bad(BadFrame {
                place,
                length,
                sequences,
                damage: Damage::Body,
            })));
        };
        self.good_end = self.offset;
        Ok(Some(Found::Entry { place, sequence: head.sequence, entry }))
    }

    /// The intact head of a frame that ends inside the segment.
    fn head_at(&mut self, offset: u64) -> io::Result<Option<FrameHead>> {
        let bytes = self.window.bytes(offset, FRAME_HEAD_LENGTH)?;
        let head = FrameHead::decode(bytes, self.cipher.segment());
        let end = self.window.end;
        Ok(head.filter(|head| offset + head.frame_length() as u64 <= end))
    }

    fn step_over_head(&mut self, start: u64) -> io::Result<Found> {
        let next = self.next_head(start + 1)?;
        let (end, sequences): (u64, Range<u64>) = match next {
            Some((offset, head)) => (offset, self.expected..head.sequence.max(self.expected)),
            None => (self.window.end, self.expected..self.expected),
        };
        self.offset = end;
        self.expected = sequences.end;
        Ok(Found::Bad(BadFrame {
            place: Place { segment: self.segment, offset: start },
            length: end - start,
            sequences,
            damage: Damage::Head,
        }))
    }

    fn next_head(&mut self, mut offset: u64) -> io::Result<Option<(u64, FrameHead)>> {
        while offset + (FRAME_HEAD_LENGTH as u64) <= self.window.end {
            let ahead = usize::try_from(self.window.end - offset).unwrap_or(usize::MAX);
            let bytes = self.window.bytes(offset, ahead.min(WINDOW_LENGTH / 2))?;
            if bytes.len() < FRAME_HEAD_LENGTH {
                return Ok(None);
            }
            let found = bytes.windows(FRAME_MAGIC.len()).position(|four| four == FRAME_MAGIC);
            let Some(distance) = found else {
                let looked_at = bytes.len() - (FRAME_MAGIC.len() - 1);
                offset += looked_at as u64;
                continue;
            };
            offset += distance as u64;
            if let Some(head) = self.head_at(offset)? {
                return Ok(Some((offset, head)));
            }
            offset += 1;
        }
        Ok(None)
    }
}

/// A part of a file in memory that moves forward.
struct Window {
    file: Arc<dyn ReadFile>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
    is_unreadable: bool,
}

impl Window {
    /// `length` bytes at `offset`, fewer at the end.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length = length.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(0));
        let window_end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + length as u64 > window_end {
            self.fill(offset, length)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..(from + length).min(self.bytes.len())).unwrap_or(&[]))
    }

    fn fill(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let rest = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = length.max(WINDOW_LENGTH).min(rest);
        self.bytes.clear();
        self.bytes.resize(wanted, 0);
        self.start = offset;
        match self.file.read_at(offset, &mut self.bytes) {
            Ok(count) => self.bytes.truncate(count),
            Err(error) => {
                tracing::warn!(%error, offset, "part of the log is unreadable");
                self.fill_by_sectors();
            }
        }
        Ok(())
    }

    /// Reads what can be read; unreadable sectors become zeros, which no checksum accepts.
    fn fill_by_sectors(&mut self) {
        self.is_unreadable = true;
        let mut from = 0;
        while from < self.bytes.len() {
            let sector_end = ((self.start + from as u64) / SECTOR_LENGTH + 1) * SECTOR_LENGTH;
            let distance = usize::try_from(sector_end - self.start).unwrap_or(usize::MAX);
            let to = distance.min(self.bytes.len());
            let offset = self.start + from as u64;
            if self.file.read_at(offset, &mut self.bytes[from..to]).is_err() {
                self.bytes[from..to].fill(0);
            }
            from = to;
        }
    }
}
