//! The batch log: what is in it, where, and what is damaged.
//!
//! The log is the truth of a store. Entries are opaque here; they are appended by
//! [`crate::writer`] through [`append`], found again by their [`Place`], and replayed in order.
//! Damage never ends a replay and never hides: it is stepped over and listed.

pub(crate) mod append;
pub(crate) mod cache;
pub(crate) mod open;
pub(crate) mod scan;
pub(crate) mod segments;

use std::io;
use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use self::scan::Found;
use self::segments::Segments;

/// The folder of the segments inside a store.
pub(crate) const LOG_FOLDER: &str = "log";

/// What the caller keeps in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The caller's own sort of entry.
    pub kind: u8,
    /// Its content, at most [`crate::ENTRY_SIZE_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// Where an entry lies; places grow in the order of appending.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Place {
    /// The number of the segment.
    pub segment: u64,
    /// The byte in it where the frame begins.
    pub offset: u64,
}

impl Place {
    /// Sixteen bytes that sort as places do.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.segment.to_be_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    /// Reads what [`Place::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { segment: (both >> 64) as u64, offset: both as u64 }
    }
}

/// A part of the log that could not be read; fetch what was there from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// Where the damage begins.
    pub place: Place,
    /// How many bytes it covers.
    pub length: u64,
    /// The running numbers of the entries lost; empty if they are not known.
    pub sequences: Range<u64>,
    /// What is wrong.
    pub damage: Damage,
}

/// What is wrong with a part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The beginning of a frame: anything up to the next frame is lost.
    Head,
    /// The content of one frame.
    Body,
    /// Both copies of a segment's head: nothing in the segment can be decrypted.
    SegmentHead,
    /// Bytes that should be there are not: a file is shorter or gone.
    Missing,
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No entry begins at this place; the place is not from this store.
    #[error("no entry at segment {}, offset {}", place.segment, place.offset)]
    NotFound {
        /// The place asked for.
        place: Place,
    },
    /// The entry is damaged: fetch it again from a peer.
    #[error("the entry at segment {}, offset {} is damaged", place.segment, place.offset)]
    Damaged {
        /// The place asked for.
        place: Place,
    },
    /// The disk reports an error; if it stays, fetch the entry again from a peer.
    #[error("the log cannot be read at segment {}, offset {}", place.segment, place.offset)]
    Io {
        /// The place asked for.
        place: Place,
        /// What the disk said.
        source: io::Error,
    },
}

/// What a replay went through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// How many entries the caller was given.
    pub entries: u64,
    /// The last of them.
    pub last: Option<Place>,
    /// What could not be read, in order of place.
    pub bad_frames: Vec<BadFrame>,
}

/// Gives every entry behind `after` to `visit` in order, until it breaks off.
///
/// # Errors
///
/// A segment cannot be opened at all; damage inside one is listed instead.
pub(crate) fn replay(
    segments: &Segments,
    after: Option<Place>,
    mut visit: impl FnMut(Place, Entry) -> ControlFlow<()>,
) -> Result<Replayed, ReadError> {
    let mut replayed = Replayed::default();
    let mut tally = Tally { expected: None, bad_frames: Vec::new() };
    for number in segments.numbers_from(after.map_or(0, |place| place.segment)) {
        let Some((head, mut scan)) = segments.scan(number)? else { continue };
        match after {
            Some(place) if place.segment == number => scan.start_at(place.offset),
            Some(_) | None => tally.expect(number, head.first_sequence),
        }
        while let Some(found) = scan.next().map_err(|source| {
            let place = Place { segment: number, offset: 0 };
            ReadError::Io { place, source }
        })? {
            match found {
                Found::Entry { place, sequence, entry } => {
                    tally.entry(place, sequence);
                    if after.is_none_or(|after| place > after) {
                        replayed.entries += 1;
                        replayed.last = Some(place);
                        if visit(place, entry).is_break() {
                            replayed.bad_frames = tally.bad_frames;
                            return Ok(replayed);
                        }
                    }
                }
                Found::Bad(bad_frame) => tally.bad(bad_frame),
            }
        }
    }
    if let Some(after) = after {
        tally.bad_frames.retain(|bad_frame| bad_frame.place > after);
    }
    tally.bad_frames.extend(segments.unreadable_behind(after));
    tally.bad_frames.sort_by_key(|bad_frame| bad_frame.place);
    replayed.bad_frames = tally.bad_frames;
    Ok(replayed)
}

/// Collects damage and notices sequences that are missing.
struct Tally {
    expected: Option<u64>,
    bad_frames: Vec<BadFrame>,
}

impl Tally {
    fn entry(&mut self, place: Place, sequence: u64) {
        self.expect_at(place, sequence);
        self.expected = Some(sequence.saturating_add(1));
    }

    fn bad(&mut self, bad_frame: BadFrame) {
        self.expect_at(bad_frame.place, bad_frame.sequences.start);
        self.expected = Some(bad_frame.sequences.end);
        self.bad_frames.push(bad_frame);
    }

    fn expect(&mut self, segment: u64, sequence: u64) {
        self.expect_at(Place { segment, offset: crate::frame::FRAMES_START }, sequence);
        self.expected = Some(sequence);
    }

    fn expect_at(&mut self, place: Place, sequence: u64) {
        let Some(expected) = self.expected.filter(|expected| *expected < sequence) else { return };
        // A damaged tail does not tell how many frames it held; the next segment does.
        if let Some(last) = self.bad_frames.last_mut()
            && last.sequences.end == expected
            && last.place.segment != place.segment
            && last.damage == Damage::Head
        {
            last.sequences.end = sequence;
            return;
        }
        self.bad_frames.push(BadFrame {
            place,
            length: 0,
            sequences: expected..sequence,
            damage: Damage::Missing,
        });
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{LOG_FOLDER}/{number:016}.log")
}

/// The number in the name of a segment's file, as listed in its folder.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    digits.parse().ok()
}
