//! The chains of batches: where they end, what is missing in them, where they fork.

use std::collections::BTreeMap;

use fieldmesh_model::{BatchId, DeviceId, Epoch, Scope};

use crate::header::Header;

/// One author's line of batches in one scope during one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// The device that signs the batches.
    pub author: DeviceId,
    /// The author's run.
    pub epoch: Epoch,
    /// The scope of the batches.
    pub scope: Scope,
}

impl Chain {
    /// The chain that the batch with this header belongs to.
    pub const fn of(header: &Header) -> Self {
        Self { author: header.author, epoch: header.epoch, scope: header.scope }
    }
}

/// The last batch of the gapless beginning of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// Its position.
    pub sequence: u64,
    /// Its id.
    pub id: BatchId,
}

/// Batches of a chain that have not arrived while a later one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// The first missing position.
    pub first: u64,
    /// The last missing position.
    pub last: u64,
}

/// How a batch stands to its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It extends the chain or fills a gap.
    Next,
    /// It was observed before.
    Known,
    /// Batches before it are missing.
    Gap(Gap),
    /// There are two batches at one position; the author broke its word.
    Fork {
        /// The position.
        sequence: u64,
        /// The batch that was observed first.
        known: BatchId,
        /// The other one: observed, or named as previous by an observed one.
        other: BatchId,
    },
}

/// All chains that a replica knows.
///
/// What is observed never depends on clocks; of the order of arrival only the choice depends which
/// side of a fork counts as known.
#[derive(Debug, Clone, Default)]
pub struct Chains {
    chains: BTreeMap<Chain, Line>,
}

/// The batches of one chain.
#[derive(Debug, Clone, Default)]
struct Line {
    /// Ids from sequence 1 on, without a gap.
    ids: Vec<BatchId>,
    /// Batches beyond a gap, with the id that each names as previous.
    beyond: BTreeMap<u64, Beyond>,
}

#[derive(Debug, Clone, Copy)]
struct Beyond {
    id: BatchId,
    previous: BatchId,
}

impl Chains {
    /// No chain.
    pub const fn new() -> Self {
        Self { chains: BTreeMap::new() }
    }

    /// Takes note of the accepted batch `id` with this header.
    pub fn observe(&mut self, header: &Header, id: BatchId) -> Link {
        let line = self.chains.entry(Chain::of(header)).or_default();
        line.observe(header.sequence, Beyond { id, previous: header.previous })
    }

    /// The last batch before the first gap of `chain`.
    pub fn head(&self, chain: &Chain) -> Option<Head> {
        self.chains.get(chain)?.head()
    }

    /// All chains that have a beginning, with their heads.
    pub fn heads(&self) -> impl Iterator<Item = (&Chain, Head)> {
        self.chains.iter().filter_map(|(chain, line)| Some((chain, line.head()?)))
    }

    /// The first gap of each chain that has one.
    pub fn gaps(&self) -> impl Iterator<Item = (&Chain, Gap)> {
        self.chains.iter().filter_map(|(chain, line)| Some((chain, line.gap()?)))
    }

    /// The batch at `sequence` of `chain`.
    pub fn batch(&self, chain: &Chain, sequence: u64) -> Option<BatchId> {
        self.chains.get(chain)?.batch(sequence)
    }
}

impl Line {
    fn length(&self) -> u64 {
        self.ids.len() as u64
    }

    fn head(&self) -> Option<Head> {
        self.ids.last().map(|id| Head { sequence: self.length(), id: *id })
    }

    fn gap(&self) -> Option<Gap> {
        let (next, _) = self.beyond.first_key_value()?;
        Some(Gap { first: self.length() + 1, last: next - 1 })
    }

