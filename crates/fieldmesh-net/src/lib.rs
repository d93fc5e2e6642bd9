//! QUIC with mutual TLS (quinn, rustls), the same over TCP, and discovery (mDNS, remembered
//! addresses).
//!
//! An [`Endpoint`] is one UDP socket for any number of tenants, and where it is asked for a TCP
//! socket beside it, for devices in networks that let no UDP through. It dials and accepts
//! [`Connection`]s between members and serves joins; what travels on the streams is for the
//! session to say. Whether a certificate's device is a member is for the policy to say: here it
//! is only known that the tenant's authority signed it.

pub mod address;
pub mod backoff;
pub mod claim;
pub mod closed;
pub mod connection;
pub mod dial;
pub mod discovery;
mod doorway;
pub mod endpoint;
pub mod identity;
pub mod join;
pub mod lane;
pub mod mdns;
pub mod remembered;
pub mod room;
pub mod stream;
mod tcp;
mod tls;
pub mod transport;
mod wire;

pub use backoff::Backoff;
pub use claim::{ClaimConnection, ClaimLine};
pub use closed::{CloseCode, ClosedReason};
pub use connection::{Connection, ConnectionStats, Side};
pub use dial::DialError;
pub use discovery::{Announcement, Discovery, Instance, Neighbourhood, Sighting, TenantMark};
pub use endpoint::{BindError, Endpoint, Incoming, TcpPort};
pub use identity::{IdentityError, TenantIdentity};
pub use join::{JoinConnection, JoinError};
pub use lane::LaneError;
pub use mdns::{Interfaces, Mdns};
pub use remembered::Remembered;
pub use room::Room;
pub use stream::{Receiver, Sender, StreamError};
pub use transport::Transport;

#[cfg(test)]
mod tests;
