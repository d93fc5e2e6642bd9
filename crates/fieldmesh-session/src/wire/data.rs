//! A data stream, behind the byte that names its lane: one zstd stream of frames.
//!
//! A frame is its kind, its length and its bytes; those of a batch may be packed. The stream is
//! flushed after each group of frames, so that nothing waits in a compressor and a cut costs one
//! group at most. Reading is bounded twice: a frame has a largest length, and the stream a largest
//! ratio.

use fieldmesh_batch::unpack;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use crate::error::WireError;
use crate::interface::Set;
use crate::limits::{DATA_FRAME_MAX, EXPANSION_MAX, EXPANSION_SLACK, WINDOW_LOG_MAX};
use crate::wire::control::{take_length, write_length};
use crate::wire::pending::Pending;

const LEVEL: i32 = 3;
/// Decompressed bytes looked at in one step.
const STEP: usize = 16 * 1024;
/// The kind of a frame whose bytes say nothing.
const KIND_PADDING: u8 = 0;
/// The kind of a frame with a part of a batch.
const KIND_PART: u8 = 5;
/// The kind of a frame with a batch that is packed, behind the kind that it has otherwise.
const KIND_PACKED: u8 = 7;
/// Bytes in front of what a part brings: kind, id, length of the whole, offset.
const PART_HEAD: usize = 1 + 32 + 4 + 4;

/// What a frame carries, and why it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FrameKind {
    /// A policy item that an exchange found lacking.
    Item,
    /// A batch that an exchange found lacking.
    Batch,
    /// A new policy item.
    PushedItem,
    /// A new batch.
    PushedBatch,
    /// A batch that counts nowhere and that an exchange found lacking.
    Aside,
}

impl FrameKind {
    const ALL: [Self; 5] =
        [Self::Item, Self::Batch, Self::PushedItem, Self::PushedBatch, Self::Aside];

    fn of(code: u8) -> Result<Self, WireError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.code() == code);
        kind.ok_or(WireError::FrameKind { kind: code })
    }

    const fn code(self) -> u8 {
        match self {
            Self::Item => 1,
            Self::Batch => 2,
            Self::PushedItem => 3,
            Self::PushedBatch => 4,
            Self::Aside => 6,
        }
    }

    /// The set that the content belongs to.
    pub(crate) const fn set(self) -> Set {
        match self {
            Self::Item | Self::PushedItem => Set::Policy,
            Self::Batch | Self::PushedBatch => Set::Data,
            Self::Aside => Set::Quarantine,
        }
    }

    /// Whether an exchange accounts for it.
    pub(crate) const fn is_answer(self) -> bool {
        matches!(self, Self::Item | Self::Batch | Self::Aside)
    }
}

/// One frame that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// Which part of a batch it is; None for one that is whole.
    pub(crate) part: Option<Part>,
    pub(crate) bytes: Vec<u8>,
}

/// Where a part belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) id: [u8; 32],
    pub(crate) total: u32,
    pub(crate) offset: u32,
}

impl Frame {
    fn decode(code: u8, content: &[u8]) -> Result<Option<Self>, WireError> {
        match code {
            KIND_PADDING => Ok(None),
            KIND_PACKED => Self::decode_packed(content).map(Some),
            KIND_PART => Self::decode_part(content).map(Some),
            code => {
                let kind = FrameKind::of(code)?;
                Ok(Some(Self { kind, part: None, bytes: content.to_vec() }))
            }
        }
    }

    fn decode_part(content: &[u8]) -> Result<Self, WireError> {
        let Some((head, bytes)) = content.split_first_chunk::<PART_HEAD>() else {
            return Err(WireError::FrameKind { kind: KIND_PART });
        };
        let (mut id, number) = ([0; 32], |at: usize| {
            u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
        });
        id.copy_from_slice(&head[1..33]);
        let part = Some(Part { id, total: number(33), offset: number(37) });
        Ok(Self { kind: FrameKind::of(head[0])?, part, bytes: bytes.to_vec() })
    }

    fn decode_packed(content: &[u8]) -> Result<Self, WireError> {
        let Some((code, packed)) = content.split_first() else {
            return Err(WireError::FrameKind { kind: KIND_PACKED });
        };
        let kind = FrameKind::of(*code)?;
        if kind.set() == Set::Policy {
            return Err(WireError::FrameKind { kind: *code });
        }
        let bytes = unpack(packed)?;
        if bytes.len() > DATA_FRAME_MAX {
            return Err(WireError::FrameTooLong { length: bytes.len(), limit: DATA_FRAME_MAX });
        }
        Ok(Self { kind, part: None, bytes })
    }
}

