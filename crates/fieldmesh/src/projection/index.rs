//! The index entries of a record: what they are, and which of them changed.

use std::collections::BTreeSet;

use fieldmesh_model::schema::{Collection, Field, Kind};
use fieldmesh_model::{DocumentId, Moment, Value};
use fieldmesh_store::{Store, Tree, WriteSet};

use crate::rows::{self, ConflictRow, RecordRow};

/// The time by which a record is listed: its time field, or its creation.
pub(crate) fn record_time(schema: &Collection, record: &RecordRow) -> Moment {
    schema
        .time_field
        .as_ref()
        .and_then(|field| record.fields.get(field))
        .and_then(Value::as_moment)
        .unwrap_or(record.created_at)
}

/// Whether records can be found by this field's value without looking at all of them.
///
/// References and names are; so is what no two records may share, unless the natural key, and with
/// it the record's id, sees to that. Every further row costs each record some 25 bytes, and sled
/// twice to three times that.
pub(crate) fn is_indexed(schema: &Collection, key: &str) -> bool {
    let is_name = schema.names.iter().any(|name| name == key);
    let mut plain = schema.unique.iter().filter(|unique| !unique.extended);
    let is_unique = plain.any(|unique| unique.fields.iter().any(|field| field == key));
    let field = schema.field(key);
    let is_reference = field.is_some_and(|field| matches!(field.kind, Kind::Reference { .. }));
    is_name || is_unique || is_reference
}

/// Whether the schema wants an index of this field's values that records have for no other reason.
///
/// A view that an earlier version made may lack it; see [`super::indexing`].
pub(crate) fn is_declared(schema: &Collection, key: &str) -> bool {
    let declares = |field: &Field| {
        field.indexed && !matches!(field.kind, Kind::TextList { .. } | Kind::IntegerList { .. })
    };
    schema.field(key).is_some_and(declares) && !is_indexed(schema, key)
}

/// The keyed hash under which a field's value is found; letters of names count alike, and so do
/// numbers that are equal.
pub(crate) fn field_hash(store: &Store, collection: u16, key: &str, value: &Value) -> [u8; 16] {
    let value = value.clone().canonical().to_cell().trim().to_lowercase();
    let parts = [&collection.to_be_bytes()[..], key.as_bytes(), value.as_bytes()];
    let hash = store.keyed_hash("field", &parts);
    *hash.first_chunk().expect("32 bytes have a first sixteen")
}

/// Writes the index entries that `after` has and deletes those that only `before` had.
pub(super) fn update(
    schema: &Collection,
    id: DocumentId,
    store: &Store,
    before: Option<&RecordRow>,
    after: Option<&RecordRow>,
    writes: &mut WriteSet,
) {
    let keys = |record: Option<&RecordRow>| match record {
        Some(record) => keys(schema, id, store, record),
        None => BTreeSet::new(),
    };
    let (old, new) = (keys(before), keys(after));
    for key in old.difference(&new) {
        writes.delete(Tree::Index, key.clone());
    }
    for key in new.difference(&old) {
        writes.put(Tree::Index, key.clone(), Vec::new());
    }
    update_inbox(id, before, after, writes);
}

pub(super) fn keys(
    schema: &Collection,
    id: DocumentId,
    store: &Store,
    record: &RecordRow,
) -> BTreeSet<Vec<u8>> {
    let time = record_time(schema, record);
    let is_wanted = |key: &str| is_indexed(schema, key) || is_declared(schema, key);
    let values = record.fields.iter().filter(|(key, value)| is_wanted(key) && !value.is_cleared());
    values
        .flat_map(|(key, value)| {
            // Nobody writes lists here, but a foreign one is found by its items all the same.
            let items = value.as_list().unwrap_or_default();
            items.iter().chain([value]).map(move |value| (key, value))
        })
        .map(|(key, value)| rows::value_key(field_hash(store, schema.number, key, value), time, id))
        .chain([rows::time_key(schema.number, time, id)])
        .collect()
}

fn update_inbox(
    id: DocumentId,
    before: Option<&RecordRow>,
    after: Option<&RecordRow>,
    writes: &mut WriteSet,
) {
    let conflicts = |record: Option<&RecordRow>| {
        record.map(|record| record.conflicts.clone()).unwrap_or_default()
    };
    let (old, new) = (conflicts(before), conflicts(after));
    for gone in old.iter().filter(|conflict| !new.contains(conflict)) {
        writes.delete(Tree::Inbox, gone.id.clone().into_bytes());
    }
    for come in new.iter().filter(|conflict| !old.contains(conflict)) {
        let row = ConflictRow { document: id, open: come.open };
        writes.put(Tree::Inbox, come.id.clone().into_bytes(), rows::encode(&row));
    }
}
