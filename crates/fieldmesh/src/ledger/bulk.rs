//! Changing many records alike, with a look at what would change first: all of it or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Value};

use crate::api::{BulkChange, BulkEdit, BulkRefusal, BulkReport, BulkSeen, FieldChange};
use crate::changes::version as read_as;
use crate::error::Error;
use crate::rows::{self, RecordRow};

use super::breaches::{Editing, breaks_rules};
use super::names::{ViewReferences, record_name};
use super::query::Read;
use super::record::{Changed, Target};
use super::write::{PendingAll, Written};
use super::{Desk, Ledger};

/// The most records that one call changes.
const RECORDS_MAX: usize = 10_000;

/// The most bytes of changes and of what they make of their records that one call writes: they are
/// in memory and reach the disk together.
const BYTES_MAX: usize = 16 * 1_048_576;

/// About how many bytes a change has beside what it writes.
const CHANGE_SIZE: usize = 256;

/// A record and what is to be written of it.
struct Wanted {
    change: BulkChange,
    edits: Vec<Edit>,
    /// Whether the record breaks a rule.
    breaks: bool,
    /// About how many bytes the record and what is written of it have.
    size: usize,
}

/// What becomes of a record that is to be changed.
enum Made {
    Written(Box<Written>),
    /// It has these values already.
    Same,
    /// It is another than was looked at.
    Stale,
}

/// What is said of a record that somebody has changed meanwhile.
const CHANGED: &str = "it has changed since it was looked at";

/// The records that were looked at, by id, if only those may change.
type Looked<'a> = Option<BTreeMap<DocumentId, &'a str>>;

impl Ledger {
    /// Changes the records that a query asks for; if one of them cannot be changed so, none is.
    ///
    /// A record that changes after it was looked at is passed over: here between the query and the
    /// write, and with `seen` since whoever asks has seen it.
    pub(crate) fn edit_all(&self, bulk: &BulkEdit) -> Result<BulkReport, Error> {
        self.edit_within(bulk, BYTES_MAX)
    }

    /// The same where one call writes no more than `most` bytes.
    fn edit_within(&self, bulk: &BulkEdit, most: usize) -> Result<BulkReport, Error> {
        let view = self.projector.view_number();
        self.settle()?;
        let (schema, mut report, wanted) = self.looked_over(bulk)?;
        if !report.refused.is_empty() || bulk.dry_run {
            // Making the changes takes as long as writing them, so a preview does it only where they
            // may be too much.
            if report.refused.is_empty()
                && wanted.iter().map(|it| it.size).sum::<usize>() > most / 2
            {
                self.make_all(view, &schema, &wanted, most)?;
            }
            report.changed = wanted.into_iter().map(|it| it.change).collect();
            return Ok(report);
        }
        let found = wanted.len() as u64;
        if let Some(expected) = bulk.expect.filter(|expected| *expected != found) {
            return Err(Error::Unexpected { expected, found });
        }
        let (made, mut desk) = loop {
            let made = self.make_all(view, &schema, &wanted, most)?;
            let desk = self.desk();
            let epoch = desk.author.epoch();
            let is_current = |made: &Made| match made {
                Made::Written(written) => written.chain().0 == epoch,
                Made::Same | Made::Stale => true,
            };
            if made.iter().all(is_current) {
                break (made, desk);
            }
        };
        let pending =
            self.line_up_all(&mut desk, view, wanted.into_iter().zip(made), &mut report)?;
        drop(desk);
        if let Some(pending) = pending {
            self.finish_all(pending)?;
            report.written = true;
        }
        Ok(report)
    }

    /// What would become of each record that a query asks for.
    fn looked_over(
        &self,
        bulk: &BulkEdit,
    ) -> Result<(Arc<Collection>, BulkReport, Vec<Wanted>), Error> {
        if bulk.list.deleted {
            let reason = "deleted records are not edited; restore them first";
            return Err(Error::Usage { reason: reason.into() });
        }
        let (plan, found) = self.planned(&bulk.list, |plan| self.find(plan, None))?;
        let (schema, mut found) = (&*plan.schema, found.records);
        // Of what awaits approval some is deleted.
        found.retain(|(_, _, record)| !record.deleted);
        let edits = self.read_edits(schema, &bulk.edits)?;
        if found.len() > RECORDS_MAX {
            let count = found.len();
            let reason = format!("{count} records are more than the {RECORDS_MAX} of one call");
            return Err(Error::Usage { reason });
        }
        check_unique(schema, &edits, found.len())?;
        let (report, wanted) = self.weigh(schema, found, &edits, bulk.seen.as_deref());
        Ok((plan.schema, report, wanted))
    }

