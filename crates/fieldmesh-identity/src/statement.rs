//! What a policy item says.
//!
//! A statement that this version does not understand is kept as it came and does not count, so
//! that replicas of different versions hold the same items.

use std::collections::BTreeSet;

use fieldmesh_model::schema::is_plain;
use fieldmesh_model::{BatchId, DeviceId, DocumentId, Epoch, ItemId, Moment, Role, Scope, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Access;
use crate::invitation::ADDRESS_LENGTH_MAX;

/// The longest name of a tenant, a device or a person, in characters.
pub const NAME_LENGTH_MAX: usize = 200;
/// The longest e-mail address, in characters.
pub const EMAIL_LENGTH_MAX: usize = 254;
/// The longest reason of a revocation, in characters.
pub const REASON_LENGTH_MAX: usize = 200;
/// The most heads that one revocation or adoption names; further ones go into an adoption.
pub const HEADS_PER_ITEM_MAX: usize = 100;
/// The most leaves that one purge names; further ones go into further purges of the document.
pub const LEAVES_PER_ITEM_MAX: usize = 200;
/// The most bytes of a schema that one item holds; longer ones take several items.
pub const SCHEMA_PART_SIZE_MAX: usize = 7_680;
/// The most items that one schema takes.
pub const SCHEMA_PARTS_MAX: u8 = 9;

const KIND_GENESIS: u8 = 1;
const KIND_CERTIFICATE: u8 = 2;
const KIND_ROLE: u8 = 3;
const KIND_REVOCATION: u8 = 4;
const KIND_ADOPTION: u8 = 5;
const KIND_PIN: u8 = 6;
const KIND_PURGE: u8 = 7;
const KIND_RELAY: u8 = 8;
const KIND_SCHEMA: u8 = 70;

/// What a policy item says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A tenant begins.
    Genesis(Genesis),
    /// A device is a member.
    Certificate(Box<Certificate>),
    /// A member's role changes.
    Role(RoleChange),
    /// What a device signs counts only up to a cut.
    Revocation(Box<Revocation>),
    /// Work of a revoked device counts after all.
    Adoption(Adoption),
    /// Of two changes in one place one counts.
    Pin(Pin),
    /// What a document held is erased everywhere.
    Purge(Box<Purge>),
    /// A relay is found at an address, or no longer.
    Relay(RelayAddress),
    /// A collection of the tenant's own is defined, or a part of its definition is.
    Schema(Box<SchemaPart>),
    /// A statement of another version, or one that no version can read; it does not count.
    Unknown {
        /// The number of the kind.
        kind: u8,
        /// The body as it came.
        body: Vec<u8>,
    },
}

/// The first item of a tenant; the tenant's id is its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The public key of the authority, which signs this item.
    pub authority: [u8; 32],
    /// The public key of the recovery kit.
    pub recovery: [u8; 32],
    /// The tenant's name.
    pub name: String,
}

/// A device is a member of the tenant.
///
/// Of several certificates for one device the one of the higher-ranked signer counts, then the
/// one with the higher version, then the one with the smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The device's Ed25519 public key.
    pub public_key: [u8; 32],
    /// Counts up with each renewal; the first is 1.
    pub version: u32,
    /// The device's name.
    pub device_name: String,
    /// The person who uses it.
    pub user: UserId,
    /// The person's name.
    pub user_name: String,
    /// The person's e-mail address; may be empty.
    pub email: String,
    /// What the member is; a [`RoleChange`] that counts goes before it.
    pub role: Role,
    /// What it may read.
    pub read: Access,
    /// What it may write, as far as its role writes at all.
    pub write: Access,
    /// When a relay stops serving it; never touches what was signed before.
    pub expires: Option<Moment>,
    /// Whether a manager's device may certify operators.
    pub may_issue: bool,
}

/// The role of a member changes.
///
/// Of several for one device the one of the higher-ranked signer counts, then the one with the
/// higher version, then the one with the smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChange {
    /// Whose role.
    pub device: DeviceId,
    /// Counts up with each change; see [`crate::Policy::role_version`].
    pub version: u32,
    /// The new role.
    pub role: Role,
    /// The last policy item that the device signed in its old rank; without it nothing that the
    /// device signed in a higher rank than its new one counts.
    pub cut: Option<Cut>,
}

/// A device is revoked, or left with a smaller role.
///
/// From here on what the device signed counts only if a named head reaches it. A revoked key is
/// never reinstated: whoever used it joins again with a new one. Of several revocations of one
/// device the one of the higher-ranked signer counts, then the one with the higher version, then the
/// one with the smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose key.
    pub device: DeviceId,
    /// Counts up with each revocation of the device; the first is 1.
    pub version: u32,
    /// The last batches of its chains that count; chains that are not named are cut at nothing.
    pub heads: BTreeSet<ChainHead>,
    /// The last of its policy items that counts; without one none does.
    pub items: Option<Cut>,
    /// What it still is: beyond the heads this role decides. A revoked device has none.
    pub remaining: Option<Role>,
    /// Whether the device is asked to erase its store when it next meets a peer.
    pub wipe: bool,
    /// Why, for people; may be empty.
    pub reason: String,
}

