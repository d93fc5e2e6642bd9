//! Fields about which somebody has to decide who may.

use fieldmesh_document::FieldConflict;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Edit};

use crate::error::Error;
use crate::rows::RecordRow;

use super::Ledger;

impl Ledger {
    /// Fails if one of these edits would end an open conflict that this device's user may not
    /// settle.
    ///
    /// Only what is written here is held to it: what others have written everybody reads alike.
    pub(super) fn check_disputes(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
        edits: &[Edit],
    ) -> Result<(), Error> {
        let may = |what: &str| self.check(&schema.resolve_by, record.created_by, what, schema);
        if !record.conflicts.iter().any(|conflict| conflict.open) || may("settle").is_ok() {
            return Ok(());
        }
        let Some(document) = self.document(id)? else { return Ok(()) };
        let found = document.conflicts(schema).map_err(|error| Error::store(&error))?;
        let is_ended = |conflict: &&FieldConflict| {
            conflict.is_open() && edits.iter().any(|edit| edit.key() == conflict.key)
        };
        match found.iter().find(is_ended) {
            Some(FieldConflict { id, key, .. }) => {
                may(&format!("decide about {key}, of which conflict {id} is open, in"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
