//! What the view keeps of records that are alike.

use std::collections::BTreeSet;

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rows;

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
    [BEHIND_PREFIX, &collection.to_be_bytes()].concat()
}

const BEHIND_PREFIX: &[u8] = b"behind/";

/// The collection and the record of such a key.
pub(crate) fn behind_id(key: &[u8]) -> Option<(u16, DocumentId)> {
    let (collection, rest) = key.strip_prefix(BEHIND_PREFIX)?.split_first_chunk::<2>()?;
    let id = rest.first_chunk::<16>()?;
    Some((u16::from_be_bytes(*collection), DocumentId::from_bytes(*id)))
}

/// The prefix of the keys of one record: it may stand behind others in several places.
fn of_record(collection: u16, id: DocumentId) -> Vec<u8> {
    [&behind_prefix(collection)[..], id.as_bytes()].concat()
}

/// Whether a record stands behind another one.
pub(crate) fn is_behind(view: &View, collection: u16, id: DocumentId) -> Result<bool, Error> {
    let range = KeyRange::prefix(&of_record(collection, id));
    Ok(rows::edge(view, Tree::Meta, &range, Direction::Ascending)?.is_some())
}

/// The records of a collection that stand behind another one, and those before them.
pub(crate) fn beside_others(view: &View, collection: u16) -> Result<BTreeSet<DocumentId>, Error> {
    let mut found = BTreeSet::new();
    let range = KeyRange::prefix(&behind_prefix(collection));
    for row in rows::scan(view, Tree::Meta, range, Direction::Ascending) {
        let (key, first) = row?;
        found.extend(behind_id(&key).map(|(_, id)| id));
        found.insert(rows::decode(&first)?);
    }
    Ok(found)
}

/// The key that says that a record counts although it is deleted, because of one place.
pub(crate) fn instead_key(collection: u16, id: DocumentId, spot: &[u8; 16]) -> Vec<u8> {
    [&instead_prefix(collection, id)[..], &spot[..]].concat()
}

fn instead_prefix(collection: u16, id: DocumentId) -> Vec<u8> {
    [INSTEAD_PREFIX, &collection.to_be_bytes(), id.as_bytes()].concat()
}

const INSTEAD_PREFIX: &[u8] = b"instead/";

/// Whether a record counts although it is deleted.
pub(crate) fn is_instead(view: &View, collection: u16, id: DocumentId) -> Result<bool, Error> {
    let range = KeyRange::prefix(&instead_prefix(collection, id));
    Ok(rows::edge(view, Tree::Meta, &range, Direction::Ascending)?.is_some())
}

/// Whether it does when `writes` are in the view.
pub(crate) fn stays_instead(
    view: &View,
    writes: &WriteSet,
    collection: u16,
    id: DocumentId,
) -> Result<bool, Error> {
    stays(view, writes, &instead_prefix(collection, id))
}

/// Whether a record stands behind another one when `writes` are in the view.
pub(crate) fn stays_behind(
    view: &View,
    writes: &WriteSet,
    collection: u16,
    id: DocumentId,
) -> Result<bool, Error> {
    stays(view, writes, &of_record(collection, id))
}

/// Whether any key begins so when `writes` are in the view.
fn stays(view: &View, writes: &WriteSet, prefix: &[u8]) -> Result<bool, Error> {
    let is_of = |key: &[u8]| key.starts_with(prefix);
    if writes.changed(Tree::Meta).any(|(key, value)| is_of(key) && value.is_some()) {
        return Ok(true);
    }
    let range = KeyRange::prefix(prefix);
    for key in rows::keys(view, Tree::Meta, range, Direction::Ascending) {
        if writes.find(Tree::Meta, &key?).is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}
