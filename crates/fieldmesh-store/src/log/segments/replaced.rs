//! Segments that another one takes the place of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Segment, Segments, starts};
use crate::flag;
use crate::frame::{Form, SegmentHead};
use crate::key::DataKey;
use crate::log::blocks::{BlockScan, Blocks};
use crate::log::rewrite::{Fate, Past, Rewriter, remove};
use crate::log::scan::{Found, FrameScan, Frames, Scan};
use crate::log::taken::Kin;
use crate::log::{BadFrame, Damage, Entry, LOG_FOLDER, Place, ReadError, segment_name};

/// The file of a segment that another one has taken the place of.
#[derive(Debug, Clone)]
pub(crate) enum Left {
    Headed(Segment),
    /// Nothing says which segment it is.
    Headless {
        length: u64,
    },
    /// The disk does not give its head.
    Unread {
        length: u64,
    },
}

/// Why the file of a segment stays although another one has taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It holds something that is in no other segment.
    Other,
    /// It may be the only one that has whole what is damaged in the other: there was no room to mend
    /// that, or the disk failed. The next open tries again.
    Needed,
}

/// What a segment turns out to hold that another one has taken the place of.
enum Leftover {
    /// What the other one holds, but for entries that are damaged in that.
    Whole { lacking: Lacking },
    /// Something that is in no other segment.
    Other,
}

/// Entries that are whole in a segment that is left out, and damaged where they belong.
type Lacking = BTreeMap<Place, Arc<Entry>>;

impl Segments {
    /// Puts a segment that was written anew in the place of the `old` ones, between two readers.
    pub(crate) fn replace(
        &self,
        segment: Segment,
        old: &[u64],
        rename: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let number = segment.head.number;
        // No file is opened by name while name and head do not fit together.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        rename()?;
        open.retain(|other, _| !old.contains(other));
        let replaced: Vec<Segment> = {
            let mut index = self.index_mut();
            let replaced = old.iter().filter_map(|old| index.segments.remove(old)).collect();
            index.segments.insert(number, segment);
            index.starts = starts(&index.segments);
            replaced
        };
        drop(open);
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.iter().for_each(|replaced| positions.remove(replaced.head.id));
        self.leftovers().extend(old.iter().filter(|old| **old != number));
        Ok(())
    }

