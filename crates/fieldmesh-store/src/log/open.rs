//! Opens a log: surveys its segments, finds its end, sets a torn tail aside.
//!
//! What was found is noted durably before anything of it is cut off.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fieldmesh_model::StoreId;

use super::blocks::Blocks;
use super::index::FrameIndex;
use super::rewrite::{self, DRAFT_SUFFIX};
use super::scan::{Frames, Step};
use super::segments::{Left, Segment, Segments, Snapshot};
use super::{
    BadFrame, Damage, LOG_FOLDER, Place, ReadError, quarantine, segment_name, segment_number,
};
use crate::doubt::{self, Doubt};
use crate::files::{Files, ReadFile};
use crate::frame::{
    FRAME_LENGTH_MIN, FRAMES_START, Form, FrameCipher, HEAD_LENGTH, HEAD_OFFSETS, HeadCopy,
    SegmentHead,
};
use crate::keys::{DataKeys, KeysInUse};

/// Segments that are missing in a row and are named one by one.
pub(crate) const MISSING_SEGMENTS_MAX: usize = 1_000;

/// An end of the log that could not be read: written while the power went, or damaged later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The number of the segment.
    pub segment: u64,
    /// The byte in it where the tail begins.
    pub offset: u64,
    /// How many bytes it covers.
    pub length: u64,
    /// The file in the store's folder that keeps it; `None` if it still lies in the log.
    pub kept_as: Option<String>,
}

/// The segments as found, before any key is used.
pub(crate) struct Survey {
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) unreadable: Vec<BadFrame>,
    /// The numbers of all files, in order.
    numbers: Vec<u64>,
    /// The files that have no head, or none that the disk gives.
    headless: BTreeMap<u64, Left>,
    /// What is left of segments that others have taken the place of.
    leftovers: BTreeMap<u64, Left>,
    next_number: u64,
    /// Behind what segments say to have under whose heads nothing opens.
    said_end: u64,
}

/// Why a log cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("segment {segment} has version {version}")]
    Newer { segment: u64, version: u16 },
}

impl Survey {
    /// Reads the head of every segment.
    pub(crate) fn take(files: &dyn Files) -> Result<Self, SurveyError> {
        let names = files.list(LOG_FOLDER)?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        let mut survey = Self {
            segments: BTreeMap::new(),
            unreadable: Vec::new(),
            headless: BTreeMap::new(),
            leftovers: BTreeMap::new(),
            next_number: numbers.last().map_or(1, |last| last.saturating_add(1)),
            numbers: Vec::new(),
            said_end: 0,
        };
        for number in &numbers {
            survey.add(files, *number)?;
        }
        survey.numbers = numbers;
        Ok(survey)
    }

    /// Leaves out the segments that `store` has merged to later ones, which a crash may have left;
    /// gives the numbers of those that are gone.
    pub(crate) fn leave_out_merged(
        &mut self,
        files: &dyn Files,
        keys: &DataKeys,
        store: StoreId,
    ) -> Vec<u64> {
        self.segments.retain(|number, segment| {
            let is_believed = segment.head.store != store || is_vouched_for(files, keys, segment);
            if !is_believed {
                // What is unreadable today may be readable tomorrow.
                self.said_end = self.said_end.max(segment.head.covered_end());
                self.unreadable.push(unreadable(*number, segment.length));
                self.headless.insert(*number, Left::Headless { length: segment.length });
            }
            is_believed
        });
        let heads = self.segments.values().map(|segment| segment.head.clone());
        let merges: Vec<SegmentHead> =
            heads.filter(|head| head.merged > 0 && head.store == store).collect();
        for merge in &merges {
            let is_leftover = |number: &u64| {
                merge.has_taken_over(*number)
                    && self.segments.get(number).is_none_or(|it| is_within(merge, &it.head))
            };
            let found = self.numbers.iter().copied().filter(is_leftover);
            let left = |number: u64| {
                let headed = self.segments.get(&number).cloned().map(Left::Headed);
                Some((number, headed.or_else(|| self.headless.get(&number).cloned())?))
            };
            let found: Vec<(u64, Left)> = found.filter_map(left).collect();
            self.leftovers.extend(found);
        }
        let leftovers = &self.leftovers;
        self.segments.retain(|number, _| !leftovers.contains_key(number));
        self.unreadable.retain(|bad| !leftovers.contains_key(&bad.segment));
        self.missing(&merges)
    }

