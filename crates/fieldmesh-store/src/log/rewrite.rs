//! Writes closed segments anew: compressed in blocks, without what their owner drops, and several
//! neighbours as one.
//!
//! The new segment is complete, read back and durable under another name before it takes the place
//! of the old one, so that a crash or a failing disk at any moment leaves one of the two. Readers
//! see the one or the other, never a mixture. Of several it takes the place, and the number, of the
//! last; only once that is durable are the files of the others removed. Where a crash leaves some,
//! the head of the new one says what they are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::blocks::{BlockScan, Blocks};
use super::coverage::Fortune;
use super::draft::{Digest, Draft, Drafted};
use super::scan::{Found, Frames};
use super::segments::{Segment, Segments};
use super::taken::Taken;
use super::{BadFrame, Damage, Entry, LOG_FOLDER, Place, quarantine, segment_name};
use crate::amount;
use crate::files::Files;
use crate::frame::{ENTRY_SIZE_MAX, Form, FrameCipher, SegmentHead};
use crate::key::DataKey;
use crate::random;

/// What the name of a segment ends with until it is complete.
pub(crate) const DRAFT_SUFFIX: &str = ".new";

/// What becomes of an entry when its segment is written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It goes; its place is never used again.
    Drop,
    /// Another one takes its place.
    Replace(Entry),
}

/// What becomes of damage when its segment is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It goes on being named as lost, and damaged bytes are kept in the quarantine.
    Named,
    /// It is settled: what was lost counts as dropped from here on.
    Settled,
}

/// A segment that was written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The entries that stayed, replaced ones among them.
    pub kept: u64,
    /// The entries that went this time.
    pub dropped: u64,
    /// The entries that were found damaged or were known to be, and are still named as lost.
    pub lost: u64,
    /// The size of the file before.
    pub bytes_before: u64,
    /// The size of the file now.
    pub bytes_after: u64,
}

/// Why a segment was not written anew; it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// No segment has this number.
    #[error("the log has no segment {segment}")]
    NotFound {
        /// The number.
        segment: u64,
    },
    /// The segment is being written.
    #[error("segment {segment} of the log is being written")]
    NotClosed {
        /// The number.
        segment: u64,
    },
    /// Part of the segment cannot be read today and may be readable tomorrow.
    #[error("part of segment {segment} of the log is unreadable")]
    Unreadable {
        /// The number.
        segment: u64,
    },
    /// Too little of the disk is free for both segments.
    #[error(
        "the disk has {} free and {} are needed",
        amount::free(*free_bytes),
        amount::needed(*needed_bytes)
    )]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What must be free.
        needed_bytes: u64,
    },
    /// The entry in the place of another is too large.
    #[error("an entry has {size} bytes, limit is {ENTRY_SIZE_MAX}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The segment has too many entries for one index, or would be made of too many others.
    #[error("a segment covers {count} entries, too many to be written anew")]
    TooMany {
        /// How many.
        count: u64,
    },
    /// A segment does not go on where the one before it ends, so they cannot become one.
    #[error("segment {segment} of the log does not go on where the one before it ends")]
    NotNeighbours {
        /// The number.
        segment: u64,
    },
    /// An entry of a segment has another place than it should.
    #[error("segment {segment} of the log reads otherwise than it was written")]
    Mismatch {
        /// The number.
        segment: u64,
    },
    /// What was written anew reads otherwise than it was written.
    #[error("what was written anew of the log reads otherwise than it was written")]
    ReadBack,
    /// The disk reports an error.
    #[error("the log cannot be written anew")]
    Io(#[from] io::Error),
    /// The system gives no randomness for a new segment.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
    /// The store is closed or being closed.
    #[error("the store is closed")]
    Closed,
}