/// Writes frames as a compressed stream.
#[derive(Default)]
pub(crate) struct DataWriter {
    encoder: Option<Encoder<'static>>,
    out: Vec<u8>,
    raw_total: u64,
    compressed_total: u64,
}

impl DataWriter {
    /// Appends one frame; its last bytes may stay in the compressor until [`Self::flush`].
    pub(crate) fn write(&mut self, kind: FrameKind, bytes: &[u8]) -> Result<(), WireError> {
        self.pad(bytes.len() as u64)?;
        self.write_frame(kind.code(), bytes)
    }

    /// Appends a part of a batch.
    pub(crate) fn write_part(
        &mut self,
        kind: FrameKind,
        part: Part,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        let mut content = vec![kind.code()];
        content.extend(part.id);
        content.extend(part.total.to_be_bytes());
        content.extend(part.offset.to_be_bytes());
        content.extend(bytes);
        self.pad(content.len() as u64)?;
        self.write_frame(KIND_PART, &content)
    }

    /// Appends a batch of `length` bytes that is packed.
    pub(crate) fn write_packed(
        &mut self,
        kind: FrameKind,
        packed: &[u8],
        length: usize,
    ) -> Result<(), WireError> {
        let content = [&[kind.code()], packed].concat();
        let gained = length.saturating_sub(packed.len()) as u64;
        self.pad(content.len() as u64 + gained)?;
        self.raw_total += gained;
        self.write_frame(KIND_PACKED, &content)
    }

    /// Everything written so far that was not taken yet.
    pub(crate) fn flush(&mut self) -> Result<Vec<u8>, WireError> {
        if let Some(encoder) = &mut self.encoder {
            let mut step = vec![0; STEP];
            loop {
                let mut output = OutBuffer::around(&mut step[..]);
                let left = encoder.flush(&mut output).map_err(|_| WireError::Compression)?;
                self.out.extend_from_slice(output.as_slice());
                if left == 0 {
                    break;
                }
            }
        }
        self.compressed_total += self.out.len() as u64;
        Ok(std::mem::take(&mut self.out))
    }

    /// Data that compresses beyond what the reader takes is diluted with bytes that do not.
    fn pad(&mut self, next: u64) -> Result<(), WireError> {
        let raw = self.raw_total + next + 8;
        let earned = (self.compressed_total + self.out.len() as u64) * EXPANSION_MAX;
        let Some(excess) = raw.checked_sub(earned + EXPANSION_SLACK / 2).filter(|e| *e > 0) else {
            return Ok(());
        };
        let length = usize::try_from(excess / EXPANSION_MAX + 64).unwrap_or(DATA_FRAME_MAX);
        let mut padding = vec![0; length.min(DATA_FRAME_MAX)];
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/padding/1");
        hasher.update(&self.raw_total.to_be_bytes());
        hasher.finalize_xof().fill(&mut padding);
        self.write_frame(KIND_PADDING, &padding)?;
        self.out = self.flush()?;
        self.compressed_total -= self.out.len() as u64;
        Ok(())
    }

    fn write_frame(&mut self, kind: u8, bytes: &[u8]) -> Result<(), WireError> {
        let mut head = vec![kind];
        write_length(bytes.len(), &mut head);
        self.raw_total += (head.len() + bytes.len()) as u64;
        self.compress(&head)?;
        self.compress(bytes)
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if self.encoder.is_none() {
            self.encoder = Some(encoder().map_err(|_| WireError::Compression)?);
        }
        let Some(encoder) = &mut self.encoder else { return Err(WireError::Compression) };
        let mut input = InBuffer::around(bytes);
        let mut step = vec![0; STEP];
        while input.pos() < bytes.len() {
            let mut output = OutBuffer::around(&mut step[..]);
            encoder.run(&mut input, &mut output).map_err(|_| WireError::Compression)?;
            self.out.extend_from_slice(output.as_slice());
        }
        Ok(())
    }
}

fn encoder() -> std::io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG_MAX))?;
    Ok(encoder)
}

/// Reads frames from a compressed stream, split anyhow.
#[derive(Default)]
pub(crate) struct DataReader {
    decoder: Option<Decoder<'static>>,
    pending: Pending,
    raw_total: u64,
    compressed_total: u64,
}

