//! A segment in blocks while it is written, entry by entry, into a file of its own.

use std::io;

use super::block::{BlockBuilder, BlockIndex, trailer};
use super::coverage::Fortune;
use super::taken::Taken;
use super::{Entry, Place};
use crate::files::WriteFile;
use crate::frame::{
    FLAG_BLOCK, FLAG_INDEX, FLAG_TAKEN, FrameCipher, PAYLOAD_SIZE_MAX, Packed, SegmentHead,
};

/// Bytes that are collected before they are written.
const WRITE_LENGTH: usize = 1024 * 1024;

/// A segment that is not complete.
pub(crate) struct Draft<'a> {
    file: Box<dyn WriteFile>,
    cipher: &'a FrameCipher,
    block: BlockBuilder,
    index: BlockIndex,
    /// What is not written so far.
    waiting: Vec<u8>,
    digest: Digest,
}

/// A segment that is complete and durable, but for its name.
pub(crate) struct Drafted {
    pub(crate) length: u64,
    pub(crate) index: BlockIndex,
    pub(crate) digest: blake3::Hash,
}

impl<'a> Draft<'a> {
    /// Begins a segment in a new file.
    pub(crate) fn new(
        file: Box<dyn WriteFile>,
        cipher: &'a FrameCipher,
        head: &SegmentHead,
    ) -> Self {
        let start = head.first_sequence;
        Self {
            file,
            cipher,
            block: BlockBuilder::new(start),
            index: BlockIndex::new(start),
            waiting: head.encode(),
            digest: Digest::default(),
        }
    }

