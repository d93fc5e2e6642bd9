//! From a socket to a connection: TLS, and what it found out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::driver::Drivers;
use super::handle::{Found, TcpConnection};
use super::pipe::{Meter, Metered, Pipe};
use crate::closed::ClosedReason;

/// How many bytes wait in the socket before they are sent: what is urgent waits behind them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = super::PIECE_MAX as u32;

/// How long whoever was refused may take to go.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes of it are read meanwhile.
const DRAINED_MAX: usize = 64 * 1_024;

/// What a connection is for; each has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Between members.
    Peer,
    /// For a device that joins.
    Join,
}

impl Channel {
    /// The label under which its key is exported from TLS.
    pub(crate) const fn label(self) -> &'static [u8] {
        match self {
            Self::Peer => b"fieldmesh/channel/1",
            Self::Join => b"fieldmesh/join/1",
        }
    }
}

/// The keys that were exported.
#[derive(Debug)]
pub(super) struct ChannelKeys {
    peer: [u8; 32],
    join: [u8; 32],
}

impl ChannelKeys {
    fn export(tls: &TlsStream<Metered>) -> Result<Self, rustls::Error> {
        let key = |channel: Channel| {
            let label = channel.label();
            match tls {
                TlsStream::Client(tls) => {
                    tls.get_ref().1.export_keying_material([0; 32], label, Some(&[]))
                }
                TlsStream::Server(tls) => {
                    tls.get_ref().1.export_keying_material([0; 32], label, Some(&[]))
                }
            }
        };
        Ok(Self { peer: key(Channel::Peer)?, join: key(Channel::Join)? })
    }

    pub(super) const fn of(&self, channel: Channel) -> [u8; 32] {
        match channel {
            Channel::Peer => self.peer,
            Channel::Join => self.join,
        }
    }
}

/// A connection whose TLS is up, and what the one who dialled has asked for.
#[derive(Debug)]
pub(crate) struct Shaken {
    pub(crate) connection: TcpConnection,
    pub(crate) server_name: Option<String>,
    pub(crate) protocol: Option<Vec<u8>>,
}

/// Connects to `address` and shakes hands.
pub(crate) async fn dial(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    server_name: &str,
    drivers: &Arc<Drivers>,
) -> Result<Shaken, ClosedReason> {
    let socket = TcpStream::connect(address).await.map_err(|error| ClosedReason::of_io(&error))?;
    let expected = config.alpn_protocols.first().cloned();
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| ClosedReason::Lost { detail: "the tenant's name is malformed".into() })?;
    let (socket, meter) = metered(socket);
    let tls = TlsConnector::from(config).connect(name, socket).await;
    let tls = tls.map_err(|error| ClosedReason::of_io(&error))?;
    let shaken = shaken(TlsStream::Client(tls), meter, address, drivers)?;
    if shaken.protocol != expected {
        return Err(ClosedReason::OtherProtocol);
    }
    Ok(shaken)
}

/// Shakes hands with somebody who has connected.
pub(super) async fn accept(
    socket: TcpStream,
    remote: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    drivers: &Arc<Drivers>,
) -> Result<Shaken, ClosedReason> {
    let (socket, meter) = metered(socket);
    let tls = match TlsAcceptor::from(config).accept(socket).into_fallible().await {
        Ok(tls) => tls,
        Err((error, mut socket)) => {
            // Whoever does not go finds out by the end of the socket.
            let _ = timeout(DRAIN_TIMEOUT, drain(&mut socket)).await;
            return Err(ClosedReason::of_io(&error));
        }
    };
    shaken(TlsStream::Server(tls), meter, remote, drivers)
}

/// Says that nothing follows, and reads what is still coming: a socket that is closed over unread
/// bytes would take back the alert that says what was wrong.
async fn drain(socket: &mut Metered) -> io::Result<()> {
    socket.shutdown().await?;
    let mut scrap = [0; 1_024];
    for _ in 0..DRAINED_MAX / scrap.len() {
        if socket.read(&mut scrap).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Shakes hands as a member and spoils the connection then.
#[cfg(test)]
pub(crate) async fn spoil(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    server_name: &str,
    garbage: Garbage,
) {
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let mut tls = TlsConnector::from(config).connect(name, socket).await.unwrap();
    // Errors are what the other side answers with.
    let _ = tls.write_all(&garbage.bytes()).await;
    let _ = tls.flush().await;
    let mut scrap = Vec::new();
    let _ = tls.read_to_end(&mut scrap).await;
}

/// What breaks the protocol of streams.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// No frames at all.
    Noise,
    /// Frames that open more and more streams.
    Streams,
    /// A stream of the connection that makes no sense.
    Words,
    /// A stream that is for nothing.
    Purposes,
    /// A lane in so many small frames that they cost far more memory than its window.
    Crumbs,
}

#[cfg(test)]
impl Garbage {
    pub(crate) const ALL: [Self; 5] =
        [Self::Noise, Self::Streams, Self::Words, Self::Purposes, Self::Crumbs];

    fn bytes(self) -> Vec<u8> {
        /// A frame of Yamux that opens a stream with some data.
        fn opened(stream: u32, data: &[u8]) -> Vec<u8> {
            let size = u32::try_from(data.len()).unwrap();
            [&[0, 0, 0, 1], &stream.to_be_bytes()[..], &size.to_be_bytes(), data].concat()
        }
        match self {
            Self::Noise => vec![0x55; 4_096],
            Self::Streams => (0..1_000).flat_map(|at| opened(2 * at + 1, &[])).collect(),
            Self::Words => opened(1, &[0, 0xff]),
            Self::Purposes => opened(1, &[9]),
            Self::Crumbs => {
                let crumb = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7];
                // The window would take 256 Ki of them.
                [opened(1, &[3]), crumb.repeat(100_000)].concat()
            }
        }
    }
}

fn metered(socket: TcpStream) -> (Metered, Arc<Meter>) {
    // Slower is all that follows where the system does not know one of these.
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_MAX);
    let meter = Arc::new(Meter::new());
    (Metered::new(socket, Arc::clone(&meter)), meter)
}

fn shaken(
    tls: TlsStream<Metered>,
    meter: Arc<Meter>,
    remote: SocketAddr,
    drivers: &Arc<Drivers>,
) -> Result<Shaken, ClosedReason> {
    let of_tls = |error| ClosedReason::of_io(&io::Error::other(error));
    let keys = ChannelKeys::export(&tls).map_err(of_tls)?;
    let (server_name, mode) = match &tls {
        TlsStream::Client(_) => (None, yamux::Mode::Client),
        TlsStream::Server(tls) => {
            (tls.get_ref().1.server_name().map(str::to_owned), yamux::Mode::Server)
        }
    };
    let common = tls.get_ref().1;
    let protocol = common.alpn_protocol().map(<[u8]>::to_vec);
    let certificates = common
        .peer_certificates()
        .map(|chain| chain.iter().map(|certificate| certificate.clone().into_owned()).collect());
    let found = Found { remote, certificates, keys };
    let connection = drivers.drive(Pipe::new(tls), mode, meter, found);
    Ok(Shaken { connection, server_name, protocol })
}
