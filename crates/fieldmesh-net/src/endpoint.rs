//! One UDP socket for any number of tenants: it dials members, accepts them, and serves joins.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fieldmesh_model::TenantId;
use quinn::{AsyncUdpSocket, ConnectError, Runtime as _, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::claim::ClaimConnection;
use crate::closed::{CloseCode, ClosedReason};
use crate::connection::{Connection, Side};
use crate::identity::{Identities, Identity, IdentityError, TenantIdentity};
use crate::join::JoinConnection;
use crate::lane;
use crate::tls::{self, ALPN_CLAIM, ALPN_JOIN, ALPN_PEER};

/// How long dialling one address may take.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// How often a silent connection shows that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// After how much silence a connection is given up.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(IDLE_TIMEOUT_MILLIS as u64);
/// How long a handshake with somebody who connects may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest number of handshakes under way; further ones are ignored and come again.
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
const SOCKET_BUFFER_SIZE: usize = 2 * 1024 * 1024;
/// How long [`Endpoint::close`] waits for peers to hear of it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// One UDP socket with everything on it; clones are handles to the same one.
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
    /// Ends with the last handle.
    _acceptor: JoinSet<()>,
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
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// A connection that did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// This endpoint has no identity in the tenant.
    #[error("this device has no certificate for tenant {tenant}")]
    NoIdentity {
        /// The tenant.
        tenant: TenantId,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer within {} s", DIAL_TIMEOUT.as_secs())]
    NoAnswer {
        /// Who was dialled.
        address: SocketAddr,
    },
    /// The address cannot be reached from this socket.
    #[error("{address} cannot be reached from here: {detail}")]
    Address {
        /// Who was dialled.
        address: SocketAddr,
        /// Why not.
        detail: String,
    },
    /// The other side or this one ended the handshake.
    #[error("{address} answered, but no connection came about")]
    Refused {
        /// Who was dialled.
        address: SocketAddr,
        /// Why.
        #[source]
        reason: ClosedReason,
    },
    /// The endpoint is closed.
    #[error("this endpoint is closed")]
    Closed,
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {detail}")]
    Tls {
        /// What the TLS library says.
        detail: String,
    },
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
        let socket =
            open_socket(address).map_err(|source| BindError::Socket { address, source })?;
        Self::over(socket, address, quinn::EndpointConfig::default())
    }

    /// An endpoint on a socket of any kind at `address`.
    pub(crate) fn over(
        socket: Arc<dyn AsyncUdpSocket>,
        address: SocketAddr,
        config: quinn::EndpointConfig,
    ) -> Result<Self, BindError> {
        let identities = Arc::new(Identities::default());
        let transport = Arc::new(transport());
        let mut server = tls::server_config(&identities)?;
        server.transport_config(transport.clone());
        let runtime = Arc::new(quinn::TokioRuntime);
        let quic = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
            .map_err(|source| BindError::Socket { address, source })?;
        let (sender, incoming) = mpsc::channel(INCOMING_WAITING_MAX);
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept_all(quic.clone(), identities.clone(), sender));
        let incoming = Mutex::new(incoming);
        let shared = Shared { quic, identities, transport, incoming, _acceptor: acceptor };
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

    /// Moves to another socket; connections migrate to it.
    ///
    /// # Errors
    ///
    /// [`BindError::Socket`] leaves everything as it was.
    pub fn rebind(&self, address: SocketAddr) -> Result<(), BindError> {
        let failed = |source| BindError::Socket { address, source };
        self.move_to(open_socket(address).map_err(failed)?).map_err(failed)
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
        let quic = self.connect(address, config, &tls::server_name(&tag)).await?;
        let ended = || DialError::Refused {
            address,
            reason: quic.close_reason().map_or(ClosedReason::Here, ClosedReason::from),
        };
        let name = peer_certificate(&quic)
            .and_then(|chain| tls::certificate_name(chain.first()?))
            .ok_or_else(ended)?;
        Connection::new(quic.clone(), tenant, name.device, Side::Dialled).ok_or_else(ended)
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
        // Whoever does not answer finds out by its idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, self.shared.quic.wait_idle()).await;
    }

    /// A finished handshake with `address` under `config`, or why there is none.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        mut config: quinn::ClientConfig,
        server_name: &str,
    ) -> Result<quinn::Connection, DialError> {
        config.transport_config(self.shared.transport.clone());
        let connecting = self
            .shared
            .quic
            .connect_with(config, address, server_name)
            .map_err(|error| not_dialled(address, &error))?;
        match timeout(DIAL_TIMEOUT, connecting).await {
            Err(_) | Ok(Err(quinn::ConnectionError::TimedOut)) => {
                Err(DialError::NoAnswer { address })
            }
            Ok(Err(error)) => Err(DialError::Refused { address, reason: error.into() }),
            Ok(Ok(connection)) => Ok(connection),
        }
    }
}

