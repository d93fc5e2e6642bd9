//! What follows header and signature: salts and leaves.
//!
//! ```text
//! sealed   0, seed 16, then for each leaf: document 16, length u32, change
//! erased   1, then for each leaf: 0, salt 16, document 16, length u32, change
//!                             or: 1, hash 32
//! ```
//!
//! A batch is sealed with one seed, from which all salts follow. Once a leaf is erased its salt
//! must be gone too, so the salts that are left stand beside their leaves.

use fieldmesh_model::DocumentId;

use crate::batch::DecodeError;
use crate::header::Header;
use crate::leaf::{Leaf, SALT_LENGTH, Salt, Salts, leaf_hash, merkle_root};

pub(crate) const SEALED: u8 = 0;
const WITH_ERASED: u8 = 1;
const PRESENT: u8 = 0;
const ERASED: u8 = 1;

/// Bytes of document and length before a change.
pub(crate) const LEAF_HEAD_LENGTH: usize = 20;

/// Where the salts of a batch come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Salting {
    /// All from one seed.
    Seed(Salt),
    /// One mark a leaf, because one at least is erased.
    Marks(Vec<Mark>),
}

/// What stands beside a leaf once one leaf of the batch is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Salt(Salt),
    ErasedHash([u8; 32]),
}

/// Leaves and what their hashes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) salting: Salting,
    pub(crate) leaves: Vec<Leaf>,
}

impl Body {
    /// Bytes that [`Self::encode`] appends.
    pub(crate) fn encoded_length(&self) -> usize {
        let changes: usize = self.leaves.iter().map(|leaf| leaf.change.len()).sum();
        let salts = match &self.salting {
            Salting::Seed(_) => SALT_LENGTH,
            Salting::Marks(marks) => marks.len() * (1 + 2 * SALT_LENGTH),
        };
        1 + salts + self.leaves.len() * LEAF_HEAD_LENGTH + changes
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match &self.salting {
            Salting::Seed(seed) => {
                bytes.push(SEALED);
                bytes.extend(seed);
                self.leaves.iter().for_each(|leaf| encode_leaf(bytes, leaf));
            }
            Salting::Marks(marks) => {
                bytes.push(WITH_ERASED);
                for (mark, leaf) in marks.iter().zip(&self.leaves) {
                    match mark {
                        Mark::Salt(salt) => {
                            bytes.push(PRESENT);
                            bytes.extend(salt);
                            encode_leaf(bytes, leaf);
                        }
                        Mark::ErasedHash(hash) => {
                            bytes.push(ERASED);
                            bytes.extend(hash);
                        }
                    }
                }
            }
        }
    }

