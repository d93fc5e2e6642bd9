//! One stream over TCP: bytes one way, and back the word that all of them were read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead as _, AsyncWrite as _};

use super::handle::Held;
use super::unread::Counted;
use crate::stream::StreamError;

/// What a reader says back when it has read the stream to its end.
const ALL_READ: u8 = 6;
/// The most bytes that are read at a time.
const READ_MAX: usize = 16 * 1024;

/// The end that writes.
#[derive(Debug)]
pub(crate) struct TcpSender {
    stream: Counted,
    held: Arc<Held>,
    is_finished: bool,
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct TcpReceiver {
    /// Gone when it was given up.
    stream: Option<Counted>,
    held: Arc<Held>,
    is_at_end: bool,
}

/// Writes all of `bytes`, and waits until one more thing could be said.
pub(super) async fn write_all(stream: &mut Counted, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

impl TcpSender {
    pub(super) const fn new(stream: Counted, held: Arc<Held>) -> Self {
        Self { stream, held, is_finished: false }
    }

    /// Writes all of `bytes`; waits while the other side takes nothing.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if self.is_finished {
            return Err(StreamError::Finished);
        }
        let written = tokio::select! {
            biased;
            reason = self.held.state.ended() => return Err(StreamError::Closed(reason)),
            written = write_all(&mut self.stream, bytes) => written,
        };
        written.map_err(|_| self.held.broken())
    }

    /// Says that nothing follows.
    pub(crate) fn finish(&mut self) -> Result<(), StreamError> {
        if self.is_finished {
            return Err(StreamError::Finished);
        }
        self.is_finished = true;
        // Each write leaves room for this one word, so that it never has to wait; on a stream
        // that is broken nobody waits for it.
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_close(&mut context);
        Ok(())
    }

    /// Waits until the other side has read everything, or gave the stream up.
    pub(crate) async fn received(&mut self) -> Result<(), StreamError> {
        let mut word = [0];
        let read = tokio::select! {
            biased;
            read = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut word)) => read,
            reason = self.held.state.ended() => return Err(StreamError::Closed(reason)),
        };
        match read {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(self.held.broken()),
        }
    }
}

impl Drop for TcpSender {
    /// A stream that is dropped is finished, as with QUIC.
    fn drop(&mut self) {
        if !self.is_finished {
            // It was not finished before, which is the only way to fail.
            let _ = self.finish();
        }
    }
}

impl TcpReceiver {
    pub(super) const fn new(stream: Counted, held: Arc<Held>) -> Self {
        Self { stream: Some(stream), held, is_at_end: false }
    }

    /// The next bytes, at most `size_max`; `None` when the other side has finished.
    pub(crate) async fn read_chunk(
        &mut self,
        size_max: usize,
    ) -> Result<Option<Vec<u8>>, StreamError> {
        let state = Arc::clone(&self.held.state);
        let chunk = tokio::select! {
            biased;
            chunk = poll_fn(|cx| self.poll_chunk(cx, size_max)) => chunk?,
            reason = state.ended() => return Err(StreamError::Closed(reason)),
        };
        if chunk.is_none() {
            self.say_all_read().await;
        }
        Ok(chunk)
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        size_max: usize,
    ) -> Poll<Result<Option<Vec<u8>>, StreamError>> {
        let mut bytes = [0; READ_MAX];
        let size = size_max.min(READ_MAX);
        self.poll_read(cx, &mut bytes[..size])
            .map_ok(|read| (read > 0).then(|| bytes[..read].to_vec()))
    }

    /// Reads into `bytes`; 0 when the other side has finished.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(StreamError::Finished));
        };
        if self.is_at_end {
            return Poll::Ready(Ok(0));
        }
        match Pin::new(&mut *stream).poll_read(cx, bytes) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(read @ 1..)) => Poll::Ready(Ok(read)),
            // This side has not closed its half so far: if both are, the stream was broken off.
            Poll::Ready(Ok(0)) if !stream.is_closed() => {
                self.is_at_end = true;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(self.held.broken())),
        }
    }

    async fn say_all_read(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let state = Arc::clone(&self.held.state);
        let say = async {
            // Whoever is gone needs to hear nothing.
            if write_all(stream, &[ALL_READ]).await.is_ok() {
                let _ = poll_fn(|cx| Pin::new(&mut *stream).poll_close(cx)).await;
            }
        };
        tokio::select! {
            () = say => {}
            _ = state.ended() => {}
        }
    }

    /// Gives the stream up: the other side may stop sending.
    pub(crate) fn stop(&mut self) {
        // Dropping it before its end is how Yamux says so.
        self.stream = None;
    }
}
