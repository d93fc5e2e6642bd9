//! Items of the inbox about records that were made for the same thing.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_document::conflict::label;
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Fields, Value};
use serde_json::{Map, Value as Json};

use crate::alike::row::AlikeGroup;
use crate::alike::{Member, gone_for};
use crate::api::{
    Choice, ConflictReport, ConflictValue, DuplicateReport, Edits, Record, Resolution,
};
use crate::changes::version;
use crate::error::Error;
use crate::rows::RecordRow;
use crate::schema;

use super::Ledger;
use super::inbox::item;
use super::names::ViewReferences;
use super::query::Names;
use super::record::{Target, person};

pub(super) const KIND_DUPLICATE: &str = "duplicate";

impl Ledger {
    /// The open items about records that are alike, of which this is one.
    pub(super) fn duplicates_of(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
        names: &mut Names,
    ) -> Result<Vec<ConflictReport>, Error> {
        let groups = self.groups_of(id, schema, record)?.into_iter();
        groups.filter_map(|group| self.duplicate(group, names).transpose()).collect()
    }

    fn duplicate(
        &self,
        group: AlikeGroup,
        names: &mut Names,
    ) -> Result<Option<ConflictReport>, Error> {
        let policy = self.policy();
        let mut read = Vec::new();
        for id in &group.members {
            let Some(row) = self.row_by(&policy, *id)? else { continue };
            let Some(record) = row.record else { continue };
            let read_as = version(&row.changes);
            read.push((*id, self.schema(row.scope.collection), record, read_as));
        }
        // What was purged a moment ago may not be taken out so far.
        let Some((first, schema, record, _)) = read.first().filter(|_| read.len() > 1) else {
            return Ok(None);
        };
        let name = names.of_unshown(self, schema, record).unwrap_or_else(|| first.short());
        let (record, collection) = (*first, schema.name.clone());
        let differ = differing(&read.iter().map(|(_, _, record, _)| &record.fields));
        let mut report = item(group.item, KIND_DUPLICATE, record, collection, name);
        let mut records = Vec::with_capacity(read.len());
        for (number, (id, schema, record, read_as)) in read.into_iter().enumerate() {
            let device = record.device;
            let held = differ.iter().map(|key| {
                let value = record.fields.get(key).map_or(Json::Null, Value::to_json);
                (key.clone(), value)
            });
            report.values.push(ConflictValue {
                label: label(number),
                value: Json::Object(held.collect::<Map<_, _>>()),
                user: policy.known(&device).map(person),
                device: Some(device),
                at: record.updated_at,
                fields: Map::new(),
                saw: None,
            });
            let record = self.to_record(id, &schema, record, names);
            records.push(Record { version: Some(read_as), ..record });
        }
        let differ = differ.into_iter().collect();
        report.duplicate = Some(DuplicateReport { records, differ, more: group.more });
        Ok(Some(report))
    }
}

/// The records of an item, and what they are settled by.
type Alike<'a> = (Arc<Policy>, Arc<Collection>, &'a [Record]);

impl Ledger {
    /// Settles an item about records that are alike, read from the view of this number; gives the
    /// record that is kept.
    ///
    /// What is kept is written before anything is deleted, and each step is taken once only: a
    /// crash leaves the item open, and the same command ends it. Nothing is written where a record
    /// is another than the report shows.
    pub(super) fn settle_duplicate(
        &self,
        view: u64,
        report: &ConflictReport,
        resolution: &Resolution,
    ) -> Result<Record, Error> {
        let not_found = || Error::NotFound { kind: "conflict", name: report.id.clone() };
        let (policy, schema, records) = self.alike_in(view, report)?;
        let ids: Vec<DocumentId> = records.iter().map(|record| record.id).collect();
        let (kept, edits) = match resolution {
            Resolution::Take(Choice::Both) => {
                let apart = records.iter().map(|record| {
                    let others = ids.iter().copied().filter(|other| *other != record.id);
                    let others: Vec<DocumentId> = others.collect();
                    self.change(as_read(record, view), &schema, |document, actor, at| {
                        document.tell_apart(actor, at, &others)
                    })
                });
                let apart = apart.collect::<Result<Vec<_>, _>>()?;
                return apart.into_iter().next().ok_or_else(not_found);
            }
            Resolution::Take(choice) => (self.chosen(choice, &report.values, &ids)?, Vec::new()),
            Resolution::Set(assignments) => {
                schema::known(&policy, schema.number)?;
                (ids[0], self.merged(&schema, ids[0], assignments)?)
            }
        };
        let record = self.keep_one(view, &schema, (records, kept), &edits);
        record.map_err(|error| looked_at(error, report))
    }