    fn batch(&self, sequence: u64) -> Option<BatchId> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        let beyond = || self.beyond.get(&sequence).map(|beyond| beyond.id);
        self.ids.get(index).copied().or_else(beyond)
    }

    fn observe(&mut self, sequence: u64, batch: Beyond) -> Link {
        if let Some(known) = self.batch(sequence) {
            let is_same = known == batch.id;
            let fork = Link::Fork { sequence, known, other: batch.id };
            return if is_same { Link::Known } else { fork };
        }
        let fork = self.fork_around(sequence, &batch);
        self.beyond.insert(sequence, batch);
        self.join();
        fork.unwrap_or_else(|| self.link_before(sequence))
    }

    /// A neighbour that is not the one which a batch at the free `sequence` goes with.
    fn fork_around(&self, sequence: u64, batch: &Beyond) -> Option<Link> {
        let before = sequence.saturating_sub(1);
        if let Some(known) = self.batch(before)
            && known != batch.previous
        {
            return Some(Link::Fork { sequence: before, known, other: batch.previous });
        }
        let after = self.beyond.get(&sequence.saturating_add(1))?;
        let is_fork = after.previous != batch.id;
        is_fork.then_some(Link::Fork { sequence, known: after.previous, other: batch.id })
    }

    /// Moves what has become gapless.
    fn join(&mut self) {
        while let Some(batch) = self.beyond.remove(&(self.length() + 1)) {
            self.ids.push(batch.id);
        }
    }

    /// How the batch at `sequence` stands to what comes before it.
    fn link_before(&self, sequence: u64) -> Link {
        if sequence <= self.length() {
            return Link::Next;
        }
        let before = self.beyond.range(..sequence).next_back().map(|(earlier, _)| *earlier);
        let first = before.unwrap_or_else(|| self.length()) + 1;
        if first == sequence { Link::Next } else { Link::Gap(Gap { first, last: sequence - 1 }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> BatchId {
        BatchId::from_bytes([byte; 32])
    }

    fn observe(line: &mut Line, sequence: u64, own: u8, previous: u8) -> Link {
        line.observe(sequence, Beyond { id: id(own), previous: id(previous) })
    }

    #[test]
    fn a_chain_grows_and_knows_what_it_has_seen() {
        let mut line = Line::default();
        assert_eq!(observe(&mut line, 1, 1, 0), Link::Next);
        assert_eq!(observe(&mut line, 2, 2, 1), Link::Next);
        assert_eq!(observe(&mut line, 1, 1, 0), Link::Known);
        assert_eq!(line.head(), Some(Head { sequence: 2, id: id(2) }));
        assert_eq!(line.gap(), None);
    }

    #[test]
    fn a_gap_is_reported_until_it_is_filled_in_any_order() {
        let mut line = Line::default();
        assert_eq!(observe(&mut line, 4, 4, 3), Link::Gap(Gap { first: 1, last: 3 }));
        assert_eq!(observe(&mut line, 6, 6, 5), Link::Gap(Gap { first: 5, last: 5 }));
        assert_eq!(observe(&mut line, 7, 7, 6), Link::Next);
        assert_eq!(observe(&mut line, 1, 1, 0), Link::Next);
        assert_eq!(line.gap(), Some(Gap { first: 2, last: 3 }));
        assert_eq!(observe(&mut line, 3, 3, 2), Link::Gap(Gap { first: 2, last: 2 }));
        assert_eq!(observe(&mut line, 2, 2, 1), Link::Next);
        assert_eq!(line.head(), Some(Head { sequence: 4, id: id(4) }));
        assert_eq!(observe(&mut line, 5, 5, 4), Link::Next);
        assert_eq!(line.head(), Some(Head { sequence: 7, id: id(7) }));
        assert_eq!(line.gap(), None);
    }

    #[test]
    fn two_batches_at_one_position_are_a_fork_even_if_one_is_only_named() {
        let mut line = Line::default();
        observe(&mut line, 1, 1, 0);
        observe(&mut line, 2, 2, 1);
        let both = Link::Fork { sequence: 2, known: id(2), other: id(9) };
        assert_eq!(observe(&mut line, 2, 9, 1), both);
        assert_eq!(observe(&mut line, 3, 3, 9), both);
        assert_eq!(observe(&mut line, 4, 4, 3), Link::Next, "a forked chain still grows");

        let mut line = Line::default();
        observe(&mut line, 2, 2, 1);
        let named = Link::Fork { sequence: 1, known: id(1), other: id(8) };
        assert_eq!(observe(&mut line, 1, 8, 0), named);
    }

    #[test]
    fn the_greatest_sequence_does_no_harm() {
        let mut line = Line::default();
        observe(&mut line, u64::MAX, 1, 0);
        assert_eq!(line.gap(), Some(Gap { first: 1, last: u64::MAX - 1 }));
    }
}
