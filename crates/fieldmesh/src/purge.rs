//! What the log holds of purged documents, entry by entry.

use fieldmesh_batch::Batch;
use fieldmesh_identity::Policy;
use fieldmesh_model::DocumentId;

/// What a batch holds of purged documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing.
    Nothing,
    /// At least one leaf that a purge names: it is to be erased.
    Named,
    /// Only leaves that no purge names so far: they stay until an administrator's device has
    /// named them, because nobody would take the batch without them.
    Unnamed,
}

/// What `batch` holds of purged documents.
pub(crate) fn holds(policy: &Policy, batch: &Batch) -> Holds {
    if !policy.has_purges() {
        return Holds::Nothing;
    }
    let hashes = batch.leaf_hashes();
    let mut left = hashes.iter().zip(batch.leaves()).filter(|(_, leaf)| !leaf.is_erased());
    let is_named = |hash, document| policy.is_purged_leaf(hash) && policy.is_purged(document);
    if left.clone().any(|(hash, leaf)| is_named(hash, &leaf.document)) {
        return Holds::Named;
    }
    match left.any(|(_, leaf)| policy.is_purged(&leaf.document)) {
        true => Holds::Unnamed,
        false => Holds::Nothing,
    }
}

/// The leaves of `batch` whose document is purged and which no purge names, by document.
pub(crate) fn unnamed(
    policy: &Policy,
    batch: &Batch,
    is_purged: impl Fn(&DocumentId) -> bool,
) -> Vec<(DocumentId, [u8; 32])> {
    if !batch.leaves().iter().any(|leaf| is_purged(&leaf.document)) {
        return Vec::new();
    }
    let hashes = batch.leaf_hashes();
    let leaves = batch.leaves().iter().zip(hashes);
    leaves
        .filter(|(leaf, hash)| {
            !leaf.is_erased() && is_purged(&leaf.document) && !policy.is_purged_leaf(hash)
        })
        .map(|(leaf, hash)| (leaf.document, hash))
        .collect()
}

/// A hash of all that purges name: whoever has erased by the same one has nothing left to erase.
pub(crate) fn digest(policy: &Policy) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for document in policy.purged_documents() {
        hasher.update(document.as_bytes());
    }
    // No leaf is taken for a document: the number of documents is not left to chance.
    hasher.update(&[0; 16]);
    for leaf in policy.purged_leaves() {
        hasher.update(leaf);
    }
    *hasher.finalize().as_bytes()
}
