//! Data streams by lane: the first byte of a stream names its lane, and the lane its priority.
//!
//! What travels in which lane is for the session to say; here a lane is a number, and a lower one
//! goes before a higher one whenever both have something to send.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::closed::{CloseCode, ClosedReason};
use crate::stream::{Receiver, Sender, StreamError};
use crate::wire::Wire;

/// The number of lanes; their codes are 0, which goes first, and so on.
pub const LANES: u8 = 3;

/// The priority of the control stream, above all lanes.
pub(crate) const PRIORITY_CONTROL: i32 = LANES as i32;

/// A lane that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// There is no such lane; a peer that names one has been cut off.
    #[error("there is no lane {code}, the last is {}", LANES - 1)]
    Unknown {
        /// The code that was named.
        code: u8,
    },
    /// The peer opened a lane for a second time and has been cut off.
    #[error("lane {code} was opened twice")]
    Repeated {
        /// The lane.
        code: u8,
    },
    /// The connection ended.
    #[error("the connection ended")]
    Closed(#[from] ClosedReason),
    /// The stream broke before its lane was named.
    #[error("the stream broke before its lane was named")]
    Stream(#[from] StreamError),
}

/// The streams that the peer has opened, until they have named their lanes.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Bounded by the number of streams that a peer may have open.
    unnamed: Vec<Receiver>,
    taken: [bool; LANES as usize],
}

/// Something that happens to a connection whose lanes are waited for.
enum Arrival {
    Opened(Receiver),
    Named(u8, Receiver),
}

/// Opens the stream of a lane and names it.
pub(crate) async fn open(wire: &Wire, code: u8) -> Result<Sender, LaneError> {
    if code >= LANES {
        return Err(LaneError::Unknown { code });
    }
    let mut sender = wire.open_data().await?;
    sender.set_priority(priority(code));
    sender.write(&[code]).await?;
    Ok(sender)
}

/// How soon a lane is served by its sender.
pub(crate) const fn priority(code: u8) -> i32 {
    // A cast that cannot lose anything, in a const fn.
    PRIORITY_CONTROL - 1 - code as i32
}

impl Arrivals {
    /// The next lane that the peer has opened; dropping the future loses no stream.
    pub(crate) async fn next(&mut self, wire: &Wire) -> Result<(u8, Receiver), LaneError> {
        loop {
            // A lane whose first byte is lost on the way must not hold up the others.
            let arrival = tokio::select! {
                biased;
                named = poll_fn(|cx| self.poll_named(cx)) => {
                    let (code, stream) = named?;
                    Arrival::Named(code, stream)
                }
                opened = wire.accept_data() => Arrival::Opened(opened?),
            };
            match arrival {
                Arrival::Opened(stream) => self.unnamed.push(stream),
                Arrival::Named(code, stream) => {
                    self.take(code).inspect_err(|error| cut_off(wire, error))?;
                    return Ok((code, stream));
                }
            }
        }
    }

    fn take(&mut self, code: u8) -> Result<(), LaneError> {
        let taken = self.taken.get_mut(usize::from(code)).ok_or(LaneError::Unknown { code })?;
        if std::mem::replace(taken, true) {
            return Err(LaneError::Repeated { code });
        }
        Ok(())
    }

    fn poll_named(&mut self, cx: &mut Context<'_>) -> Poll<Result<(u8, Receiver), LaneError>> {
        let mut index = 0;
        while let Some(stream) = self.unnamed.get_mut(index) {
            let mut code = [0];
            match stream.poll_read(cx, &mut code) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(1..)) => {
                    return Poll::Ready(Ok((code[0], self.unnamed.swap_remove(index))));
                }
                // A stream that was given up or finished before it said anything carries nothing.
                Poll::Ready(Ok(0) | Err(StreamError::GivenUp)) => {
                    self.unnamed.swap_remove(index);
                }
                Poll::Ready(Err(error)) => {
                    self.unnamed.swap_remove(index);
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        Poll::Pending
    }
}

fn cut_off(wire: &Wire, error: &LaneError) {
    wire.close(CloseCode::Protocol, &error.to_string());
}
