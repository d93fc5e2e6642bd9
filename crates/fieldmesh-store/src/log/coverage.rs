//! What became of each sequence that a rewritten segment answers for.
//!
//! Without it, a hole that somebody made on purpose could not be told from damage.

use std::ops::Range;

/// The bytes of one run as it is written down.
pub(crate) const RUN_LENGTH: usize = 5;

/// What became of an entry. The codes are part of the disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fortune {
    /// It is there.
    Present = 0,
    /// Somebody decided that it should go.
    Dropped = 1,
    /// It was damaged before the segment was written anew.
    Lost = 2,
}

/// The fortunes of sequences that follow each other, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Where each run begins; no two neighbours are alike.
    runs: Vec<(u64, Fortune)>,
    start: u64,
    end: u64,
}

impl Coverage {
    /// Covers nothing, from `start` on.
    pub(crate) fn new(start: u64) -> Self {
        Self { runs: Vec::new(), start, end: start }
    }

    /// Covers so many more sequences.
    pub(crate) fn push(&mut self, fortune: Fortune, count: u64) {
        if count > 0 && self.runs.last().is_none_or(|(_, last)| *last != fortune) {
            self.runs.push((self.end, fortune));
        }
        self.end = self.end.saturating_add(count);
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// What became of one sequence; `None` if it is not covered.
    pub(crate) fn find(&self, sequence: u64) -> Option<Fortune> {
        let behind = self.runs.partition_point(|(start, _)| *start <= sequence);
        let (_, fortune) = self.runs.get(behind.checked_sub(1)?)?;
        (sequence < self.end).then_some(*fortune)
    }

    /// The runs inside a range, in order.
    pub(crate) fn runs(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Fortune)> {
        let first = self.runs.partition_point(|(start, _)| *start <= range.start).max(1) - 1;
        let ends = self.runs.iter().skip(first + 1).map(|(start, _)| *start).chain([self.end]);
        let runs = self.runs.iter().skip(first).zip(ends);
        let inside = runs.map(move |((start, fortune), end)| {
            (*start.max(&range.start)..end.min(range.end), *fortune)
        });
        inside.filter(|(run, _)| !run.is_empty())
    }

    /// How many sequences had this fortune.
    pub(crate) fn count(&self, fortune: Fortune) -> u64 {
        let runs = self.runs(self.start..self.end).filter(|(_, found)| *found == fortune);
        runs.map(|(run, _)| run.end - run.start).sum()
    }

    /// Appends count and runs; the start is known to whoever reads it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.runs.len())
            .expect("invariant: a segment covers at most u32::MAX sequences");
        out.extend(count.to_be_bytes());
        for (run, fortune) in self.runs(self.start..self.end) {
            let length = u32::try_from(run.end - run.start)
                .expect("invariant: a segment covers at most u32::MAX sequences");
            out.push(fortune as u8);
            out.extend(length.to_be_bytes());
        }
    }

    /// Reads what [`Coverage::encode`] wrote, and gives the bytes behind it.
    pub(crate) fn decode(start: u64, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (count, bytes) = bytes.split_first_chunk::<4>()?;
        let length = (u32::from_be_bytes(*count) as usize).checked_mul(RUN_LENGTH)?;
        let (runs, rest) = bytes.split_at_checked(length)?;
        let mut coverage = Self::new(start);
        for run in runs.chunks_exact(RUN_LENGTH) {
            let fortune = match run[0] {
                0 => Fortune::Present,
                1 => Fortune::Dropped,
                2 => Fortune::Lost,
                _ => return None,
            };
            let count = u32::from_be_bytes(run[1..].try_into().ok()?);
            coverage.push(fortune, u64::from(count));
        }
        Some((coverage, rest))
    }

    /// The memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<(u64, Fortune)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_has_its_fortune_before_and_after_it_is_written_down() {
        let mut coverage = Coverage::new(10);
        let runs = [(Fortune::Present, 2), (Fortune::Present, 1), (Fortune::Lost, 0)];
        for (fortune, count) in runs.into_iter().chain([(Fortune::Dropped, 4), (Fortune::Lost, 1)])
        {
            coverage.push(fortune, count);
        }
        let mut bytes = Vec::new();
        coverage.encode(&mut bytes);
        bytes.push(7);
        let (read, rest) = Coverage::decode(10, &bytes).unwrap();
        assert_eq!((&read, rest), (&coverage, &[7][..]));
        let found: Vec<_> = (9..19).map(|sequence| read.find(sequence)).collect();
        let (present, dropped) = (Some(Fortune::Present), Some(Fortune::Dropped));
        assert_eq!(found[..4], [None, present, present, present]);
        assert_eq!(found[4..8], [dropped; 4]);
        assert_eq!(found[8..], [Some(Fortune::Lost), None]);
        let inside: Vec<_> = read.runs(12..15).collect();
        assert_eq!(inside, [(12..13, Fortune::Present), (13..15, Fortune::Dropped)]);
        assert_eq!(read.count(Fortune::Dropped), 4);
        assert_eq!(read.runs(18..30).count(), 0);
        assert_eq!(Coverage::decode(10, &bytes[..8]), None);
        assert_eq!(Coverage::new(4).runs(4..9).count(), 0);
    }
}