/// Further heads of a revoked device up to which its batches count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// Whose work.
    pub device: DeviceId,
    /// The batches; each brings all before it in its chain.
    pub heads: BTreeSet<ChainHead>,
}

/// A batch of a device, and with it all before it in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainHead {
    /// The author's run.
    pub epoch: Epoch,
    /// The scope of the chain.
    pub scope: Scope,
    /// The position of the batch in its chain.
    pub sequence: u64,
    /// The batch.
    pub batch: BatchId,
}

/// Of several changes of one actor with one sequence number in a document, this one counts.
///
/// Of several pins of one place the one of the higher-ranked signer counts, then the one with the
/// smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The document.
    pub document: DocumentId,
    /// The actor.
    pub actor: [u8; 16],
    /// The actor's sequence number.
    pub sequence: u64,
    /// The hash of the change.
    pub change: [u8; 32],
}

/// What a document held is erased wherever it is, and wherever it turns up later.
///
/// Several purges of one document add up. What is shown of them is what the one says that has the
/// higher-ranked signer, then the one that was said first, then the one with the smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The document.
    pub document: DocumentId,
    /// The salted hashes of its leaves that were known: a batch may lack these and no others.
    pub leaves: BTreeSet<[u8; 32]>,
    /// When, by the clock of whoever says so.
    pub at: Moment,
    /// Why, for people; may be empty.
    pub reason: String,
}

/// A relay of the tenant is found at an address, or no longer.
///
/// Of several for one address the one of the higher-ranked signer counts, then the one with the
/// higher version, then the one with the smaller item id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayAddress {
    /// Where: a host or an address, and a port.
    pub address: String,
    /// Counts up with each statement about the address; the first is 1.
    pub version: u32,
    /// Whose address it is; nobody's once it is taken back.
    pub relay: Option<DeviceId>,
    /// When, by the clock of whoever says so.
    pub at: Moment,
}

/// A part of the file by which a tenant defines a collection; most files are one part.
///
/// A definition counts once one signer's parts of it are all there and come to its hash, and one of
/// the version before it is there by whomever. Of several of one name the greatest version is in
/// force, then the greater text; the others are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaPart {
    /// The name of the collection.
    pub collection: String,
    /// The version of its schema.
    pub version: u32,
    /// When it was applied, by the clock of whoever did.
    pub at: Moment,
    /// The hash of the whole file; see [`SchemaPart::hash`].
    pub whole: [u8; 32],
    /// The hash of the file that was in force for whoever made this one; none for a first one.
    pub before: Option<[u8; 32]>,
    /// Which part this is, from 0.
    pub part: u8,
    /// How many there are.
    pub parts: u8,
    /// The text of the part.
    pub text: String,
}

/// A place in one signer's sequence of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The sequence number of the item.
    pub sequence: u64,
    /// The item itself: what it reaches through its predecessors is inside the cut.
    pub item: ItemId,
}

impl Statement {
    /// The number of the kind, as items carry it.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Genesis(_) => KIND_GENESIS,
            Self::Certificate(_) => KIND_CERTIFICATE,
            Self::Role(_) => KIND_ROLE,
            Self::Revocation(_) => KIND_REVOCATION,
            Self::Adoption(_) => KIND_ADOPTION,
            Self::Pin(_) => KIND_PIN,
            Self::Purge(_) => KIND_PURGE,
            Self::Relay(_) => KIND_RELAY,
            Self::Schema(_) => KIND_SCHEMA,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        match self {
            Self::Genesis(genesis) => encode(genesis),
            Self::Certificate(certificate) => encode(certificate.as_ref()),
            Self::Role(change) => encode(change),
            Self::Revocation(revocation) => encode(revocation.as_ref()),
            Self::Adoption(adoption) => encode(adoption),
            Self::Pin(pin) => encode(pin),
            Self::Purge(purge) => encode(purge.as_ref()),
            Self::Relay(relay) => encode(relay),
            Self::Schema(part) => encode(part.as_ref()),
            Self::Unknown { body, .. } => body.clone(),
        }
    }

    /// Never fails: a body that is not exactly what this version would write is unknown.
    pub(crate) fn read(kind: u8, body: &[u8]) -> Self {
        let known = match kind {
            KIND_GENESIS => decode(body).filter(Genesis::is_clean).map(Self::Genesis),
            KIND_CERTIFICATE => decode(body)
                .filter(Certificate::is_clean)
                .map(|certificate| Self::Certificate(Box::new(certificate))),
            KIND_ROLE => decode(body).map(Self::Role),
            KIND_REVOCATION => decode(body)
                .filter(Revocation::is_clean)
                .map(|revocation| Self::Revocation(Box::new(revocation))),
            KIND_ADOPTION => decode(body)
                .filter(|adoption: &Adoption| adoption.heads.len() <= HEADS_PER_ITEM_MAX)
                .map(Self::Adoption),
            KIND_PIN => decode(body).map(Self::Pin),
            KIND_PURGE => {
                decode(body).filter(Purge::is_clean).map(|purge| Self::Purge(Box::new(purge)))
            }
            KIND_RELAY => decode(body).filter(RelayAddress::is_clean).map(Self::Relay),
            KIND_SCHEMA => {
                decode(body).filter(SchemaPart::is_clean).map(|part| Self::Schema(Box::new(part)))
            }
            _ => None,
        };
        known.unwrap_or_else(|| Self::Unknown { kind, body: body.to_vec() })
    }
}