impl DataReader {
    /// Takes the next bytes of the stream and hands each complete frame to `take`.
    ///
    /// An error of `take` stops the reading at once, so that its limits bound the memory too.
    pub(crate) fn read<E: From<WireError>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.decoder.is_none() {
            self.decoder = Some(decoder().map_err(|_| WireError::Compression)?);
        }
        let mut input = InBuffer::around(bytes);
        let mut step = vec![0; STEP];
        loop {
            let before = input.pos();
            let Some(decoder) = &mut self.decoder else { return Ok(()) };
            let mut output = OutBuffer::around(&mut step[..]);
            decoder.run(&mut input, &mut output).map_err(|_| WireError::Compression)?;
            let produced = output.as_slice().len();
            self.compressed_total += (input.pos() - before) as u64;
            self.account(produced as u64)?;
            self.pending.extend(&step[..produced]);
            while let Some(frame) = self.next_frame()? {
                if let Some(frame) = frame {
                    take(frame)?;
                }
            }
            if produced < STEP && input.pos() == bytes.len() {
                return Ok(());
            }
        }
    }

    /// How many decompressed bytes wait to be understood.
    pub(crate) fn held(&self) -> usize {
        self.pending.held()
    }

    fn account(&mut self, produced: u64) -> Result<(), WireError> {
        self.raw_total += produced;
        let limit = self.compressed_total.saturating_mul(EXPANSION_MAX) + EXPANSION_SLACK;
        if self.raw_total > limit {
            return Err(WireError::Expansion { length: self.raw_total, limit });
        }
        Ok(())
    }

    /// The next complete frame; `Some(None)` for one that says nothing.
    fn next_frame(&mut self) -> Result<Option<Option<Frame>>, WireError> {
        let bytes = self.pending.bytes();
        let Some((code, rest)) = bytes.split_first() else { return Ok(None) };
        if ![KIND_PADDING, KIND_PART, KIND_PACKED].contains(code) {
            FrameKind::of(*code)?;
        }
        let Some((length, size)) = take_length(rest, DATA_FRAME_MAX)? else { return Ok(None) };
        let start = 1 + size;
        let Some(content) = bytes.get(start..start + length) else { return Ok(None) };
        let frame = Frame::decode(*code, content)?;
        self.pending.consume(start + length);
        let unpacked = frame.as_ref().map_or(0, |frame| frame.bytes.len());
        self.account(unpacked.saturating_sub(length) as u64)?;
        Ok(Some(frame))
    }
}

