//! What merged records break of the rules of their collections, and how that is put right.
//!
//! What this device writes is checked before it is written; what comes from a peer or a gateway, or
//! out of a merge, is never refused for its content and stands here until the record keeps the
//! rule. Whoever may edit the record may put it right, here or by any other edit.

use fieldmesh_document::{Document, EditError};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::{Fault, validate_edit};
use fieldmesh_model::{Edit, Moment};

use crate::api::{ConflictReport, Edits, Record, Resolution};
use crate::error::Error;
use crate::rows::RecordRow;
use crate::schema;

use super::Ledger;
use super::inbox::{KIND_RULE, Telling};
use super::names::ViewReferences;
use super::record::Target;

/// Whether an item of the inbox is about broken rules, by its id.
pub(crate) fn is_breach(id: &str) -> bool {
    id.parse().is_ok_and(|id| fieldmesh_document::is_breach_id(&id))
}

/// Whether a record breaks a rule.
pub(super) fn breaks_rules(record: &RecordRow) -> bool {
    record.conflicts.iter().any(|mark| mark.open && is_breach(&mark.id))
}

/// Edits of a record by somebody on this device.
pub(super) struct Editing<'a> {
    pub(super) schema: &'a Collection,
    /// Whether the record breaks a rule.
    pub(super) breaks: bool,
    pub(super) edits: &'a [Edit],
}

impl Editing<'_> {
    /// Writes them; where they put right what breaks a rule, the change says so.
    pub(super) fn write(
        &self,
        document: &mut Document,
        actor: [u8; 16],
        at: Moment,
    ) -> Result<Option<Vec<u8>>, EditError> {
        if self.breaks {
            document.mending(self.schema, self.edits);
        }
        document.edit(self.schema, actor, at, self.edits)
    }
}

impl Telling<'_> {
    /// A field that breaks rules.
    pub(super) fn breach(&self, breach: fieldmesh_document::Breach) -> ConflictReport {
        ConflictReport {
            field: breach.key,
            values: self.sides(breach.values),
            faults: breach.faults,
            ..self.item(&breach.id, KIND_RULE)
        }
    }
}

impl Ledger {
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
        let editing = Editing { schema, breaks: true, edits: &writes };
        self.change(target, schema, |document, actor, at| editing.write(document, actor, at))
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

#[cfg(test)]
mod tests;
