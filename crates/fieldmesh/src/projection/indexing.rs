//! Makes the index entries that a built-in schema declares and a view lacks that an earlier version
//! made; for a tenant's own see [`super::schemas`].
//!
//! The view says which declared indexes are whole; lists use no other. Records that change while
//! one is made get their entries from the projection, so the order of both does not matter.

use std::collections::BTreeSet;

use fieldmesh_model::{DocumentId, catalogue};
use fieldmesh_store::{Direction, KeyRange, Store, Tree, View, WriteSet};
use serde::{Deserialize, Serialize};

use super::index;
use crate::error::Error;
use crate::rows::{self, DocumentRow};
use crate::schema;

/// Where the view says which declared indexes it has, in [`Tree::Meta`].
const INDEXES_KEY: &[u8] = b"indexes";
/// Documents that are looked at in one step.
const STEP_DOCUMENTS: usize = 1_024;

/// A collection and a field of it that it declares as indexed.
type Index = (u16, String);

/// The declared indexes of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Indexes {
    whole: BTreeSet<Index>,
    /// Those that are being made, and the document that was looked at last.
    made: BTreeSet<Index>,
    cursor: Vec<u8>,
}

/// Every index that a schema declares.
fn declared() -> BTreeSet<Index> {
    let fields = |schema: &'static fieldmesh_model::schema::Collection| {
        let declared = schema.fields.iter().filter(|field| index::is_declared(schema, &field.key));
        declared.map(|field| (schema.number, field.key.clone()))
    };
    catalogue::collections().iter().flat_map(fields).collect()
}

fn read(view: &View) -> Result<Indexes, Error> {
    Ok(rows::find(view, Tree::Meta, INDEXES_KEY)?.unwrap_or_default())
}

/// Whether the index of a declared field has every record.
pub(crate) fn is_whole(view: &View, collection: u16, key: &str) -> Result<bool, Error> {
    Ok(read(view)?.whole.contains(&(collection, key.to_owned())))
}

/// Says of a view without entries that its indexes are whole: the projection sees to that.
pub(crate) fn begin(store: &Store) -> Result<(), Error> {
    let view = store.view();
    if view.applied().map_err(|error| Error::store(&error))?.is_some() {
        return Ok(());
    }
    let indexes = Indexes { whole: declared(), ..Indexes::default() };
    let mut writes = WriteSet::new();
    writes.put(Tree::Meta, INDEXES_KEY, rows::encode(&indexes));
    view.apply(writes).map_err(|error| Error::store(&error))
}

/// Makes the next part of the indexes that are declared and lacking; says whether any is left.
///
/// For whoever alone writes the view.
pub(crate) fn step(store: &Store) -> Result<bool, Error> {
    let (view, declared) = (store.view(), declared());
    let before = read(view)?;
    let mut indexes = before.clone();
    // A field that is declared again later may have changed in records meanwhile.
    indexes.whole.retain(|index| declared.contains(index));
    let lacking: BTreeSet<Index> = declared.difference(&indexes.whole).cloned().collect();
    if indexes.made != lacking {
        indexes.made = lacking;
        indexes.cursor.clear();
    }
    let mut writes = WriteSet::new();
    let is_left = !indexes.made.is_empty() && !make(store, &mut indexes, &mut writes)?;
    if !is_left {
        indexes.whole.append(&mut indexes.made);
        indexes.cursor.clear();
    }
    if indexes != before {
        let (count, is_whole) = (writes.len(), !is_left);
        tracing::info!(entries = count, is_whole, "index entries made that the view lacked");
        writes.put(Tree::Meta, INDEXES_KEY, rows::encode(&indexes));
        view.apply(writes).map_err(|error| Error::store(&error))?;
    }
    Ok(is_left)
}

/// Makes the entries of the next documents; says whether those were the last.
fn make(store: &Store, indexes: &mut Indexes, writes: &mut WriteSet) -> Result<bool, Error> {
    let range = KeyRange::all().after(&indexes.cursor);
    let documents = store
        .view()
        .scan(Tree::Document, &range, Direction::Ascending, STEP_DOCUMENTS)
        .map_err(|error| Error::store(&error))?;
    for (key, value) in &documents {
        let row: DocumentRow = rows::decode(value)?;
        let collection = row.scope.collection;
        if !indexes.made.iter().any(|(number, _)| *number == collection) {
            continue;
        }
        let (Some(id), Some(record)) = (rows::indexed_id(key), &row.record) else { continue };
        put(store, id, collection, record, writes);
    }
    let Some((last, _)) = documents.last() else { return Ok(true) };
    indexes.cursor.clone_from(last);
    Ok(documents.len() < STEP_DOCUMENTS)
}

fn put(
    store: &Store,
    id: DocumentId,
    collection: u16,
    record: &rows::RecordRow,
    writes: &mut WriteSet,
) {
    let Some(schema) = schema::built_in(collection) else { return };
    for key in index::keys(&schema, id, store, record) {
        writes.put(Tree::Index, key, Vec::new());
    }
}
