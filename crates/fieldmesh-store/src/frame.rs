//! The disk format of the batch log: segment heads and encrypted frames.
//!
//! Nothing here reads or writes a file. A segment is a head, then frames without gaps:
//!
//! ```text
//! head   80 bytes at 0, the same again at 4096, zeros between; frames begin at 4176
//!        magic "fmeshlog" | version u16 | merged u16 | number u64 | first sequence u64
//!        | segment id 16 | store id 16 | key check 8 | given up u32 | covered u32 | CRC32
//! frame  magic "FMf1" | sequence u64 | length u32 | kind u8 | flags u8
//!        | CRC32 of these 18 bytes and the segment id | ciphertext | tag 16
//! ```
//!
//! Integers are big endian. The head lies twice, one disk sector apart, because no frame can be
//! read without it. A frame's head has its own checksum so that a reader can step over a bad body.
//! The cipher is AES-256-GCM under a key of the segment; the nonce is the sequence, the associated
//! data is of both heads what says which frame it is. A compressed frame (flag 1) is its raw length, u32, then
//! zstd.
//!
//! A segment of version 1 has one entry in a frame and covers 0. `sequence` counts the frames of a
//! store, so that a hole of whole frames is noticed too; those given up, right before the first
//! sequence of a segment, were never promised to anybody and are not missing. A segment of version
//! 2 was written anew and has blocks of entries, see [`crate::log::block`]; so has one of version 3
//! or 4, which took the place of several: its own number is the last of them, `merged` says how many
//! come before it. In all others that is 0. In version 4 the associated data ends with the whole
//! head but for its checksum, so that nothing opens under a head that somebody without the key has
//! changed: what it says to have taken over is not believed then.

use fieldmesh_model::StoreId;
use ring::aead::{Aad, LessSafeKey, Nonce};

use crate::key::DataKey;
use crate::log::Entry;
use crate::zstd_context;

/// The largest entry in bytes.
pub const ENTRY_SIZE_MAX: usize = 16 * 1024 * 1024;
/// Entries up to this size are not compressed: a usual one would lose a seventh of its bytes, until
/// its segment is written anew and compressed with others, and take a tenth longer to record.
pub const COMPRESS_ABOVE: usize = 1024;
/// The newest log format this crate reads; segments begin with version 1, are written anew with
/// version 2, and with this one where several become one.
pub const LOG_VERSION: u16 = 4;

/// Where the frames of a segment begin.
pub(crate) const FRAMES_START: u64 = 4096 + HEAD_LENGTH as u64;
/// The bytes of one copy of a segment head.
pub(crate) const HEAD_LENGTH: usize = 80;
/// Where the copies of a segment head lie.
pub(crate) const HEAD_OFFSETS: [u64; 2] = [0, 4096];
/// The bytes before the ciphertext of a frame.
pub(crate) const FRAME_HEAD_LENGTH: usize = 22;
/// The bytes of the smallest frame.
pub(crate) const FRAME_LENGTH_MIN: u64 = (FRAME_HEAD_LENGTH + TAG_LENGTH) as u64;
/// The first bytes of a frame.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"FMf1";

/// The payload of a frame is compressed.
pub(crate) const FLAG_COMPRESSED: u8 = 1;
/// The frame is a block of entries.
pub(crate) const FLAG_BLOCK: u8 = 2;
/// The frame is the index of a rewritten segment.
pub(crate) const FLAG_INDEX: u8 = 4;
/// The frame says which segments one of several has taken the place of.
pub(crate) const FLAG_TAKEN: u8 = 8;
/// The largest payload of a frame: an entry and what a block says about it, or an index.
pub(crate) const PAYLOAD_SIZE_MAX: usize = ENTRY_SIZE_MAX + 1024 * 1024;

/// The version of a segment whose frames hold one entry each.
const VERSION_FRAMES: u16 = 1;
/// The version of a segment that was written anew by itself.
const VERSION_BLOCKS: u16 = 2;
/// The version of a segment of several whose head is guarded by its checksum alone.
const VERSION_UNBOUND: u16 = 3;
const SEGMENT_MAGIC: [u8; 8] = *b"fmeshlog";
const TAG_LENGTH: usize = 16;
/// The bytes of what says which frame it is: store, segment, and the frame's head.
const ASSOCIATED_LENGTH: usize = 46;
const COMPRESSION_LEVEL: i32 = 3;

