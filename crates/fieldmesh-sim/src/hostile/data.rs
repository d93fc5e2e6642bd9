//! Data frames taken apart and put together again: a kind, a length, then that many bytes, all in
//! one zstd stream for each lane.

use fieldmesh_batch::{HEADER_LENGTH, SIGNATURE_LENGTH};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::control::{number, put};
use crate::random::Random;

const LEVEL: i32 = 1;
const STEP: usize = 64 * 1024;
const PUSHED_ITEM: u8 = 3;
const PUSHED_BATCH: u8 = 4;

/// The data stream of one connection, read and written anew.
#[derive(Default)]
pub(super) struct DataTap {
    codecs: Option<(Decoder<'static>, Encoder<'static>)>,
    /// Decompressed bytes that are not a whole frame yet.
    pending: Vec<u8>,
    /// A frame to send again.
    before: Option<Vec<u8>>,
}

impl DataTap {
    /// The same frames, some of them changed, repeated, lost or invented.
    pub(super) fn forge(&mut self, bytes: &[u8], random: &mut Random) -> Vec<u8> {
        let mut frames = Vec::new();
        for frame in self.read(bytes) {
            forge_frame(frame, &mut self.before, random, &mut frames);
        }
        self.write(&frames.concat())
    }

    /// The same frames, so that others can come between them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let frames = self.read(bytes).concat();
        self.write(&frames)
    }

    /// Frames that come between others.
    pub(super) fn insert(&mut self, frames: &[u8]) -> Vec<u8> {
        self.write(frames)
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some((decoder, _)) = self.codecs() else { return Vec::new() };
        let plain = decompress(decoder, bytes);
        self.pending.extend(plain);
        std::iter::from_fn(|| take_frame(&mut self.pending)).collect()
    }

    fn write(&mut self, frames: &[u8]) -> Vec<u8> {
        match self.codecs() {
            Some((_, encoder)) if !frames.is_empty() => compress(encoder, frames),
            _ => Vec::new(),
        }
    }

    fn codecs(&mut self) -> Option<&mut (Decoder<'static>, Encoder<'static>)> {
        if self.codecs.is_none() {
            self.codecs = Decoder::new().ok().zip(Encoder::new(LEVEL).ok());
        }
        self.codecs.as_mut()
    }
}

/// Appends a frame that brings a policy item.
pub(super) fn put_item(item: &[u8], out: &mut Vec<u8>) {
    out.push(PUSHED_ITEM);
    put(item.len(), out);
    out.extend_from_slice(item);
}

/// Cuts a whole frame off the front: kind, length, content.
fn take_frame(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, size) = number(pending.get(1..)?)?;
    let end = 1 + size + length;
    (pending.len() >= end).then(|| pending.drain(..end).collect())
}

fn forge_frame(
    mut frame: Vec<u8>,
    before: &mut Option<Vec<u8>>,
    random: &mut Random,
    out: &mut Vec<Vec<u8>>,
) {
    let whole = frame.clone();
    match random.index(8) {
        // Anywhere in the kind, the header, the signature or the changes.
        0 | 1 => {
            let at = random.index(frame.len());
            frame[at] ^= 1 << random.index(8);
        }
        // In the signature: the batch keeps its name.
        6 => {
            let behind = 6 + HEADER_LENGTH;
            let at = behind + random.index(SIGNATURE_LENGTH - 8);
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= 1 << random.index(8);
            }
        }
        2 => out.push(frame.clone()),
        3 => out.extend(before.clone()),
        4 => {
            let content = random.bytes(300);
            let mut invented = vec![PUSHED_BATCH];
            put(content.len(), &mut invented);
            invented.extend(content);
            out.push(invented);
        }
        5 => return,
        _ => {}
    }
    *before = Some(whole);
    out.push(frame);
}

fn decompress(decoder: &mut Decoder<'static>, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut input = InBuffer::around(bytes);
    let mut step = vec![0; STEP];
    loop {
        let mut output = OutBuffer::around(&mut step[..]);
        if decoder.run(&mut input, &mut output).is_err() {
            return out;
        }
        let written = output.as_slice().len();
        out.extend_from_slice(output.as_slice());
        if input.pos() == bytes.len() && written < STEP {
            return out;
        }
    }
}

fn compress(encoder: &mut Encoder<'static>, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut input = InBuffer::around(bytes);
    let mut step = vec![0; STEP];
    while input.pos() < bytes.len() {
        let mut output = OutBuffer::around(&mut step[..]);
        if encoder.run(&mut input, &mut output).is_err() {
            return out;
        }
        out.extend_from_slice(output.as_slice());
    }
    loop {
        let mut output = OutBuffer::around(&mut step[..]);
        let left = encoder.flush(&mut output).unwrap_or(0);
        out.extend_from_slice(output.as_slice());
        if left == 0 {
            return out;
        }
    }
}
