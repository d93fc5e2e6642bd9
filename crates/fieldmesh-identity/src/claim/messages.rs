//! What is said over the line of a claim, before and after the join.

use std::fmt;

use fieldmesh_model::DeviceId;
use serde::{Deserialize, Serialize};

use super::ClaimSecret;
use crate::enrol::JOIN_REQUEST_MAX;
use crate::invitation::INVITATION_TEXT_MAX;
use crate::{JoinRequest, statement};

/// The largest encoded [`ClaimOffer`].
pub const CLAIM_OFFER_MAX: usize = INVITATION_TEXT_MAX + 64;
/// The largest encoded [`ClaimReply`].
pub const CLAIM_REPLY_MAX: usize = JOIN_REQUEST_MAX + 64;

/// What whoever dials with a claim says first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimOffer {
    /// The claim's secret.
    pub secret: ClaimSecret,
    /// The invitation by which the relay is to join.
    pub invitation: String,
}

/// What the relay answers, to the offer and again to the grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimReply {
    /// It asks to join; a [`crate::JoinAnswer`] is to follow.
    Request(Box<JoinRequest>),
    /// It serves the tenant as this device.
    Member(DeviceId),
    /// It does not.
    Refused(ClaimRefusal),
}

/// Why a relay does not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimRefusal {
    /// There is no such claim.
    #[error("the relay knows no such claim; it may have been revoked. Ask for a new one")]
    Unknown,
    /// Another tenant has used it.
    #[error("the claim has been used already; ask for a new one")]
    Used,
    /// The claim is no longer valid.
    #[error("the claim has expired; ask for a new one")]
    Expired,
    /// The relay is in the tenant, by something else than this claim.
    #[error("the relay serves this tenant already; name its address with `relay add ADDR`")]
    Served,
    /// The invitation cannot be read or is not for a relay.
    #[error("the relay cannot use what this device offers; update the older of the two programs")]
    Invitation,
    /// The relay has too much to do.
    #[error("the relay is asked too often at the moment; try again in a minute")]
    Busy,
    /// The relay failed.
    #[error("the relay could not make the tenant; its log says why. Try again when that is mended")]
    Failed,
    /// Another tenant there is called like this one.
    #[error(
        "the relay serves a tenant that is called like this one already, and its users could end \
         up with the wrong one; ask its operator, or take another relay"
    )]
    Named,
}

impl fmt::Debug for ClaimOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimOffer(..)")
    }
}

impl ClaimOffer {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        statement::encode(self)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > CLAIM_OFFER_MAX { None } else { statement::decode(bytes) }
    }
}

impl ClaimReply {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        statement::encode(self)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > CLAIM_REPLY_MAX { None } else { statement::decode(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_the_messages_never_change() {
        let offer = ClaimOffer {
            secret: ClaimSecret::from_bytes([7; 16]),
            invitation: "fieldmesh1a".into(),
        };
        let bytes = [&[7; 16][..], &[11], b"fieldmesh1a"].concat();
        assert_eq!(offer.encode(), bytes);
        assert_eq!(ClaimOffer::decode(&bytes), Some(offer));
        let member = ClaimReply::Member(DeviceId::from_bytes([9; 32]));
        assert_eq!(member.encode(), [&[1][..], &[9; 32]].concat());
        for (number, refusal) in [
            (0, ClaimRefusal::Unknown),
            (1, ClaimRefusal::Used),
            (2, ClaimRefusal::Expired),
            (3, ClaimRefusal::Served),
            (4, ClaimRefusal::Invitation),
            (5, ClaimRefusal::Busy),
            (6, ClaimRefusal::Failed),
            (7, ClaimRefusal::Named),
        ] {
            let reply = ClaimReply::Refused(refusal);
            assert_eq!(reply.encode(), [2, number]);
            assert_eq!(ClaimReply::decode(&[2, number]), Some(reply));
        }
        assert_eq!(ClaimReply::decode(&[2, 8]), None);
        assert_eq!(ClaimOffer::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(ClaimOffer::decode(&vec![b'a'; CLAIM_OFFER_MAX + 1]), None);
    }

    #[test]
    fn an_offer_is_not_printed() {
        let secret = ClaimSecret::from_bytes([7; 16]);
        let offer = ClaimOffer { secret, invitation: "fieldmesh1a".into() };
        assert_eq!(format!("{offer:?}"), "ClaimOffer(..)");
    }
}