/// How the entries of a segment lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each in a frame of its own, as it was appended.
    Frames,
    /// Many in a compressed block, as the segment was written anew.
    Blocks,
}

/// What a segment says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) form: Form,
    pub(crate) number: u64,
    /// The sequence of the first frame, if there will be one.
    pub(crate) first_sequence: u64,
    /// So many sequences before the first may be on the disk or not: no append of them succeeded,
    /// or they were set aside with a torn tail.
    pub(crate) given_up: u32,
    pub(crate) id: [u8; 16],
    pub(crate) store: StoreId,
    pub(crate) key_check: [u8; 8],
    /// How many sequences from the first on a rewritten segment answers for.
    pub(crate) covered: u32,
    /// The entries of so many segments, numbered right before this one, are in this one.
    pub(crate) merged: u16,
    /// Whether its frames open only under this very head.
    pub(crate) is_bound: bool,
}

/// What one copy of a segment head turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeadCopy {
    Good(SegmentHead),
    Newer { version: u16 },
    Bad,
}

impl SegmentHead {
    /// The sequences up to here were promised to be in earlier segments.
    pub(crate) fn promised_end(&self) -> u64 {
        self.first_sequence.saturating_sub(u64::from(self.given_up))
    }

    /// The number of the first segment whose entries are in this one.
    pub(crate) fn first_number(&self) -> u64 {
        self.number.saturating_sub(u64::from(self.merged))
    }

    /// Whether it says that the entries of the segment with this number are in this one.
    pub(crate) fn has_taken_over(&self, number: u64) -> bool {
        (self.first_number()..self.number).contains(&number)
    }

    /// The sequence behind those that a rewritten segment answers for.
    pub(crate) fn covered_end(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.covered))
    }

    /// Everything before the first frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = self.body();
        copy.extend(crc32fast::hash(&copy).to_be_bytes());
        let mut bytes = copy.clone();
        bytes.resize(FRAMES_START as usize - HEAD_LENGTH, 0);
        bytes.extend(copy);
        bytes
    }

    /// One copy of it without the checksum.
    fn body(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(HEAD_LENGTH);
        copy.extend(SEGMENT_MAGIC);
        let version = match self.form {
            Form::Frames => VERSION_FRAMES,
            Form::Blocks if self.is_bound => LOG_VERSION,
            Form::Blocks if self.merged == 0 => VERSION_BLOCKS,
            Form::Blocks => VERSION_UNBOUND,
        };
        copy.extend(version.to_be_bytes());
        copy.extend(self.merged.to_be_bytes());
        copy.extend(self.number.to_be_bytes());
        copy.extend(self.first_sequence.to_be_bytes());
        copy.extend(self.id);
        copy.extend(self.store.as_bytes());
        copy.extend(self.key_check);
        copy.extend(self.given_up.to_be_bytes());
        copy.extend(self.covered.to_be_bytes());
        copy
    }

    /// Reads one copy.
    pub(crate) fn decode(copy: &[u8; HEAD_LENGTH]) -> HeadCopy {
        let (body, checksum) = copy.split_at(HEAD_LENGTH - 4);
        if crc32fast::hash(body).to_be_bytes() != checksum || body[..8] != SEGMENT_MAGIC {
            return HeadCopy::Bad;
        }
        let version = u16::from_be_bytes(array(body, 8));
        let form = match version {
            VERSION_FRAMES => Form::Frames,
            VERSION_BLOCKS | VERSION_UNBOUND | LOG_VERSION => Form::Blocks,
            0 => return HeadCopy::Bad,
            _ => return HeadCopy::Newer { version },
        };
        HeadCopy::Good(Self {
            form,
            number: u64::from_be_bytes(array(body, 12)),
            first_sequence: u64::from_be_bytes(array(body, 20)),
            id: array(body, 28),
            store: StoreId::from_bytes(array(body, 44)),
            key_check: array(body, 60),
            given_up: u32::from_be_bytes(array(body, 68)),
            covered: u32::from_be_bytes(array(body, 72)),
            merged: match version {
                VERSION_UNBOUND | LOG_VERSION => u16::from_be_bytes(array(body, 10)),
                _ => 0,
            },
            is_bound: version == LOG_VERSION,
        })
    }
}

