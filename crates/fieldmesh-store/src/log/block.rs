//! The disk format of a segment that was written anew: entries in compressed blocks.
//!
//! Nothing here reads or writes a file. Everything is in frames, as in [`crate::frame`]:
//!
//! ```text
//! head      as of every segment, version 2, with the count of the sequences it answers for
//! block     a frame, flag 2, its sequence the first it covers:
//!           runs | kind u8, length u32 of each entry that is there | their bytes
//! taken     a frame, flag 8, its sequence two behind the last, of a segment of several alone:
//!           of each that it took the place of 8 bytes, in the order of their numbers
//! index     a frame, flag 4, its sequence the one behind the last:
//!           block count u32 | sequences covered u32, frame length u32 of each block | runs
//! trailer   magic "FMi1" | offset of the index u64 | CRC32 of these 12 bytes and the segment id
//! runs      count u32 | what became of the entries u8, how many u32
//! ```
//!
//! The 8 bytes are the first of the id of that segment, or zeros where it is not known. Programs that
//! do not know the frame step over it, and leave it out where they write the segment anew.
//!
//! Blocks follow each other without a gap, in bytes as in sequences. What became of an entry is in
//! its block and in the index, so that either may be damaged: without the index its content is read
//! out of the blocks; without a block the index tells which entries it held. Blocks and index are
//! compressed as frames are, flag 1, if that helps.

use super::coverage::{Coverage, Fortune, RUN_LENGTH};
use super::{Entry, Place};
use crate::frame::FRAMES_START;

/// A block is full at this size, unless one entry alone is larger.
pub(crate) const BLOCK_SIZE_MAX: usize = 64 * 1024;
/// The bytes of the trailer.
pub(crate) const TRAILER_LENGTH: usize = 16;

const TRAILER_MAGIC: [u8; 4] = *b"FMi1";
/// The bytes of an entry's kind and length.
const ENTRY_HEAD_LENGTH: usize = 5;
/// The bytes of a block in the index.
const SPOT_LENGTH: usize = 8;
/// The memory of a decoded entry beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// A block that is being filled.
pub(crate) struct BlockBuilder {
    coverage: Coverage,
    entries: Vec<u8>,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    /// Empty, from `start` on.
    pub(crate) fn new(start: u64) -> Self {
        Self { coverage: Coverage::new(start), entries: Vec::new(), bytes: Vec::new() }
    }

    /// Whether so many bytes more belong into another block.
    pub(crate) fn is_full(&self, length: usize) -> bool {
        let covers_some = self.coverage.end() > self.coverage.start();
        let runs = (self.coverage.run_count() + 1) * RUN_LENGTH;
        let heads = self.entries.len() + ENTRY_HEAD_LENGTH;
        covers_some && runs + heads + self.bytes.len() + length > BLOCK_SIZE_MAX
    }

    pub(crate) fn add(&mut self, entry: &Entry) {
        let length = u32::try_from(entry.bytes.len())
            .expect("invariant: entries are at most ENTRY_SIZE_MAX when they are written");
        self.entries.push(entry.kind);
        self.entries.extend(length.to_be_bytes());
        self.bytes.extend(&entry.bytes);
        self.coverage.push(Fortune::Present, 1);
    }

    pub(crate) fn add_absent(&mut self, fortune: Fortune, count: u64) {
        self.coverage.push(fortune, count);
    }

    pub(crate) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() + self.bytes.len() + 64);
        self.coverage.encode(&mut bytes);
        bytes.extend(&self.entries);
        bytes.extend(&self.bytes);
        bytes
    }
}

/// A decoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) coverage: Coverage,
    entries: Vec<EntrySpot>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EntrySpot {
    sequence: u64,
    kind: u8,
    start: usize,
    end: usize,
}