fn not_dialled(address: SocketAddr, error: &ConnectError) -> DialError {
    match error {
        ConnectError::EndpointStopping => DialError::Closed,
        other => DialError::Address { address, detail: other.to_string() },
    }
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

fn open_socket(address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let opened = match open_exactly(address) {
        // Hosts without IPv6 refuse its sockets in more than one way.
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            debug!(%error, "no IPv6 here");
            open_exactly(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        opened => opened,
    };
    quinn::TokioRuntime.wrap_udp_socket(opened?)
}

fn open_exactly(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    // The system may grant less; slower is all that follows.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_SIZE);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_SIZE);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Shakes hands with everybody who connects, many at a time, until the endpoint closes.
async fn accept_all(
    quic: quinn::Endpoint,
    identities: Arc<Identities>,
    accepted: mpsc::Sender<Incoming>,
) {
    let mut handshakes = JoinSet::new();
    while let Some(incoming) = quic.accept().await {
        while handshakes.try_join_next().is_some() {}
        if handshakes.len() >= HANDSHAKES_MAX {
            incoming.ignore();
        } else if handshakes.len() >= HANDSHAKES_UNPROVEN_MAX
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            // Whoever cannot hear us does not come again.
            let _ = incoming.retry();
        } else {
            let (identities, accepted) = (identities.clone(), accepted.clone());
            handshakes.spawn(async move {
                let from = incoming.remote_address();
                match timeout(HANDSHAKE_TIMEOUT, shake_hands(incoming, &identities)).await {
                    Ok(Ok(newcomer)) => {
                        // Nobody accepts any more when the endpoint is gone.
                        let _ = accepted.send(newcomer).await;
                    }
                    Ok(Err(reason)) => debug!(%from, %reason, "handshake refused"),
                    Err(_) => debug!(%from, "handshake timed out"),
                }
            });
        }
    }
}

async fn shake_hands(
    incoming: quinn::Incoming,
    identities: &Identities,
) -> Result<Incoming, ClosedReason> {
    let quic = incoming.await?;
    let refuse = |code: CloseCode| {
        quic.close(code.to_varint(), b"");
        ClosedReason::Here
    };
    let handshake = quic
        .handshake_data()
        .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    let Some(handshake) = handshake else { return Err(refuse(CloseCode::Protocol)) };
    let identity = handshake.server_name.and_then(|name| identities.of_server_name(&name));
    let Some(identity) = identity else { return Err(refuse(CloseCode::OtherTenant)) };
    match handshake.protocol.as_deref() {
        Some(ALPN_JOIN) => {
            let join = JoinConnection::new(quic.clone(), identity.tenant);
            join.map(Incoming::Join).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        Some(ALPN_CLAIM) => {
            let claim = ClaimConnection::new(quic.clone(), identity.tenant);
            claim.map(Incoming::Claim).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        Some(ALPN_PEER) => {
            let Some(chain) = peer_certificate(&quic) else {
                return Err(refuse(CloseCode::NoCertificate));
            };
            let name = chain.first().and_then(tls::certificate_name);
            // The verifier went by the tenant in the certificate; the server name must agree.
            let Some(name) = name.filter(|name| name.tenant == identity.tenant) else {
                return Err(refuse(CloseCode::OtherTenant));
            };
            let peer = Connection::new(quic.clone(), identity.tenant, name.device, Side::Accepted);
            peer.map(Incoming::Peer).ok_or_else(|| refuse(CloseCode::Protocol))
        }
        _ => Err(refuse(CloseCode::Protocol)),
    }
}

fn peer_certificate(quic: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    quic.peer_identity()?.downcast().ok().map(|chain| *chain)
}
