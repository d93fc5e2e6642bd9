//! A signed policy item: who says what, after which of its own items.
//!
//! Layout, big-endian, signed and hashed as stored: version u8, tenant 32 (zero in a genesis
//! item), signer 32, sequence u64, previous 32 (zero for none), kind u8, body length u16, body;
//! then an Ed25519 signature 64 that is not part of the id.

use ed25519_dalek::{Signature, VerifyingKey};
use fieldmesh_model::{ItemId, TenantId};

use crate::statement::Statement;
use crate::{Cut, Signer};

/// The largest body of an item.
pub const ITEM_BODY_MAX: usize = 8 * 1024;
/// The largest item.
pub const ITEM_SIZE_MAX: usize = HEADER_SIZE + ITEM_BODY_MAX + SIGNATURE_SIZE;

const VERSION: u8 = 1;
const HEADER_SIZE: usize = 1 + 32 + 32 + 8 + 32 + 1 + 2;
const SIGNATURE_SIZE: usize = 64;
const SIGNING_DOMAIN: &[u8] = b"fieldmesh/policy-item/1\0";

/// A policy item whose layout and signature were checked.
///
/// Whether it counts is for [`crate::Policy`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    bytes: Vec<u8>,
    id: ItemId,
    tenant: TenantId,
    signer: [u8; 32],
    place: ItemPlace,
    statement: Statement,
}

/// Where an item stands among the items of its signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemPlace {
    /// 0 for the signer's first item.
    pub sequence: u64,
    /// The signer's item before this one.
    pub previous: Option<ItemId>,
}

/// Bytes that are no policy item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The bytes do not have the length that they state.
    #[error("policy item of {length} bytes is cut short or padded")]
    Length {
        /// The number of bytes given.
        length: usize,
    },
    /// A layout that this program cannot read.
    #[error("policy item has layout version {version}, this program reads {VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The body is larger than allowed.
    #[error("policy item has a body of {length} bytes, limit is {ITEM_BODY_MAX}")]
    TooLarge {
        /// The length of the body.
        length: usize,
    },
    /// The signature does not verify.
    #[error("policy item's signature does not verify")]
    Signature,
    /// A statement that must not be signed: a name that is empty, too long or not printable.
    #[error("policy statement has a name that is empty, too long or not printable")]
    Unclean,
}

impl ItemPlace {
    /// The place of a signer's first item.
    pub const FIRST: Self = Self { sequence: 0, previous: None };

    /// The place after `head`.
    pub const fn after(head: Option<Cut>) -> Self {
        match head {
            None => Self::FIRST,
            Some(cut) => {
                Self { sequence: cut.sequence.saturating_add(1), previous: Some(cut.item) }
            }
        }
    }
}

impl Item {
    /// Makes the item by which `signer` states `statement` to `tenant` at `place`, see
    /// [`crate::Policy::next_place`].
    ///
    /// A genesis statement makes its own tenant, so `tenant` and `place` do not matter to it.
    ///
    /// # Errors
    ///
    /// [`ItemError::Unclean`] and [`ItemError::TooLarge`] name faults of the statement.
    pub fn sign(
        signer: &impl Signer,
        tenant: TenantId,
        place: ItemPlace,
        statement: &Statement,
    ) -> Result<Self, ItemError> {
        let body = statement.body();
        if body.len() > ITEM_BODY_MAX {
            return Err(ItemError::TooLarge { length: body.len() });
        }
        if Statement::read(statement.kind(), &body) != *statement {
            return Err(ItemError::Unclean);
        }
        let (tenant, place) = match statement {
            Statement::Genesis(_) => (TenantId::default(), ItemPlace::FIRST),
            Statement::Certificate(_)
            | Statement::Role(_)
            | Statement::Revocation(_)
            | Statement::Adoption(_)
            | Statement::Pin(_)
            | Statement::Purge(_)
            | Statement::Relay(_)
            | Statement::Schema(_)
            | Statement::Unknown { .. } => (tenant, place),
        };
        let mut bytes = Vec::with_capacity(HEADER_SIZE + body.len() + SIGNATURE_SIZE);
        bytes.push(VERSION);
        bytes.extend_from_slice(tenant.as_bytes());
        bytes.extend_from_slice(&signer.public_key());
        bytes.extend_from_slice(&place.sequence.to_be_bytes());
        bytes.extend_from_slice(place.previous.unwrap_or_default().as_bytes());
        bytes.push(statement.kind());
        let length = u16::try_from(body.len()).expect("invariant: ITEM_BODY_MAX fits 16 bits");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        let signature = signer.sign(&signing_message(&bytes));
        bytes.extend_from_slice(&signature);
        Self::parse(&bytes)
    }

