//! A cursor: where a page ended, of which query and of which store.
//!
//! It is opaque to whoever holds it. What it says is checked by a hash under the store's key, so
//! that none of another store or another query is taken for a place in this one.

use std::fmt::Write as _;

use fieldmesh_model::schema::Collection;
use fieldmesh_store::Store;

use crate::api::ListQuery;
use crate::error::Error;
use crate::rows;
use crate::schema;

use super::order::Position;

/// The first byte of every cursor; another form gets another number.
const VERSION: u8 = 1;
/// The bytes of each of its three hashes.
const HASH_LENGTH: usize = 8;

/// The cursor behind `position`.
pub(super) fn write(
    store: &Store,
    query: &ListQuery,
    schema: &Collection,
    position: &Position,
) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(hash(store, "cursor/store", &[]));
    bytes.extend(hash(store, "cursor/query", &[&asked(query, schema)]));
    bytes.extend(rows::encode(position));
    let whole = hash(store, "cursor", &[&bytes]);
    bytes.extend(whole);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The position that a cursor stands for.
pub(super) fn read(
    store: &Store,
    query: &ListQuery,
    schema: &Collection,
    text: &str,
) -> Result<Position, Error> {
    let wrong = |reason: &str| Error::Cursor { reason: reason.to_owned() };
    let none = || wrong("this is no cursor; give the one that came with the last page as it was");
    let bytes = unhex(text.trim()).ok_or_else(none)?;
    let (version, rest) = bytes.split_first().ok_or_else(none)?;
    if *version != VERSION {
        return Err(none());
    }
    let (its_store, rest) = rest.split_first_chunk::<HASH_LENGTH>().ok_or_else(none)?;
    let (its_query, rest) = rest.split_first_chunk::<HASH_LENGTH>().ok_or_else(none)?;
    let (position, whole) = rest.split_last_chunk::<HASH_LENGTH>().ok_or_else(none)?;
    if *its_store != hash(store, "cursor/store", &[]) {
        return Err(wrong(
            "this cursor is from another store, or from before this one got another key; begin \
             with the first page",
        ));
    }
    if *whole != hash(store, "cursor", &[&bytes[..bytes.len() - HASH_LENGTH]]) {
        return Err(none());
    }
    if *its_query != hash(store, "cursor/query", &[&asked(query, schema)]) {
        return Err(wrong(
            "this cursor belongs to another query, or the collection was defined anew since; ask \
             the same as for the page that it came with, or begin with the first page",
        ));
    }
    rows::decode(position).map_err(|_| none())
}

/// What makes two queries the same one: all but how much of the answer is wanted, and how soon. Of
/// a collection of the tenant's own also by what it is read: another definition may order it anew.
fn asked(query: &ListQuery, schema: &Collection) -> Vec<u8> {
    let same = ListQuery { limit: None, cursor: None, partial: false, ..query.clone() };
    let mut bytes = rows::encode(&same);
    // Cursors of before the last three fields lack their bytes, and the first of them is not part
    // of the question.
    bytes.truncate(bytes.len().saturating_sub(3));
    if query.duplicates {
        bytes.push(1);
    }
    if query.awaiting {
        bytes.push(2);
    }
    if schema::is_foreign(schema.number) {
        bytes.extend(schema.reading());
    }
    bytes
}

fn hash(store: &Store, label: &str, parts: &[&[u8]]) -> [u8; HASH_LENGTH] {
    let hash = store.keyed_hash(label, parts);
    *hash.first_chunk().expect("32 bytes have a first eight")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