/// What stands before a frame's ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) sequence: u64,
    length: u32,
    kind: u8,
    pub(crate) flags: u8,
}

impl FrameHead {
    /// Reads a head; `None` if these bytes are no intact head of this segment.
    pub(crate) fn decode(bytes: &[u8], segment: &[u8; 16]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEAD_LENGTH)?;
        if bytes[..4] != FRAME_MAGIC || head_checksum(&bytes[..18], segment) != bytes[18..] {
            return None;
        }
        let length = u32::from_be_bytes(array(bytes, 12));
        if length as usize > PAYLOAD_SIZE_MAX + 4 {
            return None;
        }
        let sequence = u64::from_be_bytes(array(bytes, 4));
        Some(Self { sequence, length, kind: bytes[16], flags: bytes[17] })
    }

    /// The bytes of the whole frame.
    pub(crate) fn frame_length(&self) -> usize {
        FRAME_HEAD_LENGTH + self.body_length()
    }

    /// The bytes of ciphertext and tag.
    pub(crate) fn body_length(&self) -> usize {
        self.length as usize + TAG_LENGTH
    }

    fn encode(&self, segment: &[u8; 16]) -> [u8; FRAME_HEAD_LENGTH] {
        let mut bytes = [0; FRAME_HEAD_LENGTH];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_be_bytes());
        bytes[16] = self.kind;
        bytes[17] = self.flags;
        let checksum = head_checksum(&bytes[..18], segment);
        bytes[18..].copy_from_slice(&checksum);
        bytes
    }
}

/// An entry as it is encrypted: compressed if that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Packed {
    /// Compresses an entry where that helps; the caller has checked its size.
    pub(crate) fn new(entry: Entry) -> Self {
        Self::of(entry.kind, 0, entry.bytes)
    }

    /// Compresses a block or an index where that helps; the caller has checked its size.
    pub(crate) fn of_rewritten(flag: u8, bytes: Vec<u8>) -> Self {
        Self::of(0, flag, bytes)
    }

    fn of(kind: u8, flags: u8, bytes: Vec<u8>) -> Self {
        if bytes.len() > COMPRESS_ABOVE
            && let Some(payload) = compress(&bytes)
            && payload.len() < bytes.len()
        {
            return Self { kind, flags: flags | FLAG_COMPRESSED, payload };
        }
        Self { kind, flags, payload: bytes }
    }

    /// The bytes this entry takes in a segment.
    pub(crate) fn frame_length(&self) -> usize {
        FRAME_HEAD_LENGTH + self.payload.len() + TAG_LENGTH
    }

    /// The bytes that were packed with this flag.
    fn open(self, flag: u8) -> Option<Vec<u8>> {
        match self.flags ^ flag {
            0 => Some(self.payload),
            FLAG_COMPRESSED => decompress(&self.payload),
            _ => None,
        }
    }
}

/// Encrypts and decrypts the frames of one segment.
pub(crate) struct FrameCipher {
    key: LessSafeKey,
    segment: [u8; 16],
    store: StoreId,
    /// What every frame is bound to of the head of its segment, beside id and store.
    bound_to: Vec<u8>,
}

impl FrameCipher {
    pub(crate) fn new(key: &DataKey, head: &SegmentHead) -> Self {
        let bound_to = if head.is_bound { head.body() } else { Vec::new() };
        Self { key: key.of_segment(&head.id), segment: head.id, store: head.store, bound_to }
    }

    /// The id of the segment, which every frame's checksum covers.
    pub(crate) fn segment(&self) -> &[u8; 16] {
        &self.segment
    }