    /// Reads an item and verifies its signature strictly.
    ///
    /// # Errors
    ///
    /// Any error means that the bytes must not be stored; whoever sent them is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, ItemError> {
        let item = Self::parse(bytes)?;
        item.verify()?;
        Ok(item)
    }

    /// The bytes to store and to send.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of what is signed.
    pub const fn id(&self) -> ItemId {
        self.id
    }

    /// The item's key in the policy trie: no scope, no time, its id.
    pub fn key_bytes(&self) -> [u8; 46] {
        let mut key = [0; 46];
        key[14..].copy_from_slice(self.id.as_bytes());
        key
    }

    /// The tenant it speaks to; a genesis item's own tenant.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The Ed25519 public key that signed it.
    pub const fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    /// Where it stands among its signer's items.
    pub const fn place(&self) -> ItemPlace {
        self.place
    }

    /// What it says.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    fn parse(bytes: &[u8]) -> Result<Self, ItemError> {
        let malformed = ItemError::Length { length: bytes.len() };
        let mut reader = Reader { bytes };
        let version = reader.take::<1>().ok_or(malformed.clone())?[0];
        if version != VERSION {
            return Err(ItemError::Version { version });
        }
        let header = (|| {
            let tenant = TenantId::from_bytes(reader.take()?);
            let signer = reader.take::<32>()?;
            let sequence = u64::from_be_bytes(reader.take()?);
            let previous = ItemId::from_bytes(reader.take()?);
            let [kind] = reader.take()?;
            let length = usize::from(u16::from_be_bytes(reader.take()?));
            Some((tenant, signer, sequence, previous, kind, length))
        })();
        let (tenant, signer, sequence, previous, kind, length) = header.ok_or(malformed.clone())?;
        if length > ITEM_BODY_MAX {
            return Err(ItemError::TooLarge { length });
        }
        if bytes.len() != HEADER_SIZE + length + SIGNATURE_SIZE {
            return Err(malformed);
        }
        let signed = &bytes[..HEADER_SIZE + length];
        let body = &signed[HEADER_SIZE..];
        let (tenant, statement) = match Statement::read(kind, body) {
            genesis @ Statement::Genesis(_) if tenant == TenantId::default() => {
                (tenant_of(signed), genesis)
            }
            // A genesis item makes its own tenant; inside another one it says nothing.
            Statement::Genesis(_) => (tenant, Statement::Unknown { kind, body: body.to_vec() }),
            other => (tenant, other),
        };
        Ok(Self {
            bytes: bytes.to_vec(),
            id: ItemId::from_bytes(blake3::derive_key("fieldmesh/policy-item/1", signed)),
            tenant,
            signer,
            place: ItemPlace {
                sequence,
                previous: (previous != ItemId::default()).then_some(previous),
            },
            statement,
        })
    }

    fn verify(&self) -> Result<(), ItemError> {
        let (signed, signature) = self.bytes.split_at(self.bytes.len() - SIGNATURE_SIZE);
        let key = VerifyingKey::from_bytes(&self.signer).map_err(|_| ItemError::Signature)?;
        let signature = Signature::from_slice(signature).map_err(|_| ItemError::Signature)?;
        key.verify_strict(&signing_message(signed), &signature).map_err(|_| ItemError::Signature)
    }
}

fn tenant_of(signed: &[u8]) -> TenantId {
    TenantId::from_bytes(blake3::derive_key("fieldmesh/tenant/1", signed))
}

