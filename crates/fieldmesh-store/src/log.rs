//! The batch log: what is in it, where, and what is damaged.
//!
//! The log is the truth of a store. Entries are opaque here; they are appended by
//! [`crate::writer`] through [`append`], found again by their [`Place`], and replayed in order.
//! Damage never ends a replay and never hides: it is stepped over and listed.

pub(crate) mod append;
pub(crate) mod block;
pub(crate) mod blocks;
pub(crate) mod cache;
pub(crate) mod coverage;
pub(crate) mod draft;
pub(crate) mod index;
pub(crate) mod open;
pub(crate) mod quarantine;
pub(crate) mod reseal;
pub(crate) mod rewrite;
pub(crate) mod scan;
pub(crate) mod segments;
pub(crate) mod taken;
pub(crate) mod upkeep;

use std::fmt;
use std::io;
use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use self::scan::Found;
use self::segments::Segments;
use crate::frame::{FRAMES_START, SegmentHead};

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

/// Where an entry lies: its number in the order of appending, never used for another one.
///
/// A place stays the same when its segment is written anew.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Place(pub u64);

impl Place {
    /// Eight bytes that sort as places do.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Reads what [`Place::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of the log that could not be read; fetch what was there from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// The number of the segment.
    pub segment: u64,
    /// The byte in it where the damage begins.
    pub offset: u64,
    /// How many bytes it covers.
    pub length: u64,
    /// The places of the entries lost; empty if they are not known.
    pub sequences: Range<u64>,
    /// What is wrong.
    pub damage: Damage,
}

impl BadFrame {
    /// The file that it lies in, in the folder of the store.
    pub fn file(&self) -> String {
        segment_name(self.segment)
    }

    /// Where it lies, to sort by.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.segment, self.offset)
    }
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
    /// A frame with the number of another entry: a failed append left it, nothing is lost.
    Stray,
    /// It was damaged before its segment was written anew, and nobody has settled it.
    Earlier,
    /// The index of a segment that was written anew: it is made again from what it names.
    Index,
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No entry has this place: it was never given, or its entry was dropped.
    #[error("the log has no entry {place}")]
    NotFound {
        /// The place asked for.
        place: Place,
    },
    /// The entry is damaged or gone: fetch it again from a peer.
    #[error("entry {place} of the log is damaged")]
    Damaged {
        /// The place asked for.
        place: Place,
    },
    /// The disk reports an error; if it stays, fetch what was asked for again from a peer.
    #[error("segment {segment} of the log cannot be read")]
    Io {
        /// The number of the segment.
        segment: u64,
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
    let begun = after.and_then(|after| segments.number_of(after));
    let expected = begun.and(after).map(|after| after.0.saturating_add(1));
    let mut tally = Tally { expected, bad_frames: Vec::new() };
    let first = begun.unwrap_or(0);
    let last = segments.last_number().unwrap_or(0);
    let mut from = first;
    while let Some(number) = segments.next_number(from) {
        from = number.saturating_add(1);
        let io_error = |source| ReadError::Io { segment: number, source };
        let after = after.filter(|_| number == first);
        // What was merged meanwhile lies in a later one, behind the last as well.
        let Some(mut scan) = segments.scan(number, after).map_err(io_error)? else { continue };
        scan.go_on_from(tally.expected.unwrap_or(0));
        if after.is_none()
            && let Some(head) = segments.head(number)
        {
            tally.begin(&head);
        }
        while let Some(found) = scan.next().map_err(io_error)? {
            match found {
                Found::Entry { sequence, entry } => {
                    tally.entry((number, scan.offset()), sequence);
                    replayed.entries += 1;
                    replayed.last = Some(Place(sequence));
                    if visit(Place(sequence), entry).is_break() {
                        replayed.bad_frames = tally.bad_frames;
                        return Ok(replayed);
                    }
                }
                Found::Dropped(sequences) => tally.dropped((number, scan.offset()), &sequences),
                Found::Bad(bad_frame) => tally.bad(bad_frame),
            }
        }
        if number >= last {
            break;
        }
    }
    tally.bad_frames.extend(segments.unreadable_from(first));
    tally.bad_frames.sort_by_key(BadFrame::position);
    replayed.bad_frames = tally.bad_frames;
    Ok(replayed)
}

/// Collects damage and notices sequences that are missing.
struct Tally {
    expected: Option<u64>,
    bad_frames: Vec<BadFrame>,
}

impl Tally {
    fn entry(&mut self, position: (u64, u64), sequence: u64) {
        self.expect(position, sequence);
        self.expected = Some(sequence.saturating_add(1));
    }

    fn dropped(&mut self, position: (u64, u64), sequences: &Range<u64>) {
        self.expect(position, sequences.start);
        self.expected = Some(sequences.end);
    }

    fn bad(&mut self, bad_frame: BadFrame) {
        if !bad_frame.sequences.is_empty() {
            self.expect(bad_frame.position(), bad_frame.sequences.start);
            self.expected = Some(bad_frame.sequences.end);
        }
        self.bad_frames.push(bad_frame);
    }

    fn begin(&mut self, head: &SegmentHead) {
        self.expect((head.number, FRAMES_START), head.promised_end());
        self.expected = self.expected.max(Some(head.first_sequence));
    }

    fn expect(&mut self, (segment, offset): (u64, u64), sequence: u64) {
        let Some(expected) = self.expected.filter(|expected| *expected < sequence) else { return };
        // A damaged tail does not tell how many frames it held; the next segment does.
        if let Some(last) = self.bad_frames.last_mut()
            && last.sequences.end == expected
            && last.segment != segment
            && last.damage == Damage::Head
        {
            last.sequences.end = sequence;
            return;
        }
        self.bad_frames.push(BadFrame {
            segment,
            offset,
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
