//! Which records a set of rows puts behind others, and which it takes out from there.

use std::collections::BTreeMap;

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Tree, View, WriteSet};

use crate::alike::row::{behind_id, is_behind, stays_behind};
use crate::error::Error;

/// The records that begin or cease to stand behind another one.
pub(super) struct Behind {
    moved: BTreeMap<DocumentId, bool>,
}

impl Behind {
    /// What `writes` will change of `view`.
    pub(super) fn read(view: &View, writes: &WriteSet) -> Result<Self, Error> {
        let mut moved = BTreeMap::new();
        let touched = writes.changed(Tree::Meta).filter_map(|(key, _)| behind_id(key));
        for (collection, id) in touched {
            let was = is_behind(view, collection, id)?;
            if was != stays_behind(view, writes, collection, id)? {
                moved.insert(id, was);
            }
        }
        Ok(Self { moved })
    }

    /// The records that move, each with whether it stood behind another one before.
    pub(super) fn moved(&self) -> impl Iterator<Item = (DocumentId, bool)> {
        self.moved.iter().map(|(id, was)| (*id, *was))
    }

    /// Whether a record stood behind another one before the set, and whether it does after it;
    /// asked after it was written.
    pub(super) fn of(
        &self,
        view: &View,
        collection: u16,
        id: DocumentId,
    ) -> Result<(bool, bool), Error> {
        match self.moved.get(&id) {
            Some(was) => Ok((*was, !was)),
            None => is_behind(view, collection, id).map(|is| (is, is)),
        }
    }
}
