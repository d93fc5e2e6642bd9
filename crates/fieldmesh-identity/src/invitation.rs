//! An invitation: one line of text with everything that a new device needs to join.
//!
//! It begins with `fieldmesh1`.

use std::fmt;
use std::str::FromStr;

use fieldmesh_model::{Moment, Role, TenantId, TenantTag};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::armour::{self, Armour, Fault};
use crate::statement::{self, EMAIL_LENGTH_MAX, NAME_LENGTH_MAX};

/// The longest text of an invitation.
pub const INVITATION_TEXT_MAX: usize = armour::TEXT_MAX;
/// The largest number of addresses in an invitation.
pub const INVITATION_ADDRESSES_MAX: usize = 16;
/// The longest address in an invitation.
pub const ADDRESS_LENGTH_MAX: usize = 260;

const TEXT: Armour = Armour { prefix: "fieldmesh", context: "fieldmesh/invitation-checksum/1" };

/// The one-time secret of an invitation; wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct JoinSecret([u8; 16]);

/// The public name of an invitation: a hash of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvitationId([u8; 8]);

/// Everything that a new device needs to join a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The tenant.
    pub tenant: TenantId,
    /// The public key of the tenant's authority; whoever serves the invitation proves it.
    pub authority: [u8; 32],
    /// The one-time secret.
    pub secret: JoinSecret,
    /// Until when it can be used.
    pub expires: Moment,
    /// The role that it gives.
    pub role: Role,
    /// The tenant's name, to show before joining.
    pub tenant_name: String,
    /// The e-mail address of the invited person; empty if open.
    pub email: String,
    /// Where it is served: `host:port`, tried in order.
    pub addresses: Vec<String>,
}

/// A text that is no usable invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// The text is something else.
    #[error("this is no invitation; an invitation begins with {}1", TEXT.prefix)]
    NotAnInvitation,
    /// The text began as an invitation but letters are missing or changed.
    #[error("the invitation is damaged; copy it again from its first to its last letter")]
    Damaged,
    /// The invitation was made by a newer program.
    #[error("the invitation was made by a newer version of fieldmesh; update this device")]
    NewerVersion,
}

impl JoinSecret {
    /// Wraps bytes that the caller drew at random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, for storing them encrypted.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The public name of the invitation with this secret.
    pub fn invitation(&self) -> InvitationId {
        let hash = blake3::derive_key("fieldmesh/invitation-id/1", &self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        InvitationId(id)
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

impl InvitationId {
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl Invitation {
    /// The public name of the invitation.
    pub fn id(&self) -> InvitationId {
        self.secret.invitation()
    }

    /// The tag under which connections name the tenant.
    pub fn tag(&self) -> TenantTag {
        self.tenant.tag()
    }

    /// The invitation as one line, to be sent, printed or shown as a QR code.
    pub fn to_text(&self) -> String {
        TEXT.write(statement::encode(self))
    }

    fn is_clean(&self) -> bool {
        statement::is_clean(&self.tenant_name, 1, NAME_LENGTH_MAX)
            && statement::is_clean(&self.email, 0, EMAIL_LENGTH_MAX)
            && self.addresses.len() <= INVITATION_ADDRESSES_MAX
            && self.addresses.iter().all(|a| statement::is_clean(a, 1, ADDRESS_LENGTH_MAX))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let bytes = TEXT.read(text).map_err(|fault| match fault {
            Fault::Other => InvitationError::NotAnInvitation,
            Fault::Damaged => InvitationError::Damaged,
            Fault::Newer => InvitationError::NewerVersion,
        })?;
        statement::decode::<Self>(&bytes)
            .filter(Self::is_clean)
            .ok_or(InvitationError::NewerVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            tenant: TenantId::from_bytes([1; 32]),
            authority: [2; 32],
            secret: JoinSecret::from_bytes([3; 16]),
            expires: Moment::from_millis(1_800_000_000_000),
            role: Role::Operator,
            tenant_name: "Gulf Crew".into(),
            email: "ana@example.org".into(),
            addresses: vec!["192.0.2.7:7843".into(), "[2001:db8::1]:7843".into()],
        }
    }

    #[test]
    fn the_text_of_an_invitation_never_changes() {
        assert_eq!(invitation().to_text(), include_str!("invitation/golden.txt").trim());
    }

    #[test]
    fn an_invitation_survives_its_text_and_a_careless_paste() {
        let text = invitation().to_text();
        assert_eq!(text.parse(), Ok(invitation()));
        let (first, second) = text.split_at(70);
        let pasted = format!("  \"{}\r\n  {second}\"\n", first.to_uppercase());
        assert_eq!(pasted.parse(), Ok(invitation()));
    }

    #[test]
    fn every_changed_letter_and_every_cut_is_noticed() {
        let text = invitation().to_text();
        for at in TEXT.prefix.len() + 1..text.len() {
            let mut letters = text.clone().into_bytes();
            letters[at] = if letters[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(letters).unwrap();
            assert_eq!(changed.parse::<Invitation>(), Err(InvitationError::Damaged), "{at}");
            assert_eq!(text[..at].parse::<Invitation>(), Err(InvitationError::Damaged), "{at}");
        }
    }

    #[test]
    fn a_text_that_is_no_invitation_is_told_from_a_newer_one() {
        let read = |text: &str| text.parse::<Invitation>();
        assert_eq!(read(""), Err(InvitationError::NotAnInvitation));
        assert_eq!(read("https://example.org"), Err(InvitationError::NotAnInvitation));
        assert_eq!(read(&"x".repeat(100_000)), Err(InvitationError::NotAnInvitation));
        assert_eq!(read("fieldmesh2abc"), Err(InvitationError::NewerVersion));
        assert_eq!(read("fieldmesh"), Err(InvitationError::NotAnInvitation));
    }

    #[test]
    fn the_secret_is_not_printed() {
        let secret = JoinSecret::from_bytes([0xab; 16]);
        assert_eq!(format!("{secret:?}"), "JoinSecret(..)");
    }
}
