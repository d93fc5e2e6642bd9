//! Which items of the inbox are about a record, by rules that depend on nothing but its document.

use std::collections::BTreeSet;

use fieldmesh_document::{Closing, Decision, Document, ReadError, RecordView};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Fields};
use fieldmesh_store::KeyRange;

use super::ConflictMark;

/// What the keys of items begin with in [`fieldmesh_store::Tree::Inbox`] once they have ended:
/// behind all that are open, so that nobody who wants those walks past the others.
const ENDED_PREFIX: &[u8] = b"~";

/// The length of an item's id.
const ID_LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

/// The key of an open item.
pub(crate) fn inbox_key(id: &str) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// The key of an item that has ended, as a record tells it: what was decided about several records
/// each of them tells.
pub(crate) fn ended_key(id: &str, document: DocumentId) -> Vec<u8> {
    [&ended_prefix(id)[..], document.as_bytes()].concat()
}

/// The prefix of the keys of an item that has ended.
pub(crate) fn ended_prefix(id: &str) -> Vec<u8> {
    [ENDED_PREFIX, id.as_bytes()].concat()
}

/// The id of the item with this key.
pub(crate) fn inbox_id(key: &[u8]) -> String {
    let id = match key.strip_prefix(ENDED_PREFIX) {
        Some(ended) => ended.get(..ID_LENGTH).unwrap_or(ended),
        None => key,
    };
    String::from_utf8_lossy(id).into_owned()
}

/// The items behind the id `after` that are open, or those that are not.
pub(crate) fn inbox_items(open: bool, after: &str) -> KeyRange {
    let all = match open {
        true => KeyRange::all().before(ENDED_PREFIX),
        false => KeyRange::prefix(ENDED_PREFIX),
    };
    match (after, open) {
        ("", _) => all,
        (after, true) => all.after(&inbox_key(after)),
        // Behind all records that tell of it.
        (after, false) => all.after(&[&ended_prefix(after)[..], &[u8::MAX; 17]].concat()),
    }
}

/// The marks of a record: what competes, what breaks rules, and what has come to an end.
pub(super) fn marks(
    document: &Document,
    schema: &Collection,
    view: &RecordView,
) -> Result<Vec<ConflictMark>, ReadError> {
    // A document of one change holds one value of everything.
    let conflicts = match document.change_count() {
        0..=1 => Vec::new(),
        _ => document.conflicts(schema)?,
    };
    let mark = |id: uuid::Uuid, open| ConflictMark { id: id.to_string(), open };
    let mut marks: Vec<_> = conflicts.iter().map(|found| mark(found.id, found.is_open())).collect();
    marks.extend(document.breaches(schema, view)?.into_iter().map(|breach| mark(breach.id, true)));
    let mut ended = BTreeSet::new();
    for closing in ended_of(document, schema).iter().rev() {
        let is_news = conflicts.iter().all(|found| found.id != closing.item);
        if is_news && ended.insert(closing.item) {
            marks.push(mark(closing.item, false));
        }
    }
    for decision in decisions_of(document, schema, &view.fields) {
        if ended.insert(decision.item) {
            marks.push(mark(decision.item, false));
        }
    }
    Ok(marks)
}

/// What was decided about a record and others that are alike; nothing, and a line in the log, where
/// that cannot be read.
pub(crate) fn decisions_of(
    document: &Document,
    schema: &Collection,
    fields: &Fields,
) -> Vec<Decision> {
    let found = document.decisions(schema, fields).inspect_err(|error| {
        tracing::warn!(document = %document.id().short(), %error, "what was decided is unknown");
    });
    found.unwrap_or_default()
}

/// How the conflicts of a record ended; nothing, and a line in the log, where the past cannot be
/// read for it: that must not hide the record of today.
pub(crate) fn ended_of(document: &Document, schema: &Collection) -> Vec<Closing> {
    let found = document.closings(schema).inspect_err(|error| {
        tracing::warn!(document = %document.id().short(), %error, "how conflicts ended is unknown");
    });
    found.map(|found| found.ended).unwrap_or_default()
}