    /// The records of an item, if they are as its report shows and this device may settle it.
    fn alike_in<'a>(&self, view: u64, report: &'a ConflictReport) -> Result<Alike<'a>, Error> {
        let found = report.duplicate.as_ref().filter(|found| !found.records.is_empty());
        let not_found = || Error::NotFound { kind: "conflict", name: report.id.clone() };
        let records = &found.ok_or_else(not_found)?.records;
        let policy = self.policy();
        let schema = schema::named(&policy, &report.collection)?;
        for record in records {
            self.check_target(as_read(record, view)).map_err(|error| looked_at(error, report))?;
            self.check(&schema.resolve_by, record.created_by, "settle conflicts of", &schema)?;
        }
        Ok((policy, schema, records))
    }

    /// The record that a choice would keep, with its label; none where it keeps all.
    pub(super) fn kept_by(
        &self,
        report: &ConflictReport,
        choice: &Choice,
    ) -> Result<Option<(String, DocumentId)>, Error> {
        let (_, _, records) = self.alike_in(self.projector.view_number(), report)?;
        if *choice == Choice::Both {
            return Ok(None);
        }
        let ids: Vec<DocumentId> = records.iter().map(|record| record.id).collect();
        let kept = self.chosen(choice, &report.values, &ids)?;
        let mut labels = report.values.iter().zip(ids);
        let label = labels.find(|(_, id)| *id == kept).map(|(value, _)| value.label.clone());
        Ok(label.map(|label| (label, kept)))
    }

    /// Keeps one of these records, with these edits, and deletes the others for it.
    fn keep_one(
        &self,
        view: u64,
        schema: &Collection,
        (records, kept): (&[Record], DocumentId),
        edits: &[Edit],
    ) -> Result<Record, Error> {
        let mut members = Vec::with_capacity(records.len());
        for Record { id, .. } in records {
            members.extend(self.kinship(*id)?.map(|kinship| Member { id: *id, kinship }));
        }
        let gone = gone_for(&members, kept);
        let user = self.user();
        let first = records.iter().find(|record| record.id == kept);
        let first = first.ok_or_else(|| self.no_record(kept))?;
        let mut record = self.change(as_read(first, view), schema, |document, actor, at| {
            document.keep_over(actor, at, &gone)
        })?;
        if !edits.is_empty() {
            record = self.change(as_read(&record, view), schema, |document, actor, at| {
                document.edit(schema, actor, at, edits)
            })?;
        }
        for other in records.iter().filter(|record| gone.contains(&record.id)) {
            self.change(as_read(other, view), schema, |document, actor, at| {
                document.give_way(actor, at, user, kept)
            })?;
        }
        Ok(record)
    }

    /// The edits of the record that is kept, checked.
    fn merged(
        &self,
        schema: &Collection,
        id: DocumentId,
        assignments: &[String],
    ) -> Result<Vec<Edit>, Error> {
        let edits = Edits { assignments: assignments.to_vec(), ..Edits::default() };
        let edits = self.read_edits(schema, &edits)?;
        let record = self.row(id)?.and_then(|row| row.record).ok_or_else(|| self.no_record(id))?;
        let references = ViewReferences::new(self, schema, Some(id));
        references.judge(validate_edit(schema, &record.fields, &edits, &references))
    }

    /// The record that a choice comes to.
    fn chosen(
        &self,
        choice: &Choice,
        values: &[ConflictValue],
        ids: &[DocumentId],
    ) -> Result<DocumentId, Error> {
        let is_own = |value: &ConflictValue| value.device == Some(self.device());
        let fits = |value: &ConflictValue| match choice {
            Choice::Label(label) => value.label.eq_ignore_ascii_case(label.trim()),
            Choice::Client => is_own(value),
            Choice::Server => !is_own(value),
            Choice::Latest => true,
            Choice::Both => false,
        };
        let fitting = values.iter().zip(ids).filter(|(value, _)| fits(value));
        let chosen = fitting.max_by_key(|(value, id)| (value.at, **id)).map(|(_, id)| *id);
        chosen.ok_or_else(|| {
            let labels: Vec<&str> = values.iter().map(|value| value.label.as_str()).collect();
            let labels = labels.join(", ");
            Error::Usage {
                reason: format!("none of the records is that one; choose {labels}, or both"),
            }
        })
    }
}

/// A record that is to be changed only if it is as it was read.
fn as_read(record: &Record, view: u64) -> Target<'_> {
    Target { id: record.id, view, version: record.version.as_deref() }
}

/// What to tell somebody who decides on what is there no more.
fn looked_at(error: Error, report: &ConflictReport) -> Error {
    match error {
        Error::Stale { id, .. } => Error::Usage {
            reason: format!("{} of {} has changed meanwhile; look again", id.short(), report.id),
        },
        error => error,
    }
}

/// The keys under which not all hold the same.
fn differing<'a>(records: &(impl Iterator<Item = &'a Fields> + Clone)) -> BTreeSet<String> {
    let keys: BTreeSet<&String> = records.clone().flat_map(Fields::keys).collect();
    let differs = |key: &&String| {
        let mut values = records.clone().map(|fields| fields.get(*key));
        let first = values.next().flatten();
        !values.all(|value| match (first, value) {
            (Some(first), Some(value)) => first.is_same(value),
            (first, value) => first.is_none() && value.is_none(),
        })
    };
    keys.into_iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests;
