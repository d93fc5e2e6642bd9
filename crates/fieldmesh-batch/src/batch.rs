//! A batch whose parts fit together.

use ed25519_dalek::{Signature, VerifyingKey};
use fieldmesh_model::{BatchId, DeviceId};

use crate::body::{Body, Salting};
use crate::header::{HEADER_LENGTH, Header, HeaderError, KEY_LENGTH};
use crate::leaf::Leaf;

/// Bytes in a signature.
pub const SIGNATURE_LENGTH: usize = 64;

/// Marks, in the first byte, a batch without its signature.
pub(crate) const UNSIGNED_FLAG: u8 = 0x80;

/// Separates signatures over batches from all others that a device makes.
const SIGNATURE_DOMAIN: &[u8] = b"fieldmesh/batch/1";

/// A batch whose layout, limits, raw length and Merkle root are checked, and whose signature is
/// not, until [`Batch::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub(crate) header_bytes: [u8; HEADER_LENGTH],
    pub(crate) header: Header,
    pub(crate) id: BatchId,
    /// Missing where the batch after it in the chain stands for it.
    pub(crate) signature: Option<[u8; SIGNATURE_LENGTH]>,
    pub(crate) body: Body,
}

/// Bytes that are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("batch ends too early")]
    Short,
    /// The header contradicts itself or a limit.
    #[error("header of the batch is refused")]
    Header(#[from] HeaderError),
    /// A kind of body or leaf that this version does not know.
    #[error("batch has a part of unknown kind {kind}")]
    BodyKind {
        /// The kind.
        kind: u8,
    },
    /// A leaf without contents that is not marked as erased.
    #[error("change {index} is empty")]
    EmptyChange {
        /// The position of the leaf.
        index: usize,
    },
    /// The changes are not as long as the header says.
    #[error("changes have {length} bytes, the header says {stated}")]
    RawLength {
        /// What the header says.
        stated: usize,
        /// What is there.
        length: usize,
    },
    /// A leaf was asked for that the batch does not have.
    #[error("batch has no leaf {index}")]
    NoLeaf {
        /// Which.
        index: usize,
    },
    /// Bytes after the last leaf.
    #[error("batch is followed by {length} bytes")]
    Trailing {
        /// How many.
        length: usize,
    },
    /// The leaves are not those that the header commits to.
    #[error("leaves do not match the header")]
    MerkleRoot,
}

/// A signature that does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key is not that of the signer.
    #[error("key does not belong to the signer")]
    OtherKey,
    /// The author's key did not sign this.
    #[error("signature is wrong")]
    Wrong,
    /// The batch came without its signature: one after it in its chain has to stand for it.
    #[error("batch has no signature")]
    Missing,
}

/// What lies before the leaves.
struct Head<'a> {
    /// As they were signed.
    header_bytes: [u8; HEADER_LENGTH],
    header: Header,
    signature: Option<[u8; SIGNATURE_LENGTH]>,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header_bytes, rest) = bytes.split_first_chunk().ok_or(DecodeError::Short)?;
        let mut header_bytes: [u8; HEADER_LENGTH] = *header_bytes;
        let is_signed = header_bytes[0] & UNSIGNED_FLAG == 0;
        header_bytes[0] &= !UNSIGNED_FLAG;
        let (signature, rest) = if is_signed {
            let (signature, rest) = rest.split_first_chunk().ok_or(DecodeError::Short)?;
            (Some(*signature), rest)
        } else {
            (None, rest)
        };
        let header = Header::from_bytes(&header_bytes)?;
        Ok(Self { header_bytes, header, signature, rest })
    }
}

