//! How much of a connection nobody has read so far, frame by frame.
//!
//! Yamux bounds the bytes that wait in a stream, and keeps each frame as a piece of memory of its
//! own: whoever sends byte by byte would have many times the window kept. So frames are counted as
//! they arrive, and until they are read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// The largest number of frames that wait unread in all streams of a connection, unless they carry
/// [`SIZE_FAIR`] bytes each.
pub(super) const FRAMES_UNREAD_MAX: usize = 16 * 1024;
/// What a frame carries whose bytes weigh as much as the frame itself.
const SIZE_FAIR: usize = 64;
/// The size of a frame's header.
const HEADER_SIZE: usize = 12;
/// The kind of frame that carries bytes; the length of others means something else.
const DATA: u8 = 0;

/// The frames of a connection that nobody has read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What is unread of each frame, by stream.
    sizes: BTreeMap<u32, VecDeque<usize>>,
    /// Streams that nobody holds any more: Yamux throws away what still arrives for them.
    gone: BTreeSet<u32>,
    frames: usize,
    bytes: usize,
}

impl Unread {
    /// Takes note of a frame.
    fn arrive(&self, stream: u32, size: usize) -> io::Result<()> {
        let mut waiting = self.waiting();
        if size == 0 || waiting.gone.contains(&stream) {
            return Ok(());
        }
        waiting.sizes.entry(stream).or_default().push_back(size);
        waiting.frames += 1;
        waiting.bytes = waiting.bytes.saturating_add(size);
        let (frames, bytes) = (waiting.frames, waiting.bytes);
        if frames > FRAMES_UNREAD_MAX && bytes < frames * SIZE_FAIR {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{frames} small frames wait unread with {bytes} bytes, limit is \
                     {FRAMES_UNREAD_MAX}"
                ),
            ));
        }
        Ok(())
    }

    /// Takes note that so many bytes of a stream were read.
    fn read(&self, stream: u32, mut size: usize) {
        let mut waiting = self.waiting();
        let Waiting { sizes, frames, bytes, .. } = &mut *waiting;
        let Some(sizes) = sizes.get_mut(&stream) else { return };
        while let Some(first) = sizes.front_mut()
            && size > 0
        {
            let part = size.min(*first);
            *first -= part;
            *bytes = bytes.saturating_sub(part);
            size -= part;
            if *first == 0 {
                sizes.pop_front();
                *frames -= 1;
            }
        }
    }

    /// Takes note that nobody will read a stream.
    fn forget(&self, stream: u32) {
        let mut waiting = self.waiting();
        waiting.gone.insert(stream);
        if let Some(sizes) = waiting.sizes.remove(&stream) {
            waiting.frames -= sizes.len();
            waiting.bytes = waiting.bytes.saturating_sub(sizes.iter().sum());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the frames begin in the bytes that arrive.
#[derive(Debug)]
pub(super) struct Frames {
    unread: Arc<Unread>,
    header: [u8; HEADER_SIZE],
    header_size: usize,
    body_left: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        let unread = Arc::default();
        Self { unread, header: [0; HEADER_SIZE], header_size: 0, body_left: 0 }
    }

    /// Where the frames are counted.
    pub(super) fn unread(&self) -> Arc<Unread> {
        Arc::clone(&self.unread)
    }

    /// Follows what arrives.
    ///
    /// # Errors
    ///
    /// Too many small frames wait.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER_SIZE - self.header_size).min(bytes.len());
            let (part, rest) = bytes.split_at(taken);
            self.header[self.header_size..][..taken].copy_from_slice(part);
            self.header_size += taken;
            bytes = rest;
            if self.header_size == HEADER_SIZE {
                self.header_size = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let [_, kind, _, _, a, b, c, d, e, f, g, h] = self.header;
        if kind != DATA {
            return Ok(());
        }
        // Yamux itself ends a connection whose frames are too long.
        self.body_left = usize::try_from(u32::from_be_bytes([e, f, g, h])).unwrap_or(usize::MAX);
        self.unread.arrive(u32::from_be_bytes([a, b, c, d]), self.body_left)
    }
}

/// A stream of which is counted what was read.
#[derive(Debug)]
pub(super) struct Counted {
    stream: yamux::Stream,
    unread: Arc<Unread>,
}

impl Counted {
    pub(super) fn new(stream: yamux::Stream, unread: &Arc<Unread>) -> Self {
        Self { stream, unread: Arc::clone(unread) }
    }

    /// Whether both sides have closed it, or one has broken it off.
    pub(super) fn is_closed(&self) -> bool {
        self.stream.is_closed()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unread.forget(self.stream.id().val());
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.unread.read(self.stream.id().val(), read);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, size: u32) -> Vec<u8> {
        let body = if kind == DATA { vec![7; size as usize] } else { Vec::new() };
        [&[0, kind, 0, 0], &stream.to_be_bytes()[..], &size.to_be_bytes(), &body].concat()
    }

    /// Frames and bytes that wait.
    fn waits(frames: &Frames) -> (usize, usize) {
        let waiting = frames.unread.waiting();
        assert_eq!(waiting.frames, waiting.sizes.values().map(VecDeque::len).sum::<usize>());
        (waiting.frames, waiting.bytes)
    }

    #[test]
    fn frames_are_found_whatever_the_pieces_and_leave_as_they_are_read() {
        let sent = [
            frame(DATA, 1, 300),
            frame(1, 1, 9_000),
            frame(DATA, 2, 1),
            frame(DATA, 1, 0),
            frame(2, 0, 5),
            frame(DATA, 1, 70),
        ]
        .concat();
        for piece in [1, 7, 12, 1_000] {
            let mut frames = Frames::new();
            for part in sent.chunks(piece) {
                frames.follow(part).unwrap();
            }
            assert_eq!(waits(&frames), (3, 371), "in pieces of {piece}");
            frames.unread.read(1, 320);
            assert_eq!(waits(&frames), (2, 51));
            frames.unread.forget(1);
            assert_eq!(waits(&frames), (1, 1));
            frames.follow(&frame(DATA, 1, 70)).unwrap();
            assert_eq!(waits(&frames), (1, 1), "nobody keeps what comes for it");
        }
    }

    #[test]
    fn small_frames_are_a_breach_only_where_they_wait() {
        let mut frames = Frames::new();
        let small = frame(DATA, 1, 1);
        for _ in 0..3 * FRAMES_UNREAD_MAX {
            frames.follow(&small).unwrap();
            frames.unread.read(1, 1);
        }
        for _ in 0..FRAMES_UNREAD_MAX {
            frames.follow(&small).unwrap();
        }
        frames.unread.read(1, 1);
        frames.follow(&small).unwrap();
        let error = frames.follow(&small).unwrap_err();
        assert!(error.to_string().contains("limit is 16384"), "{error}");

        let mut frames = Frames::new();
        let fair = frame(DATA, 1, 64);
        for _ in 0..2 * FRAMES_UNREAD_MAX {
            frames.follow(&fair).unwrap();
        }
    }
}
