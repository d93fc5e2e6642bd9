//! A claim: one line of text by which a relay is taken into a tenant.
//!
//! The relay prints it, and whoever holds the tenant's authority dials the relay with it, so that
//! nobody but the relay needs an open port. The relay proves the key that the claim names, by TLS.
//! Whoever dials proves the secret by saying it over that channel; the relay keeps a hash of it
//! alone. Then the relay joins as any device does, on a line that was opened from the other end.

mod book;
mod messages;

use std::fmt;
use std::str::FromStr;

use fieldmesh_model::{Moment, Role, TenantId};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::book::{CLAIMS_MAX, ClaimBook, ClaimFull, ClaimState, IssuedClaim, Taken};
pub use self::messages::{CLAIM_OFFER_MAX, CLAIM_REPLY_MAX, ClaimOffer, ClaimRefusal, ClaimReply};
use crate::armour::{Armour, Fault};
use crate::invitation::{ADDRESS_LENGTH_MAX, INVITATION_ADDRESSES_MAX};
use crate::statement;
use crate::{Authority, DeviceKeys, EnrolError, Seed, x509};

const TEXT: Armour = Armour { prefix: "fieldmeshclaim", context: "fieldmesh/claim-checksum/1" };

/// The one-time secret of a claim; wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct ClaimSecret([u8; 16]);

/// The public name of a claim: a hash of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimId([u8; 8]);

/// Everything that is needed to take a relay into a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The public key that the relay proves to whoever dials it with a claim.
    pub relay: [u8; 32],
    /// The one-time secret.
    pub secret: ClaimSecret,
    /// Until when it can be used.
    pub expires: Moment,
    /// Where devices reach the relay: `host:port`, tried in order.
    pub addresses: Vec<String>,
    /// As what it asks to be taken in: [`Role::Relay`] or [`Role::Gateway`].
    // Not said where it is the former, so that programs that know of no other read the text. To them
    // any other is damage that a newer program made, and they say so.
    #[serde(skip_serializing_if = "forwards_only", deserialize_with = "last_role")]
    pub role: Role,
}

/// What a relay is to those who dial it with a claim: an authority of its own, so that TLS proves
/// its key as it does that of any member.
#[derive(Debug, Clone)]
pub struct ClaimDesk {
    /// Under which connections name it.
    pub tenant: TenantId,
    /// The public key that claims name.
    pub authority: [u8; 32],
    /// The certificate for TLS (DER).
    pub chain: Vec<Vec<u8>>,
    /// Its keys.
    pub keys: DeviceKeys,
}

/// A text that is no usable claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The text is something else.
    #[error("this is no claim; a claim begins with {}1", TEXT.prefix)]
    NotAClaim,
    /// The text began as a claim but letters are missing or changed.
    #[error("the claim is damaged; copy it again from its first to its last letter")]
    Damaged,
    /// The claim was made by a newer program.
    #[error("the claim was made by a newer version of sync-relay; update this device")]
    NewerVersion,
}

impl ClaimSecret {
    /// Wraps bytes that the caller drew at random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The public name of the claim with this secret.
    pub fn id(&self) -> ClaimId {
        let hash = blake3::derive_key("fieldmesh/claim-id/1", &self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        ClaimId(id)
    }

    /// What a relay keeps of it.
    fn hash(&self) -> blake3::Hash {
        // Hashes compare in constant time.
        blake3::Hash::from_bytes(blake3::derive_key("fieldmesh/claim-secret/1", &self.0))
    }
}

impl fmt::Debug for ClaimSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimSecret(..)")
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl Claim {
    /// Whether `text` means to be a claim, whole or not, and not an address.
    pub fn is_meant(text: &str) -> bool {
        TEXT.is_meant(text)
    }

    /// Under which the connections with it name the relay.
    pub fn desk(&self) -> TenantId {
        desk_of(&self.relay)
    }

    /// The claim as one line, to be sent or printed.
    pub fn to_text(&self) -> String {
        TEXT.write(statement::encode(self))
    }

    fn is_clean(&self) -> bool {
        let is_address = |a: &String| statement::is_clean(a, 1, ADDRESS_LENGTH_MAX);
        self.addresses.len() <= INVITATION_ADDRESSES_MAX
            && self.addresses.iter().all(is_address)
            && self.role.is_relay()
    }
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let bytes = TEXT.read(text).map_err(|fault| match fault {
            Fault::Other => ClaimError::NotAClaim,
            Fault::Damaged => ClaimError::Damaged,
            Fault::Newer => ClaimError::NewerVersion,
        })?;
        statement::decode::<Self>(&bytes).filter(Self::is_clean).ok_or(ClaimError::NewerVersion)
    }
}

