//! Items of the inbox about records that were made for the same thing.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_document::Document;
use fieldmesh_document::conflict::label;
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::validate_edit;
use fieldmesh_model::{DocumentId, Edit, Fields, Value};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

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
use super::record::{Target, person, person_with};

pub(super) const KIND_DUPLICATE: &str = "duplicate";

/// One of several records that are compared.
pub(super) struct ReadRecord {
    pub(super) id: DocumentId,
    pub(super) schema: Arc<Collection>,
    pub(super) record: RecordRow,
    version: String,
}

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
        let read = self.read_alike(&policy, group.members.into_iter())?;
        // What was purged a moment ago may not be taken out so far.
        let is_several = read.len() > 1;
        let report = is_several.then_some((read, group.more));
        Ok(report.and_then(|read| self.alike_report(&policy, group.item, read, names)))
    }

    /// Those of some records that are here.
    pub(super) fn read_alike(
        &self,
        policy: &Arc<Policy>,
        ids: impl Iterator<Item = DocumentId>,
    ) -> Result<Vec<ReadRecord>, Error> {
        let mut read = Vec::new();
        for id in ids {
            let Some(row) = self.row_by(policy, id)? else { continue };
            let Some(record) = row.record else { continue };
            let version = version(&row.changes);
            let schema = self.schema(row.scope.collection);
            read.push(ReadRecord { id, schema, record, version });
        }
        Ok(read)
    }

    /// An item about records that are alike, beside each other, and how many more there are; none
    /// where there are no records.
    pub(super) fn alike_report(
        &self,
        policy: &Policy,
        item_id: String,
        (read, more): (Vec<ReadRecord>, u32),
        names: &mut Names,
    ) -> Option<ConflictReport> {
        let ReadRecord { id: first, schema, record, .. } = read.first()?;
        let name = names.of_unshown(self, schema, record).unwrap_or_else(|| first.short());
        let differ = differing(&read.iter().map(|read| &read.record.fields));
        let mut report = item(item_id, KIND_DUPLICATE, *first, schema.name.clone(), name);
        let mut records = Vec::with_capacity(read.len());
        for (number, ReadRecord { id, schema, record, version }) in read.into_iter().enumerate() {
            let device = record.device;
            let held = differ.iter().map(|key| {
                let value = record.fields.get(key).map_or(Json::Null, Value::to_json);
                (key.clone(), value)
            });
            let member = policy.known(&device);
            let made_for = record.made_for.clone().filter(|user| {
                member.is_some_and(|it| it.was_gateway && it.user.to_string() != *user)
            });
            report.values.push(ConflictValue {
                label: label(number),
                value: Json::Object(held.collect::<Map<_, _>>()),
                user: match &made_for {
                    Some(user) => person_with(policy, user),
                    None => member.map(person),
                },
                made_for,
                device: Some(device),
                at: record.updated_at,
                fields: Map::new(),
                saw: None,
            });
            let record = self.to_record(id, &schema, record, names);
            records.push(Record { version: Some(version), ..record });
        }
        let differ = differ.into_iter().collect();
        report.duplicate = Some(DuplicateReport { records, differ, more });
        Some(report)
    }
}

/// What keeping one of several records comes to.
pub(super) struct Keeping {
    /// The one that is kept, and the label of its side.
    pub(super) label: String,
    pub(super) kept: DocumentId,
    /// Those that are deleted for it; others stay.
    pub(super) gone: Vec<DocumentId>,
}

/// The records of an item, and what they are settled by.
struct Alike<'a> {
    policy: Arc<Policy>,
    view: u64,
    /// Each with the schema of its collection; at least one.
    records: Vec<(&'a Record, Arc<Collection>)>,
    /// The item, and all records that it is about.
    item: Uuid,
    members: Vec<DocumentId>,
}