    fn missing(&self, merges: &[SegmentHead]) -> Vec<u64> {
        let mut missing = Vec::new();
        let mut expected = 1;
        for number in &self.numbers {
            let merge =
                merges.iter().rev().find(|it| (it.first_number()..=it.number).contains(number));
            let (first, last) =
                merge.map_or((*number, *number), |it| (it.first_number(), it.number));
            // Bounded: a stray file with a huge number must not fill the list.
            missing.extend((expected..first).take(MISSING_SEGMENTS_MAX));
            expected = expected.max(last.saturating_add(1));
        }
        missing
    }

    fn add(&mut self, files: &dyn Files, number: u64) -> Result<(), SurveyError> {
        let file = files.open(&segment_name(number))?;
        let length = file.length()?;
        let left = match read_head(&*file) {
            Ok(HeadCopy::Good(head)) if head.number == number => {
                self.segments.insert(number, Segment { head, length });
                return Ok(());
            }
            Ok(HeadCopy::Newer { version }) => {
                return Err(SurveyError::Newer { segment: number, version });
            }
            Ok(HeadCopy::Good(_) | HeadCopy::Bad) => Left::Headless { length },
            Err(error) => {
                tracing::warn!(%error, segment = number, "the head of a segment is unreadable");
                Left::Unread { length }
            }
        };
        self.headless.insert(number, left);
        // Shorter than a head: its first append was never acknowledged.
        if length > FRAMES_START {
            self.unreadable.push(unreadable(number, length));
        }
        Ok(())
    }

    /// The store that wrote the newest segment.
    pub(crate) fn newest_store(&self) -> Option<StoreId> {
        self.segments.values().next_back().map(|segment| segment.head.store)
    }

    /// Whether `keys` are those that the segments were written with; `None` if nothing tells.
    pub(crate) fn fits(&self, keys: &DataKeys) -> Option<bool> {
        let mut segments = self.segments.values().peekable();
        segments.peek()?;
        // One that fits decides: a stray segment of another store is damage, not a wrong key.
        Some(
            segments
                .any(|segment| keys.named(segment.head.store, segment.head.key_check).is_some()),
        )
    }
}

fn unreadable(segment: u64, length: u64) -> BadFrame {
    let (offset, sequences, damage) = (0, 0..0, Damage::SegmentHead);
    BadFrame { segment, offset, length, sequences, damage }
}

/// Whether anything in a segment opens under its head, where that says so much; the head of an
/// earlier version is guarded by its checksum alone.
fn is_vouched_for(files: &dyn Files, keys: &DataKeys, segment: &Segment) -> bool {
    let head = &segment.head;
    if !head.is_bound {
        return true;
    }
    let key = keys.named(head.store, head.key_check).unwrap_or(keys.current());
    let Ok(file) = files.open(&segment_name(head.number)) else { return true };
    let frames = Frames {
        file,
        cipher: Arc::new(FrameCipher::new(key, head)),
        segment: head.number,
        first_sequence: head.first_sequence,
        end_sequence: head.covered_end(),
        length: segment.length,
    };
    // A disk that fails says nothing about the head.
    let is_vouched_for = Blocks::read(&frames).map_or(true, |blocks| blocks.is_any_readable());
    if !is_vouched_for {
        tracing::warn!(segment = head.number, "nothing opens under the head of a segment");
    }
    is_vouched_for
}

/// Whether the entries of a segment are in one that says so; a stray file may have any number.
fn is_within(merge: &SegmentHead, head: &SegmentHead) -> bool {
    let sequences = merge.first_sequence..=merge.covered_end();
    head.store == merge.store && sequences.contains(&head.first_sequence)
}

/// The copy of a head that is good; an error only where none is, and the disk did not give one.
fn read_head(file: &dyn ReadFile) -> io::Result<HeadCopy> {
    let mut newest = Ok(HeadCopy::Bad);
    for offset in HEAD_OFFSETS {
        let mut copy = [0; HEAD_LENGTH];
        match file.read_at(offset, &mut copy) {
            Ok(read) if read < HEAD_LENGTH => continue,
            Ok(_) => {}
            // The copy lies in the next sector.
            Err(error) => {
                newest = newest.and(Err(error));
                continue;
            }
        }
        match SegmentHead::decode(&copy) {
            HeadCopy::Bad => {}
            HeadCopy::Good(head) => return Ok(HeadCopy::Good(head)),
            HeadCopy::Newer { version } => newest = Ok(HeadCopy::Newer { version }),
        }
    }
    newest
}

