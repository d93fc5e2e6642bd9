//! Fields and records about which somebody has to decide who may.

use fieldmesh_document::{ConflictKind, FieldConflict};
use fieldmesh_model::schema::{Collection, Unique};
use fieldmesh_model::{DocumentId, Edit};

use crate::alike::row::AlikeGroup;
use crate::error::Error;
use crate::rows::RecordRow;

use super::Ledger;
use super::duplicates::ReadRecord;

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
        // What is shared in another group stays so.
        let is_edited = |unique: &Unique| {
            edits.iter().any(|edit| unique.fields.iter().any(|key| key == edit.key()))
        };
        if schema.unique.iter().any(is_edited) {
            let what = "changing what they share";
            self.check_groups(what, self.groups_in(id, schema, record, is_edited)?)?;
        }
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

    /// Fails if deleting a record, or bringing it back, would decide about edits by somebody who did
    /// not know that it was deleted, and this device's user may not.
    pub(super) fn check_deletion(
        &self,
        what: &str,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<(), Error> {
        let may = |what: &str| self.check(&schema.resolve_by, record.created_by, what, schema);
        if !record.conflicts.iter().any(|conflict| conflict.open) || may("settle").is_ok() {
            return Ok(());
        }
        let Some(document) = self.document(id)? else { return Ok(()) };
        let found = document.conflicts(schema).map_err(|error| Error::store(&error))?;
        match found.iter().find(|one| one.kind == ConflictKind::DeletedAndEdited) {
            Some(FieldConflict { id, .. }) => may(&decide(what, id)),
            None => Ok(()),
        }
    }

    /// Fails if what is done to a record would decide about it and others that are alike, and this
    /// device's user may not.
    pub(super) fn check_alike(
        &self,
        what: &str,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<(), Error> {
        self.check_groups(what, self.groups_of(id, schema, record)?)
    }

    fn check_groups(&self, what: &str, groups: Vec<AlikeGroup>) -> Result<(), Error> {
        let policy = self.policy();
        for AlikeGroup { item, members, .. } in groups {
            for ReadRecord { schema, record, .. } in
                self.read_alike(&policy, members.into_iter())?
            {
                let what = decide(what, &item);
                self.check(&schema.resolve_by, record.created_by, &what, &schema)?;
            }
        }
        Ok(())
    }
}

/// What somebody does who may not decide.
fn decide(what: &str, item: &impl std::fmt::Display) -> String {
    format!("decide conflict {item}, as {what} would, of")
}

#[cfg(test)]
mod tests;
