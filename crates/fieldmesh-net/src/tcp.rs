//! The conversation over TLS on TCP, for networks that let no UDP through.
//!
//! The certificates, the checks and the names of the protocols are those of QUIC. Yamux makes
//! streams of the one connection: each carries bytes one way, and back the word that all of them
//! were read. A stream of each side is for the connection itself: it shows that the side lives,
//! and says why it ends.

mod acceptor;
mod driver;
mod farewell;
mod handle;
mod handshake;
mod pipe;
mod state;
mod stream;
mod unread;

use std::time::Duration;

use yamux::Config;

#[cfg(test)]
pub(crate) use self::acceptor::HELLO_TIMEOUT;
pub(crate) use self::acceptor::accept_all;
pub(crate) use self::driver::Drivers;
pub(crate) use self::handle::TcpConnection;
pub(crate) use self::handshake::{Channel, dial};
#[cfg(test)]
pub(crate) use self::handshake::{Garbage, spoil};
pub(crate) use self::stream::{TcpReceiver, TcpSender};

use crate::endpoint::CONNECTION_WINDOW;
use crate::lane::LANES;

/// How long the end of a connection may take to reach the other side.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// The streams that a peer may open in all: a lane is opened once, so is a control stream with
/// the answers to it, and the stream of the connection itself.
const INBOUND_STREAMS_MAX: usize = LANES as usize + 3;
/// How many bytes of a stream may be under way unread at first; the number is that of Yamux.
const WINDOW_FIRST: usize = 256 * 1024;
/// The streams of both sides together.
const STREAMS_MAX: usize = 2 * INBOUND_STREAMS_MAX;
/// The most bytes of a stream in one piece: what is urgent waits for no more of each other stream.
const PIECE_MAX: usize = 8 * 1024;
// Whoever does not read any of the streams must not be able to stop the others.
const _: () = assert!(STREAMS_MAX * WINDOW_FIRST <= CONNECTION_WINDOW as usize);

/// What a stream is for, as its first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Of the connection itself.
    Connection,
    /// The control stream, towards the side that accepted.
    Control,
    /// Its answers, towards the side that dialled and opened it.
    Answers,
    /// A lane.
    Data,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Connection, Self::Control, Self::Answers, Self::Data];

    const fn code(self) -> u8 {
        match self {
            Self::Connection => 0,
            Self::Control => 1,
            Self::Answers => 2,
            Self::Data => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code() == code)
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .set_max_num_streams(STREAMS_MAX)
        .set_max_connection_receive_window(Some(CONNECTION_WINDOW as usize))
        .set_read_after_close(true)
        .set_split_send_size(PIECE_MAX);
    config
}