impl RewriteError {
    /// The segment that cannot be written anew whatever else is, if it is one.
    pub fn segment(&self) -> Option<u64> {
        match self {
            Self::NotFound { segment }
            | Self::NotClosed { segment }
            | Self::Unreadable { segment }
            | Self::NotNeighbours { segment }
            | Self::Mismatch { segment } => Some(*segment),
            Self::DiskFull { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::ReadBack
            | Self::Io(_)
            | Self::NoRandomness(_)
            | Self::Closed => None,
        }
    }
}

/// What is needed to write segments anew.
pub(crate) struct Rewriter<'a> {
    pub(crate) files: &'a Arc<dyn Files>,
    pub(crate) key: &'a DataKey,
    pub(crate) segments: &'a Segments,
    /// Entries that take the place of those that are damaged.
    pub(crate) elsewhere: &'a BTreeMap<Place, Arc<Entry>>,
    /// So many bytes stay free.
    pub(crate) free_bytes_min: u64,
    /// Whether to break off, as when the store is being closed.
    pub(crate) stop: &'a dyn Fn() -> bool,
}

/// A segment that is written anew.
struct Old {
    head: SegmentHead,
    length: u64,
    /// The sequence behind those that it answers for.
    end: u64,
    /// What it has taken the place of itself.
    taken: Taken,
}

/// What was found in the old segments on the way.
struct Tally {
    past: Past,
    kept: u64,
    dropped: u64,
    damaged: Vec<BadFrame>,
}

