//! One UDP socket for any number of tenants, and at will one of TCP beside it: it dials members,
//! accepts them, and serves joins.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fieldmesh_model::TenantId;
use quinn::{AsyncUdpSocket, Runtime as _, TransportConfig, VarInt};
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::claim::ClaimConnection;
use crate::closed::{CloseCode, ClosedReason};
use crate::connection::{Connection, Side};
use crate::dial::{ByTcp, Call, DialError};
use crate::doorway::Doorway;
use crate::identity::{Identities, Identity, IdentityError, TenantIdentity};
use crate::join::JoinConnection;
use crate::lane;
use crate::tcp::{self, Drivers};
use crate::tls::{self, ALPN_CLAIM, ALPN_JOIN, ALPN_PEER};
use crate::wire::Wire;

/// How long dialling one address may take.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// How often a silent connection shows that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// After how much silence a connection is given up.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(IDLE_TIMEOUT_MILLIS as u64);
/// How long a handshake with somebody who connects may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest number of handshakes under way by one transport; for further ones the address that
/// has most of them makes room.
pub const HANDSHAKES_MAX: usize = 256;
/// Above this number of handshakes a client must first prove its address.
pub const HANDSHAKES_UNPROVEN_MAX: usize = 64;
/// The largest number of accepted connections that wait for [`Endpoint::accept`].
pub const INCOMING_WAITING_MAX: usize = 64;
/// How many bytes of one stream may be under way unread.
pub const STREAM_WINDOW: u32 = 1024 * 1024;
/// How many bytes of one connection may be under way unread.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

const IDLE_TIMEOUT_MILLIS: u32 = 20_000;
/// Only the side that dialled opens a control stream, and only one.
const CONTROL_STREAMS_MAX: u32 = 1;
/// One data stream a lane.
const DATA_STREAMS_MAX: u32 = lane::LANES as u32;
// Whoever does not read one of the streams must not be able to stop the others.
const _: () =
    assert!(STREAM_WINDOW * (DATA_STREAMS_MAX + CONTROL_STREAMS_MAX) <= CONNECTION_WINDOW);
/// How many free ports of UDP are tried for one that is free for TCP too.
const PORT_TRIES_MAX: u32 = 8;
/// Connections over TCP that wait for their handshake to begin.
const TCP_BACKLOG: i32 = 256;
const SOCKET_BUFFER_SIZE: usize = 2 * 1024 * 1024;
/// How long [`Endpoint::close`] waits for peers to hear of it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The sockets with everything on them; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    quic: quinn::Endpoint,
    identities: Arc<Identities>,
    transport: Arc<TransportConfig>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
    /// The connections over TCP.
    drivers: Arc<Drivers>,
    /// Where TCP is listened on.
    tcp: Option<SocketAddr>,
    /// Where TCP has led and QUIC has not; nothing where only QUIC is dialled.
    by_tcp: Option<ByTcp>,
    /// Ends with the last handle.
    _acceptors: JoinSet<()>,
}

/// Somebody who connected.
#[derive(Debug)]
pub enum Incoming {
    /// A device with a certificate of one of our tenants.
    Peer(Connection),
    /// A device that wants to join one of our tenants.
    Join(JoinConnection),
    /// Somebody who takes this relay into a tenant.
    Claim(ClaimConnection),
}

