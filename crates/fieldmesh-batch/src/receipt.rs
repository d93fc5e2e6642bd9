//! A receipt: a store says that it holds batches durably.
//!
//! Layout, big-endian, signed as it stands:
//!
//! ```text
//!   0  version        1        81  store epoch    8
//!   1  tenant        32        89  time           8   milliseconds since 1970, the signer's clock
//!  33  signer        32        97  count          2
//!  65  store         16        99  heads         46 each, strictly ascending
//! ```
//!
//! and then the signature, 64. The time orders the receipts of one store: each is later than all
//! that the store has signed before, also if its clock was set back, and it never signs two for one
//! time. Compared with anything but receipts of the same store and epoch it says nothing for
//! certain.
//!
//! A head is the key of a batch and covers that batch and all before it in its chain: the id in it
//! fixes chain and sequence, so 46 bytes say what those and the id would say in 88.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fieldmesh_model::{DeviceId, Moment, StoreId, TenantId};

use crate::batch::{SIGNATURE_LENGTH, SignatureError};
use crate::header::KEY_LENGTH;

/// The most heads of a receipt.
pub const RECEIPT_HEADS_MAX: usize = 256;

const VERSION: u8 = 1;
/// Bytes before the heads.
const FRONT_LENGTH: usize = 99;
/// Separates signatures over receipts from all others that a device makes.
const SIGNATURE_DOMAIN: &[u8] = b"fieldmesh/receipt/1";

/// A store says that it holds batches durably.
///
/// Whether that is so, and signed by its store, shows [`Self::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The tenant.
    pub tenant: TenantId,
    /// The device or relay that signs.
    pub signer: DeviceId,
    /// Its store.
    pub store: StoreId,
    /// How often that store was restored; a higher one takes back what lower ones said.
    pub store_epoch: u64,
    /// When it was signed, by the signer's clock; later than all that its store signed before.
    pub at: Moment,
    /// The keys of batches that are durable there with all before them in their chains.
    pub heads: Vec<[u8; KEY_LENGTH]>,
    signature: [u8; SIGNATURE_LENGTH],
}

/// Bytes that are no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// A layout that this program cannot read.
    #[error("receipt has version {version}, this program reads {VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The bytes do not have the length that they state.
    #[error("receipt of {length} bytes is cut short or padded")]
    Length {
        /// The number of bytes given.
        length: usize,
    },
    /// More heads than a receipt may have.
    #[error("receipt has {count} heads, limit is {RECEIPT_HEADS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Heads that do not ascend strictly: a receipt has one encoding.
    #[error("head {index} of the receipt does not follow the one before it")]
    Order {
        /// The position of the head.
        index: usize,
    },
}

impl Receipt {
    /// What is to be signed: that the `store` of `signer`, restored `store_epoch` times, holds the
    /// batches with these keys, of which only the smallest [`RECEIPT_HEADS_MAX`] count.
    pub fn new(
        tenant: TenantId,
        signer: DeviceId,
        (store, store_epoch): (StoreId, u64),
        at: Moment,
        heads: impl IntoIterator<Item = [u8; KEY_LENGTH]>,
    ) -> Self {
        let mut heads: Vec<_> = heads.into_iter().collect();
        heads.sort_unstable();
        heads.dedup();
        heads.truncate(RECEIPT_HEADS_MAX);
        let signature = [0; SIGNATURE_LENGTH];
        Self { tenant, signer, store, store_epoch, at, heads, signature }
    }

    /// The same receipt, signed with the signer's `key`.
    #[must_use]
    pub fn signed(mut self, key: &SigningKey) -> Self {
        self.signature = key.sign(&self.message()).to_bytes();
        self
    }