    /// What would become of each record.
    fn weigh(
        &self,
        schema: &Collection,
        found: Vec<Read>,
        edits: &[Edit],
        seen: Option<&[BulkSeen]>,
    ) -> (BulkReport, Vec<Wanted>) {
        let mut looked: Looked<'_> =
            seen.map(|seen| seen.iter().map(|it| (it.id, &*it.version)).collect());
        let mut report = BulkReport::default();
        let mut wanted = Vec::new();
        for (id, row, record) in found {
            let version = read_as(&row.changes);
            let other = looked.as_mut().and_then(|looked| match looked.remove(&id) {
                None => Some("it was not there when it was looked at"),
                Some(then) => (then != version).then_some(CHANGED),
            });
            let allowed = self
                .check(&schema.edit_by, record.created_by, "change", schema)
                .and_then(|()| self.check_held(row.scope));
            let references = ViewReferences::new(self, schema, Some(id));
            let checked = allowed.and_then(|()| {
                let edits = validate_edit(schema, &record.fields, edits, &references);
                let edits = references.judge(edits)?;
                self.check_disputes(id, schema, &record, &edits)?;
                Ok(edits)
            });
            match (checked, other) {
                // One that would not change is no concern of whoever has seen it otherwise.
                (Ok(edits), _) if changes(&record, &edits).is_empty() => report.unchanged += 1,
                (_, Some(reason)) => {
                    report.skipped.push(BulkRefusal { id, reason: reason.into() });
                }
                (Err(error), None) => {
                    report.refused.push(BulkRefusal { id, reason: reason(error) });
                }
                (Ok(edits), None) => {
                    let (name, fields) = (record_name(schema, &record), changes(&record, &edits));
                    let given = fields.iter().map(|field| field.after.to_string().len());
                    let size = CHANGE_SIZE + rows::encode(&record).len() + given.sum::<usize>();
                    let change = BulkChange { id, name, version, fields };
                    wanted.push(Wanted { change, edits, breaks: breaks_rules(&record), size });
                }
            }
        }
        let gone = looked.into_iter().flatten().map(|(id, _)| BulkRefusal {
            id,
            reason: "it does not fulfil the conditions any more".into(),
        });
        report.skipped.extend(gone);
        (report, wanted)
    }

    /// Makes the changes of what was weighed, each of its record as it was then. Each record takes
    /// the desk for a moment only, so that others write meanwhile.
    fn make_all(
        &self,
        view: u64,
        schema: &Collection,
        wanted: &[Wanted],
        most: usize,
    ) -> Result<Vec<Made>, Error> {
        let (mut all, mut bytes) = (Vec::with_capacity(wanted.len()), 0);
        for Wanted { change, edits, breaks, .. } in wanted {
            let target = Target { id: change.id, view, version: Some(&change.version) };
            let editing = Editing { schema, breaks: *breaks, edits };
            let taken = self.taken_up(&self.desk(), target);
            let made = taken.and_then(|taken| {
                self.made_of(taken, schema, |document, actor, at| {
                    editing.write(document, actor, at)
                })
            });
            all.push(match made {
                Ok((_, Changed::Written(written))) => {
                    bytes += written.size();
                    if bytes > most {
                        return Err(Error::Usage { reason: too_much() });
                    }
                    Made::Written(written)
                }
                Ok((_, Changed::Same(_))) => Made::Same,
                Err(Error::Stale { .. }) => Made::Stale,
                Err(error) => return Err(error),
            });
        }
        Ok(all)
    }

    /// Hands what was made to the store, all of it or nothing, also where the power goes; nothing of
    /// a record that was changed meanwhile.
    fn line_up_all(
        &self,
        desk: &mut Desk,
        view: u64,
        made: impl Iterator<Item = (Wanted, Made)>,
        report: &mut BulkReport,
    ) -> Result<Option<PendingAll>, Error> {
        self.check_view(view)?;
        let mut all = Vec::new();
        for (Wanted { change, .. }, made) in made {
            let written = match made {
                Made::Same => {
                    report.unchanged += 1;
                    continue;
                }
                Made::Stale => None,
                Made::Written(written) => {
                    let version = self.version_at(desk, change.id)?;
                    Some(written).filter(|_| version.as_ref() == Some(&change.version))
                }
            };
            let Some(written) = written else {
                report.skipped.push(BulkRefusal { id: change.id, reason: CHANGED.into() });
                continue;
            };
            self.check_held(written.chain().1)?;
            all.push(*written);
            report.changed.push(change);
        }
        if all.is_empty() {
            return Ok(None);
        }
        self.check_quota()?;
        Ok(Some(self.submit_all(desk, all)))
    }
}

/// What to do with a change that is too large.
fn too_much() -> String {
    let most = BYTES_MAX / 1_048_576;
    format!("these changes have more than the {most} MiB of one call; give --where, and call again")
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

#[cfg(test)]
mod tests;
