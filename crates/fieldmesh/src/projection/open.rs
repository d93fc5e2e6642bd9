//! Which documents have changes that wait for a batch.

use std::collections::BTreeSet;

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Direction, KeyRange, Tree, View};

use crate::error::Error;
use crate::rows;

/// The documents of which the view lists changes that wait, and those that this step has added.
///
/// They are few, so a batch need not be taken apart for the many that have none.
pub(super) struct Open<'a> {
    view: &'a View,
    known: Option<BTreeSet<DocumentId>>,
    added: BTreeSet<DocumentId>,
}

impl<'a> Open<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, known: None, added: BTreeSet::new() }
    }

    /// A change of the document waits.
    pub(super) fn add(&mut self, id: DocumentId) {
        self.added.insert(id);
    }

    /// Whether any change of the document may wait.
    pub(super) fn has_any_of(&mut self, id: &DocumentId) -> Result<bool, Error> {
        if self.known.is_none() {
            let range = KeyRange::prefix(rows::UNSEALED_PREFIX);
            let mut known = BTreeSet::new();
            for key in rows::keys(self.view, Tree::Meta, range, Direction::Ascending) {
                known.extend(rows::unsealed_change(&key?).map(|(document, _)| document));
            }
            self.known = Some(known);
        }
        Ok(self.added.contains(id) || self.known.as_ref().is_some_and(|known| known.contains(id)))
    }
}