fn decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use fieldmesh_batch::UnpackError;

    use super::*;

    fn read_all(reader: &mut DataReader, bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
        let mut frames = Vec::new();
        reader.read(bytes, |frame| {
            frames.push(frame);
            Ok::<(), WireError>(())
        })?;
        Ok(frames)
    }

    fn noise(length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn every_split_of_the_stream_gives_the_same_frames() {
        let mut writer = DataWriter::default();
        writer.write(FrameKind::Item, &noise(300, 1)).unwrap();
        writer.write(FrameKind::Batch, b"").unwrap();
        let mut stream = writer.flush().unwrap();
        writer.write(FrameKind::PushedBatch, &[9; 700]).unwrap();
        stream.extend(writer.flush().unwrap());
        let whole = read_all(&mut DataReader::default(), &stream).unwrap();
        assert_eq!(whole.len(), 3);
        for at in 0..=stream.len() {
            let mut reader = DataReader::default();
            let mut frames = read_all(&mut reader, &stream[..at]).unwrap();
            frames.extend(read_all(&mut reader, &stream[at..]).unwrap());
            assert_eq!(frames, whole);
        }
    }

    #[test]
    fn nothing_waits_in_the_compressor_after_a_flush() {
        let mut writer = DataWriter::default();
        let mut reader = DataReader::default();
        for seed in 0..20 {
            let bytes = noise(100, seed);
            writer.write(FrameKind::PushedBatch, &bytes).unwrap();
            let sent = writer.flush().unwrap();
            assert!(sent.len() < 130);
            assert_eq!(read_all(&mut reader, &sent).unwrap()[0].bytes, bytes);
        }
    }

    #[test]
    fn honest_data_that_compresses_without_limit_still_passes() {
        let mut writer = DataWriter::default();
        let mut reader = DataReader::default();
        let mut frames = 0;
        for _ in 0..100 {
            writer.write(FrameKind::Batch, &vec![7; 60_000]).unwrap();
            frames += read_all(&mut reader, &writer.flush().unwrap()).unwrap().len();
        }
        assert_eq!(frames, 100);
    }

    #[test]
    fn a_bomb_is_refused_by_its_ratio() {
        let mut raw = vec![0; 40 << 20];
        raw[0] = KIND_PADDING;
        let mut encoder = encoder().unwrap();
        let mut bomb = Vec::new();
        let mut input = InBuffer::around(&raw[..]);
        let mut step = vec![0; STEP];
        while input.pos() < raw.len() {
            let mut output = OutBuffer::around(&mut step[..]);
            encoder.run(&mut input, &mut output).unwrap();
            bomb.extend_from_slice(output.as_slice());
        }
        let refused = read_all(&mut DataReader::default(), &bomb);
        assert!(matches!(refused, Err(WireError::Expansion { .. })), "{refused:?}");
    }

    #[test]
    fn a_frame_beyond_the_limit_an_unknown_kind_and_noise_are_refused() {
        let mut writer = DataWriter::default();
        writer.write_frame(2, &vec![1; DATA_FRAME_MAX + 1]).unwrap();
        let long = read_all(&mut DataReader::default(), &writer.flush().unwrap());
        assert!(matches!(long, Err(WireError::FrameTooLong { .. })));
        let mut writer = DataWriter::default();
        writer.write_frame(77, b"x").unwrap();
        let unknown = read_all(&mut DataReader::default(), &writer.flush().unwrap());
        assert_eq!(unknown, Err(WireError::FrameKind { kind: 77 }));
        for seed in 0..50 {
            let bytes = noise(500, seed);
            assert!(read_all(&mut DataReader::default(), &bytes).is_err());
        }
    }

    #[test]
    fn parts_and_batches_set_aside_have_their_golden_bytes() {
        let mut writer = DataWriter::default();
        writer.write(FrameKind::Aside, &[7, 8]).unwrap();
        let part = Part { id: [9; 32], total: 0x0001_0203, offset: 0x8000 };
        writer.write_part(FrameKind::PushedBatch, part, &[5]).unwrap();
        let mut decoder = decoder().unwrap();
        let mut raw = vec![0; STEP];
        let mut output = OutBuffer::around(&mut raw[..]);
        let bytes = writer.flush().unwrap();
        decoder.run(&mut InBuffer::around(&bytes[..]), &mut output).unwrap();
        let part = [&[5, 42, 4][..], &[9; 32], &[0, 1, 2, 3], &[0, 0, 0x80, 0], &[5]].concat();
        assert_eq!(output.as_slice(), [&[6, 2, 7, 8][..], &part].concat());
    }

    /// An honest batch, and what it is packed into.
    const BATCH: &[u8] = include_bytes!("../../../fieldmesh-batch/tests/morning.batch");
    const PACKED: &[u8] = include_bytes!("../../../fieldmesh-batch/tests/morning.packed");

    #[test]
    fn a_packed_batch_arrives_as_it_was() {
        let mut writer = DataWriter::default();
        writer.write_packed(FrameKind::PushedBatch, PACKED, BATCH.len()).unwrap();
        let frames = read_all(&mut DataReader::default(), &writer.flush().unwrap()).unwrap();
        let kind = FrameKind::PushedBatch;
        assert_eq!(frames, [Frame { kind, part: None, bytes: BATCH.to_vec() }]);
    }

    #[test]
    fn a_packed_item_and_what_is_no_packed_batch_are_refused() {
        let refused = |content: &[u8]| {
            let mut writer = DataWriter::default();
            writer.write_frame(KIND_PACKED, content).unwrap();
            read_all(&mut DataReader::default(), &writer.flush().unwrap()).unwrap_err()
        };
        assert_eq!(refused(&[]), WireError::FrameKind { kind: KIND_PACKED });
        assert_eq!(refused(&[&[1], PACKED].concat()), WireError::FrameKind { kind: 1 });
        assert_eq!(refused(&[&[2], &PACKED[1..]].concat()), WireError::Packed(UnpackError));
    }

    #[test]
    fn what_packed_frames_expand_to_counts_for_the_ratio() {
        let mut writer = DataWriter::default();
        let mut content = vec![FrameKind::Batch.code()];
        content.extend(PACKED);
        for _ in 0..400 {
            writer.write_frame(KIND_PACKED, &content).unwrap();
        }
        let refused = read_all(&mut DataReader::default(), &writer.flush().unwrap());
        assert!(matches!(refused, Err(WireError::Expansion { .. })), "{refused:?}");
        let mut writer = DataWriter::default();
        let mut reader = DataReader::default();
        for _ in 0..400 {
            writer.write_packed(FrameKind::Batch, PACKED, BATCH.len()).unwrap();
            assert_eq!(read_all(&mut reader, &writer.flush().unwrap()).unwrap().len(), 1);
        }
    }
}