impl Batch {
    /// Reads a batch, with or without a signature, and checks everything but that.
    ///
    /// # Errors
    ///
    /// Fails for bytes that [`Self::encode`] never writes; they can be dropped.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Head { header_bytes, header, signature, rest } = Head::decode(bytes)?;
        let body = Body::decode(rest, &header)?;
        let id = Header::id_of(&header_bytes);
        Ok(Self { header_bytes, header, id, signature, body })
    }

    /// Reads one leaf of a batch and what it came in, and none of the others: for whoever decoded
    /// the whole batch when it came and has kept the bytes where nobody changes them, because what
    /// the header commits to is not checked. An erased leaf is empty.
    ///
    /// # Errors
    ///
    /// The batch has no such leaf, or its bytes up to there are none that [`Self::encode`] writes.
    pub fn decode_leaf(bytes: &[u8], index: usize) -> Result<(Header, BatchId, Leaf), DecodeError> {
        let Head { header_bytes, header, rest, .. } = Head::decode(bytes)?;
        let leaf = Body::decode_leaf(rest, &header, index)?;
        Ok((header, Header::id_of(&header_bytes), leaf))
    }

    /// The bytes to store and send.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.signature)
    }

    /// The bytes to send where the next batch of the chain, which names this one as its previous,
    /// follows and stands for both: without the signature, and with the top bit of the first byte
    /// set.
    pub fn encode_unsigned(&self) -> Vec<u8> {
        self.encode_with(None)
    }

    fn encode_with(&self, signature: Option<[u8; SIGNATURE_LENGTH]>) -> Vec<u8> {
        let length = HEADER_LENGTH + SIGNATURE_LENGTH + self.body.encoded_length();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(self.header_bytes);
        match signature {
            Some(signature) => bytes.extend(signature),
            None => bytes[0] |= UNSIGNED_FLAG,
        }
        self.body.encode(&mut bytes);
        bytes
    }

    /// Whether its signature is here, true or not.
    pub const fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// The hash of the header.
    pub const fn id(&self) -> BatchId {
        self.id
    }

    /// What the batch says about itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header as it was signed.
    pub const fn header_bytes(&self) -> &[u8; HEADER_LENGTH] {
        &self.header_bytes
    }

    /// The changes; erased ones keep their place.
    pub fn leaves(&self) -> &[Leaf] {
        &self.body.leaves
    }

    /// Whether the contents of some leaf were erased.
    pub const fn has_erased_leaves(&self) -> bool {
        matches!(self.body.salting, Salting::Marks(_))
    }

    /// The salted hashes of its leaves, erased ones among them, in order.
    pub fn leaf_hashes(&self) -> Vec<[u8; 32]> {
        self.body.hashes()
    }

    /// The salted hashes of those leaves whose contents were erased.
    pub fn erased_hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.body.erased_hashes()
    }

    /// The key under which the batch stands in the set: scope, last change-time, id.
    pub fn key_bytes(&self) -> [u8; KEY_LENGTH] {
        self.header.key_bytes(&self.id)
    }

    /// Checks that `key` is the author's and signed the header.
    ///
    /// Strict verification only: a lenient one accepts signatures on which replicas would disagree.
    ///
    /// # Errors
    ///
    /// Fails if the batch must not be accepted.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignatureError> {
        if DeviceId::of_key(key.as_bytes()) != self.header.author {
            return Err(SignatureError::OtherKey);
        }
        let signature = self.signature.as_ref().ok_or(SignatureError::Missing)?;
        let signature = Signature::from_bytes(signature);
        key.verify_strict(&signed_bytes(&self.header_bytes), &signature)
            .map_err(|_| SignatureError::Wrong)
    }

    /// The same batch without the contents of the leaf at `index`; None if there is no such leaf.
    ///
    /// Id, signature and all other leaves stay.
    pub fn erase(&self, index: usize) -> Option<Self> {
        self.leaves().get(index)?;
        Some(Self { body: self.body.erase(index), ..self.clone() })
    }
}

/// What the author signs.
pub(crate) fn signed_bytes(header: &[u8; HEADER_LENGTH]) -> Vec<u8> {
    [SIGNATURE_DOMAIN, header].concat()
}
