//! Segments that another one takes the place of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Segment, Segments, starts};
use crate::frame::Form;
use crate::log::blocks::{BlockScan, Blocks};
use crate::log::rewrite::remove;
use crate::log::scan::{Found, FrameScan, Frames, Scan};
use crate::log::{BadFrame, Damage, LOG_FOLDER, Place, ReadError, segment_name};

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

    /// Removes what a crash left of segments that others have taken the place of; names those that
    /// hold something else, which stay where they are.
    pub(crate) fn clear_leftovers(&self, found: BTreeMap<u64, Option<Segment>>) -> Vec<BadFrame> {
        let mut stray = Vec::new();
        for (segment, leftover) in found {
            // What cannot be read is only in the one that says it has it.
            let length = leftover.as_ref().map_or(0, |leftover| leftover.length);
            if leftover.is_none_or(|leftover| self.repeats(&leftover).unwrap_or(false)) {
                self.leftovers().insert(segment);
                continue;
            }
            let (offset, sequences, damage) = (0, 0..0, Damage::Stray);
            stray.push(BadFrame { segment, offset, length, sequences, damage });
        }
        self.index_mut().unreadable.extend(stray.iter().cloned());
        // They cost room only, and whatever must be gone for good asks for it again.
        if let Err(error) = self.remove_leftovers() {
            tracing::warn!(%error, "segments that were merged are not removed");
        }
        stray
    }

    /// Whether every entry of a segment that is left out is in the others, or was dropped there.
    fn repeats(&self, segment: &Segment) -> io::Result<bool> {
        let Segment { head, length } = segment;
        let frames = Frames {
            file: self.files.open(&segment_name(head.number))?,
            cipher: Arc::new(self.cipher(head)),
            segment: head.number,
            first_sequence: head.first_sequence,
            end_sequence: if head.form == Form::Blocks { head.covered_end() } else { u64::MAX },
            length: *length,
        };
        let mut scan = match head.form {
            Form::Frames => Scan::Frames(FrameScan::new(frames)),
            Form::Blocks => {
                let blocks = Arc::new(Blocks::read(&frames)?);
                Scan::Blocks(BlockScan::new(frames, blocks, 0))
            }
        };
        while let Some(found) = scan.next()? {
            let Found::Entry { sequence, entry } = found else { continue };
            let owner = self.number_of(Place(sequence)).and_then(|number| self.head(number));
            let is_covered = owner.is_some_and(|owner| sequence < owner.covered_end());
            let is_there = match self.read(Place(sequence)) {
                Ok(there) => *there == entry,
                Err(ReadError::NotFound { .. }) => true,
                // What is damaged there may be whole here alone.
                Err(ReadError::Damaged { .. } | ReadError::Io { .. }) => false,
            };
            if !is_there || !is_covered {
                return Ok(false);
            }
        }
        Ok(true)
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
