//! How somebody is reached: by QUIC, and where that gets no answer by TCP beside it.
//!
//! QUIC has a head start. Where TCP was needed before, both begin at once, and QUIC is still
//! preferred when it answers about as soon: so nobody waits for UDP that is blocked, and a device
//! goes back to QUIC as soon as it gets through.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fieldmesh_model::TenantId;
use quinn::{ConnectError, ConnectionError};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::closed::ClosedReason;
use crate::endpoint::DIAL_TIMEOUT;
use crate::tcp::{self, Drivers};
use crate::transport::Transport;
use crate::wire::Wire;

/// How long QUIC is given before TCP is tried beside it.
pub const HEAD_START: Duration = Duration::from_secs(2);
/// How long QUIC is waited for at most after TCP has answered, where both began at once.
pub const GRACE_MAX: Duration = Duration::from_millis(250);
/// The largest number of addresses of which it is known that only TCP leads there.
pub const BY_TCP_MAX: usize = 1_024;

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
    /// Neither transport led there.
    #[error("{quic}, nor over TCP: {tcp}")]
    NoWay {
        /// Why QUIC did not.
        quic: Box<DialError>,
        /// Why TCP did not.
        tcp: String,
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

impl DialError {
    /// Whether it comes from here, so that the other transport must fail the same way.
    const fn is_own(&self) -> bool {
        match self {
            Self::NoIdentity { .. } | Self::Closed | Self::Tls { .. } => true,
            Self::Refused { .. }
            | Self::NoAnswer { .. }
            | Self::Address { .. }
            | Self::NoWay { .. } => false,
        }
    }

    /// Whether somebody has answered, and said who it is or what is wrong with this device.
    const fn is_verdict(&self) -> bool {
        match self {
            Self::Refused { reason, .. } => reason.is_verdict(),
            other => other.is_own(),
        }
    }
}

/// Addresses to which TCP led where QUIC did not.
#[derive(Debug, Default)]
pub(crate) struct ByTcp {
    addresses: Mutex<BTreeSet<SocketAddr>>,
}

impl ByTcp {
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.addresses().contains(&address)
    }

    /// Remembers what has led to `address`.
    pub(crate) fn note(&self, address: SocketAddr, transport: Transport) {
        let mut addresses = self.addresses();
        match transport {
            Transport::Quic => {
                addresses.remove(&address);
            }
            Transport::Tcp => {
                if addresses.len() >= BY_TCP_MAX {
                    // Whichever it is costs its next dial a head start, no more.
                    addresses.pop_first();
                }
                addresses.insert(address);
            }
        }
    }

    fn addresses(&self) -> MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody to be dialled.
pub(crate) struct Call<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) server_name: &'a str,
}

impl Call<'_> {
    /// Reaches whoever is called by QUIC alone.
    pub(crate) async fn by_quic(
        &self,
        quic: &quinn::Endpoint,
        config: quinn::ClientConfig,
    ) -> Result<Wire, DialError> {
        let address = self.address;
        let connecting = quic
            .connect_with(config, address, self.server_name)
            .map_err(|error| not_dialled(address, &error))?;
        match timeout(DIAL_TIMEOUT, connecting).await {
            Err(_) | Ok(Err(ConnectionError::TimedOut)) => Err(DialError::NoAnswer { address }),
            Ok(Err(error)) => Err(DialError::Refused { address, reason: error.into() }),
            Ok(Ok(connection)) => Ok(Wire::Quic(connection)),
        }
    }

    /// Reaches whoever is called by QUIC, or by TCP where that leads nowhere.
    pub(crate) async fn by_either(
        &self,
        quic: impl Future<Output = Result<Wire, DialError>>,
        by_tcp: &ByTcp,
        drivers: &Arc<Drivers>,
    ) -> Result<Wire, DialError> {
        let began = Instant::now();
        let tcp = async {
            let dial = tcp::dial(self.address, self.tls.clone(), self.server_name, drivers);
            match timeout_at(began + DIAL_TIMEOUT, dial).await {
                Err(_) => Err(ClosedReason::TimedOut),
                Ok(shaken) => shaken.map(|shaken| Wire::Tcp(shaken.connection)),
            }
        };
        let is_by_tcp = by_tcp.contains(self.address);
        let head_start = if is_by_tcp { Duration::ZERO } else { HEAD_START };
        let reached = race(self.address, quic, tcp, head_start).await?;
        by_tcp.note(self.address, reached.transport());
        if reached.transport() == Transport::Tcp {
            debug!(address = %self.address, "reached over TCP, because UDP gets no answer");
        }
        Ok(reached)
    }
}

