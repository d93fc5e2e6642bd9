//! The conflict inbox: what competes, who wrote it, and how to settle it.

use std::collections::BTreeMap;

use fieldmesh_document::{ConflictKind, Document, FieldConflict};
use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, DocumentId, Edit, validate::validate_edit};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::api::{Choice, ConflictQuery, ConflictReport, ConflictValue, Edits, Record, Resolution};
use crate::changes::read_change;
use crate::error::Error;
use crate::rows::{self, ConflictRow, DocumentRow, QuarantineRow};
use crate::schema;

use super::Ledger;
use super::names::ViewReferences;
use super::query::Names;
use super::record::{Target, hex, person};

const KIND_FIELD: &str = "field";
pub(crate) const KIND_DELETED: &str = "deleted-and-edited";
pub(super) const KIND_RULE: &str = "rule";
pub(super) const KIND_QUARANTINE: &str = "quarantine";

impl Ledger {
    /// The items of the inbox, in the order of their ids.
    pub(crate) fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<ConflictReport>, Error> {
        let kinds = [KIND_FIELD, KIND_DELETED, KIND_RULE, KIND_QUARANTINE];
        if let Some(kind) = query.kind.as_deref().filter(|kind| !kinds.contains(kind)) {
            return Err(Error::Usage {
                reason: format!("there is no conflict kind {kind:?}; choose {}", kinds.join(", ")),
            });
        }
        self.settle()?;
        let mut documents = BTreeMap::new();
        let range = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Inbox, range, Direction::Ascending) {
            let row: ConflictRow = rows::decode(&row?.1)?;
            if row.open || query.closed {
                documents.insert(row.document, ());
            }
        }
        let mut names = Names::default();
        let mut reports = Vec::new();
        for id in documents.into_keys() {
            reports.extend(self.conflicts_of(id, &mut names)?);
            reports.extend(self.breaches_of(id, &mut names)?);
        }
        reports.extend(self.quarantined(&mut names)?);
        reports.extend(self.batches_aside(&mut names)?);
        reports.retain(|report| {
            (report.open || query.closed)
                && query.kind.as_ref().is_none_or(|kind| report.kind == *kind)
        });
        reports.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(reports)
    }

    /// How many items are open.
    pub(crate) fn open_conflicts(&self) -> Result<u64, Error> {
        let mut open = 0;
        for row in rows::scan(self.view(), Tree::Inbox, KeyRange::all(), Direction::Ascending) {
            let row: ConflictRow = rows::decode(&row?.1)?;
            open += u64::from(row.open);
        }
        Ok(open)
    }

    /// The item that `id`, or the end of it, means.
    pub(crate) fn conflict(&self, id: &str) -> Result<ConflictReport, Error> {
        let wanted = id.trim().to_lowercase();
        let all = self.conflicts(&ConflictQuery { kind: None, closed: true })?;
        let mut fitting: Vec<ConflictReport> =
            all.into_iter().filter(|report| report.id.ends_with(&wanted)).collect();
        match fitting.len() {
            0 => Err(Error::NotFound { kind: "conflict", name: id.into() }),
            1 => Ok(fitting.remove(0)),
            _ => Err(Error::Ambiguous {
                name: id.into(),
                candidates: fitting.into_iter().map(|report| report.id).take(5).collect(),
            }),
        }
    }

    /// Settles one item.
    pub(crate) fn settle_conflict(
        &self,
        id: &str,
        resolution: &Resolution,
    ) -> Result<Record, Error> {
        let view = self.projector.view_number();
        let report = self.conflict(id)?;
        let target = Target { id: report.record, view, version: None };
        if report.kind == KIND_QUARANTINE {
            let reason = match report.batch {
                Some(batch) => {
                    format!("a batch that does not count has no value: {}", batch.advice)
                }
                None => "a quarantined change cannot be settled by choosing a value".into(),
            };
            return Err(Error::Usage { reason });
        }
        let (document, policy) = (self.document(report.record)?, self.policy());
        let row = self.row_by(&policy, report.record)?;
        let not_found = || Error::NotFound { kind: "conflict", name: id.to_owned() };
        let (document, row) = document.zip(row).ok_or_else(not_found)?;
        let schema = schema::numbered(&policy, row.scope.collection);
        let record = row.record.clone().ok_or_else(not_found)?;
        if report.kind == KIND_RULE {
            return self.mend_breach(target, &schema, &record, &report, resolution);
        }
        self.check(&schema.resolve_by, record.created_by, "settle conflicts of", &schema)?;
        let found = find(&document, &schema, &report.id)?.ok_or_else(not_found)?;
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

    /// Settles every open item that `query` gives.
    pub(crate) fn settle_conflicts(
        &self,
        query: &ConflictQuery,
        choice: &Choice,
    ) -> Result<Vec<Record>, Error> {
        let open: Vec<ConflictReport> = self
            .conflicts(query)?
            .into_iter()
            .filter(|report| report.open && ![KIND_QUARANTINE, KIND_RULE].contains(&&*report.kind))
            .collect();
        let mut records = BTreeMap::new();
        for report in open {
            let record = self.settle_conflict(&report.id, &Resolution::Take(choice.clone()))?;
            records.insert(record.id, record);
        }
        Ok(records.into_values().collect())
    }

    fn take(
        &self,
        policy: &Policy,
        target: Target<'_>,
        schema: &fieldmesh_model::schema::Collection,
        (found, label): (&FieldConflict, &str),
    ) -> Result<Record, Error> {
        let resolution =
            found.take(label).map_err(|error| Error::Usage { reason: error.to_string() })?;
        if matches!(resolution, fieldmesh_document::Resolution::Write(_)) {
            schema::known(policy, schema.number)?;
        }
        let user = self.user();
        self.change(target, schema, |document, actor, at| match resolution {
            fieldmesh_document::Resolution::Write(edit) => {
                document.resolve(schema, actor, at, std::slice::from_ref(&edit))
            }
            fieldmesh_document::Resolution::Restore => document.restore(actor, at),
            // Deleting for good is the only other way out.
            _ => document.delete(actor, at, user, None),
        })
    }

    fn set(
        &self,
        target: Target<'_>,
        schema: &fieldmesh_model::schema::Collection,
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
        self.change(target, schema, |document, actor, at| {
            document.resolve(schema, actor, at, &writes)
        })
    }

    /// The label that a choice comes to.
    fn label(
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

    pub(crate) fn conflicts_of(
        &self,
        id: DocumentId,
        names: &mut Names,
    ) -> Result<Vec<ConflictReport>, Error> {
        let Some((document, row)) = self.document(id)?.zip(self.row(id)?) else {
            return Ok(Vec::new());
        };
        let schema = self.schema(row.scope.collection);
        let authors = self.authors(&row)?;
        let policy = self.policy();
        let found = document.conflicts(&schema).map_err(|error| Error::store(&error))?;
        let value = |value| side(value, &authors, &policy);
        let name = names.of(self, id).unwrap_or_else(|| id.short());
        Ok(found
            .into_iter()
            .map(|conflict| ConflictReport {
                id: conflict.id.to_string(),
                kind: match conflict.kind {
                    ConflictKind::DeletedAndEdited => KIND_DELETED,
                    _ => KIND_FIELD,
                }
                .into(),
                record: id,
                collection: schema.name.clone(),
                name: name.clone(),
                open: conflict.is_open(),
                field: conflict.key,
                values: conflict.values.into_iter().map(value).collect(),
                faults: Vec::new(),
                reason: None,
                batch: None,
            })
            .collect())
    }

    fn quarantined(&self, names: &mut Names) -> Result<Vec<ConflictReport>, Error> {
        let mut reports = Vec::new();
        let range = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Quarantine, range, Direction::Ascending) {
            let (key, value) = row?;
            let row: QuarantineRow = rows::decode(&value)?;
            let (place, leaf): (Place, u16) = rows::decode(&key)?;
            reports.push(ConflictReport {
                id: format!("{}-{leaf}", hex(&place.to_bytes())),
                kind: KIND_QUARANTINE.into(),
                record: row.document,
                collection: self.schema(row.collection).name.clone(),
                name: names.of(self, row.document).unwrap_or_else(|| row.document.short()),
                field: String::new(),
                open: true,
                values: Vec::new(),
                faults: Vec::new(),
                reason: Some(format!("{} (by device {})", row.reason, row.author.short())),
                batch: None,
            });
        }
        Ok(reports)
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

/// A value with who wrote it.
pub(super) fn side(
    value: fieldmesh_document::ConflictValue,
    authors: &BTreeMap<[u8; 32], DeviceId>,
    policy: &Policy,
) -> ConflictValue {
    let device = authors.get(&value.hash).copied();
    ConflictValue {
        label: value.label,
        value: value.value.to_json(),
        user: device.and_then(|device| policy.known(&device)).map(person),
        device,
        at: value.at,
    }
}

fn find(
    document: &Document,
    schema: &fieldmesh_model::schema::Collection,
    id: &str,
) -> Result<Option<FieldConflict>, Error> {
    let found = document.conflicts(schema).map_err(|error| Error::store(&error))?;
    Ok(found.into_iter().find(|conflict| conflict.id.to_string() == id))
}
