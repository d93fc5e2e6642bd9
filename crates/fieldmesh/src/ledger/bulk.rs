//! Changing many records alike, with a look at what would change first.

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Value};

use crate::api::{BulkChange, BulkEdit, BulkRefusal, BulkReport, FieldChange};
use crate::error::Error;
use crate::rows::RecordRow;

use super::Ledger;
use super::names::{ViewReferences, record_name};
use super::record::Target;

/// The most records that one call changes.
const RECORDS_MAX: usize = 10_000;

/// A record and what is to be written of it.
struct Wanted {
    id: DocumentId,
    edits: Vec<Edit>,
}

impl Ledger {
    /// Changes the records that a query asks for; if one of them cannot be changed so, none is.
    pub(crate) fn edit_all(&self, bulk: &BulkEdit) -> Result<BulkReport, Error> {
        let view = self.projector.view_number();
        self.settle()?;
        if bulk.list.deleted {
            let reason = "deleted records are not edited; restore them first";
            return Err(Error::Usage { reason: reason.into() });
        }
        let (plan, found) = self.planned(&bulk.list, |plan| self.find(plan, None))?;
        let (schema, found) = (&*plan.schema, found.records);
        let edits = self.read_edits(schema, &bulk.edits)?;
        if found.len() > RECORDS_MAX {
            let count = found.len();
            let reason = format!("{count} records are more than the {RECORDS_MAX} of one call");
            return Err(Error::Usage { reason });
        }
        check_unique(schema, &edits, found.len())?;
        let mut report = BulkReport::default();
        let mut wanted = Vec::new();
        for (id, row, record) in found {
            let allowed = self
                .check(&schema.edit_by, record.created_by, "change", schema)
                .and_then(|()| self.check_held(row.scope));
            let references = ViewReferences::new(self, schema, Some(id));
            let checked = allowed.and_then(|()| {
                references.judge(validate_edit(schema, &record.fields, &edits, &references))
            });
            match checked {
                Err(error) => {
                    report.refused.push(BulkRefusal { id, reason: reason(error) });
                }
                Ok(edits) => {
                    let fields = changes(&record, &edits);
                    if fields.is_empty() {
                        report.unchanged += 1;
                        continue;
                    }
                    let name = record_name(schema, &record);
                    report.changed.push(BulkChange { id, name, fields });
                    wanted.push(Wanted { id, edits });
                }
            }
        }
        if bulk.dry_run || !report.refused.is_empty() {
            return Ok(report);
        }
        for Wanted { id, edits } in wanted {
            let target = Target { id, view, version: None };
            self.change(target, schema, |document, actor, at| {
                document.edit(schema, actor, at, &edits)
            })?;
        }
        report.written = true;
        Ok(report)
    }
}

/// Fails where several records would get one value that only one may have.
fn check_unique(schema: &Collection, edits: &[Edit], count: usize) -> Result<(), Error> {
    let is_unique = |edit: &&Edit| {
        schema.unique.iter().any(|unique| unique.fields.iter().any(|field| field == edit.key()))
    };
    match edits.iter().find(is_unique) {
        Some(edit) if count > 1 => {
            let message = format!("no two records may be alike in it, and these are {count}");
            Err(Error::fault(edit.key(), message))
        }
        _ => Ok(()),
    }
}

/// Why a record cannot be changed, in one line.
fn reason(error: Error) -> String {
    match error {
        Error::Invalid { faults } => {
            let lines: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            lines.join("; ")
        }
        error => error.to_string(),
    }
}

/// What edits change of a record.
fn changes(record: &RecordRow, edits: &[Edit]) -> Vec<FieldChange> {
    let mut after = record.fields.clone();
    let mut fields = Vec::new();
    for edit in edits {
        edit.clone().apply(&mut after);
        let key = edit.key();
        let value = |fields: &fieldmesh_model::Fields| {
            fields.get(key).map_or(serde_json::Value::Null, Value::to_json)
        };
        let (before, after) = (value(&record.fields), value(&after));
        if before != after {
            fields.push(FieldChange { field: key.to_owned(), before, after });
        }
    }
    fields
}