impl ClaimDesk {
    /// The desk of the relay whose secret `seed` is.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Certificate`] does not happen.
    pub fn new(seed: &Seed) -> Result<Self, EnrolError> {
        let derived = |context| Seed::from_bytes(blake3::derive_key(context, seed.expose()));
        let authority = Authority::from_seed(&derived("fieldmesh/claim-authority/1"));
        let keys = DeviceKeys::from_seed(&derived("fieldmesh/claim-device/1"));
        let tenant = desk_of(&authority.public_key());
        let chain = vec![x509::device_certificate(&authority, tenant, &keys.public_key())?];
        Ok(Self { tenant, authority: authority.public_key(), chain, keys })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn forwards_only(role: &Role) -> bool {
    *role == Role::Relay
}

/// The role at the end of a claim, where there is one. What is no role there is noticed: it is not
/// what this claim would be written as.
fn last_role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    Ok(Role::deserialize(deserializer).unwrap_or(Role::Relay))
}

fn desk_of(relay: &[u8; 32]) -> TenantId {
    TenantId::from_bytes(blake3::derive_key("fieldmesh/claim-desk/1", relay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            relay: [2; 32],
            secret: ClaimSecret::from_bytes([3; 16]),
            expires: Moment::from_millis(1_800_000_000_000),
            addresses: vec!["relay.example.org:7843".into()],
            role: Role::Relay,
        }
    }

    fn for_a_gateway() -> Claim {
        Claim { role: Role::Gateway, ..claim() }
    }

    #[test]
    fn the_text_of_a_claim_never_changes() {
        assert_eq!(claim().to_text(), include_str!("claim/golden.txt").trim());
        assert_eq!(for_a_gateway().to_text(), include_str!("claim/golden_gateway.txt").trim());
    }

    #[test]
    fn a_program_that_knows_of_no_gateways_reads_the_others_and_asks_to_be_updated() {
        #[derive(PartialEq, Eq, Serialize, Deserialize)]
        struct Older {
            relay: [u8; 32],
            secret: ClaimSecret,
            expires: Moment,
            addresses: Vec<String>,
        }
        let is_read = |claim: Claim| {
            statement::decode::<Older>(&TEXT.read(&claim.to_text()).unwrap()).is_some()
        };
        assert!(is_read(claim()));
        assert!(!is_read(for_a_gateway()), "which it says by ClaimError::NewerVersion");
    }

    #[test]
    fn a_claim_is_for_a_relay_or_a_gateway_and_nothing_else() {
        assert_eq!(for_a_gateway().to_text().parse(), Ok(for_a_gateway()));
        let whole = statement::encode(&claim());
        for last in [&[0][..], &[5], &[7], &[9], &[0xff], &[8, 0], &[8, 8]] {
            let text = TEXT.write([&whole[..], last].concat());
            assert_eq!(text.parse::<Claim>(), Err(ClaimError::NewerVersion), "{last:?}");
        }
    }

    #[test]
    fn a_claim_survives_its_text_and_a_careless_paste() {
        let text = claim().to_text();
        assert_eq!(text.parse(), Ok(claim()));
        let (first, second) = text.split_at(70);
        let pasted = format!("  \"{}\r\n  {second}\"\n", first.to_uppercase());
        for cut in 0..12 {
            assert!(Claim::is_meant(&pasted[..pasted.len() - cut]), "{cut}");
        }
        assert!(Claim::is_meant(&pasted) && !Claim::is_meant("relay.example.org"));
        assert_eq!(pasted.parse(), Ok(claim()));
    }

    #[test]
    fn every_changed_letter_and_every_cut_is_noticed() {
        let text = claim().to_text();
        for at in TEXT.prefix.len() + 1..text.len() {
            let mut letters = text.clone().into_bytes();
            letters[at] = if letters[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(letters).unwrap();
            assert_eq!(changed.parse::<Claim>(), Err(ClaimError::Damaged), "{at}");
            assert_eq!(text[..at].parse::<Claim>(), Err(ClaimError::Damaged), "{at}");
        }
    }

    #[test]
    fn a_claim_is_told_from_an_invitation_and_a_newer_one() {
        let read = |text: &str| text.parse::<Claim>();
        for text in ["", "fieldmesh1abc", "relay.example.org", &"x".repeat(100_000)] {
            assert_eq!(read(text), Err(ClaimError::NotAClaim));
        }
        assert_eq!(read("fieldmeshclaim2abc"), Err(ClaimError::NewerVersion));
        let invitation = claim().to_text().parse::<crate::Invitation>();
        assert_eq!(invitation, Err(crate::invitation::InvitationError::NotAnInvitation));
        let crowded = Claim { addresses: vec!["a".into(); 17], ..claim() };
        assert_eq!(read(&crowded.to_text()), Err(ClaimError::NewerVersion));
    }

    #[test]
    fn the_secret_is_not_printed_and_the_desk_is_the_same_each_time() {
        assert_eq!(format!("{:?}", claim().secret), "ClaimSecret(..)");
        let desk = |byte| ClaimDesk::new(&Seed::from_bytes([byte; 32])).unwrap();
        assert_eq!((desk(1).authority, desk(1).chain), (desk(1).authority, desk(1).chain));
        assert_ne!(desk(1).tenant, desk(2).tenant);
        let of_desk = Claim { relay: desk(1).authority, ..claim() };
        assert_eq!(of_desk.desk(), desk(1).tenant);
    }
}
