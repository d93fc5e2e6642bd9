//! Which batches are aside, as the log has said so up to the entry at hand.

use std::collections::BTreeMap;

use fieldmesh_model::BatchId;
use fieldmesh_store::{Tree, View, WriteSet};

use crate::error::Error;
use crate::rows;

/// Which batches are aside: what the view knows, and what this step has changed of it.
pub(super) struct Standing<'a> {
    view: &'a View,
    changed: BTreeMap<BatchId, bool>,
}

impl<'a> Standing<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, changed: BTreeMap::new() }
    }

    pub(super) fn set_aside(&mut self, batch: BatchId) {
        self.changed.insert(batch, true);
    }

    pub(super) fn admit(&mut self, batch: BatchId) {
        self.changed.insert(batch, false);
    }

    pub(super) fn is_aside(&self, batch: &BatchId) -> Result<bool, Error> {
        if let Some(is_aside) = self.changed.get(batch) {
            return Ok(*is_aside);
        }
        let mark = self.view.get(Tree::Meta, &rows::aside_key(batch));
        mark.map(|mark| mark.is_some()).map_err(|error| Error::store(&error))
    }

    pub(super) fn write(&self, writes: &mut WriteSet) {
        for (batch, is_aside) in &self.changed {
            if *is_aside {
                writes.put(Tree::Meta, rows::aside_key(batch), Vec::new());
            } else {
                writes.delete(Tree::Meta, rows::aside_key(batch));
            }
        }
    }
}
