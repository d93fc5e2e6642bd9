//! How items of the inbox are settled, and by whom; [`super::inbox`] lists them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_document::{Document, EditError, FieldConflict};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, Edit, Moment, validate::validate_edit};

use crate::api::{Choice, ConflictReport, Edits, Record, Resolution};
use crate::changes::read_change;
use crate::error::Error;
use crate::rows::{self, DocumentRow};
use crate::schema;

use super::Ledger;
use super::duplicates::KIND_DUPLICATE;
use super::inbox::{KIND_PARALLEL, KIND_QUARANTINE, KIND_RULE};
use super::names::ViewReferences;
use super::record::Target;

/// An item about values that compete, and what it is settled by.
pub(super) struct Open {
    policy: Arc<Policy>,
    schema: Arc<Collection>,
    pub(super) row: DocumentRow,
    pub(super) record: rows::RecordRow,
    pub(super) found: FieldConflict,
}

impl Ledger {
    /// Settles one item.
    pub(crate) fn settle_conflict(
        &self,
        id: &str,
        resolution: &Resolution,
    ) -> Result<Record, Error> {
        let view = self.projector.view_number();
        let report = self.conflict(id)?;
        let target = Target { id: report.record, view, version: None };
        if let Some(reason) = nothing_to_settle(&report) {
            let has_ended = report.adopted_by.is_some() || !report.ended.is_empty();
            return Err(match has_ended {
                true => Error::Settled { reason },
                false => Error::Usage { reason },
            });
        }
        if report.kind == KIND_DUPLICATE {
            return self.settle_duplicate(view, &report, resolution);
        }
        if report.kind == KIND_RULE {
            let (policy, row) = self.told_row(&report)?;
            let schema = schema::numbered(&policy, row.scope.collection);
            let record = row.record.ok_or_else(|| gone(&report))?;
            return self.mend_breach(target, &schema, &record, &report, resolution);
        }
        let Open { policy, schema, row, record, found } = self.open_item(&report)?;
        match resolution {
            Resolution::Take(choice) => {
                let label = self.label(choice, &found, &row)?;
                self.take(&policy, target, &schema, (&found, &label))
            }
            Resolution::Set(assignments) => {
                schema::known(&policy, schema.number)?;
                self.set(target, &schema, &record, &found, assignments)
            }
        }
    }

    /// The record of an item as its report has it, by one policy.
    fn told_row(&self, report: &ConflictReport) -> Result<(Arc<Policy>, DocumentRow), Error> {
        let policy = self.policy();
        let row = self.row_by(&policy, report.record)?;
        row.map(|row| (policy, row)).ok_or_else(|| gone(report))
    }

    /// What competes in an item, if this device may settle it.
    pub(super) fn open_item(&self, report: &ConflictReport) -> Result<Open, Error> {
        let document = self.document(report.record)?.ok_or_else(|| gone(report))?;
        let (policy, row) = self.told_row(report)?;
        let schema = schema::numbered(&policy, row.scope.collection);
        let record = row.record.clone().ok_or_else(|| gone(report))?;
        self.check(&schema.resolve_by, record.created_by, "settle conflicts of", &schema)?;
        let found = find(&document, &schema, &report.id)?.ok_or_else(|| gone(report))?;
        Ok(Open { policy, schema, row, record, found })
    }

    /// Writes what settles `found`, if it still is what competes: what somebody has written
    /// meanwhile is not replaced unseen.
    fn settle_found(
        &self,
        target: Target<'_>,
        schema: &Collection,
        found: &FieldConflict,
        write: impl FnOnce(&mut Document, [u8; 16], Moment) -> Result<Option<Vec<u8>>, EditError>,
    ) -> Result<Record, Error> {
        let is_gone = Cell::new(false);
        let record = self.change(target, schema, |document, actor, at| {
            let open = document.conflicts(schema).unwrap_or_default();
            if open.iter().all(|one| one.id != found.id) {
                is_gone.set(true);
                return Ok(None);
            }
            write(document, actor, at)
        })?;
        match is_gone.get() {
            false => Ok(record),
            true => Err(Error::Settled {
                reason: format!("{} has been settled or changed meanwhile; look again", found.id),
            }),
        }
    }

    fn take(
        &self,
        policy: &Policy,
        target: Target<'_>,
        schema: &Collection,
        (found, label): (&FieldConflict, &str),
    ) -> Result<Record, Error> {
        let resolution =
            found.take(label).map_err(|error| Error::Usage { reason: error.to_string() })?;
        if matches!(resolution, fieldmesh_document::Resolution::Write(_)) {
            schema::known(policy, schema.number)?;
        }
        let user = self.user();
        self.settle_found(target, schema, found, |document, actor, at| match resolution {
            fieldmesh_document::Resolution::Write(edit) => {
                document.resolve(schema, actor, at, std::slice::from_ref(&edit))
            }
            fieldmesh_document::Resolution::Restore => {
                document.settling_deletion(schema);
                document.restore(actor, at)
            }
            // Deleting for good is the only other way out.
            _ => {
                document.settling_deletion(schema);
                document.delete(actor, at, user, None)
            }
        })
    }

