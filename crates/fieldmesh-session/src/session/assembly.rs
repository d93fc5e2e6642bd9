//! Parts of batches that come in, put together.

use crate::error::WireError;
use crate::interface::{Lane, Partial};
use crate::limits::{DATA_FRAME_MAX, PARTIALS_MAX};
use crate::wire::{Frame, Part};

/// A batch that is whole: its bytes, and how many frames with how many bytes brought it.
type Whole = (Vec<u8>, u32, usize);

/// The begun batches of one conversation: one a lane, and what the last conversation left.
#[derive(Default)]
pub(super) struct Assembly {
    kept: Vec<Partial>,
    begun: [Option<Begun>; 3],
}

struct Begun {
    partial: Partial,
    frames: u32,
    length: usize,
}

impl Assembly {
    pub(super) fn new(mut kept: Vec<Partial>) -> Self {
        kept.truncate(PARTIALS_MAX);
        Self { kept, begun: Default::default() }
    }

    pub(super) fn kept(&self) -> &[Partial] {
        &self.kept
    }

    /// The bytes it keeps.
    pub(super) fn held(&self) -> usize {
        let begun = self.begun.iter().flatten().map(|begun| &begun.partial);
        begun.chain(&self.kept).map(|partial| partial.bytes.len()).sum()
    }

    /// Takes one frame; gives the batch if that was the last of it.
    pub(super) fn take_in(&mut self, lane: Lane, frame: Frame) -> Result<Option<Whole>, WireError> {
        let slot = &mut self.begun[lane.index()];
        let Some(part) = frame.part else {
            let length = frame.bytes.len();
            // A batch that is left in the middle would keep its room for ever.
            return match slot {
                Some(begun) => Err(begun.misplaced()),
                None => Ok(Some((frame.bytes, 1, length))),
            };
        };
        let mut begun = match slot.take() {
            Some(begun) => begun,
            None => Self::begin(&mut self.kept, part)?,
        };
        begun.extend(part, &frame.bytes)?;
        if begun.partial.bytes.len() < part.total as usize {
            *slot = Some(begun);
            return Ok(None);
        }
        Ok(Some((begun.partial.bytes, begun.frames, begun.length)))
    }

    #[cfg(test)]
    pub(super) fn begun(&self) -> Vec<([u8; 32], usize)> {
        let begun = self.begun.iter().flatten().map(|begun| &begun.partial);
        begun.chain(&self.kept).map(|partial| (partial.id, partial.bytes.len())).collect()
    }

    /// What is begun, the longest first.
    pub(super) fn take(&mut self) -> Vec<Partial> {
        let begun = self.begun.iter_mut().filter_map(Option::take).map(|begun| begun.partial);
        let mut all: Vec<Partial> = begun.chain(std::mem::take(&mut self.kept)).collect();
        all.sort_by_key(|partial| std::cmp::Reverse(partial.bytes.len()));
        all.truncate(PARTIALS_MAX);
        all
    }

    fn begin(kept: &mut Vec<Partial>, part: Part) -> Result<Begun, WireError> {
        let Part { id, total, offset } = part;
        if total as usize > DATA_FRAME_MAX {
            return Err(WireError::FrameTooLong { length: total as usize, limit: DATA_FRAME_MAX });
        }
        let known = kept.iter().position(|partial| partial.id == id);
        let known = known.map(|index| kept.swap_remove(index));
        let fits =
            |partial: &Partial| partial.total == total && partial.bytes.len() == offset as usize;
        let partial = match known {
            Some(partial) if offset > 0 && fits(&partial) => partial,
            _ => Partial { id, total, bytes: Vec::new() },
        };
        Ok(Begun { partial, frames: 0, length: 0 })
    }
}

impl Begun {
    fn extend(&mut self, part: Part, bytes: &[u8]) -> Result<(), WireError> {
        let Part { id, total, offset } = part;
        let Partial { id: begun, total: whole, bytes: front } = &mut self.partial;
        let is_next = (id, total, offset as usize) == (*begun, *whole, front.len());
        if !is_next || bytes.is_empty() || front.len() + bytes.len() > total as usize {
            return Err(WireError::Part { offset, total });
        }
        front.extend_from_slice(bytes);
        self.frames = self.frames.saturating_add(1);
        self.length += bytes.len();
        Ok(())
    }

    fn misplaced(&self) -> WireError {
        WireError::Part { offset: self.partial.bytes.len() as u32, total: self.partial.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameKind;

    fn part(total: usize, offset: usize, length: usize) -> Frame {
        let part = Part { id: [1; 32], total: total as u32, offset: offset as u32 };
        Frame { kind: FrameKind::Batch, part: Some(part), bytes: vec![7; length] }
    }

    #[test]
    fn a_batch_may_claim_the_largest_length_and_no_more() {
        let mut assembly = Assembly::default();
        let refused = assembly.take_in(Lane::Recent, part(DATA_FRAME_MAX + 1, 0, 1));
        assert!(matches!(refused, Err(WireError::FrameTooLong { .. })));
        assert_eq!(assembly.take_in(Lane::Recent, part(DATA_FRAME_MAX, 0, 1)), Ok(None));
    }

    #[test]
    fn a_gap_an_overlap_an_empty_part_and_a_batch_in_between_are_refused() {
        for (offset, length) in [(6, 1), (4, 1), (5, 0), (5, 6)] {
            let mut assembly = Assembly::default();
            assert_eq!(assembly.take_in(Lane::Recent, part(10, 0, 5)), Ok(None));
            let refused = assembly.take_in(Lane::Recent, part(10, offset, length));
            assert!(matches!(refused, Err(WireError::Part { .. })), "{offset} {length}");
        }
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take_in(Lane::Recent, part(10, 0, 5)), Ok(None));
        let whole = Frame { part: None, ..part(10, 0, 3) };
        assert!(assembly.take_in(Lane::Recent, whole.clone()).is_err());
        assert_eq!(assembly.take_in(Lane::Urgent, whole), Ok(Some((vec![7; 3], 1, 3))));
    }

    #[test]
    fn what_is_kept_is_continued_and_at_most_two_are() {
        let kept = |id| Partial { id: [id; 32], total: 10, bytes: vec![9; 4] };
        let mut assembly = Assembly::new(vec![kept(1), kept(2), kept(3)]);
        assert_eq!(assembly.kept().len(), PARTIALS_MAX);
        let whole = assembly.take_in(Lane::Backfill, part(10, 4, 6));
        assert_eq!(whole, Ok(Some(([vec![9; 4], vec![7; 6]].concat(), 1, 6))));
        assert_eq!(assembly.take(), [kept(2)]);
    }
}