impl Rewriter<'_> {
    /// Writes segments that follow each other anew as one, asking what becomes of each entry.
    pub(crate) fn rewrite(
        &self,
        segments: &[u64],
        past: Past,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<Rewritten, RewriteError> {
        // Nothing of what is dropped may be left in a file.
        self.segments.remove_leftovers()?;
        let old: Result<Vec<Old>, RewriteError> =
            segments.iter().map(|segment| self.closed(*segment)).collect();
        let old = old?;
        let head = self.head(&old)?;
        self.check_space(old.iter().map(|old| old.length).sum())?;
        let draft = draft_name(head.number);
        remove(&**self.files, &draft)?;
        let result = self.replace(&old, head, &draft, past, decide);
        if result.is_err()
            && let Err(error) = remove(&**self.files, &draft)
        {
            tracing::warn!(%error, draft, "unfinished segment left until the next open");
        }
        let rewritten = result?;
        // Until this is durable, a crash may bring the old segments back, which is as good.
        self.files.sync_folder(LOG_FOLDER)?;
        self.segments.remove_leftovers()?;
        Ok(rewritten)
    }

    fn closed(&self, segment: u64) -> Result<Old, RewriteError> {
        if self.segments.is_active(segment) {
            return Err(RewriteError::NotClosed { segment });
        }
        let old = self.segments.snapshot(segment)?.ok_or(RewriteError::NotFound { segment })?;
        let Segment { head, length } = old.segment;
        // What lies behind the end was not set aside, because the disk refused.
        if self.files.open(&segment_name(segment))?.length()? > length {
            return Err(RewriteError::Unreadable { segment });
        }
        let end = self.segments.covered_end(&head)?;
        let taken = self.segments.taken(&head)?;
        Ok(Old { head, length, end, taken })
    }

    pub(crate) fn check_space(&self, needed: u64) -> Result<(), RewriteError> {
        // A system that cannot tell is taken at its word when it refuses the write itself.
        let Ok(free_bytes) = self.files.free_bytes() else { return Ok(()) };
        let needed_bytes = self.free_bytes_min.saturating_add(needed);
        if free_bytes < needed_bytes {
            return Err(RewriteError::DiskFull { free_bytes, needed_bytes });
        }
        Ok(())
    }

    fn head(&self, old: &[Old]) -> Result<SegmentHead, RewriteError> {
        for (before, next) in old.iter().zip(old.iter().skip(1)) {
            let is_next = next.head.first_number() == before.head.number.saturating_add(1)
                && next.head.store == before.head.store
                && next.head.first_sequence >= before.end;
            if !is_next {
                return Err(RewriteError::NotNeighbours { segment: next.head.number });
            }
        }
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return Err(RewriteError::NotFound { segment: 0 });
        };
        let count = last.end.saturating_sub(first.head.first_sequence);
        let covered = u32::try_from(count).map_err(|_| RewriteError::TooMany { count })?;
        let count = last.head.number.saturating_sub(first.head.first_number());
        let merged = u16::try_from(count).map_err(|_| RewriteError::TooMany { count })?;
        let (id, key_check) = (random::bytes()?, self.key.check(first.head.store));
        let number = last.head.number;
        let (form, is_bound) = (Form::Blocks, merged > 0);
        let written = SegmentHead { form, number, id, key_check, ..first.head.clone() };
        Ok(SegmentHead { covered, merged, is_bound, ..written })
    }

    fn replace(
        &self,
        old: &[Old],
        head: SegmentHead,
        draft: &str,
        past: Past,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<Rewritten, RewriteError> {
        let cipher = Arc::new(FrameCipher::new(self.key, &head));
        let mut writing = Draft::new(self.files.create(draft)?, &cipher, &head);
        let mut tally = Tally { past, kept: 0, dropped: 0, damaged: Vec::new() };
        for old in old {
            // What the one before has lost of its end; behind that, what nobody was promised.
            self.lose(&mut writing, &mut tally, old.head.promised_end(), decide)?;
            writing.add_absent(Fortune::Dropped, old.head.first_sequence)?;
            self.write(&mut writing, old, &mut tally, decide)?;
        }
        let count = u64::from(head.covered);
        let taken = taken_by(old);
        let drafted = writing.finish(&taken)?.ok_or(RewriteError::TooMany { count })?;
        self.verify(&head, cipher, draft, &drafted, &taken)?;
        for bad in &tally.damaged {
            let part = bad.offset..bad.offset.saturating_add(bad.length);
            quarantine::copy(&**self.files, bad.segment, part)?;
        }
        let rewritten = Rewritten {
            kept: tally.kept,
            dropped: tally.dropped,
            lost: drafted.index.coverage.count(Fortune::Lost),
            bytes_before: old.iter().map(|old| old.length).sum(),
            bytes_after: drafted.length,
        };
        let name = segment_name(head.number);
        let segment = Segment { head, length: drafted.length };
        let old: Vec<u64> = old.iter().map(|old| old.head.number).collect();
        self.segments.replace(segment, &old, || self.files.rename(draft, &name))?;
        Ok(rewritten)
    }

    /// Writes what stays of an old segment, in order.
    fn write(
        &self,
        draft: &mut Draft<'_>,
        old: &Old,
        tally: &mut Tally,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<(), RewriteError> {
        let segment = old.head.number;
        let scan = self.segments.scan(segment, None)?;
        let mut scan = scan.ok_or(RewriteError::NotFound { segment })?;
        while let Some(found) = scan.next()? {
            if (self.stop)() {
                return Err(RewriteError::Closed);
            }
            match found {
                Found::Entry { sequence, entry } => {
                    self.lose(draft, tally, sequence, decide)?;
                    if sequence != draft.end() {
                        return Err(RewriteError::Mismatch { segment });
                    }
                    tally.take(draft, entry, decide)?;
                }
                Found::Dropped(run) => {
                    self.lose(draft, tally, run.start, decide)?;
                    draft.add_absent(Fortune::Dropped, run.end)?;
                }
                Found::Bad(bad) => {
                    self.lose(draft, tally, bad.sequences.end.min(old.end), decide)?;
                    if tally.past == Past::Named {
                        tally.note(bad);
                    }
                }
            }
        }
        self.lose(draft, tally, old.end, decide)?;
        if scan.is_unreadable() {
            return Err(RewriteError::Unreadable { segment });
        }
        Ok(())
    }

    /// Writes what can be had elsewhere of the entries up to `end`, which cannot be read.
    fn lose(
        &self,
        draft: &mut Draft<'_>,
        tally: &mut Tally,
        end: u64,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<(), RewriteError> {
        let lost = Place(draft.end())..Place(end.max(draft.end()));
        for (place, entry) in self.elsewhere.range(lost) {
            draft.add_absent(tally.lost(), place.0)?;
            tally.take(draft, (**entry).clone(), decide)?;
        }
        draft.add_absent(tally.lost(), end)?;
        Ok(())
    }

    /// Reads back what was written.
    fn verify(
        &self,
        head: &SegmentHead,
        cipher: Arc<FrameCipher>,
        draft: &str,
        drafted: &Drafted,
        taken: &Taken,
    ) -> Result<(), RewriteError> {
        let frames = Frames {
            file: self.files.open(draft)?,
            cipher,
            segment: head.number,
            first_sequence: head.first_sequence,
            end_sequence: head.covered_end(),
            length: drafted.length,
        };
        let blocks = Arc::new(Blocks::read(&frames)?);
        let mut is_same = blocks.damage.is_none() && blocks.index == drafted.index;
        is_same &= blocks.taken(head).as_ref() == Some(taken);
        let mut digest = Digest::default();
        let mut scan = BlockScan::new(frames, blocks, 0);
        while let Some(found) = scan.next() {
            match found {
                Found::Entry { sequence, entry } => digest.add(Place(sequence), &entry),
                Found::Dropped(_) => {}
                Found::Bad(bad) => is_same &= bad.damage == Damage::Earlier,
            }
        }
        if is_same && digest.finish() == drafted.digest {
            return Ok(());
        }
        Err(RewriteError::ReadBack)
    }
}

impl Tally {
    /// What an entry counts as that cannot be read.
    fn lost(&self) -> Fortune {
        match self.past {
            Past::Named => Fortune::Lost,
            Past::Settled => Fortune::Dropped,
        }
    }

    fn take(
        &mut self,
        draft: &mut Draft<'_>,
        entry: Entry,
        decide: &mut dyn FnMut(Place, &Entry) -> Fate,
    ) -> Result<(), RewriteError> {
        let entry = match decide(Place(draft.end()), &entry) {
            Fate::Keep => entry,
            Fate::Replace(other) if other.bytes.len() > ENTRY_SIZE_MAX => {
                return Err(RewriteError::TooLarge { size: other.bytes.len() });
            }
            Fate::Replace(other) => other,
            Fate::Drop => {
                self.dropped += 1;
                draft.add_absent(Fortune::Dropped, draft.end() + 1)?;
                return Ok(());
            }
        };
        self.kept += 1;
        draft.add(&entry)?;
        Ok(())
    }

    /// Remembers damaged bytes that would be gone with the old segment.
    fn note(&mut self, bad: BadFrame) {
        let is_told = self.damaged.last().is_some_and(|last| last.position() == bad.position());
        match bad.damage {
            Damage::Head | Damage::Body if bad.length > 0 && !is_told => self.damaged.push(bad),
            Damage::Head
            | Damage::Body
            | Damage::SegmentHead
            | Damage::Missing
            | Damage::Stray
            | Damage::Earlier
            | Damage::Index => {}
        }
    }
}

/// What the one that these become takes the place of: all of them but the last, which has its
/// number, and what they have taken the place of.
fn taken_by(old: &[Old]) -> Taken {
    let mut taken = Taken::default();
    let Some((last, before)) = old.split_last() else { return taken };
    for old in before {
        taken.append(&old.taken);
        taken.push(&old.head);
    }
    taken.append(&last.taken);
    taken
}

/// The name of a segment until it is complete.
pub(crate) fn draft_name(number: u64) -> String {
    format!("{}{DRAFT_SUFFIX}", segment_name(number))
}

/// Removes a draft, if there is one.
pub(crate) fn remove(files: &dyn Files, draft: &str) -> io::Result<()> {
    match files.remove(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
