//! The index entries of a record: what they are, and which of them changed.

use std::collections::BTreeSet;

use fieldmesh_model::catalogue::{practice, wells};
use fieldmesh_model::natural_key::unique_keys;
use fieldmesh_model::schema::{Collection, Field, Kind, Unique};
use fieldmesh_model::{DocumentId, Fields, Moment, Value};
use fieldmesh_store::{Store, Tree, WriteSet};

use crate::rows::{self, ConflictMark, ConflictRow, DocumentRow, RecordRow};

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

/// A record, and the schema by which it was read.
type Shown<'a> = (&'a Collection, Option<&'a RecordRow>);

/// Writes the index entries that `after` has and deletes those that only `before` had.
pub(super) fn update(
    before: Shown<'_>,
    after: Shown<'_>,
    id: DocumentId,
    store: &Store,
    writes: &mut WriteSet,
) {
    let keys = |(schema, record): Shown<'_>| match record {
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
    update_inbox(id, before.1, after.1, writes);
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
        .chain(gateway_keys(schema, id, store, record))
        .chain(
            record.waits().then(|| rows::value_key(waiting_hash(store, schema.number), time, id)),
        )
        .collect()
}

/// What the records of a collection are found by that do not count and wait for somebody. No field
/// of a record begins with an underscore.
fn waiting_hash(store: &Store, number: u16) -> [u8; 16] {
    field_hash(store, number, "_awaiting", &Value::Bool(true))
}

/// The beginning of the keys of those records in [`Tree::Index`], in the order of their times.
pub(crate) fn waiting_prefix(store: &Store, number: u16) -> Vec<u8> {
    rows::value_prefix(waiting_hash(store, number))
}

/// Moves the record to where it stands in the feed.
pub(super) fn update_feed(
    id: DocumentId,
    stood: Option<(u16, u64)>,
    row: &DocumentRow,
    writes: &mut WriteSet,
) {
    let stands = row.record.as_ref().map(|_| (row.scope.collection, row.feed));
    if stood == stands {
        return;
    }
    if let Some((collection, position)) = stood {
        writes.delete(Tree::Feed, rows::feed_key(collection, position, id));
    }
    if let Some((collection, position)) = stands {
        writes.put(Tree::Feed, rows::feed_key(collection, position, id), Vec::new());
    }
}

/// The keyed hash under which a record is found by what clients of a gateway call it.
pub(crate) fn name_hash(store: &Store, collection: u16, name: &Value) -> [u8; 16] {
    field_hash(store, collection, "_name", name)
}

/// The number that stands for a record where a client wants one; the same on every gateway.
pub(crate) fn number_of(id: DocumentId) -> i64 {
    let hash = blake3::derive_key("fieldmesh/record-number/1", id.as_bytes());
    let mut bytes = [0; 8];
    bytes[1..].copy_from_slice(&hash[..7]);
    // More than JavaScript counts exactly is no number to it, and small ones are the clients' own.
    (i64::from_be_bytes(bytes) >> 5) | NUMBER_MIN
}

/// The least number that stands for a record.
const NUMBER_MIN: i64 = 1 << 50;

/// Whether records of the collection are called by numbers where they have no name.
fn is_numbered(collection: u16) -> bool {
    [wells::USER, practice::PET, practice::APPOINTMENT].contains(&collection)
}

/// The keyed hashes of the groups of fields by which duplicates of a record are found, apart from
/// those that are found by other entries.
fn group_hashes(store: &Store, schema: &Collection, fields: &Fields) -> Vec<[u8; 16]> {
    let groups = unique_keys(schema, fields, &[]).into_iter();
    groups.filter_map(|(number, bytes)| group_hash(store, schema, number, &bytes)).collect()
}

/// What stands for the values of each group of unique fields by which records are alike that have
/// no id in common, whichever entries find them.
pub(crate) fn alike_hashes(store: &Store, schema: &Collection, fields: &Fields) -> Vec<[u8; 16]> {
    let groups = unique_keys(schema, fields, &[]).into_iter();
    let groups = groups.filter(|(number, _)| !is_covered(schema, &schema.unique[*number]));
    groups.map(|(number, bytes)| values_hash(store, schema, number, &bytes)).collect()
}

/// Whether records that share all values of a group stand next to each other in the index.
///
/// One field tells as much alone. Where the natural key covers the group, a record's id does; a
/// time among the values is found by any other of them and the time, which costs no row more.
fn has_group_entries(schema: &Collection, unique: &Unique) -> bool {
    unique.fields.len() > 1 && !is_covered(schema, unique)
}

/// Whether records that share all values of a group are found by the natural key of the collection.
pub(crate) fn is_covered(schema: &Collection, unique: &Unique) -> bool {
    let has_time = schema.time_field.as_ref().is_some_and(|field| unique.fields.contains(field));
    !schema.natural_key.is_empty() && (unique.extended || has_time)
}

/// The keyed hash of one of these groups by its canonical bytes; none where it has no such entries.
pub(super) fn group_hash(
    store: &Store,
    schema: &Collection,
    number: usize,
    bytes: &[u8],
) -> Option<[u8; 16]> {
    let has_entries = has_group_entries(schema, &schema.unique[number]);
    has_entries.then(|| values_hash(store, schema, number, bytes))
}

fn values_hash(store: &Store, schema: &Collection, number: usize, bytes: &[u8]) -> [u8; 16] {
    let parts = [&schema.number.to_be_bytes()[..], &[u8::try_from(number).unwrap_or(0)], bytes];
    *store.keyed_hash("group", &parts).first_chunk().expect("32 bytes have a first sixteen")
}

fn gateway_keys(
    schema: &Collection,
    id: DocumentId,
    store: &Store,
    record: &RecordRow,
) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    if record.name != Value::Null {
        keys.push(rows::name_prefix(name_hash(store, schema.number, &record.name)));
    }
    if is_numbered(schema.number) && !matches!(record.name, Value::Int(_)) {
        keys.push(rows::number_prefix(schema.number, number_of(id)));
    }
    keys.extend(group_hashes(store, schema, &record.fields).into_iter().map(rows::group_prefix));
    keys.iter_mut().for_each(|key| key.extend_from_slice(id.as_bytes()));
    keys
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
    let key = |mark: &ConflictMark| match mark.open {
        true => rows::inbox_key(&mark.id),
        false => rows::ended_key(&mark.id, id),
    };
    let (old, new) = (conflicts(before), conflicts(after));
    for gone in old.iter().filter(|conflict| !new.contains(conflict)) {
        writes.delete(Tree::Inbox, key(gone));
    }
    for come in new.iter().filter(|conflict| !old.contains(conflict)) {
        let row = ConflictRow { document: id, open: come.open };
        writes.put(Tree::Inbox, key(come), rows::encode(&row));
    }
}
