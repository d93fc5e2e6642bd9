//! What merged records break of the rules of their collections, and how that is put right.
//!
//! What this device writes is checked before it is written; what comes from a peer or a gateway, or
//! out of a merge, is never refused for its content and stands here until the record keeps the
//! rule. Whoever may edit the record may put it right, here or by any other edit.

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::{Fault, validate_edit};
use fieldmesh_model::{DocumentId, Edit};

use crate::api::{ConflictReport, Edits, Record, Resolution};
use crate::error::Error;
use crate::rows::RecordRow;
use crate::schema;

use super::Ledger;
use super::conflicts::{KIND_RULE, side};
use super::names::ViewReferences;
use super::query::Names;
use super::record::Target;

/// Whether an item of the inbox is about broken rules, by its id.
pub(crate) fn is_breach(id: &str) -> bool {
    id.parse().is_ok_and(|id| fieldmesh_document::is_breach_id(&id))
}

impl Ledger {
    /// What a record breaks of the rules of its collection.
    pub(super) fn breaches_of(
        &self,
        id: DocumentId,
        names: &mut Names,
    ) -> Result<Vec<ConflictReport>, Error> {
        let Some((document, row)) = self.document(id)?.zip(self.row(id)?) else {
            return Ok(Vec::new());
        };
        let (policy, schema) = (self.policy(), self.schema(row.scope.collection));
        let view = document.view(&schema).map_err(|error| Error::store(&error))?;
        let found = document.breaches(&schema, &view).map_err(|error| Error::store(&error))?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let authors = self.authors(&row)?;
        let name = names.of(self, id).unwrap_or_else(|| id.short());
        let report = |breach: fieldmesh_document::Breach| ConflictReport {
            id: breach.id.to_string(),
            kind: KIND_RULE.into(),
            record: id,
            collection: schema.name.clone(),
            name: name.clone(),
            field: breach.key,
            open: true,
            values: breach.values.into_iter().map(|it| side(it, &authors, &policy)).collect(),
            faults: breach.faults,
            reason: None,
            batch: None,
        };
        Ok(found.into_iter().map(report).collect())
    }

    /// Puts right what a record breaks: after the edit nothing of the item may be left. What else
    /// is wrong with the record may stay.
    pub(super) fn mend_breach(
        &self,
        target: Target<'_>,
        schema: &Collection,
        record: &RecordRow,
        report: &ConflictReport,
        resolution: &Resolution,
    ) -> Result<Record, Error> {
        let policy = self.policy();
        self.check(&schema.edit_by, record.created_by, "change", schema)?;
        schema::known(&policy, schema.number)?;
        let Resolution::Set(assignments) = resolution else {
            return Err(Error::Usage {
                reason: format!(
                    "there is nothing to choose where a rule is broken; correct it: --set {}=VALUE",
                    if report.field.is_empty() { "FIELD" } else { &report.field }
                ),
            });
        };
        let edits = Edits { assignments: assignments.clone(), ..Edits::default() };
        let edits = self.read_edits(schema, &edits)?;
        let references = ViewReferences::new(self, schema, Some(target.id));
        let writes =
            references.judge(validate_edit(schema, &record.fields, &edits, &references))?;
        let left = faults_after(schema, record, &writes, &report.field);
        if !left.is_empty() {
            return Err(Error::Invalid { faults: left });
        }
        self.change(target, schema, |document, actor, at| document.edit(schema, actor, at, &writes))
    }
}

/// What would still be wrong with `field`.
fn faults_after(
    schema: &Collection,
    record: &RecordRow,
    writes: &[Edit],
    field: &str,
) -> Vec<Fault> {
    let mut fields = record.fields.clone();
    writes.iter().for_each(|edit| edit.apply(&mut fields));
    fieldmesh_document::faults(schema, &fields).remove(field).unwrap_or_default()
}