/// Lets two transports try; the one that is not needed is dropped.
///
/// What ends a handshake of QUIC is not proof of anything: its first packets are sealed with keys
/// that everybody on the way can compute. So a refusal counts only where TCP fails too, and never
/// against a connection over TCP, which has proven by then who is there.
async fn race<W>(
    address: SocketAddr,
    quic: impl Future<Output = Result<W, DialError>>,
    tcp: impl Future<Output = Result<W, ClosedReason>>,
    head_start: Duration,
) -> Result<W, DialError> {
    let (mut quic, mut tcp) = (pin!(quic), pin!(tcp));
    let ahead = timeout(head_start, &mut quic).await;
    let began = Instant::now();
    let first = match ahead {
        Ok(reached) => First::Quic(reached),
        Err(_) => tokio::select! {
            biased;
            reached = &mut quic => First::Quic(reached),
            reached = &mut tcp => First::Tcp(reached),
        },
    };
    match first {
        First::Quic(Ok(wire)) => Ok(wire),
        First::Quic(Err(error)) if error.is_own() => Err(error),
        First::Quic(Err(error)) => tcp.await.map_err(|reason| neither(address, error, reason)),
        First::Tcp(Err(reason)) => quic.await.map_err(|error| neither(address, error, reason)),
        First::Tcp(Ok(wire)) if head_start > Duration::ZERO => Ok(wire),
        First::Tcp(Ok(wire)) => {
            let by_quic = timeout(began.elapsed().min(GRACE_MAX), quic).await;
            Ok(by_quic.ok().and_then(Result::ok).unwrap_or(wire))
        }
    }
}

/// What came of the transport that was done first.
enum First<W> {
    Quic(Result<W, DialError>),
    Tcp(Result<W, ClosedReason>),
}

/// What is said where neither transport leads there: who answers at all says more than silence.
fn neither(address: SocketAddr, quic: DialError, tcp: ClosedReason) -> DialError {
    if quic.is_verdict() {
        return quic;
    }
    if tcp.is_verdict() {
        return DialError::Refused { address, reason: tcp };
    }
    let tcp = match tcp {
        ClosedReason::TimedOut => "no answer".into(),
        ClosedReason::Lost { detail } => detail,
        other => other.to_string(),
    };
    DialError::NoWay { quic: Box::new(quic), tcp }
}