    /// The sequence that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.block.coverage().end()
    }

    /// Adds the entry that has the next sequence; its size is checked.
    pub(crate) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        if self.block.is_full(entry.bytes.len()) {
            self.end_block()?;
        }
        self.digest.add(Place(self.end()), entry);
        self.block.add(entry);
        Ok(())
    }

    /// Says what became of the entries up to this sequence, which are not there.
    pub(crate) fn add_absent(&mut self, fortune: Fortune, end: u64) -> io::Result<()> {
        let count = end.saturating_sub(self.end());
        if count == 0 {
            return Ok(());
        }
        if self.block.is_full(0) {
            self.end_block()?;
        }
        self.block.add_absent(fortune, count);
        Ok(())
    }

    /// Writes what is left, what it has `taken` the place of, the index and the trailer, and makes
    /// all of it durable; `None` if the index would be too large.
    pub(crate) fn finish(mut self, taken: &Taken) -> io::Result<Option<Drafted>> {
        if self.end() > self.block.coverage().start() {
            self.end_block()?;
        }
        let index = self.index.encode();
        if index.len() > PAYLOAD_SIZE_MAX {
            return Ok(None);
        }
        let mut offset = self.index.end_offset();
        if !taken.is_empty() {
            let packed = Packed::of_rewritten(FLAG_TAKEN, taken.encode());
            self.cipher.seal(taken_sequence(self.end()), &packed, &mut self.waiting);
            offset += packed.frame_length() as u64;
        }
        let packed = Packed::of_rewritten(FLAG_INDEX, index);
        self.cipher.seal(self.end(), &packed, &mut self.waiting);
        let trailer = trailer(offset, self.cipher.segment());
        let length = offset + (packed.frame_length() + trailer.len()) as u64;
        self.waiting.extend(trailer);
        self.file.append(&self.waiting)?;
        self.file.sync()?;
        Ok(Some(Drafted { length, index: self.index, digest: self.digest.finish() }))
    }

    fn end_block(&mut self) -> io::Result<()> {
        let next = BlockBuilder::new(self.end());
        let block = std::mem::replace(&mut self.block, next);
        let packed = Packed::of_rewritten(FLAG_BLOCK, block.encode());
        self.cipher.seal(block.coverage().start(), &packed, &mut self.waiting);
        self.index.push(block.coverage(), packed.frame_length() as u64);
        if self.waiting.len() >= WRITE_LENGTH {
            self.file.append(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}

/// The sequence of the frame that says what a segment has taken the place of: neither that of a
/// block nor that of the index.
pub(crate) fn taken_sequence(end: u64) -> u64 {
    end.wrapping_add(1)
}

/// Tells whether the same entries were written and read.
#[derive(Default)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    pub(crate) fn add(&mut self, place: Place, entry: &Entry) {
        self.0.update(&place.to_bytes());
        self.0.update(&[entry.kind]);
        self.0.update(&(entry.bytes.len() as u64).to_be_bytes());
        self.0.update(&entry.bytes);
    }

    pub(crate) fn finish(&self) -> blake3::Hash {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use fieldmesh_model::StoreId;

    use super::super::taken::Kin;
    use super::*;
    use crate::files::Files as _;
    use crate::frame::{FRAME_HEAD_LENGTH, FRAMES_START, Form, HEAD_LENGTH, HeadCopy};
    use crate::key::DataKey;
    use crate::log::blocks::{BlockScan, Blocks};
    use crate::log::scan::{Found, Frames};
    use crate::memory::MemoryFiles;

    fn head() -> SegmentHead {
        SegmentHead {
            form: Form::Blocks,
            number: 3,
            first_sequence: 1000,
            given_up: 2,
            id: [0x11; 16],
            store: StoreId::from_bytes([0x22; 16]),
            key_check: [0x33; 8],
            covered: 7,
            merged: 0,
            is_bound: false,
        }
    }

    fn cipher() -> Arc<FrameCipher> {
        Arc::new(FrameCipher::new(&DataKey::from_bytes([0x44; 32]), &head()))
    }

    fn ewes() -> Entry {
        Entry { kind: 5, bytes: b"forty ewes".to_vec() }
    }

    fn rams() -> Entry {
        Entry { kind: 6, bytes: [b"two rams; ".as_slice(); 80].concat() }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    /// Everything in a segment, in order.
    #[derive(Debug, PartialEq)]
    enum Read {
        Entry(u64, Entry),
        Dropped(Range<u64>),
        Lost(Range<u64>),
    }

    fn read(bytes: Vec<u8>) -> Vec<Read> {
        let files = MemoryFiles::new();
        files.place("segment", bytes);
        let file = files.open("segment").unwrap();
        let frames = Frames {
            length: file.length().unwrap(),
            file,
            cipher: cipher(),
            segment: 3,
            first_sequence: head().first_sequence,
            end_sequence: head().covered_end(),
        };
        let blocks = Blocks::read(&frames).unwrap();
        assert_eq!(blocks.damage, None);
        let mut scan = BlockScan::new(frames, Arc::new(blocks), 0);
        let read = |found| match found {
            Found::Entry { sequence, entry } => Read::Entry(sequence, entry),
            Found::Dropped(run) => Read::Dropped(run),
            Found::Bad(bad) => Read::Lost(bad.sequences),
        };
        std::iter::from_fn(|| scan.next()).map(read).collect()
    }

    #[test]
    fn a_rewritten_segment_is_written_byte_by_byte_as_ever() {
        let files = MemoryFiles::new();
        let cipher = cipher();
        let mut draft = Draft::new(files.create("segment").unwrap(), &cipher, &head());
        draft.add(&ewes()).unwrap();
        draft.add_absent(Fortune::Dropped, 1004).unwrap();
        draft.add_absent(Fortune::Lost, 1005).unwrap();
        draft.add(&ewes()).unwrap();
        draft.add(&ewes()).unwrap();
        let drafted = draft.finish(&Taken::default()).unwrap().unwrap();
        let bytes = files.contents()["segment"].clone();
        assert_eq!(bytes.len() as u64, drafted.length);
        assert_eq!(hex(&bytes[..HEAD_LENGTH]), GOLDEN_HEAD);
        assert_eq!(hex(&bytes[FRAMES_START as usize..]), GOLDEN_FRAMES);
        let (dropped, lost) = (Read::Dropped(1001..1004), Read::Lost(1004..1005));
        let [first, second, third] = [1000, 1005, 1006].map(|at| Read::Entry(at, ewes()));
        assert_eq!(read(bytes), [first, dropped, lost, second, third]);
    }

    #[test]
    fn the_head_of_several_segments_that_became_one_is_written_byte_by_byte_as_ever() {
        for (is_bound, version) in [(false, "0003"), (true, "0004")] {
            let head = SegmentHead { merged: 2, is_bound, ..head() };
            let bytes = head.encode();
            assert_eq!(hex(&bytes[..12]), format!("666d6573686c6f67{version}0002"));
            assert_eq!(hex(&bytes[12..76]), GOLDEN_HEAD[24..152]);
            let copy = bytes[..HEAD_LENGTH].try_into().unwrap();
            assert_eq!(SegmentHead::decode(copy), HeadCopy::Good(head));
        }
    }

    #[test]
    fn what_a_segment_has_taken_the_place_of_is_written_as_ever_and_outlives_its_index() {
        let head = SegmentHead { merged: 3, is_bound: true, ..head() };
        let before = |number| SegmentHead { number, id: [number as u8; 16], ..head.clone() };
        let mut taken = Taken::unnamed(1);
        taken.push(&before(1));
        taken.push(&before(2));
        let (files, key) = (MemoryFiles::new(), DataKey::from_bytes([0x44; 32]));
        let cipher = Arc::new(FrameCipher::new(&key, &head));
        let mut draft = Draft::new(files.create("segment").unwrap(), &cipher, &head);
        draft.add(&ewes()).unwrap();
        draft.add_absent(Fortune::Dropped, 1007).unwrap();
        let drafted = draft.finish(&taken).unwrap().unwrap();
        let bytes = files.contents()["segment"].clone();
        assert_eq!(bytes.len() as u64, drafted.length);
        let from = usize::try_from(drafted.index.end_offset()).unwrap();
        let behind = from + FRAME_HEAD_LENGTH + 24 + 16;
        assert_eq!(hex(&bytes[from..behind]), GOLDEN_TAKEN);
        for at in from..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            files.place("damaged", damaged);
            let frames = Frames {
                length: drafted.length,
                file: files.open("damaged").unwrap(),
                cipher: Arc::clone(&cipher),
                segment: 3,
                first_sequence: head.first_sequence,
                end_sequence: head.covered_end(),
            };
            let blocks = Blocks::read(&frames).unwrap();
            let kin = |left| blocks.taken(&head).unwrap().kin(&head, &left);
            let if_read = |kin| if at < behind { Kin::Unreadable } else { kin };
            let other = SegmentHead { id: [9; 16], ..before(1) };
            assert_eq!(kin(other.clone()), if_read(Kin::Stranger), "byte {at}");
            assert_eq!(kin(before(2)), if_read(Kin::Same), "byte {at}");
            // Nobody wrote down which that was; but who cannot read it does not know that.
            let unnamed = kin(SegmentHead { number: 0, ..other });
            assert_eq!(unnamed, if_read(Kin::Unnamed), "byte {at}");
            assert_eq!(blocks.damage.is_some(), at >= behind, "byte {at}");
        }
    }

    #[test]
    fn a_compressed_block_of_the_first_release_is_read() {
        let mut bytes = head().encode();
        bytes.extend(unhex(GOLDEN_COMPRESSED));
        assert_eq!(read(bytes), [Read::Entry(1000, rams()), Read::Dropped(1001..1007)]);
    }

    const GOLDEN_HEAD: &str = concat!(
        "666d6573686c6f6700020000000000000000000300000000000003e8111111111111111111111111",
        "111111112222222222222222222222222222222233333333333333330000000200000007f813461a",
    );
    const GOLDEN_FRAMES: &str = concat!(
        "464d663100000000000003e8000000450002caeaf4c96fa1a882e472c304f86bed8c25716a01e34d",
        "1a40734fe2a0ebca3952f2313baec5ba60822c9f7d6a8c995ccdc8ce6b1f1d430facce0c29e8691e",
        "ab73c46d2c68f320730ff3b3554bba8236ce2683987eb2c899c1da464d663100000000000003ef00",
        "0000240004a709c10bec9b6c5bc5712f5455cf5b17ef293a7a5fc8b13f2a33cc624caa6b11f06397",
        "3daa7877378db408b58d8c2c0c8636bc20f7b2f2b1464d693100000000000010bbaff3c219",
    );
    const GOLDEN_TAKEN: &str = concat!(
        "464d663100000000000003f0000000180008906ca9e7990b6c9178aea91fdd0ef2db037be36dbcce",
        "10696878a779f6b09eece90a7d6b2670487d5a623e70",
    );
    const GOLDEN_COMPRESSED: &str = concat!(
        "464d663100000000000003e8000000310003dcea935e6fa1abb5ccc7ecf99959ef9124728801e34d",
        "1940734fe2a3efca3952fe323baec69011f543bf056d8e9813b5e8fb702ff2ed14b57282bb33293c",
        "28c8f0d1fec196464d663100000000000003ef0000001a000406b29a83ec9b6c5bc5712f5455cf5b",
        "2bef293a7c5fc8b13f2a33cc624caf7a80cca0f521c800167c9c766ca0c45d464d69310000000000",
        "0010a72dba3335",
    );
}
