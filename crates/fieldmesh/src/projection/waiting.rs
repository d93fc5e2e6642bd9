//! Changes of one document that wait for others, found by what they wait for.
//!
//! They lie in the view, one short key for each, so their number needs no limit: the log that holds
//! the changes themselves is a hundred times as large, and no step reads more than it can set free.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Direction, KeyRange, Tree, View, WriteSet};

use crate::error::Error;
use crate::rows::{self, ChangeRef};

/// What a change waits for that cannot be read at the moment: anything that arrives.
pub(super) const ANYTHING: [u8; 32] = [0; 32];

/// Whether any change of any document waits, as far as the view knows.
pub(super) fn is_any(view: &View) -> Result<bool, Error> {
    let range = KeyRange::prefix(rows::WAITING_PREFIX);
    rows::keys(view, Tree::Meta, range, Direction::Ascending)
        .next()
        .transpose()
        .map(|first| first.is_some())
}

/// The waiting changes of a document: what the view knows, and what this step has changed of it.
pub(super) struct Waiting<'a> {
    id: DocumentId,
    /// Nothing if it knows that none wait: then no document has to look for its own.
    view: Option<&'a View>,
    added: BTreeMap<Vec<u8>, ChangeRef>,
    freed: BTreeSet<Vec<u8>>,
}

impl<'a> Waiting<'a> {
    pub(super) const fn new(id: DocumentId, view: Option<&'a View>) -> Self {
        Self { id, view, added: BTreeMap::new(), freed: BTreeSet::new() }
    }

    /// A change waits for the one with the hash `missing`.
    pub(super) fn add(&mut self, missing: &[u8; 32], reference: ChangeRef) {
        self.added.insert(rows::waiting_key(self.id, missing, &reference), reference);
    }

    /// What waits for the change `here`; it does not wait afterwards.
    pub(super) fn free(&mut self, here: &[u8; 32]) -> Result<Vec<ChangeRef>, Error> {
        self.take(&rows::waiting_prefix(self.id, here))
    }

    /// Everything that waits; it does not afterwards.
    pub(super) fn free_all(&mut self) -> Result<Vec<ChangeRef>, Error> {
        self.take(&rows::waiting_prefix(self.id, &[]))
    }

    fn take(&mut self, prefix: &[u8]) -> Result<Vec<ChangeRef>, Error> {
        let mut found = BTreeMap::new();
        if let Some(view) = self.view {
            let range = KeyRange::prefix(prefix);
            for row in rows::scan(view, Tree::Meta, range, Direction::Ascending) {
                let (key, value) = row?;
                if self.freed.insert(key.clone()) {
                    found.insert(key, rows::decode(&value)?);
                }
            }
        }
        let mut behind = self.added.split_off(prefix);
        let rest = behind.iter().find(|(key, _)| !key.starts_with(prefix));
        if let Some(first) = rest.map(|(key, _)| key.clone()) {
            self.added.append(&mut behind.split_off(&first));
        }
        found.append(&mut behind);
        Ok(found.into_values().collect())
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> Result<bool, Error> {
        if !self.added.is_empty() {
            return Ok(false);
        }
        let Some(view) = self.view else { return Ok(true) };
        let range = KeyRange::prefix(&rows::waiting_prefix(self.id, &[]));
        for key in rows::keys(view, Tree::Meta, range, Direction::Ascending) {
            if !self.freed.contains(&key?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes what changes in the view.
    pub(super) fn write(self, writes: &mut WriteSet) {
        for key in self.freed {
            writes.delete(Tree::Meta, key);
        }
        for (key, reference) in self.added {
            writes.put(Tree::Meta, key, rows::encode(&reference));
        }
    }
}
