//! What the view keeps of records that are alike.

use fieldmesh_model::DocumentId;
use serde::{Deserialize, Serialize};

/// The groups of one place, as far as somebody has to decide about them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct AlikeRow {
    pub(crate) groups: Vec<AlikeGroup>,
}

/// A group about which somebody has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlikeGroup {
    /// The id of the item.
    pub(crate) item: String,
    /// The records, by id; at least two.
    pub(crate) members: Vec<DocumentId>,
    /// How many more there are at least that nobody looked at.
    pub(crate) more: u32,
    /// The records that do not count meanwhile, each with the one that is shown in its place.
    pub(crate) behind: Vec<(DocumentId, DocumentId)>,
}

/// The key of a row in the tree of other things, by the keyed hash of its place.
pub(crate) fn alike_key(spot: &[u8; 16]) -> Vec<u8> {
    [ALIKE_PREFIX, &spot[..]].concat()
}

/// The prefix of all such rows.
pub(crate) const ALIKE_PREFIX: &[u8] = b"alike/";

/// The key that says that a record does not count meanwhile, because of one place; its value is the
/// record that is shown instead.
pub(crate) fn behind_key(collection: u16, id: DocumentId, spot: &[u8; 16]) -> Vec<u8> {
    [&behind_prefix(collection)[..], id.as_bytes(), &spot[..]].concat()
}

/// The prefix of all such keys of a collection.
pub(crate) fn behind_prefix(collection: u16) -> Vec<u8> {
    [&b"behind/"[..], &collection.to_be_bytes()].concat()
}
