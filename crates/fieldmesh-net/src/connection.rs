//! A connection between two members of one tenant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fieldmesh_model::{DeviceId, TenantId};
use tokio::sync::Mutex;

use crate::closed::{CloseCode, ClosedReason};
use crate::lane::{self, Arrivals, LaneError};
use crate::stream::{Receiver, Sender};
use crate::tcp::Channel;
use crate::transport::Transport;
use crate::wire::Wire;

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
    wire: Wire,
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
    /// Bytes sent, everything included but the headers of UDP or TCP.
    pub bytes_sent: u64,
    /// Bytes received, counted in the same way.
    pub bytes_received: u64,
    /// Packets that were lost; over TCP nobody says.
    pub packets_lost: u64,
    /// The present estimate of a round trip.
    pub round_trip: Duration,
}

impl Connection {
    /// `None` if the connection ended before the handshake was over.
    pub(crate) fn new(wire: Wire, tenant: TenantId, peer: DeviceId, side: Side) -> Option<Self> {
        let channel_key = wire.key(Channel::Peer)?;
        let arrivals = Arc::default();
        Some(Self { wire, tenant, peer, side, channel_key, arrivals })
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

    /// What it travels over.
    pub const fn transport(&self) -> Transport {
        self.wire.transport()
    }

    /// A key that only the two ends of this connection know.
    pub const fn channel_key(&self) -> [u8; 32] {
        self.channel_key
    }

    /// Where the peer is at present; over QUIC it changes when it moves to another network.
    pub fn remote_address(&self) -> SocketAddr {
        self.wire.remote_address()
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
            Side::Dialled => self.wire.open_control().await?,
            Side::Accepted => self.wire.accept_control().await?,
        };
        sender.set_priority(lane::PRIORITY_CONTROL);
        Ok((sender, receiver))
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
        lane::open(&self.wire, code).await
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
        self.arrivals.lock().await.next(&self.wire).await
    }

    /// Opens a stream for data whose writer names the lane itself; the other side learns of it by
    /// its first bytes.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended.
    #[cfg(test)]
    pub(crate) async fn open_data(&self) -> Result<Sender, ClosedReason> {
        self.wire.open_data().await
    }

    /// The next stream for data that the other side has opened, the byte that names its lane
    /// included.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended.
    #[cfg(test)]
    pub(crate) async fn accept_data(&self) -> Result<Receiver, ClosedReason> {
        self.wire.accept_data().await
    }

    /// Ends the connection at once; what was written and not yet received is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.wire.close(code, reason);
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> ClosedReason {
        self.wire.closed().await
    }

    /// Why the connection ended, if it has.
    pub fn close_reason(&self) -> Option<ClosedReason> {
        self.wire.close_reason()
    }

    /// What the connection has carried.
    pub fn stats(&self) -> ConnectionStats {
        self.wire.stats()
    }
}
