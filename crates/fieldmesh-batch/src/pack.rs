//! A batch in a shorter form for the wire, from which the very same bytes come back.
//!
//! What follows from the rest is left out, and each field of all changes stands side by side. Any
//! bytes that would not come back exactly, such as those of a batch with an erased change, are not
//! packed.
//!
//! ```text
//! 1 if the Merkle root is left out, else 0
//! header, signature if the header says there is one, seed 16
//! leaves
//! ```
//!
//! It knows how a change chunk of Automerge is laid out, but not what its operations mean: a change
//! that it does not understand travels as it is.

mod chunk;
mod column;
mod decimal;
mod leaves;
mod numbers;
mod reader;
mod shape;
mod values;

use fieldmesh_model::DocumentId;

use crate::batch::{SIGNATURE_LENGTH, UNSIGNED_FLAG};
use crate::body::{LEAF_HEAD_LENGTH, SEALED};
use crate::header::{HEADER_LENGTH, Header};
use crate::leaf::{SALT_LENGTH, Salts, leaf_hash, merkle_root};

use leaves::PlainLeaf;
use reader::Reader;

/// The bytes of a Merkle root, the last of a header.
const ROOT_LENGTH: usize = 32;
/// The most changes of a batch whose root is left out: for more of them it is cheaper to send it
/// than to work it out.
const ROOT_CHANGES_MAX: usize = 8;

const WITH_ROOT: u8 = 0;
const WITHOUT_ROOT: u8 = 1;

/// Bytes that no batch was packed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packed batch is malformed")]
pub struct UnpackError;

/// What stands in front of the leaves of a batch.
struct Front<'a> {
    header: Header,
    header_bytes: [u8; HEADER_LENGTH],
    signature: &'a [u8],
    seed: [u8; SALT_LENGTH],
}

/// Packs the bytes of a batch; None if they are not of a batch or become no shorter.
pub fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let header_bytes = reader.array()?;
    let (header, signature) = take_front(&mut reader, &header_bytes)?;
    if reader.byte()? != SEALED {
        return None;
    }
    let front = Front { header, header_bytes, signature, seed: reader.array()? };
    let leaves = plain_leaves(reader, &front.header)?;
    let mut packed = Vec::with_capacity(bytes.len() / 2);
    let without_root = leaves.len() <= ROOT_CHANGES_MAX
        && root_of(&front.seed, leaves.iter().copied()) == front.header.merkle_root;
    packed.push(if without_root { WITHOUT_ROOT } else { WITH_ROOT });
    let shown = HEADER_LENGTH - if without_root { ROOT_LENGTH } else { 0 };
    packed.extend_from_slice(&front.header_bytes[..shown]);
    packed.extend_from_slice(front.signature);
    packed.extend(front.seed);
    leaves::put_leaves(&mut packed, &leaves, raw_length(&front.header));
    // A batch that does not come back would cost the link to every peer that lacks it, for good.
    (packed.len() < bytes.len() && unpack(&packed).as_deref() == Ok(bytes)).then_some(packed)
}

/// Gives back what was packed.
///
/// # Errors
///
/// Fails for bytes that [`pack`] never gives; their sender is not honest.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    unpack_all(Reader::new(packed)).ok_or(UnpackError)
}

fn unpack_all(mut reader: Reader<'_>) -> Option<Vec<u8>> {
    let mut header_bytes = [0; HEADER_LENGTH];
    let shown = match reader.byte()? {
        WITH_ROOT => HEADER_LENGTH,
        WITHOUT_ROOT => HEADER_LENGTH - ROOT_LENGTH,
        _ => return None,
    };
    header_bytes[..shown].copy_from_slice(reader.take(shown)?);
    let (header, signature) = take_front(&mut reader, &header_bytes)?;
    let seed = reader.array()?;
    let (count, length) = (usize::from(header.change_count), raw_length(&header));
    let leaves = leaves::take_leaves(&mut reader, count, length)?;
    let sum: usize = leaves.iter().map(|(_, change)| change.len()).sum();
    if !reader.rest.is_empty() || sum != length {
        return None;
    }
    if shown < HEADER_LENGTH {
        let leaves = leaves.iter().map(|(document, change)| (*document, &change[..]));
        header_bytes[shown..].copy_from_slice(&root_of(&seed, leaves));
    }
    let front = HEADER_LENGTH + signature.len() + 1 + SALT_LENGTH;
    let mut bytes = Vec::with_capacity(front + count * LEAF_HEAD_LENGTH + length);
    bytes.extend(header_bytes);
    bytes.extend_from_slice(signature);
    bytes.push(SEALED);
    bytes.extend(seed);
    for (document, change) in leaves {
        bytes.extend(document.as_bytes());
        bytes.extend(u32::try_from(change.len()).ok()?.to_be_bytes());
        bytes.extend(change);
    }
    Some(bytes)
}

/// The header, and the signature if there is one.
fn take_front<'a>(
    reader: &mut Reader<'a>,
    header_bytes: &[u8; HEADER_LENGTH],
) -> Option<(Header, &'a [u8])> {
    let mut signed = *header_bytes;
    signed[0] &= !UNSIGNED_FLAG;
    let is_signed = signed[0] == header_bytes[0];
    let signature = reader.take(if is_signed { SIGNATURE_LENGTH } else { 0 })?;
    Some((Header::from_bytes(&signed).ok()?, signature))
}

/// All leaves, if they are as long as the header says.
fn plain_leaves<'a>(mut reader: Reader<'a>, header: &Header) -> Option<Vec<PlainLeaf<'a>>> {
    let mut leaves = Vec::new();
    for _ in 0..header.change_count {
        let document = DocumentId::from_bytes(reader.array()?);
        let length = u32::from_be_bytes(reader.array()?);
        leaves.push((document, reader.take(usize::try_from(length).ok()?)?));
    }
    let length: usize = leaves.iter().map(|(_, change)| change.len()).sum();
    (reader.rest.is_empty() && length == raw_length(header)).then_some(leaves)
}

fn raw_length(header: &Header) -> usize {
    usize::try_from(header.raw_length).unwrap_or(usize::MAX)
}

fn root_of<'a>(seed: &[u8; SALT_LENGTH], leaves: impl Iterator<Item = PlainLeaf<'a>>) -> [u8; 32] {
    let salts = Salts::of_seed(seed);
    let hash = |(index, (document, change)): (usize, PlainLeaf<'_>)| {
        leaf_hash(&salts.salt(index), &document, change)
    };
    merkle_root(leaves.enumerate().map(hash).collect())
}
