//! The keys of a document that no collection declares: they begin with `_`.
//!
//! All but the tombstone, comments, approvals, what settles conflicts and what is said of other
//! records are written in the root change and fixed from then on.

use fieldmesh_model::DocumentId;
use uuid::Uuid;

/// The number of the collection.
pub(crate) const COLLECTION: &str = "_collection";
/// The scope, eight bytes.
pub(crate) const SCOPE: &str = "_scope";
/// The version of the schema under which the record was written.
pub(crate) const SCHEMA: &str = "_schema";
/// The user who created the record, 16 bytes.
pub(crate) const CREATED_BY: &str = "_createdBy";
/// When the record was created, if that is not the time of its root change.
pub(crate) const CREATED_AT: &str = "_createdAt";
/// The device that created the record, 32 bytes.
pub(crate) const DEVICE: &str = "_deviceId";
/// The natural key with its extension, or a nonce: what the document's id commits to.
pub(crate) const KEY: &str = "_key";
/// The record that this one replaces, 16 bytes.
pub(crate) const REPLACES: &str = "_replaces";
/// The zone in which the record was written, as text.
pub(crate) const ZONE: &str = "_zone";
/// When the record was deleted; null after it was restored.
pub(crate) const DELETED_AT: &str = "_deletedAt";
/// The user who deleted the record, 16 bytes.
pub(crate) const DELETED_BY: &str = "_deletedBy";
/// The record that replaces this deleted one, 16 bytes.
pub(crate) const SUPERSEDED_BY: &str = "_supersededBy";

/// What the keys begin with that say, by the id of another record, that both are meant.
const APART_PREFIX: &str = "_apart.";

/// What the client of a gateway calls the record, a whole number or a text.
pub(crate) const NAME: &str = "_name";
/// The user in whose name a gateway made the record, as his tokens call him.
pub(crate) const MADE_FOR: &str = "_madeFor";
/// The user in whose name a gateway made a later change.
pub(crate) const EDITED_FOR: &str = "_editedFor";

/// What people who approve records say of this one: true, or why it is refused.
pub(crate) const APPROVAL: &str = "_approval";

/// What the keys begin with under which a change says that it settles an item of the inbox.
const SETTLED_PREFIX: &str = "_settled.";

/// The key under which a change says that it settles an item.
pub(crate) fn settled(item: &Uuid) -> String {
    format!("{SETTLED_PREFIX}{item}")
}

/// The item that such a key is about.
pub(crate) fn settled_item(key: &str) -> Option<Uuid> {
    key.strip_prefix(SETTLED_PREFIX)?.parse().ok()
}

/// All keys under which changes say what they settle.
pub(crate) fn all_settled() -> std::ops::Range<String> {
    all_after(SETTLED_PREFIX)
}

/// All keys that say beside which others the record is meant.
pub(crate) fn all_apart() -> std::ops::Range<String> {
    all_after(APART_PREFIX)
}

fn all_after(prefix: &str) -> std::ops::Range<String> {
    // The character after the point ends them.
    prefix.to_owned()..prefix.replace('.', "/")
}

/// What the keys of comments begin with.
const COMMENT_PREFIX: &str = "_comment.";

/// The key of a comment on an item.
pub(crate) fn comment(item: &Uuid, digits: &str) -> String {
    format!("{COMMENT_PREFIX}{item}.{digits}")
}

/// The item that the comment under such a key is about.
pub(crate) fn comment_item(key: &str) -> Option<Uuid> {
    key.strip_prefix(COMMENT_PREFIX)?.split_once('.')?.0.parse().ok()
}

/// Whether `key` is one of comments, also if it is about nothing.
pub(crate) fn is_comment(key: &str) -> bool {
    key.starts_with(COMMENT_PREFIX)
}

/// All keys of comments.
pub(crate) fn comments() -> std::ops::Range<String> {
    all_after(COMMENT_PREFIX)
}

/// Whether `key` belongs to the system and not to a collection.
pub(crate) fn is_system(key: &str) -> bool {
    key.starts_with('_')
}

/// Whether `key` is fixed by the root change.
pub(crate) fn is_fixed(key: &str) -> bool {
    let is_loose = [DELETED_AT, DELETED_BY, SUPERSEDED_BY, EDITED_FOR, APPROVAL].contains(&key);
    let is_said = [APART_PREFIX, SETTLED_PREFIX, COMMENT_PREFIX];
    is_system(key) && !is_loose && !is_said.iter().any(|prefix| key.starts_with(prefix))
}

/// The key that says that the record is meant beside `other`.
pub(crate) fn apart(other: DocumentId) -> String {
    format!("{APART_PREFIX}{other}")
}

/// The record that such a key is about.
pub(crate) fn apart_from(key: &str) -> Option<DocumentId> {
    key.strip_prefix(APART_PREFIX)?.parse().ok()
}
