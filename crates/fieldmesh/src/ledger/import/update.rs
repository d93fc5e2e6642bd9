//! Rows whose record is there already: what they say otherwise is an edit of it.

use std::sync::Arc;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::{normal_form, validate_edit};
use fieldmesh_model::{DocumentId, Edit, Fields};

use crate::error::Error;
use crate::ledger::names::ViewReferences;
use crate::schema;

use super::{Outcome, Run, fields_hash};

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
        let holder = self.holder(schema, &normal)?;
        let id = self.ledger.identify(schema, normal, extension).id;
        Ok(if self.existing(id)?.is_some() { Some(id) } else { holder })
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
            let name = format!("{id} (it is deleted; `restore-record` brings it back)");
            return Err(Error::NotFound { kind: "record", name });
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
        if !self.dry_run {
            ledger.change(target, &schema, |document, actor, at| {
                document.edit(&schema, actor, at, &edits)
            })?;
        }
        Ok(Outcome::Updated(id))
    }
}
