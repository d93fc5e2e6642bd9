//! Tenant authority, certificates, policy items and their evaluation, permission rules, enrolment.
//!
//! Everything here is a pure function of its arguments: seeds, nonces and moments come from the
//! caller. Nothing touches a socket, a disk or a clock; `fieldmesh-net` carries these bytes.

pub mod access;
pub mod admission;
mod armour;
pub mod claim;
pub mod enrol;
pub mod founding;
pub mod invitation;
pub mod item;
pub mod keys;
pub mod permission;
pub mod policy;
pub mod statement;
pub mod x509;

pub use access::Access;
pub use admission::{Admission, admit};
pub use claim::{
    Claim, ClaimBook, ClaimDesk, ClaimId, ClaimOffer, ClaimRefusal, ClaimReply, ClaimSecret,
    ClaimState, Taken,
};
pub use enrol::{
    Grant, Granted, InvitationBook, JoinAnswer, JoinRefusal, JoinRequest, Permit, Usage,
};
pub use founding::{EnrolError, Founding, found};
pub use invitation::{Invitation, InvitationId, JoinSecret};
pub use item::{Item, ItemError, ItemPlace};
pub use keys::{Authority, DeviceKeys, RecoveryKey, Seed, Signer};
pub use policy::{
    COLLECTIONS_PER_SIGNER_MAX, DEFINITIONS_PER_SIGNER_MAX, ITEMS_MAX, ITEMS_PER_MEMBER_MAX,
    Member, Policy, Purged, Rank, Refusal, SCHEMA_BYTES_PER_SIGNER_MAX, SignedAddress,
    SignedSchema, Standing, Unheard,
};
pub use statement::{
    Adoption, Certificate, ChainHead, Cut, Genesis, HEADS_PER_ITEM_MAX, LEAVES_PER_ITEM_MAX, Pin,
    Purge, REASON_LENGTH_MAX, RelayAddress, Revocation, RoleChange, SCHEMA_PART_SIZE_MAX,
    SCHEMA_PARTS_MAX, SchemaPart, Statement,
};
