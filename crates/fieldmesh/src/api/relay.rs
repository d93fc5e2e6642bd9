//! Where the tenant's relays are: what is asked, and what is known of each address.

use fieldmesh_identity::Claim;
use fieldmesh_model::{DeviceId, Moment, Role};
use serde::{Deserialize, Serialize};

/// An address of a relay that every device of the tenant is to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelayOptions {
    /// Where: a host or an address, with or without a port; or the claim of a relay.
    pub address: String,
    /// The relay that answers there: its name, its id, or an ending of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Believe so without dialling it; the relay has to be named then.
    #[serde(default)]
    pub unchecked: bool,
    /// Let the relay of the claim read the tenant's records, and write for people who log in at it;
    /// a claim that asks for that is of no use without, and any other with it.
    #[serde(default, skip_serializing_if = "is_not_said")]
    pub gateway: bool,
}

impl RelayOptions {
    /// Whether the address is the claim of a relay that asks to be a gateway.
    pub fn asks_for_gateway(&self) -> bool {
        self.address.parse::<Claim>().is_ok_and(|claim| claim.role == Role::Gateway)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_not_said(gateway: &bool) -> bool {
    !*gateway
}

/// An address of a relay as this device knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayReport {
    /// Where.
    pub address: String,
    /// The relay.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// How this device reaches it.
    pub state: RelayState,
    /// Who signed the address, in words.
    pub by: String,
    /// Since when, by the clock of whoever signed it.
    pub since: Moment,
    /// When this device was last in step with it at that address.
    pub last_in_step: Option<Moment>,
    /// Why it could not be reached, or what it said at the last try, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whose address it was until it was signed for this relay, in words; told when it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// How this device reaches a relay at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayState {
    /// There is a connection with it that this device has dialled at the address.
    Connected,
    /// The last try failed, or another device answers there.
    Unreachable,
    /// It was reached there before.
    Reached,
    /// This device has not been in step with it there.
    Untried,
    /// Devices do not dial it by themselves: there are too many, or it is written as no address is.
    NotDialled,
    /// It is this device.
    Own,
    /// What has the address is no relay of the tenant any more, so nobody dials it.
    NoRelay,
}

impl RelayState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Unreachable => "unreachable",
            Self::Reached => "reached",
            Self::Untried => "untried",
            Self::NotDialled => "not-dialled",
            Self::Own => "own",
            Self::NoRelay => "no-relay",
        }
    }
}
