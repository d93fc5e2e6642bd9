//! Rows whose record is there already: what they say otherwise is an edit of it.

use std::sync::Arc;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::{normal_form, validate_edit};
use fieldmesh_model::{DocumentId, Edit, Fields};

use crate::error::Error;
use crate::import::Exported;
use crate::ledger::names::ViewReferences;
use crate::projection::is_indexed;
use crate::rows::RecordRow;
use crate::schema;

use super::{Cells, Outcome, Run, fields_hash, is_unsigned, typed};
use crate::ledger::breaches::{Editing, breaks_rules};

impl Run<'_> {
    /// The record that a row is about, if there is one: it has the same natural key, or the same
    /// unique values.
    pub(super) fn known(
        &self,
        schema: &Arc<Collection>,
        fields: &Fields,
        extension: &[u8],
    ) -> Result<Option<DocumentId>, Error> {
        let mut signed = fields.clone();
        self.sign(schema, &mut signed);
        let normal = normal_form(schema, &signed, &self.references(schema));
        let id = self.ledger.identify(schema, normal.clone(), extension).id;
        if self.existing(id)?.is_some() {
            return Ok(Some(id));
        }
        let other = match is_unsigned(schema, fields) {
            true => self.other(schema, &normal, extension)?,
            false => None,
        };
        match self.holder(schema, &normal)?.or(other) {
            Some(holder) => Ok(Some(holder)),
            None if extension.is_empty() => self.alike(schema, &normal),
            None => Ok(None),
        }
    }

    /// The record of somebody else with the same natural key: whose it is, is part of its id.
    fn alike(&self, schema: &Collection, normal: &Fields) -> Result<Option<DocumentId>, Error> {
        let keys = &schema.natural_key;
        let indexed = keys.iter().find(|key| is_indexed(schema, key));
        let Some((key, value)) = indexed.and_then(|key| Some((key, normal.get(key)?))) else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for id in self.ledger.holding(schema, key, value)? {
            let record = self.ledger.row(id)?.and_then(|row| row.record);
            let is_alike = |record: &RecordRow| {
                keys.iter().all(|key| match (record.fields.get(key), normal.get(key)) {
                    (Some(held), Some(given)) => held.is_same(given),
                    _ => false,
                })
            };
            if record.as_ref().is_some_and(is_alike) {
                found.push(id);
            }
        }
        if found.len() > 1 {
            let text = format!("{} records of {} have this key", found.len(), schema.name);
            return Err(Error::fault("", text));
        }
        Ok(found.pop())
    }

    /// What becomes of the row of an export whose record is here; none where it is not.
    pub(super) fn exported(
        &mut self,
        exported: Exported,
        schema: &Collection,
        cells: &Fields,
    ) -> Result<Option<Outcome>, Error> {
        let Exported { id, updated_at } = exported;
        let row = self.ledger.row(id)?.filter(|row| row.scope.collection == schema.number);
        let Some(record) = row.and_then(|row| row.record) else { return Ok(None) };
        if record.deleted {
            return Err(deleted(id));
        }
        // As it was written out, by earlier versions too: what a cell cannot say in full is no other
        // value.
        let is_held = |key: &String, cell: &str| {
            let held = record.fields.get(key);
            held.is_some_and(|held| held.to_export_cell() == cell || held.to_cell() == cell)
        };
        let mut changed = cells.clone();
        changed.retain(|key, cell| !is_held(key, &cell.to_cell()));
        let mut changed = typed(schema, changed, Cells::Exported);
        self.ledger.resolve_references(schema, &mut changed)?;
        // What is otherwise may be what others have written since, and not what the row corrects.
        if !changed.is_empty() && updated_at != Some(record.updated_at) {
            let text = format!(
                "{} {id} has changed since it was exported (updatedAt); export it again",
                schema.name
            );
            return Err(Error::fault("", text));
        }
        match (changed.is_empty(), self.update) {
            (true, _) => Ok(Some(Outcome::Unchanged(id))),
            (false, true) => self.bring_up(id, &changed).map(Some),
            (false, false) => {
                let text = format!(
                    "{} {id} exists already with other contents; --update edits it",
                    schema.name
                );
                Err(Error::fault("", text))
            }
        }
    }

    /// Gives a record the values of a row; what the row says nothing of stays.
    pub(super) fn bring_up(&mut self, id: DocumentId, fields: &Fields) -> Result<Outcome, Error> {
        if self.written.contains_key(&id) {
            if self.dry_run {
                // It would be there by then.
                return Ok(Outcome::Updated(id));
            }
            self.finish()?;
        }
        let (ledger, policy) = (self.ledger, self.ledger.policy());
        let target = ledger.target(id, None);
        // Another schema may count than when the row was read.
        let (schema, record) = ledger.editable(&policy, id)?;
        schema::known(&policy, schema.number)?;
        if record.deleted {
            return Err(deleted(id));
        }
        let wanted = fields.iter().filter(|(key, value)| record.fields.get(*key) != Some(*value));
        let edits: Vec<Edit> = wanted
            .map(|(key, value)| Edit::Set { key: key.clone(), value: value.clone() })
            .collect();
        let references = ViewReferences::new(ledger, &schema, Some(id));
        let edits =
            references.judge(validate_edit(&schema, &record.fields, &edits, &references))?;
        let mut after = record.fields.clone();
        for edit in &edits {
            edit.apply(&mut after);
        }
        if fields_hash(&after) == fields_hash(&record.fields) {
            return Ok(Outcome::Unchanged(id));
        }
        ledger.check_disputes(id, &schema, &record, &edits)?;
        if !self.dry_run {
            let breaks = breaks_rules(&record);
            let editing = Editing { schema: &schema, breaks, edits: &edits };
            ledger.change(target, &schema, |document, actor, at| {
                editing.write(document, actor, at)
            })?;
        }
        Ok(Outcome::Updated(id))
    }
}

/// What is said of a row whose record is deleted.
fn deleted(id: DocumentId) -> Error {
    let name = format!("{id} (it is deleted; `restore-record` brings it back)");
    Error::NotFound { kind: "record", name }
}
