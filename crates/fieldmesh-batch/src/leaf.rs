//! One change in a batch, and the Merkle tree over all of them.

use fieldmesh_model::DocumentId;

/// One change of one document.
///
/// A leaf whose contents were erased has no bytes left and names no document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaf {
    /// The document that the change belongs to.
    pub document: DocumentId,
    /// The change as the document layer wrote it; never empty unless erased.
    pub change: Vec<u8>,
}

impl Leaf {
    /// Whether the contents were erased.
    pub const fn is_erased(&self) -> bool {
        self.change.is_empty()
    }
}

/// Bytes of salt in a leaf; they keep a hash from telling what an erased leaf said.
pub(crate) const SALT_LENGTH: usize = 16;

/// The salt of one leaf.
pub(crate) type Salt = [u8; SALT_LENGTH];

/// Makes the salts of a batch from its seed.
pub(crate) struct Salts([u8; 32]);

impl Salts {
    pub(crate) fn of_seed(seed: &Salt) -> Self {
        Self(blake3::derive_key("fieldmesh/salt/1", seed))
    }

    /// The salt of the leaf at `index`.
    pub(crate) fn salt(&self, index: usize) -> Salt {
        let hash = blake3::keyed_hash(&self.0, &(index as u64).to_be_bytes());
        let mut salt = [0; SALT_LENGTH];
        salt.copy_from_slice(&hash.as_bytes()[..SALT_LENGTH]);
        salt
    }
}

/// The hash of one leaf; all its parts but the last have a fixed length.
pub(crate) fn leaf_hash(salt: &Salt, document: &DocumentId, change: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/leaf/1");
    hasher.update(salt).update(document.as_bytes()).update(change);
    *hasher.finalize().as_bytes()
}

/// The Merkle root over the hashes of leaves: neighbours are paired, and one without a neighbour
/// moves up as it is. The header states the number of leaves, so no two lists share a root.
pub(crate) fn merkle_root(mut hashes: Vec<[u8; 32]>) -> [u8; 32] {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => {
                    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/branch/1");
                    hasher.update(left).update(right);
                    *hasher.finalize().as_bytes()
                }
                [single, ..] => *single,
                [] => [0; 32],
            })
            .collect();
    }
    hashes.first().copied().unwrap_or_default()
}
