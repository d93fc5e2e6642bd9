//! Opens a log: surveys its segments, finds its end, sets a torn tail aside.
//!
//! What was found is noted durably before anything of it is cut off.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fieldmesh_model::StoreId;

use super::scan::Found;
use super::segments::{Segment, Segments};
use super::{BadFrame, Damage, LOG_FOLDER, Place, ReadError, segment_name, segment_number};
use crate::doubt::{self, Doubt};
use crate::files::{Files, ReadFile};
use crate::frame::{FRAMES_START, HEAD_LENGTH, HEAD_OFFSETS, HeadCopy, SegmentHead};
use crate::key::DataKey;

/// The folder inside a store where damaged parts are kept.
pub(crate) const QUARANTINE_FOLDER: &str = "quarantine";
/// Bytes copied at once.
const COPY_LENGTH: usize = 1024 * 1024;

/// An end of the log that could not be read: written while the power went, or damaged later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where it begins.
    pub place: Place,
    /// How many bytes it covers.
    pub length: u64,
    /// The file in the store's folder that keeps it; `None` if it still lies in the log.
    pub kept_as: Option<String>,
}

/// The segments as found, before any key is used.
pub(crate) struct Survey {
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) unreadable: Vec<BadFrame>,
    pub(crate) missing: Vec<u64>,
    next_number: u64,
}

/// Why a log cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("log version {version}")]
    Newer { version: u16 },
}

impl Survey {
    /// Reads the head of every segment.
    pub(crate) fn take(files: &dyn Files) -> Result<Self, SurveyError> {
        let names = files.list(LOG_FOLDER)?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        let mut survey = Self {
            segments: BTreeMap::new(),
            unreadable: Vec::new(),
            missing: Vec::new(),
            next_number: numbers.last().map_or(1, |last| last.saturating_add(1)),
        };
        let mut expected = 1;
        for number in numbers {
            // Bounded: a stray file with a huge number must not fill the list.
            survey.missing.extend((expected..number).take(1_000));
            expected = number.saturating_add(1);
            survey.add(files, number)?;
        }
        Ok(survey)
    }

    fn add(&mut self, files: &dyn Files, number: u64) -> Result<(), SurveyError> {
        let file = files.open(&segment_name(number))?;
        let length = file.length()?;
        match read_head(&*file)? {
            HeadCopy::Good(head) if head.number == number => {
                self.segments.insert(number, Segment { head, length });
            }
            HeadCopy::Newer { version } => return Err(SurveyError::Newer { version }),
            HeadCopy::Good(_) | HeadCopy::Bad => {
                // Shorter than a head: its first append was never acknowledged.
                if length > FRAMES_START {
                    self.unreadable.push(BadFrame {
                        place: Place { segment: number, offset: 0 },
                        length,
                        sequences: 0..0,
                        damage: Damage::SegmentHead,
                    });
                }
            }
        }
        Ok(())
    }

    /// The store that wrote the newest segment.
    pub(crate) fn newest_store(&self) -> Option<StoreId> {
        self.segments.values().next_back().map(|segment| segment.head.store)
    }

    /// Whether `key` is the one the segments were written with; `None` if nothing tells.
    pub(crate) fn fits(&self, key: &DataKey) -> Option<bool> {
        let mut segments = self.segments.values().peekable();
        segments.peek()?;
        // One that fits decides: a stray segment of another store is damage, not a wrong key.
        Some(segments.any(|segment| key.check(segment.head.store) == segment.head.key_check))
    }
}

fn read_head(file: &dyn ReadFile) -> io::Result<HeadCopy> {
    let mut newest = HeadCopy::Bad;
    for offset in HEAD_OFFSETS {
        let mut copy = [0; HEAD_LENGTH];
        // An unreadable sector is damage like any other; the copy lies in the next one.
        if file.read_at(offset, &mut copy).unwrap_or(0) < HEAD_LENGTH {
            continue;
        }
        match SegmentHead::decode(&copy) {
            HeadCopy::Bad => {}
            HeadCopy::Good(head) => return Ok(HeadCopy::Good(head)),
            HeadCopy::Newer { version } => newest = HeadCopy::Newer { version },
        }
    }
    Ok(newest)
}

/// An opened log: what to read, and where to go on.
pub(crate) struct Opened {
    pub(crate) segments: Arc<Segments>,
    pub(crate) next_number: u64,
    pub(crate) next_sequence: u64,
    pub(crate) bad_frames: Vec<BadFrame>,
    pub(crate) torn_tail: Option<TornTail>,
}