/// An opened log: what to read, and where to go on.
pub(crate) struct Opened {
    pub(crate) segments: Arc<Segments>,
    pub(crate) next_number: u64,
    pub(crate) next_sequence: u64,
    /// See [`SegmentHead::given_up`].
    pub(crate) given_up: u32,
    pub(crate) bad_frames: Vec<BadFrame>,
    pub(crate) torn_tail: Option<TornTail>,
    /// The sequences of entries that are known to be gone.
    pub(crate) lost: Vec<Range<u64>>,
}

/// Verifies the end of a log and makes it durable; adds what is wrong with it to `doubt`.
pub(crate) fn open(
    files: &Arc<dyn Files>,
    keys: &KeysInUse,
    survey: Survey,
    cache_bytes_max: usize,
    doubt: &mut Doubt,
) -> Result<Opened, ReadError> {
    remove_drafts(&**files);
    let numbers: Vec<u64> = survey.segments.keys().rev().copied().collect();
    let (unreadable, said_end) = (survey.unreadable.clone(), survey.said_end);
    let segments = Arc::new(Segments::new(
        Arc::clone(files),
        keys.clone(),
        survey.segments,
        survey.unreadable,
        cache_bytes_max,
    ));
    let mut opened = Opened {
        segments,
        next_number: survey.next_number,
        next_sequence: 0,
        given_up: 0,
        bad_frames: unreadable,
        torn_tail: None,
        lost: Vec::new(),
    };
    let newest = numbers.first().copied();
    if let Some(segment) = newest {
        // After a killed process the name of a segment may be in memory only.
        let synced = files.sync_folder(LOG_FOLDER);
        synced.map_err(|source| ReadError::Io { segment, source })?;
        opened.bad_frames.extend(opened.segments.clear_leftovers(survey.leftovers));
    }
    for number in numbers {
        if opened.verify_last(&**files, number, doubt)? {
            break;
        }
    }
    opened.next_sequence = opened.next_sequence.max(said_end);
    let behind = opened.bad_frames.iter().filter(|bad| Some(bad.segment) > newest);
    let unknown_bytes: u64 = behind.map(|bad| bad.length).sum();
    opened.give_up(unknown_bytes);
    opened.next_sequence = opened.next_sequence.saturating_add(u64::from(opened.given_up));
    opened.bad_frames.sort_by_key(BadFrame::position);
    let number = newest.unwrap_or(0);
    let lost = opened.segments.lost(opened.next_sequence);
    opened.lost = lost.map_err(|source| ReadError::Io { segment: number, source })?;
    opened.lost.extend(opened.bad_frames.iter().map(|bad| bad.sequences.clone()));
    Ok(opened)
}

/// Removes what a rewriting left that did not come to its end; one that stays costs only room.
fn remove_drafts(files: &dyn Files) {
    let names = files.list(LOG_FOLDER).unwrap_or_default();
    for name in names {
        let is_draft = name.strip_suffix(DRAFT_SUFFIX).and_then(segment_number).is_some();
        if is_draft && let Err(error) = rewrite::remove(files, &format!("{LOG_FOLDER}/{name}")) {
            tracing::warn!(%error, name, "unfinished segment not removed");
        }
    }
}

impl Opened {
    /// Leaves out as many sequences as these bytes may hold frames: what is unreadable today may
    /// be readable tomorrow, and no two entries may have one place.
    fn give_up(&mut self, bytes: u64) {
        let frames = u32::try_from(bytes.div_ceil(FRAME_LENGTH_MIN)).unwrap_or(u32::MAX);
        self.given_up = self.given_up.saturating_add(frames);
    }

    /// Goes on behind everything that the view has seen: what the log lacks of that is lost.
    pub(crate) fn go_on_behind(&mut self, seen: Option<Place>) {
        let Some(seen) = seen else { return };
        let end = self.segments.end().map_or(0, |place| place.0.saturating_add(1));
        let promised = seen.0.saturating_add(1);
        self.lost.push(end..promised);
        self.next_sequence = self.next_sequence.max(promised);
        self.given_up = u32::try_from(self.next_sequence - promised).unwrap_or(u32::MAX);
    }

    /// Whether all that is lost is known by place.
    pub(crate) fn has_named_each_loss(&self) -> bool {
        let is_named = |bad: &BadFrame| match bad.damage {
            // What lay in it follows from its neighbours.
            Damage::SegmentHead => true,
            Damage::Head | Damage::Body | Damage::Missing | Damage::Earlier => {
                !bad.sequences.is_empty()
            }
            Damage::Stray | Damage::Index => false,
        };
        self.torn_tail.is_none() && self.bad_frames.iter().all(is_named)
    }

