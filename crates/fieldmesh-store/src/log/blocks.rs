//! Reads a segment that was written anew: its index, one block, or all of them.
//!
//! A damaged block costs its entries, which the index names. A damaged index costs time: it is made
//! again from the blocks.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::block::{self, Block, BlockIndex, BlockSpot, TRAILER_LENGTH};
use super::coverage::{Coverage, Fortune};
use super::draft::taken_sequence;
use super::scan::{Found, Frames, Step, Walk};
use super::taken::Taken;
use super::{BadFrame, Damage};
use crate::files::ReadFile;
use crate::frame::{FLAG_BLOCK, FLAG_INDEX, FLAG_TAKEN, FRAME_HEAD_LENGTH, FrameHead, SegmentHead};

/// Where everything in a rewritten segment lies.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    pub(crate) index: BlockIndex,
    taken: Said,
    /// The index had to be made again.
    pub(crate) damage: Option<BadFrame>,
}

/// What a segment says to have taken the place of.
#[derive(Debug, Clone)]
enum Said {
    /// Nothing: the program that wrote it did not say.
    Nothing,
    /// What could be read of it.
    Taken(Taken),
    /// The disk did not give it, which says nothing of what it is.
    Unread,
}

impl Blocks {
    /// Reads the index, or makes it again from the blocks.
    pub(crate) fn read(frames: &Frames) -> io::Result<Self> {
        match read_index(frames) {
            Ok(Some(blocks)) => Ok(blocks),
            Ok(None) => Self::make(frames),
            Err(error) => {
                tracing::warn!(%error, "the index of a segment is unreadable");
                Self::make(frames)
            }
        }
    }

    fn make(frames: &Frames) -> io::Result<Self> {
        let mut index = BlockIndex::new(frames.first_sequence);
        let mut walk = Walk::new(frames.clone());
        let mut blocks_end = frames.length;
        let mut taken = None;
        while let Some(step) = walk.next()? {
            let Step::Frame { offset, head } = step else { continue };
            if head.flags & (FLAG_INDEX | FLAG_TAKEN) != 0 {
                blocks_end = blocks_end.min(offset);
            }
            if head.flags & FLAG_INDEX != 0 {
                break;
            }
            if head.flags & FLAG_TAKEN != 0 {
                let bytes = frames.cipher.open_bytes(&head, walk.body(offset, &head)?, FLAG_TAKEN);
                taken = bytes.and_then(|bytes| Taken::decode(&bytes));
                continue;
            }
            let bytes = frames.cipher.open_bytes(&head, walk.body(offset, &head)?, FLAG_BLOCK);
            let block = bytes.and_then(|bytes| Block::decode(head.sequence, bytes));
            let Some(block) = block else { continue };
            if head.sequence >= index.coverage.end() {
                fill(&mut index, head.sequence, offset);
                index.push(&block.coverage, head.frame_length() as u64);
            }
        }
        let blocks_end = blocks_end.max(index.end_offset());
        fill(&mut index, frames.end_sequence, blocks_end);
        let (offset, end) = (index.end_offset(), index.coverage.end());
        let damage = BadFrame {
            segment: frames.segment,
            offset,
            length: frames.length.saturating_sub(offset),
            sequences: end..end,
            damage: Damage::Index,
        };
        tracing::warn!(segment = frames.segment, "the index of a segment is made again");
        let taken = match taken {
            Some(taken) => Said::Taken(taken),
            None if walk.is_unreadable() => Said::Unread,
            // It is not found, so it may be what is damaged.
            None => Said::Taken(Taken::default()),
        };
        Ok(Self { index, taken, damage: Some(damage) })
    }

    /// Whether the index, or else a block, could be decrypted.
    pub(crate) fn is_any_readable(&self) -> bool {
        let coverage = &self.index.coverage;
        self.damage.is_none() || coverage.count(Fortune::Lost) < coverage.end() - coverage.start()
    }

