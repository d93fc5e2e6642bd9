//! A connection between two members of one tenant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fieldmesh_model::{DeviceId, TenantId};
use tokio::sync::Mutex;

use crate::closed::{CloseCode, ClosedReason};
use crate::lane::{self, Arrivals, LaneError};
use crate::stream::{Receiver, Sender};

const CHANNEL_LABEL: &[u8] = b"fieldmesh/channel/1";

/// Which side opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This one.
    Dialled,
    /// The other one.
    Accepted,
}

/// A connection to a device whose certificate the tenant's authority signed.
///
/// Clones are handles to the same connection; it closes when the last one and its streams are
/// dropped. Whether the device is a member still is for the policy to say.
#[derive(Debug, Clone)]
pub struct Connection {
    quic: quinn::Connection,
    tenant: TenantId,
    peer: DeviceId,
    side: Side,
    channel_key: [u8; 32],
    arrivals: Arc<Mutex<Arrivals>>,
}

/// What a connection has carried, and how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// UDP payload bytes sent, everything included.
    pub bytes_sent: u64,
    /// UDP payload bytes received, everything included.
    pub bytes_received: u64,
    /// Packets that were lost.
    pub packets_lost: u64,
    /// The present estimate of a round trip.
    pub round_trip: Duration,
}

impl Connection {
    /// `None` if the connection ended before the handshake was over.
    pub(crate) fn new(
        quic: quinn::Connection,
        tenant: TenantId,
        peer: DeviceId,
        side: Side,
    ) -> Option<Self> {
        let mut channel_key = [0; 32];
        quic.export_keying_material(&mut channel_key, CHANNEL_LABEL, &[]).ok()?;
        let arrivals = Arc::default();
        Some(Self { quic, tenant, peer, side, channel_key, arrivals })
    }

    /// The device at the other end.
    pub const fn peer(&self) -> DeviceId {
        self.peer
    }

    /// The tenant that both belong to.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which side opened it.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// A key that only the two ends of this connection know.
    pub const fn channel_key(&self) -> [u8; 32] {
        self.channel_key
    }

    /// Where the peer is at present; changes when it moves to another network.
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.quic.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The one control stream of the connection, to be called once on each side.
    ///
    /// The side that dialled opens it and must write first: the other side learns of it by its
    /// first bytes. A refusal of this device's certificate shows here and not in dialling,
    /// because the handshake of TLS 1.3 is over for the client before the server has judged.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended.
    pub async fn control(&self) -> Result<(Sender, Receiver), ClosedReason> {
        let (sender, receiver) = match self.side {
            Side::Dialled => self.quic.open_bi().await?,
            Side::Accepted => self.quic.accept_bi().await?,
        };
        let sender = Sender::new(sender);
        sender.set_priority(lane::PRIORITY_CONTROL);
        Ok((sender, Receiver::new(receiver)))
    }

    /// Opens the data stream of a lane, to be called once for each code below
    /// [`LANES`](crate::lane::LANES).
    ///
    /// The byte that names the lane is written, and the stream goes before those of higher codes
    /// and after the control stream. The other side learns of it by that byte.
    ///
    /// # Errors
    ///
    /// [`LaneError::Unknown`] for a code that is none, else why the connection ended.
    pub async fn open_lane(&self, code: u8) -> Result<Sender, LaneError> {
        lane::open(&self.quic, code).await
    }

    /// The next lane that the other side has opened: its code, and its stream behind the byte that
    /// names it.
    ///
    /// Callers take turns; dropping the future loses no stream. A peer that opens a lane that there
    /// is not, or one twice, is cut off.
    ///
    /// # Errors
    ///
    /// Any error but [`LaneError::Stream`] means that the connection is over.
    pub async fn accept_lane(&self) -> Result<(u8, Receiver), LaneError> {
        self.arrivals.lock().await.next(&self.quic).await
    }

    /// Opens a stream for data whose writer names the lane itself; the other side learns of it by
    /// its first bytes.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended.
    #[cfg(test)]
    pub(crate) async fn open_data(&self) -> Result<Sender, ClosedReason> {
        Ok(Sender::new(self.quic.open_uni().await?))
    }

    /// The next stream for data that the other side has opened, the byte that names its lane
    /// included.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended.
    #[cfg(test)]
    pub(crate) async fn accept_data(&self) -> Result<Receiver, ClosedReason> {
        Ok(Receiver::new(self.quic.accept_uni().await?))
    }

    /// Ends the connection at once; what was written and not yet received is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.quic.close(code.to_varint(), reason.as_bytes());
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> ClosedReason {
        self.quic.closed().await.into()
    }

    /// Why the connection ended, if it has.
    pub fn close_reason(&self) -> Option<ClosedReason> {
        self.quic.close_reason().map(ClosedReason::from)
    }

    /// What the connection has carried.
    pub fn stats(&self) -> ConnectionStats {
        let stats = self.quic.stats();
        ConnectionStats {
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            round_trip: self.quic.rtt(),
        }
    }
}