impl Block {
    /// Reads what [`BlockBuilder::encode`] wrote; `None` if it did not.
    pub(crate) fn decode(start: u64, bytes: Vec<u8>) -> Option<Self> {
        let (coverage, rest) = Coverage::decode(start, &bytes)?;
        let count = usize::try_from(coverage.count(Fortune::Present)).ok()?;
        let (heads, content) = rest.split_at_checked(count.checked_mul(ENTRY_HEAD_LENGTH)?)?;
        let mut from = bytes.len() - content.len();
        let mut entries = Vec::with_capacity(count);
        let present = coverage.runs(start..coverage.end());
        let present = present.filter(|(_, fortune)| *fortune == Fortune::Present);
        let sequences = present.flat_map(|(run, _)| run);
        for (head, sequence) in heads.chunks_exact(ENTRY_HEAD_LENGTH).zip(sequences) {
            let length = u32::from_be_bytes(head[1..].try_into().ok()?);
            let end = from.checked_add(length as usize)?;
            entries.push(EntrySpot { sequence, kind: head[0], start: from, end });
            from = end;
        }
        (from == bytes.len()).then_some(Self { coverage, entries, bytes })
    }

    /// The entry at a place.
    pub(crate) fn find(&self, place: Place) -> Option<Entry> {
        let at = self.entries.binary_search_by_key(&place.0, |entry| entry.sequence).ok()?;
        self.entries.get(at).map(|entry| self.entry(entry))
    }

    /// Every entry from a sequence on, in order.
    pub(crate) fn entries_from(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> {
        let first = self.entries.partition_point(|entry| entry.sequence < from);
        self.entries[first..].iter().map(|entry| (entry.sequence, self.entry(entry)))
    }

    fn entry(&self, spot: &EntrySpot) -> Entry {
        Entry { kind: spot.kind, bytes: self.bytes[spot.start..spot.end].to_vec() }
    }

    /// The memory this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * ENTRY_OVERHEAD_BYTES + self.coverage.bytes()
    }
}

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockSpot {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset: u64,
    /// The bytes of its frame, or of what lies in its stead.
    pub(crate) length: u64,
}

/// Where the blocks of a segment lie, and what became of each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockIndex {
    pub(crate) spots: Vec<BlockSpot>,
    pub(crate) coverage: Coverage,
}

impl BlockIndex {
    /// No blocks, from `start` on.
    pub(crate) fn new(start: u64) -> Self {
        Self { spots: Vec::new(), coverage: Coverage::new(start) }
    }

    /// Adds a block of so many bytes behind those before.
    pub(crate) fn push(&mut self, coverage: &Coverage, length: u64) {
        let start = self.coverage.end();
        for (run, fortune) in coverage.runs(coverage.start()..coverage.end()) {
            self.coverage.push(fortune, run.end - run.start);
        }
        let (end, offset) = (self.coverage.end(), self.end_offset());
        self.spots.push(BlockSpot { start, end, offset, length });
    }

    /// Where the next block begins.
    pub(crate) fn end_offset(&self) -> u64 {
        self.spots.last().map_or(FRAMES_START, |spot| spot.offset + spot.length)
    }

    /// The number of the block that covers a sequence, or of the first behind it.
    pub(crate) fn number_of(&self, sequence: u64) -> usize {
        self.spots.partition_point(|spot| spot.end <= sequence)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let four = |number: u64| {
            let four = u32::try_from(number);
            four.expect("invariant: a segment covers and a frame has at most u32::MAX")
                .to_be_bytes()
        };
        let mut bytes = Vec::with_capacity(8 + self.spots.len() * SPOT_LENGTH);
        bytes.extend(four(self.spots.len() as u64));
        for spot in &self.spots {
            bytes.extend(four(spot.end - spot.start));
            bytes.extend(four(spot.length));
        }
        self.coverage.encode(&mut bytes);
        bytes
    }