    /// What the segment with this head has taken the place of; `None` where the disk did not give
    /// it and may give it later.
    pub(crate) fn taken(&self, head: &SegmentHead) -> Option<Taken> {
        match &self.taken {
            Said::Taken(taken) => Some(taken.clone().with_length(head.merged)),
            Said::Nothing => Some(Taken::unnamed(head.merged)),
            Said::Unread => (head.merged == 0).then(Taken::default),
        }
    }

    /// The memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        let taken = match &self.taken {
            Said::Taken(taken) => taken.bytes(),
            Said::Nothing | Said::Unread => 0,
        };
        self.index.bytes() + taken
    }
}

/// Lets an index name what lies between its end and the next intact block.
fn fill(index: &mut BlockIndex, sequence: u64, offset: u64) {
    let (start, from) = (index.coverage.end(), index.end_offset());
    if sequence > start || offset > from {
        let mut lost = Coverage::new(start);
        lost.push(Fortune::Lost, sequence.saturating_sub(start));
        index.push(&lost, offset.saturating_sub(from));
    }
}

fn read_index(frames: &Frames) -> io::Result<Option<Blocks>> {
    let end = frames.length;
    let Some(trailer_offset) = end.checked_sub(TRAILER_LENGTH as u64) else { return Ok(None) };
    let trailer = read(&*frames.file, trailer_offset..end)?;
    let Some(offset) = block::index_offset(&trailer, frames.cipher.segment()) else {
        return Ok(None);
    };
    let bytes = read(&*frames.file, offset..trailer_offset)?;
    let index = open(frames, &bytes, frames.end_sequence, FLAG_INDEX)
        .and_then(|bytes| BlockIndex::decode(frames.first_sequence, &bytes));
    let index = index.filter(|index| index.coverage.end() == frames.end_sequence);
    Ok(index.map(|index| {
        let taken = read_taken(frames, index.end_offset()..offset);
        Blocks { index, taken, damage: None }
    }))
}

/// What a segment has taken the place of: it lies between the blocks and the index, if anywhere.
fn read_taken(frames: &Frames, range: Range<u64>) -> Said {
    if range.is_empty() {
        return Said::Nothing;
    }
    let bytes = match read(&*frames.file, range) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(%error, "what a segment has taken the place of is unreadable");
            return Said::Unread;
        }
    };
    let sequence = taken_sequence(frames.end_sequence);
    let opened = open(frames, &bytes, sequence, FLAG_TAKEN);
    Said::Taken(opened.and_then(|bytes| Taken::decode(&bytes)).unwrap_or_default())
}

/// Reads one block; what is wrong with it, if it is damaged.
pub(crate) fn read_block(frames: &Frames, spot: &BlockSpot) -> io::Result<Result<Block, Damage>> {
    let bytes = read(&*frames.file, spot.offset..spot.offset + spot.length)?;
    if bytes.is_empty() || (bytes.len() as u64) < spot.length {
        return Ok(Err(Damage::Missing));
    }
    let block = open(frames, &bytes, spot.start, FLAG_BLOCK)
        .and_then(|bytes| Block::decode(spot.start, bytes))
        .filter(|block| block.coverage.end() == spot.end);
    Ok(block.ok_or(Damage::Body))
}

/// What a frame with this sequence and this flag holds; `None` if it is damaged.
fn open(frames: &Frames, bytes: &[u8], sequence: u64, flag: u8) -> Option<Vec<u8>> {
    let head = FrameHead::decode(bytes, frames.cipher.segment())?;
    let body = bytes.get(FRAME_HEAD_LENGTH..head.frame_length())?;
    if head.sequence != sequence {
        return None;
    }
    frames.cipher.open_bytes(&head, body, flag)
}