/// The socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is in use or not ours.
    #[error("cannot listen on {address}")]
    Socket {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The same of the address for TCP.
    #[error("cannot listen on TCP at {address}")]
    Tcp {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Where an endpoint listens on TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpPort {
    /// Nowhere; it still dials over TCP.
    #[default]
    Off,
    /// At the address of its UDP socket.
    Beside,
    /// At an address of its own.
    At(SocketAddr),
}

impl Endpoint {
    /// Opens a socket at `address`; port 0 takes a free one.
    ///
    /// `[::]` serves IPv4 too, and is replaced by `0.0.0.0` where there is no IPv6. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`BindError::Socket`] if the address is in use or not ours.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::bind_with(address, TcpPort::Off)
    }

    /// The same with a socket for TCP.
    ///
    /// # Errors
    ///
    /// [`BindError::Socket`] or [`BindError::Tcp`] if an address is in use or not ours.
    pub fn bind_with(address: SocketAddr, tcp: TcpPort) -> Result<Self, BindError> {
        let (socket, listener) = sockets(address, tcp)?;
        let config = quinn::EndpointConfig::default();
        Self::build(socket, address, config, Tcp { listener, by_tcp: Some(ByTcp::default()) })
    }

    /// An endpoint on a socket of any kind at `address`, which knows no TCP.
    #[cfg(test)]
    pub(crate) fn over(
        socket: Arc<dyn AsyncUdpSocket>,
        address: SocketAddr,
        config: quinn::EndpointConfig,
    ) -> Result<Self, BindError> {
        Self::build(socket, address, config, Tcp { listener: None, by_tcp: None })
    }

    fn build(
        socket: Arc<dyn AsyncUdpSocket>,
        address: SocketAddr,
        config: quinn::EndpointConfig,
        tcp: Tcp,
    ) -> Result<Self, BindError> {
        let identities = Arc::new(Identities::default());
        let transport = Arc::new(transport());
        let tls = tls::server_config(&identities)?;
        let mut server = tls::quic_server(tls.clone())?;
        server.transport_config(transport.clone());
        let runtime = Arc::new(quinn::TokioRuntime);
        let quic = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
            .map_err(|source| BindError::Socket { address, source })?;
        let (sender, incoming) = mpsc::channel(INCOMING_WAITING_MAX);
        let incoming = Mutex::new(incoming);
        let drivers = Drivers::new();
        let mut acceptors = JoinSet::new();
        acceptors.spawn(accept_all(quic.clone(), identities.clone(), sender.clone()));
        let mut bound = None;
        if let Some(listener) = tcp.listener {
            bound = listener.local_addr().ok();
            let (identities, drivers) = (identities.clone(), drivers.clone());
            acceptors.spawn(tcp::accept_all(listener, tls, identities, drivers, sender));
        }
        let shared = Shared {
            quic,
            identities,
            transport,
            incoming,
            drivers,
            tcp: bound,
            by_tcp: tcp.by_tcp,
            _acceptors: acceptors,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves and dials as a member of one more tenant; takes the place of an earlier identity in
    /// the same one.
    ///
    /// # Errors
    ///
    /// The [`IdentityError`] says what is wrong with the certificate or the key.
    pub fn add_identity(&self, identity: TenantIdentity) -> Result<(), IdentityError> {
        self.shared.identities.add(Identity::new(identity)?);
        Ok(())
    }

    /// Stops serving a tenant to newcomers; whether it was served. Connections stay.
    pub fn remove_identity(&self, tenant: &TenantId) -> bool {
        self.shared.identities.remove(tenant)
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.quic.local_addr()
    }

    /// The address at which it listens on TCP, if it does.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.shared.tcp
    }

    /// Moves to another socket; connections over QUIC migrate to it.
    ///
    /// # Errors
    ///
    /// [`BindError::Socket`] leaves everything as it was.
    pub fn rebind(&self, address: SocketAddr) -> Result<(), BindError> {
        let failed = |source| BindError::Socket { address, source };
        let socket = open_udp(address).and_then(|udp| quinn::TokioRuntime.wrap_udp_socket(udp));
        self.move_to(socket.map_err(failed)?).map_err(failed)
    }

    /// Moves to a socket of any kind.
    pub(crate) fn move_to(&self, socket: Arc<dyn AsyncUdpSocket>) -> io::Result<()> {
        self.shared.quic.rebind_abstract(socket)
    }

    /// Dials a member of `tenant` at `address`.
    ///
    /// Success means that the other side proved to be of the tenant. Whether it accepts this
    /// device shows at the first stream, see [`Connection::control`].
    ///
    /// # Errors
    ///
    /// The [`DialError`] says whether to try again: [`DialError::NoAnswer`] is worth it.
    pub async fn dial(
        &self,
        address: SocketAddr,
        tenant: TenantId,
    ) -> Result<Connection, DialError> {
        let tag = tenant.tag();
        let identity =
            self.shared.identities.of_tag(&tag).ok_or(DialError::NoIdentity { tenant })?;
        let config = tls::peer_config(&identity)
            .map_err(|error| DialError::Tls { detail: error.to_string() })?;
        let wire = self.connect(address, config, &tls::server_name(&tag)).await?;
        let ended = || DialError::Refused {
            address,
            reason: wire.close_reason().unwrap_or(ClosedReason::Here),
        };
        let certificate = wire.certificate();
        let name = certificate
            .and_then(|certificate| tls::certificate_name(&certificate))
            .ok_or_else(ended)?;
        Connection::new(wire.clone(), tenant, name.device, Side::Dialled).ok_or_else(ended)
    }

    /// The next one who connects; `None` once the endpoint is closed.
    ///
    /// Callers take turns; dropping the future loses nobody.
    pub async fn accept(&self) -> Option<Incoming> {
        self.shared.incoming.lock().await.recv().await
    }

    /// Ends every connection and waits a moment for the other sides to hear of it.
    pub async fn close(&self) {
        self.shared.quic.close(CloseCode::Shutdown.to_varint(), b"");
        let heard =
            async { tokio::join!(self.shared.quic.wait_idle(), self.shared.drivers.close()) };
        // Whoever does not answer finds out by its idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, heard).await;
    }

    /// Dials `address` by both transports at once, as after a dial that found only TCP.
    #[cfg(test)]
    pub(crate) fn expect_tcp(&self, address: SocketAddr) {
        let by_tcp = self.shared.by_tcp.iter();
        by_tcp.for_each(|by_tcp| by_tcp.note(address, crate::Transport::Tcp));
    }

    /// Whether the next dial of `address` would do so.
    #[cfg(test)]
    pub(crate) fn expects_tcp(&self, address: SocketAddr) -> bool {
        self.shared.by_tcp.as_ref().is_some_and(|by_tcp| by_tcp.contains(address))
    }

    /// A finished handshake with `address` under `config`, or why there is none.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        tls: Arc<ClientConfig>,
        server_name: &str,
    ) -> Result<Wire, DialError> {
        let mut config = tls::quic_client(tls.clone())
            .map_err(|error| DialError::Tls { detail: error.to_string() })?;
        config.transport_config(self.shared.transport.clone());
        let call = Call { address, tls, server_name };
        let quic = call.by_quic(&self.shared.quic, config);
        match &self.shared.by_tcp {
            Some(by_tcp) => call.by_either(quic, by_tcp, &self.shared.drivers).await,
            None => quic.await,
        }
    }
}

/// What an endpoint has of TCP.
struct Tcp {
    listener: Option<TcpListener>,
    by_tcp: Option<ByTcp>,
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MILLIS).into()))
        .max_concurrent_bidi_streams(VarInt::from_u32(CONTROL_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(DATA_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None);
    transport
}

/// The sockets of an endpoint; where both may have any port, they get the same one.
fn sockets(
    address: SocketAddr,
    tcp: TcpPort,
) -> Result<(Arc<dyn AsyncUdpSocket>, Option<TcpListener>), BindError> {
    let mut tries_left = if address.port() == 0 { PORT_TRIES_MAX } else { 1 };
    loop {
        let failed = |source| BindError::Socket { address, source };
        let udp = open_udp(address).map_err(failed)?;
        let at = match tcp {
            TcpPort::Off => None,
            TcpPort::Beside => Some(udp.local_addr().map_err(failed)?),
            TcpPort::At(address) => Some(address),
        };
        let listener =
            at.map(|at| open_tcp(at).map_err(|source| BindError::Tcp { address: at, source }));
        tries_left -= 1;
        match listener.transpose() {
            Ok(listener) => {
                let udp = quinn::TokioRuntime.wrap_udp_socket(udp).map_err(failed)?;
                return Ok((udp, listener));
            }
            // The next port that is free for UDP may be free for TCP too.
            Err(BindError::Tcp { source, .. })
                if tcp == TcpPort::Beside
                    && source.kind() == io::ErrorKind::AddrInUse
                    && tries_left > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn open_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    or_without_ipv6(address, |address| {
        let socket = open(address, Type::DGRAM, Protocol::UDP)?;
        // The system may grant less; slower is all that follows.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_SIZE);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_SIZE);
        socket.bind(&address.into())?;
        Ok(socket.into())
    })
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = or_without_ipv6(address, |address| {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        // Connections of an earlier run that are closing must not keep the port from this one.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(TCP_BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(std::net::TcpListener::from(socket))
    });
    TcpListener::from_std(listener?)
}

fn or_without_ipv6<T>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match open(address) {
        // Hosts without IPv6 refuse its sockets in more than one way.
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            debug!(%error, "no IPv6 here");
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        opened => opened,
    }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    Ok(socket)
}

/// Shakes hands with everybody who connects, many at a time, until the endpoint closes.
async fn accept_all(
    quic: quinn::Endpoint,
    identities: Arc<Identities>,
    accepted: mpsc::Sender<Incoming>,
) {
    let doorway = Arc::new(Doorway::default());
    let mut handshakes = JoinSet::new();
    while let Some(incoming) = quic.accept().await {
        while handshakes.try_join_next().is_some() {}
        let is_proven = incoming.remote_address_validated();
        if doorway.count() >= HANDSHAKES_UNPROVEN_MAX && !is_proven && incoming.may_retry() {
            // Whoever cannot hear us does not come again.
            let _ = incoming.retry();
            continue;
        }
        let from = incoming.remote_address();
        let Some(mut place) = doorway.enter_if_fair(from.ip()) else {
            // It comes again.
            incoming.ignore();
            continue;
        };
        let (identities, accepted) = (identities.clone(), accepted.clone());
        handshakes.spawn(async move {
            let let_in = async {
                match timeout(HANDSHAKE_TIMEOUT, shake_hands(incoming, &identities)).await {
                    Ok(Ok(newcomer)) => {
                        // Nobody accepts any more when the endpoint is gone.
                        let _ = accepted.send(newcomer).await;
                    }
                    Ok(Err(reason)) => debug!(%from, %reason, "handshake refused"),
                    Err(_) => debug!(%from, "handshake timed out"),
                }
            };
            // Dropping the connection ends it.
            tokio::select! {
                () = let_in => {}
                () = place.is_taken() => debug!(%from, "a handshake made room for another"),
            }
        });
    }
}

async fn shake_hands(
    incoming: quinn::Incoming,
    identities: &Identities,
) -> Result<Incoming, ClosedReason> {
    let quic = incoming.await?;
    let handshake = quic
        .handshake_data()
        .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    let introduction = handshake.map_or_else(Introduction::default, |handshake| Introduction {
        server_name: handshake.server_name,
        protocol: handshake.protocol,
    });
    judge(&Wire::Quic(quic), &introduction, identities)
}

/// What somebody who connected has asked for.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    pub(crate) server_name: Option<String>,
    pub(crate) protocol: Option<Vec<u8>>,
}

/// Who somebody is whose handshake is over; whoever is nobody is cut off.
pub(crate) fn judge(
    wire: &Wire,
    introduction: &Introduction,
    identities: &Identities,
) -> Result<Incoming, ClosedReason> {
    let refuse = |code: CloseCode| {
        wire.close(code, "");
        ClosedReason::Here
    };
    let name = introduction.server_name.as_deref();
    let Some(identity) = name.and_then(|name| identities.of_server_name(name)) else {
        return Err(refuse(CloseCode::OtherTenant));
    };
    match introduction.protocol.as_deref() {
        Some(ALPN_JOIN) => {
            let join = JoinConnection::new(wire.clone(), identity.tenant);
            join.map(Incoming::Join).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        Some(ALPN_CLAIM) => {
            let claim = ClaimConnection::new(wire.clone(), identity.tenant);
            claim.map(Incoming::Claim).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        Some(ALPN_PEER) => {
            let Some(certificate) = wire.certificate() else {
                return Err(refuse(CloseCode::NoCertificate));
            };
            let name = tls::certificate_name(&certificate);
            // The verifier went by the tenant in the certificate; the server name must agree.
            let Some(name) = name.filter(|name| name.tenant == identity.tenant) else {
                return Err(refuse(CloseCode::OtherTenant));
            };
            let peer = Connection::new(wire.clone(), identity.tenant, name.device, Side::Accepted);
            peer.map(Incoming::Peer).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        _ => Err(refuse(CloseCode::Protocol)),
    }
}
