//! Which closed segment is worth writing anew, and which should become one.

use std::ops::Range;

use crate::frame::Form;

/// Segments smaller than this stay as they are: on a disk with blocks of 4 KiB the head takes one,
/// and whatever is left of the entries another, so that one of two blocks gains nothing.
pub const REWRITE_SIZE_MIN: u64 = 2 * 4 * 1024 + 1;
/// More dead entries than this, in a hundred, make a segment in blocks worth writing anew.
pub const DEAD_PERCENT_MAX: u64 = 25;
/// Segments smaller than this become one with neighbours as small: each takes a head of 4 KiB, an
/// open file and a name, however little is in it.
pub const MERGE_SIZE_MAX: u64 = 256 * 1024;
/// What becomes one has at most so many bytes, so that a part of the log that is written anew
/// stays small beside the disk.
const MERGED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// What is expected to stay of a hundred bytes of frames when they become blocks.
const KEPT_PERCENT: u64 = 50;
/// Frames that are larger on average compress as well by themselves as in blocks.
const SMALL_FRAME_SIZE_MAX: u64 = 4 * 1024;

/// A segment that is not written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its number.
    pub number: u64,
    /// The first of the numbers whose entries it holds; another one where it was made of several.
    pub first_number: u64,
    /// The places of its entries, present or not.
    pub places: Range<u64>,
    /// How many entries it holds.
    pub entries: u64,
    /// The size of its file.
    pub bytes: u64,
    /// How its entries lie.
    pub form: Form,
    /// Whether it can be read where they lie, if that is written down in it: else it is found out
    /// each time anew, and a rewriting mends it.
    pub has_index: bool,
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

/// Cuts segments into those that should become one: neighbours of which each is small, and all
/// together not too large and not too many for the head of one. Every other one stands alone.
pub fn neighbours(segments: &[ClosedSegment]) -> Vec<&[ClosedSegment]> {
    let mut runs = Vec::new();
    for run in segments.chunk_by(|before, next| {
        before.bytes.max(next.bytes) < MERGE_SIZE_MAX && before.is_right_before(next)
    }) {
        let mut rest = run;
        while !rest.is_empty() {
            let mut bytes: u64 = 0;
            let fits = rest.iter().take_while(|segment| {
                bytes = bytes.saturating_add(segment.bytes);
                bytes <= MERGED_BYTES_MAX && rest[0].can_begin_with(segment)
            });
            let count = fits.count().max(1);
            let (together, behind) = rest.split_at(count);
            runs.push(together);
            rest = behind;
        }
    }
    runs
}

impl ClosedSegment {
    /// Whether no segment is between them, missing or not.
    fn is_right_before(&self, next: &Self) -> bool {
        self.number.checked_add(1) == Some(next.first_number)
            && self.places.end <= next.places.start
    }

    /// Whether the head of one segment can say that it has all from this one to `last`.
    fn can_begin_with(&self, last: &Self) -> bool {
        let numbers = last.number.saturating_sub(self.first_number);
        let places = last.places.end.saturating_sub(self.places.start);
        numbers <= u64::from(u16::MAX) && places <= u64::from(u32::MAX)
    }
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
        let first_number = number;
        let (places, has_index) = (0..1000, true);
        ClosedSegment { number, first_number, places, entries: 1000, bytes, form, has_index }
    }

    fn small(number: u64, first_number: u64, bytes: u64) -> ClosedSegment {
        let places = first_number * 10..number * 10 + 10;
        let (form, has_index) = (Form::Frames, true);
        ClosedSegment { number, first_number, places, entries: 10, bytes, form, has_index }
    }

    #[test]
    fn small_neighbours_become_one_and_nothing_that_is_missing_between_others_is_passed_over() {
        let counts = |segments: &[ClosedSegment]| -> Vec<usize> {
            neighbours(segments).iter().map(|run| run.len()).collect()
        };
        let few = |numbers: &[u64]| -> Vec<ClosedSegment> {
            numbers.iter().map(|number| small(*number, *number, 5_000)).collect()
        };
        assert_eq!(counts(&[]), [0; 0]);
        assert_eq!(counts(&few(&[1, 2, 3, 5, 6])), [3, 2]);
        let merged = [small(4, 1, 9_000), small(5, 5, 5_000), small(9, 7, 5_000)];
        assert_eq!(counts(&merged), [2, 1]);
        let large = [small(1, 1, 5_000), small(2, 2, MERGE_SIZE_MAX), small(3, 3, 5_000)];
        assert_eq!(counts(&large), [1, 1, 1]);
        let many: Vec<_> = (1..=40).map(|at| small(at, at, MERGE_SIZE_MAX - 1)).collect();
        assert_eq!(counts(&many), [32, 8]);
        let mut stray = few(&[1, 2]);
        stray[1].places = 5..15;
        assert_eq!(counts(&stray), [1, 1]);
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