    /// The bytes of this receipt signed with the signer's `key`.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        self.clone().signed(key).encode()
    }

    /// Checks that `key` is the signer's and signed this.
    ///
    /// # Errors
    ///
    /// Fails if the receipt says nothing.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignatureError> {
        if DeviceId::of_key(key.as_bytes()) != self.signer {
            return Err(SignatureError::OtherKey);
        }
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(&self.message(), &signature).map_err(|_| SignatureError::Wrong)
    }

    /// The bytes to store and send.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend(self.signature);
        bytes
    }

    /// Reads a receipt without checking its signature.
    ///
    /// # Errors
    ///
    /// Fails for bytes that [`Self::encode`] never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let length = ReceiptError::Length { length: bytes.len() };
        let version = *bytes.first().ok_or(length)?;
        if version != VERSION {
            return Err(ReceiptError::Version { version });
        }
        let mut reader = Reader(&bytes[1..]);
        let receipt = (|| {
            let tenant = TenantId::from_bytes(reader.take()?);
            let signer = DeviceId::from_bytes(reader.take()?);
            let store = StoreId::from_bytes(reader.take()?);
            let store_epoch = u64::from_be_bytes(reader.take()?);
            let at = Moment::from_millis(i64::from_be_bytes(reader.take()?));
            let count = usize::from(u16::from_be_bytes(reader.take()?));
            Some((tenant, signer, store, store_epoch, at, count))
        })();
        let (tenant, signer, store, store_epoch, at, count) = receipt.ok_or(length)?;
        if count > RECEIPT_HEADS_MAX {
            return Err(ReceiptError::TooMany { count });
        }
        let heads = (0..count).map(|_| reader.take()).collect::<Option<Vec<_>>>().ok_or(length)?;
        let signature = reader.take().ok_or(length)?;
        if !reader.0.is_empty() {
            return Err(length);
        }
        if let Some(before) = heads.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(ReceiptError::Order { index: before + 1 });
        }
        Ok(Self { tenant, signer, store, store_epoch, at, heads, signature })
    }

    fn body(&self) -> Vec<u8> {
        let length = FRONT_LENGTH + self.heads.len() * KEY_LENGTH + SIGNATURE_LENGTH;
        let mut bytes = Vec::with_capacity(length);
        bytes.push(VERSION);
        bytes.extend(self.tenant.as_bytes());
        bytes.extend(self.signer.as_bytes());
        bytes.extend(self.store.as_bytes());
        bytes.extend(self.store_epoch.to_be_bytes());
        bytes.extend(self.at.as_millis().to_be_bytes());
        let heads = self.heads.iter().take(RECEIPT_HEADS_MAX);
        let count = u16::try_from(heads.len()).expect("invariant: at most 256 heads");
        bytes.extend(count.to_be_bytes());
        bytes.extend(heads.flatten());
        bytes
    }

    fn message(&self) -> Vec<u8> {
        [SIGNATURE_DOMAIN, &self.body()].concat()
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn receipt(heads: impl IntoIterator<Item = [u8; KEY_LENGTH]>) -> Receipt {
        let signer = DeviceId::of_key(key().verifying_key().as_bytes());
        let (tenant, store) = (TenantId::from_bytes([1; 32]), StoreId::from_bytes([2; 16]));
        Receipt::new(tenant, signer, (store, 3), Moment::from_millis(-4), heads).signed(&key())
    }

    #[test]
    fn a_receipt_survives_its_bytes_and_verifies() {
        for count in [0, 1, 2, 200] {
            let made = receipt((0..count).map(|number| [number; KEY_LENGTH]));
            let read = Receipt::decode(&made.encode()).unwrap();
            assert_eq!(read, made);
            assert_eq!(read.verify(&key().verifying_key()), Ok(()));
            assert_eq!(made.encode().len(), FRONT_LENGTH + 64 + usize::from(count) * KEY_LENGTH);
        }
        let other = SigningKey::from_bytes(&[8; 32]);
        let refused = receipt([]).verify(&other.verifying_key());
        assert_eq!(refused, Err(SignatureError::OtherKey));
    }

    #[test]
    fn the_layout_of_a_receipt_never_changes() {
        let bytes = receipt([[5; KEY_LENGTH]]).encode();
        let signer = DeviceId::of_key(key().verifying_key().as_bytes());
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[1..33], [1; 32]);
        assert_eq!(bytes[33..65], signer.as_bytes()[..]);
        assert_eq!(bytes[65..81], [2; 16]);
        assert_eq!(bytes[81..89], 3_u64.to_be_bytes());
        assert_eq!(bytes[89..97], (-4_i64).to_be_bytes());
        assert_eq!(bytes[97..99], [0, 1]);
        assert_eq!(bytes[99..145], [5; KEY_LENGTH]);
        let signed = [b"fieldmesh/receipt/1", &bytes[..145]].concat();
        assert_eq!(bytes[145..], key().sign(&signed).to_bytes());
    }

    #[test]
    fn no_bit_of_a_receipt_can_be_changed_and_no_byte_cut_or_added() {
        let bytes = receipt([[5; KEY_LENGTH], [6; KEY_LENGTH]]).encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let stands = Receipt::decode(&changed)
                .is_ok_and(|receipt| receipt.verify(&key().verifying_key()).is_ok());
            assert!(!stands, "bit in byte {at}");
            assert!(Receipt::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Receipt::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_receipt_holds_so_many_heads_each_once_and_no_more() {
        let head = |number: u16| {
            let mut key = [0; KEY_LENGTH];
            key[..2].copy_from_slice(&number.to_be_bytes());
            key
        };
        let limit = u16::try_from(RECEIPT_HEADS_MAX).unwrap();
        let full = receipt((0..=limit).rev().map(head));
        assert_eq!(full.heads, (0..limit).map(head).collect::<Vec<_>>());
        assert!(Receipt::decode(&full.encode()).is_ok());
        let mut bytes = full.encode();
        bytes[97..99].copy_from_slice(&(limit + 1).to_be_bytes());
        let count = RECEIPT_HEADS_MAX + 1;
        assert_eq!(Receipt::decode(&bytes), Err(ReceiptError::TooMany { count }));
        let mut twice = receipt([[5; KEY_LENGTH], [6; KEY_LENGTH]]).encode();
        twice[145..191].copy_from_slice(&[5; KEY_LENGTH]);
        assert_eq!(Receipt::decode(&twice), Err(ReceiptError::Order { index: 1 }));
    }
}
