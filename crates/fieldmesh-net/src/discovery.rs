//! Finding devices of one's own tenants nearby, whatever the means.
//!
//! [`Neighbourhood`] is where one looks: a network with multicast ([`crate::Interfaces`]) or a
//! [`crate::Room`] in memory. Remembered addresses are no means of their own but a book
//! ([`crate::Remembered`]): they name devices, which no announcement does.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;

use fieldmesh_model::TenantId;
use tokio::sync::mpsc;

/// The largest number of tenants that one device announces.
pub const TENANTS_ANNOUNCED_MAX: usize = 64;

/// The size of a [`TenantMark`].
pub const MARK_SIZE: usize = 8;

/// What tells a member, and nobody else, that a device belongs to its tenant.
///
/// It depends on the instance's name too, so that two devices of a tenant show different marks
/// and one device shows a new one each time it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TenantMark([u8; MARK_SIZE]);

/// The name of one announcement on the network; random, it says nothing about the device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(String);

/// What a device tells the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The UDP port on which it accepts connections.
    pub port: u16,
    /// The tenants it serves, of which only marks are shown.
    pub tenants: Vec<TenantId>,
}

/// What a device hears from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A device of our tenants is there; repeated when its addresses change.
    Found {
        /// Its announcement.
        instance: Instance,
        /// The tenants that it shares with us.
        tenants: Vec<TenantId>,
        /// Where it accepts connections, the most promising first.
        addresses: Vec<SocketAddr>,
    },
    /// It is there no longer.
    Lost {
        /// Its announcement.
        instance: Instance,
    },
    /// Nothing can be found by this means, or not on some interface.
    Unavailable {
        /// Why, for a person.
        reason: String,
    },
}

/// A means of finding devices nearby.
///
/// Nothing here fails: where it does not work it says so by [`Sighting::Unavailable`], and
/// remembered addresses and invitations have to do.
pub trait Discovery: Send + Sync {
    /// Announces this device and looks for others of the same tenants; takes the place of an
    /// earlier announcement.
    fn announce(&self, announcement: &Announcement);

    /// Asks whether an instance is still there, as after a failed dial; the answer is a
    /// [`Sighting::Lost`] or silence.
    fn verify(&self, instance: &Instance);

    /// Takes the announcement back; the future waits a moment for others to hear of it.
    fn withdraw(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Where devices can find each other.
pub trait Neighbourhood: fmt::Debug + Send + Sync {
    /// Begins to listen; what is heard comes out of the receiver, until the other half is dropped.
    ///
    /// `nonce` is drawn at random by the caller and becomes the name of the announcement. Needs a
    /// tokio runtime.
    fn listen(&self, nonce: [u8; 8]) -> (Box<dyn Discovery>, mpsc::Receiver<Sighting>);
}

impl Instance {
    /// Wraps a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TenantMark {
    /// The mark of `tenant` in the announcement `instance`.
    pub fn of(tenant: &TenantId, instance: &Instance) -> Self {
        let key = blake3::derive_key("fieldmesh/discovery-mark/1", tenant.as_bytes());
        let hash = blake3::keyed_hash(&key, instance.as_str().as_bytes());
        let mut mark = [0; MARK_SIZE];
        mark.copy_from_slice(&hash.as_bytes()[..MARK_SIZE]);
        Self(mark)
    }

    /// Reads bytes that were announced.
    pub const fn from_bytes(bytes: [u8; MARK_SIZE]) -> Self {
        Self(bytes)
    }

    /// The bytes to announce.
    pub const fn as_bytes(&self) -> &[u8; MARK_SIZE] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_one_tenant_differ_from_instance_to_instance() {
        let (ours, theirs) = (TenantId::from_bytes([1; 32]), TenantId::from_bytes([2; 32]));
        let (first, second) = (Instance::new("first"), Instance::new("second"));
        assert_eq!(TenantMark::of(&ours, &first), TenantMark::of(&ours, &first));
        assert_ne!(TenantMark::of(&ours, &first), TenantMark::of(&ours, &second));
        assert_ne!(TenantMark::of(&ours, &first), TenantMark::of(&theirs, &first));
    }
}
