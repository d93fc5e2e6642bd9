//! Reads a segment from end to end, going on behind damage.
//!
//! A bad body is stepped over by the length in its intact head; a bad head by searching for the
//! next intact one. What was stepped over is named, never skipped silently.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::blocks::BlockScan;
use crate::files::ReadFile;
use crate::frame::{FRAME_HEAD_LENGTH, FRAME_MAGIC, FRAMES_START, FrameCipher, FrameHead};
use crate::log::{BadFrame, Damage, Entry};

/// Bytes read from the disk at once.
const WINDOW_LENGTH: usize = 1024 * 1024;
/// What a disk loses at once.
const SECTOR_LENGTH: u64 = 4096;

/// The next thing in a segment.
pub(crate) enum Found {
    Entry {
        sequence: u64,
        entry: Entry,
    },
    /// Entries that somebody decided to drop.
    Dropped(Range<u64>),
    Bad(BadFrame),
}

/// The next thing in a segment, before anything is decrypted.
pub(crate) enum Step {
    Frame { offset: u64, head: FrameHead },
    Bad(BadFrame),
}

/// What to read, and as what.
#[derive(Clone)]
pub(crate) struct Frames {
    pub(crate) file: Arc<dyn ReadFile>,
    pub(crate) cipher: Arc<FrameCipher>,
    pub(crate) segment: u64,
    pub(crate) first_sequence: u64,
    /// Entries from this one on do not belong to this segment.
    pub(crate) end_sequence: u64,
    /// Nothing behind this byte is read.
    pub(crate) length: u64,
}

/// A walk over the entries of one segment.
pub(crate) enum Scan {
    Frames(FrameScan),
    Blocks(BlockScan),
}

impl Scan {
    /// The next entry or the next damage; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        match self {
            Self::Frames(scan) => scan.next(),
            Self::Blocks(scan) => Ok(scan.next()),
        }
    }

    /// Steps over what lies before a sequence, where several segments were merged to this one and
    /// some of them have been gone through.
    pub(crate) fn go_on_from(&mut self, sequence: u64) {
        match self {
            Self::Frames(_) => {}
            Self::Blocks(scan) => scan.go_on_from(sequence),
        }
    }

    /// Where the frame of what was found last begins.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Frames(scan) => scan.walk.found_at,
            Self::Blocks(scan) => scan.offset(),
        }
    }

    /// Whether the disk refused to give some of the bytes.
    pub(crate) fn is_unreadable(&self) -> bool {
        match self {
            Self::Frames(scan) => scan.walk.is_unreadable(),
            Self::Blocks(scan) => scan.is_unreadable(),
        }
    }
}

/// A walk over the entries of a segment as it was appended.
pub(crate) struct FrameScan {
    walk: Walk,
    /// Entries before this one are stepped over.
    from: u64,
}

impl FrameScan {
    /// Walks from the first frame.
    pub(crate) fn new(frames: Frames) -> Self {
        Self { walk: Walk::new(frames), from: 0 }
    }

    /// Starts at a frame whose offset is known, and with the first entry from `from` on.
    pub(crate) fn start_at(&mut self, (sequence, offset): (u64, u64), from: u64) {
        self.walk.start_at(sequence, offset);
        self.from = from;
    }

    fn next(&mut self) -> io::Result<Option<Found>> {
        while let Some(step) = self.walk.next()? {
            let (offset, head) = match step {
                Step::Bad(bad_frame) => return Ok(Some(Found::Bad(bad_frame))),
                Step::Frame { head, .. } if head.sequence < self.from => continue,
                Step::Frame { offset, head } => (offset, head),
            };
            if head.sequence >= self.walk.frames.end_sequence {
                let stray = self.walk.bad(offset, &head, 0..0, Damage::Stray);
                return Ok(Some(Found::Bad(stray)));
            }
            let cipher = Arc::clone(&self.walk.frames.cipher);
            let entry = cipher.open(&head, self.walk.body(offset, &head)?);
            let sequence = head.sequence;
            return Ok(Some(match entry {
                Some(entry) => Found::Entry { sequence, entry },
                None => {
                    let lost = sequence..sequence.saturating_add(1);
                    Found::Bad(self.walk.bad(offset, &head, lost, Damage::Body))
                }
            }));
        }
        Ok(None)
    }
}

/// A walk over the frames of one segment.
pub(crate) struct Walk {
    frames: Frames,
    window: Window,
    offset: u64,
    found_at: u64,
    /// The sequence that comes next, if nothing is missing.
    expected: u64,
    scratch: Vec<u8>,
}

impl Walk {
    /// Walks from the first frame.
    pub(crate) fn new(frames: Frames) -> Self {
        let window = Window {
            file: Arc::clone(&frames.file),
            end: frames.length,
            start: 0,
            bytes: Vec::new(),
            is_unreadable: false,
        };
        let (offset, expected) = (FRAMES_START.min(frames.length), frames.first_sequence);
        Self { frames, window, offset, found_at: offset, expected, scratch: Vec::new() }
    }

    fn start_at(&mut self, sequence: u64, offset: u64) {
        self.offset = offset.clamp(FRAMES_START, self.window.end.max(FRAMES_START));
        self.expected = sequence;
    }

    /// Whether the disk refused to give some of the bytes.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.window.is_unreadable
    }

    /// The next frame or the next damage; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.offset >= self.window.end {
            return Ok(None);
        }
        let offset = self.offset;
        self.found_at = offset;
        let Some(head) = self.head_at(offset)? else {
            return self.step_over_head(offset).map(|bad_frame| Some(Step::Bad(bad_frame)));
        };
        self.offset = offset + head.frame_length() as u64;
        self.expected = head.sequence.saturating_add(1);
        Ok(Some(Step::Frame { offset, head }))
    }

    /// Ciphertext and tag of a frame.
    pub(crate) fn body(&mut self, offset: u64, head: &FrameHead) -> io::Result<&[u8]> {
        self.window.bytes(offset + FRAME_HEAD_LENGTH as u64, head.body_length())
    }

    /// Whether a frame can be decrypted.
    pub(crate) fn is_intact(&mut self, offset: u64, head: &FrameHead) -> io::Result<bool> {
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        body.extend(self.body(offset, head)?);
        let is_intact = self.frames.cipher.decrypt(head, &mut body).is_some();
        self.scratch = body;
        Ok(is_intact)
    }

    /// A whole frame as damage.
    pub(crate) fn bad(
        &self,
        offset: u64,
        head: &FrameHead,
        sequences: Range<u64>,
        damage: Damage,
    ) -> BadFrame {
        let length = head.frame_length() as u64;
        BadFrame { segment: self.frames.segment, offset, length, sequences, damage }
    }

    /// The intact head of a frame that ends inside the segment.
    fn head_at(&mut self, offset: u64) -> io::Result<Option<FrameHead>> {
        let bytes = self.window.bytes(offset, FRAME_HEAD_LENGTH)?;
        let head = FrameHead::decode(bytes, self.frames.cipher.segment());
        let end = self.window.end;
        Ok(head.filter(|head| offset + head.frame_length() as u64 <= end))
    }

    fn step_over_head(&mut self, start: u64) -> io::Result<BadFrame> {
        let next = self.next_head(start + 1)?;
        let (end, sequences): (u64, Range<u64>) = match next {
            Some((offset, head)) => (offset, self.expected..head.sequence.max(self.expected)),
            None => (self.window.end, self.expected..self.expected),
        };
        self.offset = end;
        self.expected = sequences.end;
        Ok(BadFrame {
            segment: self.frames.segment,
            offset: start,
            length: end - start,
            sequences,
            damage: Damage::Head,
        })
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
