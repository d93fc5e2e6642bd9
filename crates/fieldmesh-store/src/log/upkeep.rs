//! Which closed segment is worth writing anew.

use std::ops::Range;

use crate::frame::Form;

/// Segments smaller than this stay as they are: on a disk with blocks of 4 KiB the head takes one,
/// and whatever is left of the entries another, so that one of two blocks gains nothing.
pub const REWRITE_SIZE_MIN: u64 = 2 * 4 * 1024 + 1;
/// More dead entries than this, in a hundred, make a segment in blocks worth writing anew.
pub const DEAD_PERCENT_MAX: u64 = 25;
/// What is expected to stay of a hundred bytes of frames when they become blocks.
const KEPT_PERCENT: u64 = 50;
/// Frames that are larger on average compress as well by themselves as in blocks.
const SMALL_FRAME_SIZE_MAX: u64 = 4 * 1024;

/// A segment that is not written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its number.
    pub number: u64,
    /// The places of its entries, present or not.
    pub places: Range<u64>,
    /// How many entries it holds.
    pub entries: u64,
    /// The size of its file.
    pub bytes: u64,
    /// How its entries lie.
    pub form: Form,
}

/// The segment by which most is gained: one that is not in blocks, or one with too many entries
/// that are `dead` in the eyes of its owner; `None` if none is worth it.
pub fn worth_rewriting(
    segments: &[ClosedSegment],
    dead: impl Fn(&ClosedSegment) -> u64,
) -> Option<u64> {
    let gains = segments.iter().filter(|segment| segment.bytes >= REWRITE_SIZE_MIN);
    let gains = gains.map(|segment| (gain(segment, dead(segment)), segment.number));
    // Of equals the oldest, which is the least likely to change again.
    let best = gains.max_by_key(|(gain, number)| (*gain, std::cmp::Reverse(*number)));
    best.filter(|(gain, _)| *gain > 0).map(|(_, number)| number)
}

/// The bytes that are expected to be freed.
fn gain(segment: &ClosedSegment, dead: u64) -> u64 {
    let entries = segment.entries.max(1);
    let dead = dead.min(entries);
    let size = segment.bytes / entries;
    let live = size * (entries - dead);
    if segment.form == Form::Frames && size <= SMALL_FRAME_SIZE_MAX {
        return segment.bytes.saturating_sub(live / 100 * KEPT_PERCENT);
    }
    let percent_dead = dead.saturating_mul(100) / entries;
    if percent_dead > DEAD_PERCENT_MAX { segment.bytes.saturating_sub(live) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, form: Form, bytes: u64) -> ClosedSegment {
        ClosedSegment { number, places: 0..1000, entries: 1000, bytes, form }
    }

    #[test]
    fn what_frees_most_comes_first_and_what_frees_nothing_never() {
        let frames = segment(1, Form::Frames, 1_000_000);
        let blocks = segment(2, Form::Blocks, 1_000_000);
        let small = segment(3, Form::Frames, REWRITE_SIZE_MIN - 1);
        let all = [frames, blocks, small];
        assert_eq!(worth_rewriting(&all, |_| 0), Some(1));
        assert_eq!(worth_rewriting(&all[1..], |_| 0), None);
        assert_eq!(worth_rewriting(&all[1..], |_| 250), None);
        assert_eq!(worth_rewriting(&all[1..], |_| 260), Some(2));
        assert_eq!(worth_rewriting(&all, |segment| 900 * (segment.number - 1)), Some(2));
        assert_eq!(worth_rewriting(&all, |_| u64::MAX), Some(1));
        assert_eq!(worth_rewriting(&[], |_| 0), None);
        // The log of a day in the field, and less.
        assert_eq!(worth_rewriting(&[segment(5, Form::Frames, 47_000)], |_| 0), Some(5));
        assert_eq!(worth_rewriting(&[segment(6, Form::Frames, 10_000)], |_| 0), Some(6));
        let large = segment(4, Form::Frames, 1000 * (SMALL_FRAME_SIZE_MAX + 1));
        assert_eq!(worth_rewriting(std::slice::from_ref(&large), |_| 250), None);
        assert_eq!(worth_rewriting(&[large], |_| 260), Some(4));
    }
}