/// Verifies the end of a log and makes it durable; adds what is wrong with it to `doubt`.
pub(crate) fn open(
    files: &Arc<dyn Files>,
    key: &DataKey,
    survey: Survey,
    cache_bytes_max: usize,
    doubt: &mut Doubt,
) -> Result<Opened, ReadError> {
    let numbers: Vec<u64> = survey.segments.keys().rev().copied().collect();
    let unreadable = survey.unreadable.clone();
    let segments = Arc::new(Segments::new(
        Arc::clone(files),
        key.clone(),
        survey.segments,
        survey.unreadable,
        cache_bytes_max,
    ));
    let mut opened = Opened {
        segments,
        next_number: survey.next_number,
        next_sequence: 0,
        bad_frames: unreadable,
        torn_tail: None,
    };
    for number in numbers {
        if opened.verify_last(&**files, number, doubt)? {
            break;
        }
    }
    opened.bad_frames.sort_by_key(|bad_frame| bad_frame.place);
    Ok(opened)
}

impl Opened {
    /// Verifies one segment at the end of the log; says whether it holds an entry.
    fn verify_last(
        &mut self,
        files: &dyn Files,
        number: u64,
        doubt: &mut Doubt,
    ) -> Result<bool, ReadError> {
        let start = Place { segment: number, offset: 0 };
        let io_error = |source| ReadError::Io { place: start, source };
        // After a killed process the end may be in memory only, and it is about to be relied on.
        files.sync(&segment_name(number)).map_err(io_error)?;
        let Some((head, mut scan)) = self.segments.scan(number)? else { return Ok(false) };
        self.next_sequence = self.next_sequence.max(head.first_sequence);
        let mut last = None;
        let mut bad_frames = Vec::new();
        while let Some(found) = scan.next().map_err(io_error)? {
            match found {
                Found::Entry { place, sequence, .. } => {
                    last = Some(place);
                    self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
                }
                Found::Bad(bad_frame) => bad_frames.push(bad_frame),
            }
        }
        let good_end = scan.good_end();
        let length = self.segments.segment(number).map_or(0, |segment| segment.length);
        let (tail, middle): (Vec<BadFrame>, Vec<BadFrame>) =
            bad_frames.into_iter().partition(|bad_frame| bad_frame.place.offset >= good_end);
        self.bad_frames.extend(middle);
        if !tail.is_empty() {
            let place = Place { segment: number, offset: good_end };
            let mut torn = TornTail { place, length: length - good_end, kept_as: None };
            note(files, doubt, self.bad_frames.iter().map(doubt::of_bad_frame));
            if scan.is_unreadable() || !set_aside(files, &mut torn, doubt) {
                note(files, doubt, [doubt::of_torn_tail(&torn)]);
            }
            tracing::warn!(segment = number, offset = good_end, "torn tail of the log");
            self.torn_tail.get_or_insert(torn);
        }
        // Frames behind the good end are never read again, cut off or not.
        self.segments.publish(number, Segment { head, length: good_end }, last);
        Ok(last.is_some())
    }
}

/// Notes what stays as it is on the disk: an open finds it again where this fails.
pub(crate) fn note(files: &dyn Files, doubt: &mut Doubt, found: impl IntoIterator<Item = String>) {
    if let Err(error) = doubt.add(files, found) {
        tracing::warn!(%error, "found damage could not be noted");
    }
}

/// Copies a tail into the quarantine, notes it and cuts it off; false leaves it where it is.
fn set_aside(files: &dyn Files, torn: &mut TornTail, doubt: &mut Doubt) -> bool {
    let segment = segment_name(torn.place.segment);
    let cut = copy_tail(files, torn).and_then(|name| {
        torn.kept_as = Some(name);
        doubt.add(files, [doubt::of_torn_tail(torn)])?;
        files.truncate(&segment, torn.place.offset)
    });
    if let Err(error) = &cut {
        tracing::warn!(%error, segment, "torn tail not set aside");
        torn.kept_as = None;
    }
    cut.is_ok()
}

fn copy_tail(files: &dyn Files, torn: &TornTail) -> io::Result<String> {
    let (number, from) = (torn.place.segment, torn.place.offset);
    let to = from + torn.length;
    files.create_folder(QUARANTINE_FOLDER)?;
    let taken = files.list(QUARANTINE_FOLDER)?;
    let stem = format!("log-{number:016}-{from}");
    let name = (0_u32..)
        .map(|count| format!("{stem}.{count}"))
        .find(|name| !taken.contains(name))
        .map(|name| format!("{QUARANTINE_FOLDER}/{name}"))
        .ok_or(io::ErrorKind::AlreadyExists)?;
    let source = files.open(&segment_name(number))?;
    let mut copy = files.create(&name)?;
    let mut buffer = vec![0; COPY_LENGTH];
    let mut offset = from;
    while offset < to {
        let wanted = usize::try_from(to - offset).unwrap_or(usize::MAX).min(COPY_LENGTH);
        let count = source.read_at(offset, &mut buffer[..wanted])?;
        if count == 0 {
            break;
        }
        copy.append(&buffer[..count])?;
        offset += count as u64;
    }
    copy.sync()?;
    files.sync_folder(QUARANTINE_FOLDER)?;
    files.sync_folder("")?;
    Ok(name)
}