    /// Reads all of `bytes` and holds them against `header`.
    pub(crate) fn decode(bytes: &[u8], header: &Header) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: bytes };
        let count = usize::from(header.change_count);
        let [kind] = reader.array()?;
        let body = match kind {
            SEALED => reader.sealed(count)?,
            WITH_ERASED => reader.with_erased(count)?,
            kind => return Err(DecodeError::BodyKind { kind }),
        };
        if !reader.rest.is_empty() {
            return Err(DecodeError::Trailing { length: reader.rest.len() });
        }
        body.check_length(header)?;
        if body.merkle_root() != header.merkle_root {
            return Err(DecodeError::MerkleRoot);
        }
        Ok(body)
    }

    /// Reads the leaf at `index` and nothing behind it; an erased one is empty.
    pub(crate) fn decode_leaf(
        bytes: &[u8],
        header: &Header,
        index: usize,
    ) -> Result<Leaf, DecodeError> {
        if index >= usize::from(header.change_count) {
            return Err(DecodeError::NoLeaf { index });
        }
        let mut reader = Reader { rest: bytes };
        let [kind] = reader.array()?;
        if kind == SEALED {
            reader.array::<SALT_LENGTH>()?;
        }
        for earlier in 0..index {
            reader.marked_leaf(kind, earlier)?;
        }
        let (_, leaf) = reader.marked_leaf(kind, index)?;
        Ok(leaf.map(LeafBytes::into_leaf).unwrap_or_default())
    }

    /// The same body without the contents and the salt of the leaf at `index`.
    pub(crate) fn erase(&self, index: usize) -> Self {
        let hashes = self.hashes();
        let mut leaves = self.leaves.clone();
        let mut marks: Vec<Mark> = match &self.salting {
            Salting::Seed(seed) => {
                let salts = Salts::of_seed(seed);
                (0..leaves.len()).map(|index| Mark::Salt(salts.salt(index))).collect()
            }
            Salting::Marks(marks) => marks.clone(),
        };
        leaves[index] = Leaf::default();
        marks[index] = Mark::ErasedHash(hashes[index]);
        Self { salting: Salting::Marks(marks), leaves }
    }

    pub(crate) fn merkle_root(&self) -> [u8; 32] {
        merkle_root(self.hashes())
    }

    pub(crate) fn erased_hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        let marks = match &self.salting {
            Salting::Seed(_) => &[],
            Salting::Marks(marks) => &marks[..],
        };
        marks.iter().filter_map(|mark| match mark {
            Mark::Salt(_) => None,
            Mark::ErasedHash(hash) => Some(hash),
        })
    }

    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        let leaves = self.leaves.iter();
        match &self.salting {
            Salting::Seed(seed) => {
                let salts = Salts::of_seed(seed);
                let hash =
                    |(i, leaf): (_, &Leaf)| leaf_hash(&salts.salt(i), &leaf.document, &leaf.change);
                leaves.enumerate().map(hash).collect()
            }
            Salting::Marks(marks) => leaves
                .zip(marks)
                .map(|(leaf, mark)| match mark {
                    Mark::Salt(salt) => leaf_hash(salt, &leaf.document, &leaf.change),
                    Mark::ErasedHash(hash) => *hash,
                })
                .collect(),
        }
    }

    fn check_length(&self, header: &Header) -> Result<(), DecodeError> {
        let stated = usize::try_from(header.raw_length).unwrap_or(usize::MAX);
        let length = self.leaves.iter().map(|leaf| leaf.change.len()).sum();
        let fits = match self.salting {
            Salting::Seed(_) => length == stated,
            Salting::Marks(_) => length < stated,
        };
        if fits { Ok(()) } else { Err(DecodeError::RawLength { stated, length }) }
    }
}

fn encode_leaf(bytes: &mut Vec<u8>, leaf: &Leaf) {
    let length = u32::try_from(leaf.change.len()).expect("invariant: a change is below 4 GiB");
    bytes.extend(leaf.document.as_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(&leaf.change);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn sealed(&mut self, count: usize) -> Result<Body, DecodeError> {
        let salting = Salting::Seed(self.array()?);
        let leaf = |index| self.leaf(index).map(LeafBytes::into_leaf);
        let leaves = (0..count).map(leaf).collect::<Result<_, _>>()?;
        Ok(Body { salting, leaves })
    }

    fn with_erased(&mut self, count: usize) -> Result<Body, DecodeError> {
        let (mut marks, mut leaves) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (mark, leaf) = self.marked_leaf(WITH_ERASED, index)?;
            marks.extend(mark);
            leaves.push(leaf.map(LeafBytes::into_leaf).unwrap_or_default());
        }
        Ok(Body { salting: Salting::Marks(marks), leaves })
    }

    /// A leaf of a body of this kind, unless it is erased, and the mark beside it.
    fn marked_leaf(
        &mut self,
        kind: u8,
        index: usize,
    ) -> Result<(Option<Mark>, Option<LeafBytes<'a>>), DecodeError> {
        if kind == SEALED {
            return Ok((None, Some(self.leaf(index)?)));
        }
        if kind != WITH_ERASED {
            return Err(DecodeError::BodyKind { kind });
        }
        match self.array()? {
            [PRESENT] => Ok((Some(Mark::Salt(self.array()?)), Some(self.leaf(index)?))),
            [ERASED] => Ok((Some(Mark::ErasedHash(self.array()?)), None)),
            [kind] => Err(DecodeError::BodyKind { kind }),
        }
    }

    fn leaf(&mut self, index: usize) -> Result<LeafBytes<'a>, DecodeError> {
        let document = DocumentId::from_bytes(self.array()?);
        let length = u32::from_be_bytes(self.array()?);
        let change = self.take(usize::try_from(length).map_err(|_| DecodeError::Short)?)?;
        if change.is_empty() {
            return Err(DecodeError::EmptyChange { index });
        }
        Ok(LeafBytes { document, change })
    }
}

/// A leaf where it lies.
struct LeafBytes<'a> {
    document: DocumentId,
    change: &'a [u8],
}

impl LeafBytes<'_> {
    fn into_leaf(self) -> Leaf {
        Leaf { document: self.document, change: self.change.to_vec() }
    }
}