fn signing_message(signed: &[u8]) -> Vec<u8> {
    [SIGNING_DOMAIN, signed].concat()
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Authority, Certificate, DeviceKeys, Genesis, Seed};
    use fieldmesh_model::{Moment, Role, UserId};

    /// The hex of the item that [`certificate_item`] makes, for ever.
    const GOLDEN: &str = include_str!("item/certificate.hex");

    fn authority() -> Authority {
        Authority::from_seed(&Seed::from_bytes([1; 32]))
    }

    fn certificate_item() -> Item {
        let device = DeviceKeys::from_seed(&Seed::from_bytes([2; 32]));
        let mut certificate = Certificate::new(
            device.public_key(),
            "Ana's tablet",
            UserId::from_bytes([3; 16]),
            Role::HealthWorker,
        );
        certificate.user_name = "Ana".into();
        certificate.email = "ana@example.org".into();
        certificate.write = Access { collections: [3, 300].into(), partitions: [70_000].into() };
        certificate.expires = Some(Moment::from_millis(1_800_000_000_000));
        let place = ItemPlace { sequence: 7, previous: Some(ItemId::from_bytes([4; 32])) };
        let tenant = TenantId::from_bytes([5; 32]);
        Item::sign(&authority(), tenant, place, &Statement::Certificate(Box::new(certificate)))
            .unwrap()
    }

    #[test]
    fn the_bytes_of_an_item_never_change() {
        let hex = data_encoding::HEXLOWER.encode(certificate_item().encode());
        assert_eq!(hex, GOLDEN.trim());
    }

    #[test]
    fn an_item_survives_its_bytes() {
        let item = certificate_item();
        assert_eq!(Item::decode(item.encode()), Ok(item.clone()));
        assert_eq!(item.key_bytes()[..14], [0; 14]);
        assert_eq!(item.key_bytes()[14..], item.id().as_bytes()[..]);
    }

    #[test]
    fn no_bit_of_an_item_can_be_changed_and_no_byte_cut_or_added() {
        let bytes = certificate_item().encode().to_vec();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Item::decode(&changed).is_err(), "bit in byte {at}");
            assert!(Item::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Item::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_statement_of_a_newer_version_is_kept_as_it_came() {
        let statement = Statement::Unknown { kind: 77, body: vec![1, 2, 3] };
        let tenant = TenantId::from_bytes([5; 32]);
        let item = Item::sign(&authority(), tenant, ItemPlace::FIRST, &statement).unwrap();
        let read = Item::decode(item.encode()).unwrap();
        assert_eq!(read.statement(), &statement);
        assert_eq!(read.encode(), item.encode());
    }

    #[test]
    fn a_body_with_a_second_encoding_is_not_understood() {
        let genesis = Genesis { authority: [1; 32], recovery: [2; 32], name: "A".into() };
        let mut body = Statement::Genesis(genesis).body();
        body.push(0);
        assert!(matches!(Statement::read(1, &body), Statement::Unknown { kind: 1, .. }));
    }

    #[test]
    fn names_that_would_garble_a_terminal_are_not_signed() {
        for name in ["", "a\u{1b}[2J", &"x".repeat(201)] {
            let genesis = Genesis { authority: [1; 32], recovery: [2; 32], name: name.to_string() };
            let statement = Statement::Genesis(genesis);
            let item = Item::sign(&authority(), TenantId::default(), ItemPlace::FIRST, &statement);
            assert_eq!(item, Err(ItemError::Unclean));
        }
    }

    #[test]
    fn a_genesis_item_makes_its_own_tenant() {
        let genesis = |name: &str| {
            let authority_key = authority().public_key();
            let genesis =
                Genesis { authority: authority_key, recovery: [2; 32], name: name.into() };
            let tenant = TenantId::from_bytes([9; 32]);
            let statement = Statement::Genesis(genesis);
            Item::sign(&authority(), tenant, ItemPlace::FIRST, &statement).unwrap()
        };
        assert_ne!(genesis("A").tenant(), genesis("B").tenant());
        assert_eq!(Item::decode(genesis("A").encode()).unwrap().tenant(), genesis("A").tenant());
    }
}