    /// Verifies one segment at the end of the log; says whether it holds an entry.
    fn verify_last(
        &mut self,
        files: &dyn Files,
        number: u64,
        doubt: &mut Doubt,
    ) -> Result<bool, ReadError> {
        let io_error = |source| ReadError::Io { segment: number, source };
        // After a killed process the end may be in memory only, and it is about to be relied on.
        files.sync(&segment_name(number)).map_err(io_error)?;
        let Some(snapshot) = self.segments.snapshot(number).map_err(io_error)? else {
            return Ok(false);
        };
        if snapshot.segment.head.form == Form::Blocks {
            // Whole and durable before it got its name; damage in it is found by a replay.
            let head = snapshot.segment.head;
            self.next_sequence = self.next_sequence.max(head.covered_end());
            self.segments.settle_rewritten(&head);
            return Ok(head.covered > 0);
        }
        let Verified { frames, good_end, bad_frames, is_unreadable } =
            verify(&self.segments, &snapshot).map_err(io_error)?;
        let Segment { head, length } = snapshot.segment;
        let end = frames.end().unwrap_or(0).max(head.first_sequence);
        self.next_sequence = self.next_sequence.max(end);
        let (tail, middle): (Vec<BadFrame>, Vec<BadFrame>) =
            bad_frames.into_iter().partition(|bad_frame| bad_frame.offset >= good_end);
        self.bad_frames.extend(middle);
        if !tail.is_empty() {
            let length = length - good_end;
            self.give_up(length);
            let mut torn = TornTail { segment: number, offset: good_end, length, kept_as: None };
            note(files, doubt, self.bad_frames.iter().map(doubt::of_bad_frame));
            if is_unreadable || !set_aside(files, &mut torn, doubt) {
                note(files, doubt, [doubt::of_torn_tail(&torn)]);
            }
            tracing::warn!(segment = number, offset = good_end, "torn tail of the log");
            self.torn_tail.get_or_insert(torn);
        }
        let holds_entry = frames.end().is_some();
        // Frames behind the good end are never read again, cut off or not.
        self.segments.settle(number, good_end, frames);
        Ok(holds_entry)
    }
}

/// What a segment at the end of the log turned out to be.
struct Verified {
    frames: FrameIndex,
    /// Behind the last frame that could be decrypted.
    good_end: u64,
    bad_frames: Vec<BadFrame>,
    /// Whether the disk refused to give some of it.
    is_unreadable: bool,
}

/// Decrypts every frame of a segment, without making entries of them.
fn verify(segments: &Segments, snapshot: &Snapshot) -> io::Result<Verified> {
    let mut walk = segments.walk(snapshot);
    let mut frames = FrameIndex::default();
    let mut good_end = FRAMES_START.min(snapshot.segment.length);
    let mut bad_frames = Vec::new();
    while let Some(step) = walk.next()? {
        let (offset, head) = match step {
            Step::Frame { offset, head } => (offset, head),
            Step::Bad(bad_frame) => {
                bad_frames.push(bad_frame);
                continue;
            }
        };
        if walk.is_intact(offset, &head)? {
            frames.push(head.sequence, offset);
            good_end = offset + head.frame_length() as u64;
        } else {
            let lost = head.sequence..head.sequence.saturating_add(1);
            bad_frames.push(walk.bad(offset, &head, lost, Damage::Body));
        }
    }
    Ok(Verified { frames, good_end, bad_frames, is_unreadable: walk.is_unreadable() })
}

/// Notes what stays as it is on the disk: an open finds it again where this fails.
pub(crate) fn note(files: &dyn Files, doubt: &mut Doubt, found: impl IntoIterator<Item = String>) {
    if let Err(error) = doubt.add(files, found) {
        tracing::warn!(%error, "found damage could not be noted");
    }
}

/// Copies a tail into the quarantine, notes it and cuts it off; false leaves it where it is.
fn set_aside(files: &dyn Files, torn: &mut TornTail, doubt: &mut Doubt) -> bool {
    let segment = segment_name(torn.segment);
    let tail = torn.offset..torn.offset.saturating_add(torn.length);
    let cut = quarantine::copy(files, torn.segment, tail).and_then(|name| {
        torn.kept_as = Some(name);
        doubt.add(files, [doubt::of_torn_tail(torn)])?;
        files.truncate(&segment, torn.offset)
    });
    if let Err(error) = &cut {
        tracing::warn!(%error, segment, "torn tail not set aside");
        torn.kept_as = None;
    }
    cut.is_ok()
}