    /// Appends a frame to `out`. A sequence must never be used twice in a segment.
    pub(crate) fn seal(&self, sequence: u64, packed: &Packed, out: &mut Vec<u8>) {
        let length = u32::try_from(packed.payload.len())
            .expect("invariant: entries are at most ENTRY_SIZE_MAX when they are queued");
        let head = FrameHead { sequence, length, kind: packed.kind, flags: packed.flags };
        out.extend(head.encode(&self.segment));
        let body = out.len();
        out.extend(&packed.payload);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(sequence), self.associated(&head), &mut out[body..])
            .expect("invariant: an entry is far below what AES-GCM can encrypt at once");
        out.extend(tag.as_ref());
    }

    /// Decrypts a frame's body; `None` if it is damaged.
    pub(crate) fn open(&self, head: &FrameHead, body: &[u8]) -> Option<Entry> {
        Some(Entry { kind: head.kind, bytes: self.open_bytes(head, body, 0)? })
    }

    /// Decrypts a block or an index, whichever the flag means; `None` if it is damaged.
    pub(crate) fn open_bytes(&self, head: &FrameHead, body: &[u8], flag: u8) -> Option<Vec<u8>> {
        let mut payload = body.to_vec();
        self.decrypt(head, &mut payload)?;
        Packed { kind: head.kind, flags: head.flags, payload }.open(flag)
    }

    /// Appends a frame as `other` encrypts it for a segment with the same id; appends nothing and
    /// says so where it is damaged.
    pub(crate) fn seal_under(
        &self,
        other: &Self,
        head: &FrameHead,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let mut payload = body.to_vec();
        let is_intact = self.decrypt(head, &mut payload).is_some();
        if is_intact {
            let FrameHead { sequence, kind, flags, .. } = *head;
            other.seal(sequence, &Packed { kind, flags, payload }, out);
        }
        is_intact
    }

    /// Turns the ciphertext and tag in `body` into what was encrypted; `None` if it is damaged.
    pub(crate) fn decrypt(&self, head: &FrameHead, body: &mut Vec<u8>) -> Option<()> {
        let (nonce, associated) = (nonce(head.sequence), self.associated(head));
        let length = self.key.open_in_place(nonce, associated, body).ok()?.len();
        body.truncate(length);
        Some(())
    }

    fn associated(&self, head: &FrameHead) -> Aad<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ASSOCIATED_LENGTH + self.bound_to.len());
        bytes.extend(self.store.as_bytes());
        bytes.extend(self.segment);
        bytes.extend(head.sequence.to_be_bytes());
        bytes.extend(head.length.to_be_bytes());
        bytes.extend([head.kind, head.flags]);
        bytes.extend(&self.bound_to);
        Aad::from(bytes)
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn head_checksum(head: &[u8], segment: &[u8; 16]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(segment);
    hasher.finalize().to_be_bytes()
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let compressed = zstd_context::compress(bytes, COMPRESSION_LEVEL).ok()?;
    let raw_length = u32::try_from(bytes.len()).ok()?;
    Some([&raw_length.to_be_bytes()[..], &compressed].concat())
}

fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    let (raw_length, compressed) = payload.split_first_chunk::<4>()?;
    let raw_length = u32::from_be_bytes(*raw_length) as usize;
    if raw_length > PAYLOAD_SIZE_MAX {
        return None;
    }
    let bytes = zstd_context::decompress(compressed, raw_length).ok()?;
    (bytes.len() == raw_length).then_some(bytes)
}