fn not_dialled(address: SocketAddr, error: &ConnectError) -> DialError {
    match error {
        ConnectError::EndpointStopping => DialError::Closed,
        other => DialError::Address { address, detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        ([192, 0, 2, 7], 7843).into()
    }

    fn refused(reason: ClosedReason) -> DialError {
        DialError::Refused { address: address(), reason }
    }

    /// What comes of a dial whose transports fail so, each after so many seconds.
    async fn fails(quic: (u64, DialError), tcp: (u64, ClosedReason)) -> DialError {
        let quic = async {
            tokio::time::sleep(Duration::from_secs(quic.0)).await;
            Err::<Transport, _>(quic.1)
        };
        let tcp = async {
            tokio::time::sleep(Duration::from_secs(tcp.0)).await;
            Err(tcp.1)
        };
        race(address(), quic, tcp, HEAD_START).await.unwrap_err()
    }

    fn gone(detail: &str) -> ClosedReason {
        ClosedReason::Lost { detail: detail.into() }
    }

    /// What leads there, where TCP gets through; each after so many milliseconds.
    async fn reaches(
        quic: (u64, Result<Transport, DialError>),
        tcp: u64,
        head_start: Duration,
    ) -> Transport {
        let quic = async {
            tokio::time::sleep(Duration::from_millis(quic.0)).await;
            quic.1
        };
        let tcp = async {
            tokio::time::sleep(Duration::from_millis(tcp)).await;
            Ok(Transport::Tcp)
        };
        race(address(), quic, tcp, head_start).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_on_the_way_ends_a_dial_with_a_forged_refusal() {
        for reason in [
            ClosedReason::CertificateRefused,
            ClosedReason::Impostor,
            ClosedReason::TenantNotServed,
            ClosedReason::OtherProtocol,
        ] {
            let forged = || Err(refused(reason.clone()));
            // In the head start, beside TCP, and in the time that QUIC is given after it.
            assert_eq!(reaches((1_000, forged()), 3_000, HEAD_START).await, Transport::Tcp);
            assert_eq!(reaches((3_000, forged()), 4_000, HEAD_START).await, Transport::Tcp);
            assert_eq!(reaches((1_000, forged()), 1_500, Duration::ZERO).await, Transport::Tcp);
            assert_eq!(reaches((1_100, forged()), 1_000, Duration::ZERO).await, Transport::Tcp);
        }
        let own = fails((0, DialError::Closed), (0, gone("refused"))).await;
        assert_eq!(own, DialError::Closed, "a closed endpoint dials by nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn quic_is_preferred_where_both_answer_at_about_the_same_time() {
        for (quic, expected) in [(1_200, Transport::Quic), (1_300, Transport::Tcp)] {
            let reached = reaches((quic, Ok(Transport::Quic)), 1_000, Duration::ZERO).await;
            assert_eq!(reached, expected, "QUIC after {quic} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_peer_says_of_who_it_is_is_told_where_tcp_fails_too() {
        let began = Instant::now();
        let error = refused(ClosedReason::CertificateRefused);
        assert_eq!(fails((1, error.clone()), (1, gone("refused"))).await, error);
        assert_eq!(began.elapsed(), Duration::from_secs(2), "TCP began when QUIC had failed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_by_either_transport_says_more_than_silence() {
        let silence = || DialError::NoAnswer { address: address() };
        let error = fails((8, silence()), (1, ClosedReason::Impostor)).await;
        assert_eq!(error, refused(ClosedReason::Impostor));
        let verdict = refused(ClosedReason::TenantNotServed);
        let error = fails((3, verdict.clone()), (0, ClosedReason::Impostor)).await;
        assert_eq!(error, verdict, "what QUIC says comes first");
    }

    #[tokio::test(start_paused = true)]
    async fn two_failures_are_told_in_words_of_both() {
        let began = Instant::now();
        let unreachable = DialError::Address { address: address(), detail: "no route".into() };
        let error = fails((0, unreachable), (1, gone("it refuses"))).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1), "TCP began when QUIC had failed");
        let words =
            "192.0.2.7:7843 cannot be reached from here: no route, nor over TCP: it refuses";
        assert_eq!(error.to_string(), words);
        let error =
            fails((8, DialError::NoAnswer { address: address() }), (6, ClosedReason::TimedOut));
        assert!(error.await.to_string().ends_with("nor over TCP: no answer"));
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let by_tcp = ByTcp::default();
        for port in 0..2_000 {
            by_tcp.note(([192, 0, 2, 7], port).into(), Transport::Tcp);
        }
        assert_eq!(by_tcp.addresses().len(), BY_TCP_MAX);
        by_tcp.note(([192, 0, 2, 7], 1_999).into(), Transport::Quic);
        assert!(!by_tcp.contains(([192, 0, 2, 7], 1_999).into()));
    }
}
