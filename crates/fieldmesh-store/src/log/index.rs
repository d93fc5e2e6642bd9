//! Where the frames of a segment begin: sequence to offset, four bytes an entry.
//!
//! Nothing here reads a file, and nothing of it is kept on the disk.

/// The frames of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrameIndex {
    runs: Vec<Run>,
}

/// Frames whose sequences follow each other and whose offsets are near enough to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    sequence: u64,
    offset: u64,
    /// From `offset` to the beginning of each frame.
    distances: Vec<u32>,
}

impl Run {
    fn end(&self) -> u64 {
        self.sequence.saturating_add(self.distances.len() as u64)
    }
}

impl FrameIndex {
    /// Adds a frame behind those before; one whose sequence is not behind theirs is left out.
    pub(crate) fn push(&mut self, sequence: u64, offset: u64) {
        if sequence < self.end().unwrap_or(0) {
            return;
        }
        if let Some(run) = self.runs.last_mut()
            && run.end() == sequence
            && let Some(distance) = offset.checked_sub(run.offset)
            && let Ok(distance) = u32::try_from(distance)
        {
            run.distances.push(distance);
            return;
        }
        self.runs.push(Run { sequence, offset, distances: vec![0] });
    }

    /// Where the frame with this sequence begins.
    pub(crate) fn find(&self, sequence: u64) -> Option<u64> {
        self.last_up_to(sequence).filter(|(found, _)| *found == sequence).map(|(_, offset)| offset)
    }

    /// The last frame with at most this sequence, and where it begins.
    pub(crate) fn last_up_to(&self, sequence: u64) -> Option<(u64, u64)> {
        let behind = self.runs.partition_point(|run| run.sequence <= sequence);
        let run = self.runs.get(behind.checked_sub(1)?)?;
        let last = (run.distances.len() as u64).checked_sub(1)?;
        let at = (sequence - run.sequence).min(last);
        let distance = run.distances.get(usize::try_from(at).ok()?)?;
        Some((run.sequence + at, run.offset + u64::from(*distance)))
    }

    /// The sequence behind the last frame.
    pub(crate) fn end(&self) -> Option<u64> {
        self.runs.last().map(Run::end)
    }

    /// Gives back the memory that was taken for frames to come.
    pub(crate) fn shrink(&mut self) {
        self.runs.iter_mut().for_each(|run| run.distances.shrink_to_fit());
    }

    /// The memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        let run = |run: &Run| size_of::<Run>() + run.distances.capacity() * size_of::<u32>();
        self.runs.iter().map(run).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_around_a_hole_and_beyond_four_gigabytes() {
        let mut index = FrameIndex::default();
        let far = 3 * u64::from(u32::MAX);
        for (sequence, offset) in [(5, 100), (6, 150), (9, 300), (10, far), (11, far + 9), (3, 1)] {
            index.push(sequence, offset);
        }
        let found: Vec<_> = (4..13).map(|sequence| index.find(sequence)).collect();
        let expected = [None, Some(100), Some(150), None, None, Some(300)];
        assert_eq!(found[..6], expected);
        assert_eq!(found[6..], [Some(far), Some(far + 9), None]);
        assert_eq!(index.last_up_to(8), Some((6, 150)));
        assert_eq!(index.last_up_to(99), Some((11, far + 9)));
        assert_eq!(index.last_up_to(4), None);
        assert_eq!(index.end(), Some(12));
    }
}