    fn set(
        &self,
        target: Target<'_>,
        schema: &Collection,
        record: &rows::RecordRow,
        found: &FieldConflict,
        assignments: &[String],
    ) -> Result<Record, Error> {
        let edits = Edits { assignments: assignments.to_vec(), ..Edits::default() };
        let edits = self.read_edits(schema, &edits)?;
        let touches = edits.iter().any(|edit| edit.key() == found.key);
        if !touches {
            return Err(Error::Usage {
                reason: format!("--set has to give {} a value, it is what competes", found.key),
            });
        }
        let references = ViewReferences::new(self, schema, Some(target.id));
        let checked =
            references.judge(validate_edit(schema, &record.fields, &edits, &references))?;
        // An edit to the value that is shown already is none for the check, but it settles.
        let mut writes: Vec<Edit> = checked;
        for edit in edits {
            if !writes.iter().any(|write| write.key() == edit.key()) {
                writes.push(edit);
            }
        }
        self.settle_found(target, schema, found, |document, actor, at| {
            document.resolve(schema, actor, at, &writes)
        })
    }

    /// The label that a choice comes to.
    pub(super) fn label(
        &self,
        choice: &Choice,
        found: &FieldConflict,
        row: &DocumentRow,
    ) -> Result<String, Error> {
        let authors = self.authors(row)?;
        let own = |value: &&fieldmesh_document::ConflictValue| {
            authors.get(&value.hash) == Some(&self.device())
        };
        let latest = |values: &mut dyn Iterator<Item = &fieldmesh_document::ConflictValue>| {
            values.max_by_key(|value| (value.at, value.hash)).map(|value| value.label.clone())
        };
        let label = match choice {
            Choice::Label(label) => Some(label.clone()),
            Choice::Client => latest(&mut found.values.iter().filter(own)),
            Choice::Server => latest(&mut found.values.iter().filter(|value| !own(value))),
            Choice::Latest => latest(&mut found.values.iter()),
            Choice::Both => None,
        };
        label.ok_or_else(|| Error::Usage {
            reason: format!(
                "none of the values is that side's; choose a label: {}",
                found
                    .values
                    .iter()
                    .map(|value| value.label.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })
    }

    /// The author of each change of a document.
    pub(super) fn authors(&self, row: &DocumentRow) -> Result<BTreeMap<[u8; 32], DeviceId>, Error> {
        let mut authors = BTreeMap::new();
        for reference in &row.changes {
            let source = read_change(&self.store, *reference, self.device())?;
            if let Ok(peeked) = fieldmesh_document::peek(&source.change) {
                authors.insert(peeked.hash, source.author);
            }
        }
        Ok(authors)
    }
}

/// The item has ended since it was told.
fn gone(report: &ConflictReport) -> Error {
    Error::NotFound { kind: "conflict", name: report.id.clone() }
}

/// Why there is nothing to settle about an item, if so.
pub(super) fn nothing_to_settle(report: &ConflictReport) -> Option<String> {
    if let Some(by) = &report.adopted_by {
        return Some(format!("there is nothing left to settle: adopted by {by}"));
    }
    if let Some(batch) = &report.batch {
        return Some(format!("a batch that does not count has no value: {}", batch.advice));
    }
    match report.kind.as_str() {
        KIND_QUARANTINE => {
            Some("a quarantined change cannot be settled by choosing a value; discard it".into())
        }
        KIND_PARALLEL if report.field.is_empty() => {
            Some("these edits do not contradict each other: both are in the record".into())
        }
        _ => {
            let end = report.ended.last()?;
            let who = end.user.clone().unwrap_or_else(|| "somebody".into());
            let at = end.at;
            Some(match (end.deleted, end.settled) {
                (true, _) => {
                    format!("the record was deleted by {who} at {at}; bring it back first")
                }
                (_, true) => format!("there is nothing left to settle: settled by {who} at {at}"),
                (_, false) => {
                    format!("there is nothing left to settle: overwritten by {who} at {at}")
                }
            })
        }
    }
}

fn find(
    document: &Document,
    schema: &Collection,
    id: &str,
) -> Result<Option<FieldConflict>, Error> {
    let found = document.conflicts(schema).map_err(|error| Error::store(&error))?;
    Ok(found.into_iter().find(|conflict| conflict.id.to_string() == id))
}
