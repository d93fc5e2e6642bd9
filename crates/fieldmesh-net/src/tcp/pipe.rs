//! The socket under a connection: counted, encrypted, and in the form that Yamux reads and writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsStream;

use super::PIECE_MAX;
use super::unread::{Frames, Unread};

/// Room for a piece and its header, so that they leave in one record.
const WRITE_BUFFER_SIZE: usize = PIECE_MAX + 64;
/// The most bytes that are thrown away at a time while the other side is still talking.
const SCRAP_SIZE: usize = 4 * 1024;

/// What has passed a socket, and when something was last heard.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    heard_millis: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            heard_millis: AtomicU64::new(0),
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// When the other side was last heard.
    pub(super) fn heard(&self) -> Instant {
        self.began + Duration::from_millis(self.heard_millis.load(Ordering::Relaxed))
    }

    fn hear(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_millis.store(millis, Ordering::Relaxed);
    }
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered {
    socket: TcpStream,
    meter: Arc<Meter>,
}

impl Metered {
    pub(super) fn new(socket: TcpStream, meter: Arc<Meter>) -> Self {
        Self { socket, meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.meter.hear(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.meter.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The encrypted socket for Yamux.
#[derive(Debug)]
pub(super) struct Pipe {
    tls: BufWriter<TlsStream<Metered>>,
    frames: Frames,
    is_shut: bool,
}

impl Pipe {
    pub(super) fn new(tls: TlsStream<Metered>) -> Self {
        let tls = BufWriter::with_capacity(WRITE_BUFFER_SIZE, tls);
        Self { tls, frames: Frames::new(), is_shut: false }
    }

    /// Where is counted what arrives and nobody reads.
    pub(super) fn unread(&self) -> Arc<Unread> {
        self.frames.unread()
    }
}

impl futures::AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.tls).poll_read(cx, &mut buffer))?;
        self.frames.follow(buffer.filled())?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures::AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    /// Says that nothing follows, and waits for the same from the other side: a socket that is
    /// closed over unread bytes would take back what the other side has not read so far.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.tls).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        loop {
            let mut scrap = [0; SCRAP_SIZE];
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut self.tls).poll_read(cx, &mut scrap));
            if read.is_err() || scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
