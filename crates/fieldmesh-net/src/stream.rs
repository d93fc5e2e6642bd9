//! The two ends of a stream between peers.

use std::task::{Context, Poll};

use quinn::{ReadError, VarInt, WriteError};

use crate::ClosedReason;
use crate::tcp::{TcpReceiver, TcpSender};

/// The end of a stream that writes.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream,
}

/// The end of a stream that reads.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
}

#[derive(Debug)]
enum SendStream {
    Quic(quinn::SendStream),
    Tcp(TcpSender),
}

#[derive(Debug)]
enum RecvStream {
    Quic(quinn::RecvStream),
    Tcp(TcpReceiver),
}

/// Why a stream cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The whole connection ended.
    #[error("the connection ended")]
    Closed(#[source] ClosedReason),
    /// The other side gave up this stream.
    #[error("the other side gave up the stream")]
    GivenUp,
    /// The stream was finished or given up here.
    #[error("the stream was finished here")]
    Finished,
}

impl Sender {
    /// Writes all of `bytes`; waits while the other side takes nothing.
    ///
    /// # Errors
    ///
    /// Any error means that the stream is of no further use.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match &mut self.stream {
            SendStream::Quic(stream) => stream.write_all(bytes).await.map_err(StreamError::from),
            SendStream::Tcp(stream) => stream.write(bytes).await,
        }
    }

    /// Lets this stream go before others (higher) or after them (lower); 0 at first. Over TCP all
    /// streams take turns.
    pub fn set_priority(&self, priority: i32) {
        if let SendStream::Quic(stream) = &self.stream {
            // A closed stream needs no priority.
            let _ = stream.set_priority(priority);
        }
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    ///
    /// [`StreamError::Finished`] if that was said before.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        match &mut self.stream {
            SendStream::Quic(stream) => stream.finish().map_err(|_| StreamError::Finished),
            SendStream::Tcp(stream) => stream.finish(),
        }
    }

    /// Waits until the other side has received everything, or gave the stream up.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`] if the connection ended before.
    pub async fn received(&mut self) -> Result<(), StreamError> {
        let stream = match &mut self.stream {
            SendStream::Quic(stream) => stream,
            SendStream::Tcp(stream) => return stream.received().await,
        };
        match stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(StreamError::GivenUp),
            Err(quinn::StoppedError::ConnectionLost(error)) => {
                Err(StreamError::Closed(error.into()))
            }
            Err(quinn::StoppedError::ZeroRttRejected) => Err(StreamError::Finished),
        }
    }
}

impl Receiver {
    /// The next bytes, at most `size_max`; `None` when the other side has finished.
    ///
    /// Can be dropped and called again without losing bytes.
    ///
    /// # Errors
    ///
    /// Any error means that the stream is of no further use.
    pub async fn read_chunk(&mut self, size_max: usize) -> Result<Option<Vec<u8>>, StreamError> {
        match &mut self.stream {
            RecvStream::Quic(stream) => {
                let chunk = stream.read_chunk(size_max, true).await?;
                Ok(chunk.map(|chunk| Vec::from(chunk.bytes)))
            }
            RecvStream::Tcp(stream) => stream.read_chunk(size_max).await,
        }
    }

    /// Everything up to the end of the stream; `None` if that is more than `size_max`.
    pub(crate) async fn read_all(
        &mut self,
        size_max: usize,
    ) -> Result<Option<Vec<u8>>, StreamError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(size_max + 1 - all.len()).await? {
            all.extend_from_slice(&chunk);
            if all.len() > size_max {
                return Ok(None);
            }
        }
        Ok(Some(all))
    }

    /// Reads into `bytes`; 0 when the other side has finished.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        match &mut self.stream {
            RecvStream::Quic(stream) => stream.poll_read(cx, bytes).map_err(StreamError::from),
            RecvStream::Tcp(stream) => stream.poll_read(cx, bytes),
        }
    }

    /// Gives the stream up: the other side may stop sending.
    pub fn stop(&mut self) {
        match &mut self.stream {
            RecvStream::Quic(stream) => {
                // A stream that is over already needs no stop.
                let _ = stream.stop(VarInt::from_u32(0));
            }
            RecvStream::Tcp(stream) => stream.stop(),
        }
    }
}

impl From<quinn::SendStream> for Sender {
    fn from(stream: quinn::SendStream) -> Self {
        Self { stream: SendStream::Quic(stream) }
    }
}

impl From<TcpSender> for Sender {
    fn from(stream: TcpSender) -> Self {
        Self { stream: SendStream::Tcp(stream) }
    }
}

impl From<quinn::RecvStream> for Receiver {
    fn from(stream: quinn::RecvStream) -> Self {
        Self { stream: RecvStream::Quic(stream) }
    }
}

impl From<TcpReceiver> for Receiver {
    fn from(stream: TcpReceiver) -> Self {
        Self { stream: RecvStream::Tcp(stream) }
    }
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Closed(error.into()),
            WriteError::Stopped(_) => Self::GivenUp,
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Finished,
        }
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Closed(error.into()),
            ReadError::Reset(_) => Self::GivenUp,
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Finished,
        }
    }
}