impl Genesis {
    fn is_clean(&self) -> bool {
        is_clean(&self.name, 1, NAME_LENGTH_MAX)
    }
}

impl Certificate {
    /// A first certificate with full access, no expiry and no issuing right, for `user` named by
    /// the caller afterwards.
    pub fn new(public_key: [u8; 32], device_name: &str, user: UserId, role: Role) -> Self {
        Self {
            public_key,
            version: 1,
            device_name: device_name.into(),
            user,
            user_name: String::new(),
            email: String::new(),
            role,
            read: Access::ALL,
            write: Access::ALL,
            expires: None,
            may_issue: false,
        }
    }

    /// The device that the certificate is about.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.public_key)
    }

    fn is_clean(&self) -> bool {
        is_clean(&self.device_name, 1, NAME_LENGTH_MAX)
            && is_clean(&self.user_name, 0, NAME_LENGTH_MAX)
            && is_clean(&self.email, 0, EMAIL_LENGTH_MAX)
    }
}

impl Revocation {
    fn is_clean(&self) -> bool {
        self.heads.len() <= HEADS_PER_ITEM_MAX && is_clean(&self.reason, 0, REASON_LENGTH_MAX)
    }
}

impl Purge {
    fn is_clean(&self) -> bool {
        self.leaves.len() <= LEAVES_PER_ITEM_MAX && is_clean(&self.reason, 0, REASON_LENGTH_MAX)
    }
}

impl RelayAddress {
    /// What an address has to look like is for whoever dials it; here it must not garble a list.
    fn is_clean(&self) -> bool {
        self.address.is_ascii() && is_clean(&self.address, 1, ADDRESS_LENGTH_MAX)
    }
}

impl SchemaPart {
    /// The parts by which `text`, made from what has the hash `before`, defines `collection`; too
    /// many where it is too long.
    pub fn of(
        collection: &str,
        version: u32,
        at: Moment,
        text: &str,
        before: Option<[u8; 32]>,
    ) -> Vec<Self> {
        let mut texts = vec![];
        let mut rest = text;
        while !rest.is_empty() || texts.is_empty() {
            let (part, behind) = rest.split_at(rest.floor_char_boundary(SCHEMA_PART_SIZE_MAX));
            texts.push(part);
            rest = behind;
        }
        let parts = u8::try_from(texts.len()).unwrap_or(u8::MAX);
        let (whole, collection) = (Self::hash(text), collection.to_owned());
        let part = |(part, text): (u8, &str)| Self {
            collection: collection.clone(),
            version,
            at,
            whole,
            before,
            part,
            parts,
            text: text.to_owned(),
        };
        (0..=u8::MAX).zip(texts).map(part).collect()
    }

    /// The hash of a whole file.
    pub fn hash(text: &str) -> [u8; 32] {
        blake3::derive_key("fieldmesh/schema/1", text.as_bytes())
    }

    /// Whether it can count; what a program has built in must not matter, or two programs would
    /// make two policies of the same items.
    fn is_clean(&self) -> bool {
        is_plain(&self.collection)
            && self.part < self.parts
            && self.parts <= SCHEMA_PARTS_MAX
            && self.text.len() <= SCHEMA_PART_SIZE_MAX
    }
}

/// A text that can stand in a terminal and a table: bounded, without control characters.
pub(crate) fn is_clean(text: &str, min: usize, max: usize) -> bool {
    let length = text.chars().count();
    (min..=max).contains(&length) && !text.chars().any(char::is_control)
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: plain structs always serialize into memory")
}

/// Reads exactly what [`encode`] writes: a value has one encoding, nothing may follow it.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    (rest.is_empty() && encode(&value) == bytes).then_some(value)
}
