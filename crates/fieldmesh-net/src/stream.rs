//! The two ends of a stream between peers.

use quinn::{ReadError, VarInt, WriteError};

use crate::ClosedReason;

/// The end of a stream that writes.
#[derive(Debug)]
pub struct Sender {
    stream: quinn::SendStream,
}

/// The end of a stream that reads.
#[derive(Debug)]
pub struct Receiver {
    stream: quinn::RecvStream,
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
    pub(crate) const fn new(stream: quinn::SendStream) -> Self {
        Self { stream }
    }

    /// Writes all of `bytes`; waits while the other side takes nothing.
    ///
    /// # Errors
    ///
    /// Any error means that the stream is of no further use.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.stream.write_all(bytes).await.map_err(StreamError::from)
    }

    /// Lets this stream go before others (higher) or after them (lower); 0 at first.
    pub fn set_priority(&self, priority: i32) {
        // A closed stream needs no priority.
        let _ = self.stream.set_priority(priority);
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    ///
    /// [`StreamError::Finished`] if that was said before.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        self.stream.finish().map_err(|_| StreamError::Finished)
    }

    /// Waits until the other side has received everything, or gave the stream up.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`] if the connection ended before.
    pub async fn received(&mut self) -> Result<(), StreamError> {
        match self.stream.stopped().await {
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
    pub(crate) const fn new(stream: quinn::RecvStream) -> Self {
        Self { stream }
    }

    /// The next bytes, at most `size_max`; `None` when the other side has finished.
    ///
    /// Can be dropped and called again without losing bytes.
    ///
    /// # Errors
    ///
    /// Any error means that the stream is of no further use.
    pub async fn read_chunk(&mut self, size_max: usize) -> Result<Option<Vec<u8>>, StreamError> {
        let chunk = self.stream.read_chunk(size_max, true).await?;
        Ok(chunk.map(|chunk| Vec::from(chunk.bytes)))
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

    /// Gives the stream up: the other side may stop sending.
    pub fn stop(&mut self) {
        // A stream that is over already needs no stop.
        let _ = self.stream.stop(VarInt::from_u32(0));
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
