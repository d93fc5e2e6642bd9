//! The demo's own list of what was acknowledged: an id that `record` printed must never be lost.

use std::collections::BTreeMap;
use std::time::Duration;

/// An id that `record` printed.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    /// The id.
    pub(super) id: String,
    /// How long it took from the start of the program to the id.
    pub(super) after: Duration,
}

/// Everything that was acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    ids: BTreeMap<String, &'static str>,
}

impl Acknowledged {
    /// Notes an id and the collection it belongs to.
    pub(super) fn note(&mut self, collection: &'static str, id: &str) {
        self.ids.insert(id.to_owned(), collection);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Those of a collection.
    pub(super) fn of<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = &'a str> {
        self.ids.iter().filter(move |(_, of)| **of == collection).map(|(id, _)| id.as_str())
    }
}