impl Alike<'_> {
    fn ids(&self) -> Vec<DocumentId> {
        self.records.iter().map(|(record, _)| record.id).collect()
    }

    /// Has the next change of a record say what it settles.
    fn name(&self, document: &mut Document) {
        document.settling_alike(self.item, &self.members);
    }
}

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
        let alike = self.alike_in(view, report)?;
        let ids = alike.ids();
        let (kept, edits) = match resolution {
            Resolution::Take(Choice::Both) => return self.keep_all(&alike, report),
            Resolution::Take(choice) => (self.chosen(choice, &report.values, &ids)?, Vec::new()),
            Resolution::Set(assignments) => {
                let (first, schema) = &alike.records[0];
                schema::known(&alike.policy, schema.number)?;
                (first.id, self.merged(schema, first.id, assignments)?)
            }
        };
        let record = self.keep_one(&alike, kept, &edits);
        record.map_err(|error| looked_at(error, report))
    }

    /// The records of an item, if they are as its report shows and this device may settle it.
    fn alike_in<'a>(&self, view: u64, report: &'a ConflictReport) -> Result<Alike<'a>, Error> {
        let found = report.duplicate.as_ref().filter(|found| !found.records.is_empty());
        let not_found = || Error::NotFound { kind: "conflict", name: report.id.clone() };
        let found = &found.ok_or_else(not_found)?.records;
        let policy = self.policy();
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            self.check_target(as_read(record, view)).map_err(|error| looked_at(error, report))?;
            let schema = schema::named(&policy, &record.collection)?;
            self.check(&schema.resolve_by, record.created_by, "settle conflicts of", &schema)?;
            records.push((record, schema));
        }
        let (first, schema) = &records[0];
        let row = self.row_by(&policy, first.id)?.and_then(|row| row.record);
        let row = row.ok_or_else(not_found)?;
        let mut groups = self.groups_of(first.id, schema, &row)?.into_iter();
        let group = groups.find(|group| group.item == report.id).ok_or_else(not_found)?;
        let item = group.item.parse().map_err(|_| not_found())?;
        let members = group.members;
        Ok(Alike { policy, view, records, item, members })
    }

    /// Says of each of these records that it is meant beside the others.
    fn keep_all(&self, alike: &Alike<'_>, report: &ConflictReport) -> Result<Record, Error> {
        let mut first = None;
        for (record, schema) in &alike.records {
            let others = alike.ids().into_iter().filter(|other| *other != record.id);
            let others: Vec<DocumentId> = others.collect();
            let target = as_read(record, alike.view);
            let record = self.change(target, schema, |document, actor, at| {
                alike.name(document);
                document.tell_apart(actor, at, &others)
            })?;
            first.get_or_insert(record);
        }
        first.ok_or_else(|| Error::NotFound { kind: "conflict", name: report.id.clone() })
    }

    /// What a choice would keep and delete; none where it keeps all.
    pub(super) fn kept_by(
        &self,
        report: &ConflictReport,
        choice: &Choice,
    ) -> Result<Option<Keeping>, Error> {
        let alike = self.alike_in(self.projector.view_number(), report)?;
        if *choice == Choice::Both {
            return Ok(None);
        }
        let ids = alike.ids();
        let kept = self.chosen(choice, &report.values, &ids)?;
        let mut labels = report.values.iter().zip(&ids);
        let label = labels.find(|(_, id)| **id == kept).map(|(value, _)| value.label.clone());
        let gone = self.gone_of(&ids, kept)?;
        Ok(label.map(|label| Keeping { label, kept, gone }))
    }

    /// Those of the records that go where this one is kept.
    fn gone_of(&self, ids: &[DocumentId], kept: DocumentId) -> Result<Vec<DocumentId>, Error> {
        let mut members = Vec::with_capacity(ids.len());
        for id in ids {
            members.extend(self.kinship(*id)?.map(|kinship| Member { id: *id, kinship }));
        }
        Ok(gone_for(&members, kept))
    }

    /// Keeps one of these records, with these edits, and deletes the others for it.
    fn keep_one(
        &self,
        alike: &Alike<'_>,
        kept: DocumentId,
        edits: &[Edit],
    ) -> Result<Record, Error> {
        let Alike { view, records, .. } = alike;
        let view = *view;
        let gone = self.gone_of(&alike.ids(), kept)?;
        let user = self.user();
        let first = records.iter().find(|(record, _)| record.id == kept);
        let (first, schema) = first.ok_or_else(|| self.no_record(kept))?;
        let mut record = self.change(as_read(first, view), schema, |document, actor, at| {
            if edits.is_empty() {
                alike.name(document);
            }
            document.keep_over(actor, at, &gone)
        })?;
        if !edits.is_empty() {
            record = self.change(as_read(&record, view), schema, |document, actor, at| {
                alike.name(document);
                document.mending(schema, edits);
                document.edit(schema, actor, at, edits)
            })?;
        }
        for (other, schema) in records.iter().filter(|(record, _)| gone.contains(&record.id)) {
            self.change(as_read(other, view), schema, |document, actor, at| {
                alike.name(document);
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