fn read(file: &dyn ReadFile, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    // The length may come from an index that is made again, so the file is asked as well.
    let rest = usize::try_from(file.length()?.saturating_sub(range.start)).unwrap_or(0);
    let mut bytes = vec![0; length.min(rest)];
    let count = file.read_at(range.start, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// A walk over the entries of a segment that was written anew.
pub(crate) struct BlockScan {
    frames: Frames,
    blocks: Arc<Blocks>,
    next: usize,
    /// Entries before this one are stepped over.
    from: u64,
    offset: u64,
    pending: VecDeque<Found>,
    damage: Option<BadFrame>,
    is_unreadable: bool,
}

impl BlockScan {
    /// Walks from the entry `from` on.
    pub(crate) fn new(frames: Frames, blocks: Arc<Blocks>, from: u64) -> Self {
        let (next, damage) = (blocks.index.number_of(from), blocks.damage.clone());
        let (offset, pending) = (0, VecDeque::new());
        Self { frames, blocks, next, from, offset, pending, damage, is_unreadable: false }
    }

    /// Steps over the entries before a sequence.
    pub(crate) fn go_on_from(&mut self, sequence: u64) {
        if sequence > self.from {
            self.from = sequence;
            self.next = self.next.max(self.blocks.index.number_of(sequence));
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    pub(crate) fn next(&mut self) -> Option<Found> {
        while self.pending.is_empty() {
            let Some(spot) = self.blocks.index.spots.get(self.next).copied() else {
                return self.damage.take().map(Found::Bad);
            };
            self.next += 1;
            self.offset = spot.offset;
            self.take(&spot);
        }
        self.pending.pop_front()
    }

    fn take(&mut self, spot: &BlockSpot) {
        let range = spot.start.max(self.from)..spot.end;
        let read = read_block(&self.frames, spot).unwrap_or_else(|error| {
            tracing::warn!(%error, offset = spot.offset, "part of the log is unreadable");
            self.is_unreadable = true;
            Err(Damage::Body)
        });
        let block = match read {
            Ok(block) => block,
            Err(damage) => return self.take_damaged(spot, range, damage),
        };
        let mut entries = block.entries_from(range.start);
        for (run, fortune) in block.coverage.runs(range) {
            match fortune {
                Fortune::Present => {
                    let count = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
                    let entries = entries.by_ref().take(count);
                    let found = entries.map(|(sequence, entry)| Found::Entry { sequence, entry });
                    self.pending.extend(found);
                }
                Fortune::Dropped => self.pending.push_back(Found::Dropped(run)),
                Fortune::Lost => {
                    let bad = self.bad(spot, 0, run, Damage::Earlier);
                    self.pending.push_back(Found::Bad(bad));
                }
            }
        }
    }

    fn take_damaged(&mut self, spot: &BlockSpot, range: Range<u64>, damage: Damage) {
        let blocks = Arc::clone(&self.blocks);
        for (run, fortune) in blocks.index.coverage.runs(range.clone()) {
            let found = match fortune {
                Fortune::Present => Found::Bad(self.bad(spot, spot.length, run, damage)),
                Fortune::Lost if blocks.damage.is_some() => {
                    Found::Bad(self.bad(spot, spot.length, run, damage))
                }
                Fortune::Lost => Found::Bad(self.bad(spot, 0, run, Damage::Earlier)),
                Fortune::Dropped => Found::Dropped(run),
            };
            self.pending.push_back(found);
        }
        // A block of which everything was dropped is damage all the same.
        if !self.pending.iter().any(|found| matches!(found, Found::Bad(_))) {
            let bad = self.bad(spot, spot.length, range.end..range.end, damage);
            self.pending.push_back(Found::Bad(bad));
        }
    }

    fn bad(&self, spot: &BlockSpot, length: u64, lost: Range<u64>, damage: Damage) -> BadFrame {
        let (segment, offset) = (self.frames.segment, spot.offset);
        BadFrame { segment, offset, length, sequences: lost, damage }
    }
}