    /// Reads what [`BlockIndex::encode`] wrote; `None` if it did not.
    pub(crate) fn decode(start: u64, bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let length = (u32::from_be_bytes(*count) as usize).checked_mul(SPOT_LENGTH)?;
        let (listed, rest) = rest.split_at_checked(length)?;
        let (coverage, rest) = Coverage::decode(start, rest)?;
        let mut spots = Vec::with_capacity(listed.len() / SPOT_LENGTH);
        let (mut start, mut offset) = (start, FRAMES_START);
        for listed in listed.chunks_exact(SPOT_LENGTH) {
            let (covered, length) = listed.split_first_chunk::<4>()?;
            let end = start.checked_add(u64::from(u32::from_be_bytes(*covered)))?;
            let length = u64::from(u32::from_be_bytes(length.try_into().ok()?));
            spots.push(BlockSpot { start, end, offset, length });
            (start, offset) = (end, offset + length);
        }
        (rest.is_empty() && start == coverage.end()).then_some(Self { spots, coverage })
    }

    /// The memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        self.spots.capacity() * size_of::<BlockSpot>() + self.coverage.bytes()
    }
}

/// The last bytes of a segment, which tell where its index begins.
pub(crate) fn trailer(index_offset: u64, segment: &[u8; 16]) -> [u8; TRAILER_LENGTH] {
    let mut bytes = [0; TRAILER_LENGTH];
    bytes[..4].copy_from_slice(&TRAILER_MAGIC);
    bytes[4..12].copy_from_slice(&index_offset.to_be_bytes());
    let checksum = trailer_checksum(&bytes[..12], segment);
    bytes[12..].copy_from_slice(&checksum);
    bytes
}

/// Where the index begins; `None` if these bytes are no intact trailer of this segment.
pub(crate) fn index_offset(bytes: &[u8], segment: &[u8; 16]) -> Option<u64> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if body.len() + 4 != TRAILER_LENGTH || trailer_checksum(body, segment) != *checksum {
        return None;
    }
    let offset = body.strip_prefix(&TRAILER_MAGIC)?;
    offset.try_into().ok().map(u64::from_be_bytes)
}

fn trailer_checksum(body: &[u8], segment: &[u8; 16]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(segment);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            usize::try_from(self.0 >> 33).unwrap() % limit
        }

        /// Bytes near those given.
        fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            for _ in 0..=self.below(3) {
                let at = self.below(bytes.len());
                match self.below(5) {
                    0 => bytes[at] ^= 1 << self.below(8),
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                    2 => bytes.truncate(at.max(1)),
                    3 => bytes.insert(at, 0xff),
                    _ => bytes.extend_from_within(at..),
                }
            }
            bytes
        }
    }

    fn block(start: u64) -> BlockBuilder {
        let mut block = BlockBuilder::new(start);
        for (kind, length) in [(1, 0), (2, 40), (3, 700)] {
            block.add(&Entry { kind, bytes: vec![kind; length] });
            block.add_absent(Fortune::Dropped, u64::from(kind));
        }
        block
    }

    /// Whoever has the key can seal anything; it is read without a panic and takes the memory of
    /// what it is, not of what it says.
    #[test]
    fn hostile_blocks_and_indexes_neither_panic_nor_fill_the_memory() {
        let mut numbers = Numbers(7);
        for start in [0, 1_000, u64::MAX - 5, u64::MAX] {
            let honest = block(1_000);
            let mut index = BlockIndex::new(1_000);
            index.push(honest.coverage(), 99);
            let (block, index) = (honest.encode(), index.encode());
            for _ in 0..20_000 {
                let bytes = numbers.mutate(&block);
                let length = bytes.len();
                if let Some(block) = Block::decode(start, bytes) {
                    assert!(block.memory_bytes() <= 16 * length);
                    assert!(block.entries_from(0).count() <= length);
                }
                let bytes = numbers.mutate(&index);
                if let Some(index) = BlockIndex::decode(start, &bytes) {
                    assert!(index.bytes() <= 16 * bytes.len());
                }
            }
        }
    }
}