    /// Removes what a crash left of segments that others have taken the place of, after mending
    /// those from it; names those that may hold something else, which stay where they are.
    pub(crate) fn clear_leftovers(&self, found: BTreeMap<u64, Left>) -> Vec<BadFrame> {
        let mut lacking = BTreeMap::new();
        for (number, left) in &found {
            let Left::Headed(segment) = left else { continue };
            if let Ok(Leftover::Whole { lacking: of_this }) = self.compare(segment) {
                lacking.insert(*number, of_this);
            }
        }
        let disputed = disputed(&lacking);
        lacking.retain(|number, _| !disputed.contains(number));
        self.mend(&lacking.into_values().flatten().collect());
        let (mut kept, mut stray) = (BTreeMap::new(), Vec::new());
        for (segment, left) in found {
            let why = self.why_kept(segment, &left);
            let why = if disputed.contains(&segment) { Some(Kept::Other) } else { why };
            let Some(why) = why else {
                self.leftovers().insert(segment);
                continue;
            };
            kept.insert(segment, (why, left.segment().cloned()));
            let (offset, length, sequences) = (0, left.length(), 0..0);
            stray.push(BadFrame { segment, offset, length, sequences, damage: Damage::Stray });
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        self.index_mut().unreadable.extend(stray.iter().cloned());
        // They cost room only, and whatever must be gone for good asks for it again.
        if let Err(error) = self.remove_leftovers() {
            tracing::warn!(%error, "segments that were merged are not removed");
        }
        stray
    }

    /// Why a segment that is left out stays; `None` if it is to be removed, as it holds nothing but
    /// what the others hold.
    fn why_kept(&self, number: u64, left: &Left) -> Option<Kept> {
        match left {
            Left::Headed(segment) => match self.compare(segment) {
                Ok(Leftover::Whole { lacking }) if lacking.is_empty() => None,
                Ok(Leftover::Whole { .. }) | Err(_) => Some(Kept::Needed),
                Ok(Leftover::Other) => Some(Kept::Other),
            },
            // What cannot be opened is only in the one that says it has it.
            Left::Headless { .. } => match self.is_whole_in_place_of(number) {
                Ok(true) => None,
                Ok(false) | Err(_) => Some(Kept::Needed),
            },
            Left::Unread { .. } => Some(Kept::Needed),
        }
    }

    /// Whether everything can be read of the segments that say to have taken the place of this one.
    fn is_whole_in_place_of(&self, number: u64) -> io::Result<bool> {
        let heads = self.numbers_from(number).into_iter().filter_map(|other| self.head(other));
        for head in heads.filter(|head| head.has_taken_over(number)) {
            let Some(mut scan) = self.scan(head.number, None)? else { return Ok(false) };
            while let Some(found) = scan.next()? {
                if matches!(found, Found::Bad(_)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Writes segments anew with the entries that are damaged in them and whole `elsewhere`. One
    /// for which that does not work stays as it is, and so does what holds its entries.
    fn mend(&self, elsewhere: &Lacking) {
        let damaged = elsewhere.keys().filter_map(|place| self.number_of(*place));
        let damaged: BTreeSet<u64> = damaged.collect();
        if damaged.is_empty() {
            return;
        }
        // Entries may be among them that were erased, and a crash may come at any moment.
        if let Err(error) = flag::RETURNED.mark(&*self.files) {
            tracing::warn!(%error, "damaged segments are not mended");
            return;
        }
        let keys = self.keys.all();
        for segment in &damaged {
            let rewriter = Rewriter {
                files: &self.files,
                key: keys.current(),
                segments: self,
                elsewhere,
                // What the leftovers take is given back.
                free_bytes_min: 0,
                stop: &|| false,
            };
            match rewriter.rewrite(&[*segment], Past::Named, &mut |_, _| Fate::Keep) {
                Ok(_) => {
                    let entries = elsewhere.len();
                    tracing::warn!(segment, entries, "damage mended from what was merged");
                }
                Err(error) => tracing::warn!(%error, segment, "damaged segment is not mended"),
            }
        }
    }

    /// What of a segment that is left out is in the others, or was dropped there.
    fn compare(&self, segment: &Segment) -> io::Result<Leftover> {
        let head = &segment.head;
        // Nobody here can read it.
        if self.keys.all().named(head.store, head.key_check).is_none() {
            return Ok(Leftover::Other);
        }
        let frames = self.frames_left(segment)?;
        let mut scan = match head.form {
            Form::Frames => Scan::Frames(FrameScan::new(frames)),
            Form::Blocks => {
                let blocks = Arc::new(Blocks::read(&frames)?);
                Scan::Blocks(BlockScan::new(frames, blocks, 0))
            }
        };
        let kin = self.kin(head)?;
        let is_stranger = kin == Kin::Stranger;
        let mut is_said = false;
        let mut lacking = BTreeMap::new();
        while let Some(found) = scan.next()? {
            let (sequence, entry) = match found {
                Found::Entry { sequence, entry } => (sequence, entry),
                // What was damaged of it may be nowhere else.
                Found::Bad(_) if is_stranger => return Ok(Leftover::Other),
                Found::Bad(_) | Found::Dropped(_) => continue,
            };
            let place = Place(sequence);
            let owner = self.number_of(place).and_then(|number| self.head(number));
            let owner = owner.filter(|owner| sequence < owner.covered_end());
            // Another history may have written what lies under this number.
            if owner.is_none_or(|owner| !owner.has_taken_over(head.number)) {
                return Ok(Leftover::Other);
            }
            match self.read(place) {
                Ok(there) if *there == entry => is_said = true,
                Err(ReadError::Io { source, .. }) => return Err(source),
                // What was dropped or is damaged there was another entry.
                Ok(_) | Err(_) if is_stranger => return Ok(Leftover::Other),
                Err(ReadError::NotFound { .. }) => {}
                // What is damaged there is whole here alone.
                Err(ReadError::Damaged { .. }) => {
                    lacking.insert(place, Arc::new(entry));
                }
                Ok(_) => return Ok(Leftover::Other),
            }
        }
        if kin == Kin::Unreadable && !is_said {
            return Ok(Leftover::Other);
        }
        // What the disk does not give today may be what is damaged there.
        if scan.is_unreadable() && !self.is_whole_in_place_of(head.number)? {
            return Err(io::Error::other("part of a segment that was merged is unreadable"));
        }
        Ok(Leftover::Whole { lacking })
    }

    /// What to read of a segment that is left out.
    pub(crate) fn frames_left(&self, left: &Segment) -> io::Result<Frames> {
        let Segment { head, length } = left;
        Ok(Frames {
            file: self.files.open(&segment_name(head.number))?,
            cipher: Arc::new(self.cipher(head)),
            segment: head.number,
            first_sequence: head.first_sequence,
            end_sequence: if head.form == Form::Blocks { head.covered_end() } else { u64::MAX },
            length: *length,
        })
    }

    /// What a segment that is left out is to that whose place was taken under its number.
    fn kin(&self, left: &SegmentHead) -> io::Result<Kin> {
        let heads = self.numbers_from(left.number).into_iter().filter_map(|other| self.head(other));
        let mut farthest = Kin::Same;
        for merged in heads.filter(|head| head.has_taken_over(left.number)) {
            farthest = farthest.max(self.taken(&merged)?.kin(&merged, left));
        }
        Ok(farthest)
    }

    /// The files that stay although another segment has taken their place, and why.
    pub(crate) fn kept_leftovers(&self) -> BTreeMap<String, Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(number, (why, _))| (segment_name(*number), *why)).collect()
    }

    /// Those of these files that are written with `key`.
    pub(crate) fn kept_under(&self, key: &DataKey) -> Vec<Segment> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let headed = kept.values().filter_map(|(_, segment)| segment.as_ref());
        let is_under = |it: &&Segment| key.check(it.head.store) == it.head.key_check;
        headed.filter(is_under).cloned().collect()
    }

    /// Says that one of these files was written anew and has this head.
    pub(crate) fn has_resealed(&self, head: SegmentHead) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, Some(segment))) = kept.get_mut(&head.number) {
            segment.head = head;
        }
    }

    /// Removes the files of segments that others have taken the place of, durably.
    ///
    /// On an error some may be left; they are tried again by the next call and the next open.
    pub(crate) fn remove_leftovers(&self) -> io::Result<()> {
        let mut leftovers = self.leftovers();
        if leftovers.is_empty() {
            return Ok(());
        }
        // What took their place has to be there after a crash before they may be gone.
        self.files.sync_folder(LOG_FOLDER)?;
        for number in leftovers.iter() {
            remove(&*self.files, &segment_name(*number))?;
        }
        self.files.sync_folder(LOG_FOLDER)?;
        leftovers.clear();
        Ok(())
    }

    fn leftovers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Headed(segment) => Some(segment),
            Self::Headless { .. } | Self::Unread { .. } => None,
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Headed(segment) => segment.length,
            Self::Headless { length } | Self::Unread { length } => *length,
        }
    }
}

/// The segments that say different things of one place: nobody knows which of them to believe.
fn disputed(lacking: &BTreeMap<u64, Lacking>) -> BTreeSet<u64> {
    let mut said: BTreeMap<Place, (u64, &Arc<Entry>)> = BTreeMap::new();
    let mut disputed = BTreeSet::new();
    for (number, lacking) in lacking {
        for (place, entry) in lacking {
            let (first, other) = *said.entry(*place).or_insert((*number, entry));
            if other != entry {
                disputed.extend([first, *number]);
            }
        }
    }
    disputed
}
