//! What is under a connection: QUIC, or the same over TCP.

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;

use crate::closed::{CloseCode, ClosedReason};
use crate::connection::ConnectionStats;
use crate::stream::{Receiver, Sender};
use crate::tcp::{Channel, TcpConnection};
use crate::transport::Transport;

/// What is under a connection; clones are handles to the same one.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    Quic(quinn::Connection),
    Tcp(TcpConnection),
}

impl Wire {
    pub(crate) const fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tcp(_) => Transport::Tcp,
        }
    }

    /// The first certificate that the other side has shown.
    pub(crate) fn certificate(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::Quic(quic) => {
                let chain = quic.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>();
                chain.ok()?.into_iter().next()
            }
            Self::Tcp(tcp) => tcp.certificates()?.first().cloned(),
        }
    }

    /// A key that only the two ends know; `None` if the connection ended before there was one.
    pub(crate) fn key(&self, channel: Channel) -> Option<[u8; 32]> {
        match self {
            Self::Quic(quic) => {
                let mut key = [0; 32];
                quic.export_keying_material(&mut key, channel.label(), &[]).ok()?;
                Some(key)
            }
            Self::Tcp(tcp) => Some(tcp.key(channel)),
        }
    }

    /// Where the other side is.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        let address = match self {
            Self::Quic(quic) => quic.remote_address(),
            Self::Tcp(tcp) => tcp.remote_address(),
        };
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Opens the stream that goes both ways.
    pub(crate) async fn open_control(&self) -> Result<(Sender, Receiver), ClosedReason> {
        match self {
            Self::Quic(quic) => {
                let (sender, receiver) = quic.open_bi().await?;
                Ok((Sender::from(sender), Receiver::from(receiver)))
            }
            Self::Tcp(tcp) => {
                let (sender, receiver) = tcp.open_control().await?;
                Ok((Sender::from(sender), Receiver::from(receiver)))
            }
        }
    }

    /// Waits for the one that the other side opens.
    pub(crate) async fn accept_control(&self) -> Result<(Sender, Receiver), ClosedReason> {
        match self {
            Self::Quic(quic) => {
                let (sender, receiver) = quic.accept_bi().await?;
                Ok((Sender::from(sender), Receiver::from(receiver)))
            }
            Self::Tcp(tcp) => {
                let (sender, receiver) = tcp.accept_control().await?;
                Ok((Sender::from(sender), Receiver::from(receiver)))
            }
        }
    }

    /// Opens a stream for data.
    pub(crate) async fn open_data(&self) -> Result<Sender, ClosedReason> {
        match self {
            Self::Quic(quic) => Ok(Sender::from(quic.open_uni().await?)),
            Self::Tcp(tcp) => Ok(Sender::from(tcp.open_data().await?)),
        }
    }

    /// The next one that the other side opens.
    pub(crate) async fn accept_data(&self) -> Result<Receiver, ClosedReason> {
        match self {
            Self::Quic(quic) => Ok(Receiver::from(quic.accept_uni().await?)),
            Self::Tcp(tcp) => Ok(Receiver::from(tcp.accept_data().await?)),
        }
    }

    /// Ends it at once.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Self::Quic(quic) => quic.close(code.to_varint(), reason.as_bytes()),
            Self::Tcp(tcp) => tcp.close(code, reason),
        }
    }

    /// Waits for its end.
    pub(crate) async fn closed(&self) -> ClosedReason {
        match self {
            Self::Quic(quic) => quic.closed().await.into(),
            Self::Tcp(tcp) => tcp.closed().await,
        }
    }

    /// Why it ended, if it has.
    pub(crate) fn close_reason(&self) -> Option<ClosedReason> {
        match self {
            Self::Quic(quic) => quic.close_reason().map(ClosedReason::from),
            Self::Tcp(tcp) => tcp.close_reason(),
        }
    }

    /// What it has carried.
    pub(crate) fn stats(&self) -> ConnectionStats {
        match self {
            Self::Quic(quic) => {
                let stats = quic.stats();
                ConnectionStats {
                    bytes_sent: stats.udp_tx.bytes,
                    bytes_received: stats.udp_rx.bytes,
                    packets_lost: stats.path.lost_packets,
                    round_trip: quic.rtt(),
                }
            }
            Self::Tcp(tcp) => tcp.stats(),
        }
    }
}