/// `LENGTH` bytes from `offset`; the callers index into arrays whose length they have checked.
fn array<const LENGTH: usize>(bytes: &[u8], offset: usize) -> [u8; LENGTH] {
    let mut array = [0; LENGTH];
    array.copy_from_slice(&bytes[offset..offset + LENGTH]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> SegmentHead {
        SegmentHead {
            form: Form::Frames,
            number: 3,
            first_sequence: 1000,
            given_up: 0,
            id: [0x11; 16],
            store: StoreId::from_bytes([0x22; 16]),
            key_check: [0x33; 8],
            covered: 0,
            merged: 0,
            is_bound: false,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_segment_of_the_first_release_is_read() {
        let key = DataKey::from_bytes([0x44; 32]);
        let mut bytes = head().encode();
        let cipher = FrameCipher::new(&key, &head());
        let entry = Entry { kind: 5, bytes: b"forty ewes".to_vec() };
        cipher.seal(1000, &Packed::new(entry.clone()), &mut bytes);
        assert_eq!(bytes[..HEAD_LENGTH], bytes[4096..4096 + HEAD_LENGTH]);
        assert_eq!(hex(&bytes[..HEAD_LENGTH]), GOLDEN_HEAD);
        let frame = &bytes[FRAMES_START as usize..];
        assert_eq!(hex(frame), GOLDEN_FRAME);
        let frame_head = FrameHead::decode(frame, cipher.segment()).unwrap();
        assert_eq!(cipher.open(&frame_head, &frame[FRAME_HEAD_LENGTH..]), Some(entry));
    }

    const GOLDEN_HEAD: &str = concat!(
        "666d6573686c6f6700010000000000000000000300000000000003e8111111111111111111111111",
        "1111111122222222222222222222222222222222333333333333333300000000000000005004aa70",
    );
    const GOLDEN_FRAME: &str = concat!(
        "464d663100000000000003e80000000a0500f4bb7f0f09cedaf29d52a6739c19be4eb4a884a58d43",
        "629d06f2a797e69b",
    );

    #[test]
    fn a_frame_is_bound_to_its_segment_kind_and_sequence() {
        let key = DataKey::from_bytes([0x44; 32]);
        let cipher = FrameCipher::new(&key, &head());
        let mut frame = Vec::new();
        cipher.seal(7, &Packed::new(Entry { kind: 1, bytes: vec![9; 2000] }), &mut frame);
        assert!(frame.len() < 200, "compressed");
        let good = FrameHead::decode(&frame, cipher.segment()).unwrap();
        let body = &frame[FRAME_HEAD_LENGTH..];
        assert!(cipher.open(&good, body).is_some());
        assert!(cipher.open(&FrameHead { kind: 2, ..good }, body).is_none());
        assert!(cipher.open(&FrameHead { sequence: 8, ..good }, body).is_none());
        assert!(cipher.open(&FrameHead { flags: 0, ..good }, body).is_none());
        let other = SegmentHead { id: [0x12; 16], ..head() };
        assert!(FrameHead::decode(&frame, &other.id).is_none());
        assert!(FrameCipher::new(&key, &other).open(&good, body).is_none());
    }

    #[test]
    fn nothing_opens_under_a_head_of_several_that_was_changed_without_the_key() {
        let key = DataKey::from_bytes([0x44; 32]);
        let bound = SegmentHead { form: Form::Blocks, covered: 9, merged: 2, ..head() };
        let bound = SegmentHead { is_bound: true, ..bound };
        let cipher = FrameCipher::new(&key, &bound);
        let mut frame = Vec::new();
        cipher.seal(1000, &Packed::new(Entry { kind: 0, bytes: vec![9; 20] }), &mut frame);
        let good = FrameHead::decode(&frame, cipher.segment()).unwrap();
        let opens = |head: SegmentHead| {
            let cipher = FrameCipher::new(&key, &head);
            cipher.open(&good, &frame[FRAME_HEAD_LENGTH..]).is_some()
        };
        assert!(opens(bound.clone()));
        for changed in [
            SegmentHead { merged: 3, ..bound.clone() },
            SegmentHead { number: 4, ..bound.clone() },
            SegmentHead { first_sequence: 999, ..bound.clone() },
            SegmentHead { given_up: 1, ..bound.clone() },
            SegmentHead { covered: 10, ..bound.clone() },
            SegmentHead { is_bound: false, ..bound },
        ] {
            assert!(!opens(changed.clone()), "{changed:?}");
        }
    }

    #[test]
    fn a_head_with_a_huge_length_is_no_head() {
        let huge = FrameHead { sequence: 1, length: u32::MAX, kind: 0, flags: 0 };
        assert_eq!(FrameHead::decode(&huge.encode(&[0; 16]), &[0; 16]), None);
        assert_eq!(FrameHead::decode(&[], &[0; 16]), None);
    }
}
