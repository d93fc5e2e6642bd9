//! Imports: rows become records, sealed as they come.
//!
//! A row's record goes straight into a batch; what an interrupted import had sealed is there, and
//! running it again continues, because a row that is there already is unchanged.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fieldmesh_document::{CreateError, Document};
use fieldmesh_identity::Policy;
use fieldmesh_model::schema::{Collection, Unique};
use fieldmesh_model::validate::{Fault, References, validate};
use fieldmesh_model::value::items_of_cell;
use fieldmesh_model::{DocumentId, Fields, Value, input};

use crate::api::{ImportOptions, ImportReport, Progress, RefusedRow};
use crate::clock;
use crate::error::Error;
use crate::import::{Create, Import, Mapped, MappedRecord, Mapping};
use crate::projection::is_indexed;
use crate::rows::RecordRow;
use crate::schema;

use super::Ledger;
use super::names::ViewReferences;
use super::write::Sealing;

mod others;
mod update;

/// Batches that may be on their way to the disk at a time.
const SEALING_MAX: usize = 32;
/// Rows between two reports of progress.
const PROGRESS_ROWS: u64 = 500;

/// An import that is going on.
struct Run<'a> {
    ledger: &'a Ledger,
    dry_run: bool,
    /// The number of the view that rows are compared with.
    view: u64,
    /// Whether a row edits the record that is there already.
    update: bool,
    /// Records of this import by id, with a hash of their fields.
    written: BTreeMap<DocumentId, [u8; 16]>,
    /// Records looked up or made by their unique fields.
    once: BTreeMap<UniqueKey, DocumentId>,
    sealing: VecDeque<Sealing>,
    report: ImportReport,
}

/// A collection, and the values of a group of its unique fields.
type UniqueKey = (u16, Vec<String>);

/// What became of one record of a row.
enum Outcome {
    Created(DocumentId),
    Unchanged(DocumentId),
    Updated(DocumentId),
}

impl Ledger {
    /// Imports a file; what is counted as imported is on disk when this returns.
    pub(crate) fn import(
        &self,
        file: Box<dyn Read + Send>,
        options: &ImportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImportReport, Error> {
        let view = self.projector.view_number();
        self.settle()?;
        let mapping = read_mapping(&self.policy(), options)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: file, bytes: Arc::clone(&bytes) };
        let import = Import::open(counting, &mapping).map_err(|error| import_error(&error))?;
        let mut run = Run {
            ledger: self,
            dry_run: options.dry_run,
            view,
            update: options.update,
            written: BTreeMap::new(),
            once: BTreeMap::new(),
            sealing: VecDeque::new(),
            report: ImportReport::default(),
        };
        let read = run.read(import, &bytes, progress);
        // However reading ended, what was taken so far is made durable and offered.
        run.finish()?;
        if let Err(Error::Import { reason }) = read {
            let ImportReport { rows, imported, updated, unchanged, refused, .. } = run.report;
            let reason = format!(
                "{reason}; before that {rows} rows were read: {imported} imported, {updated} \
                 updated, {unchanged} unchanged, {refused} refused"
            );
            return Err(Error::Import { reason });
        }
        read?;
        let bytes = bytes.load(Ordering::Relaxed);
        progress(Progress::Import { rows: run.report.rows, bytes });
        self.catch_up()?;
        Ok(run.report)
    }
}

impl Run<'_> {
    /// Takes every row.
    fn read(
        &mut self,
        import: Import,
        bytes: &AtomicU64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        for row in import {
            let row = row.map_err(|error| import_error(&error))?;
            self.report.rows += 1;
            let refused = match row {
                Ok(mapped) => self.take(mapped)?,
                Err(fault) => Some(RefusedRow {
                    row: fault.place.number,
                    faults: fault
                        .faults
                        .into_iter()
                        .map(|fault| Fault::new(fault.field.unwrap_or_default(), fault.message))
                        .collect(),
                }),
            };
            if let Some(refused) = refused {
                self.report.refused += 1;
                progress(Progress::Refused(refused));
            }
            if self.report.rows.is_multiple_of(PROGRESS_ROWS) {
                let bytes = bytes.load(Ordering::Relaxed);
                progress(Progress::Import { rows: self.report.rows, bytes });
            }
        }
        Ok(())
    }

    /// Takes one row; gives what is wrong with it.
    fn take(&mut self, mapped: Mapped) -> Result<Option<RefusedRow>, Error> {
        let row = mapped.place.number;
        let mut ids: Vec<Option<DocumentId>> = Vec::with_capacity(mapped.records.len());
        let (mut is_new, mut is_updated) = (false, false);
        for record in mapped.records {
            let is_once = matches!(record.block.create, Create::Once { .. });
            match self.record(record, &ids) {
                Ok(Outcome::Created(id)) => {
                    ids.push(Some(id));
                    if is_once {
                        self.report.created += 1;
                    } else {
                        is_new = true;
                    }
                }
                Ok(Outcome::Unchanged(id)) => ids.push(Some(id)),
                Ok(Outcome::Updated(id)) => {
                    ids.push(Some(id));
                    is_updated = true;
                }
                Err(Error::Invalid { faults }) => return Ok(Some(RefusedRow { row, faults })),
                Err(
                    error @ (Error::NotAllowed { .. }
                    | Error::UnknownCollection { .. }
                    | Error::NotFound { .. }
                    | Error::Ambiguous { .. }
                    | Error::Usage { .. }),
                ) => {
                    let faults = vec![Fault::new("", error.to_string())];
                    return Ok(Some(RefusedRow { row, faults }));
                }
                Err(error) => return Err(error),
            }
        }
        match (is_new, is_updated) {
            (true, _) => self.report.imported += 1,
            (false, true) => self.report.updated += 1,
            (false, false) => self.report.unchanged += 1,
        }
        Ok(None)
    }

    fn record(
        &mut self,
        record: MappedRecord,
        earlier: &[Option<DocumentId>],
    ) -> Result<Outcome, Error> {
        let schema = &self.ledger.schema_named(&record.block.collection)?;
        if let Some(exported) = record.exported {
            // What was erased does not come back under another id.
            self.ledger.check_key_not_purged(exported.id)?;
            if let Some(outcome) = self.exported(exported, schema, &record.fields)? {
                return Ok(outcome);
            }
        }
        let cells = if record.exported.is_some() { Cells::Exported } else { Cells::Given };
        let mut fields = typed(schema, record.fields, cells);
        for reference in &record.references {
            if let Some(id) = earlier.get(reference.record).copied().flatten() {
                fields.insert(reference.field.clone(), Value::Text(id.to_string()));
            }
        }
        if let Create::Once { unique } = &record.block.create {
            return self.record_once(schema, fields, unique);
        }
        self.ledger.resolve_references(schema, &mut fields)?;
        if self.update
            && let Some(id) = self.known(schema, &fields, &record.key_extension)?
        {
            return self.bring_up(id, &fields);
        }
        self.write(schema, fields, &record.key_extension)
    }

    /// A record that is made from the first row that names it and never changed by others.
    fn record_once(
        &mut self,
        schema: &Arc<Collection>,
        fields: Fields,
        unique: &[String],
    ) -> Result<Outcome, Error> {
        let values: Vec<&Value> = unique.iter().filter_map(|key| fields.get(key)).collect();
        let key = (schema.number, values.iter().map(|value| value.to_cell()).collect());
        if let Some(id) = self.once.get(&key) {
            return Ok(Outcome::Unchanged(*id));
        }
        if let Some(key) = unique.iter().find(|key| !is_indexed(schema, key)) {
            let reason =
                format!("{} cannot be found by {key}; `unique` needs other fields", schema.name);
            return Err(Error::Import { reason });
        }
        let known = match values.len() == unique.len() {
            true => {
                let values = unique.iter().map(String::as_str).zip(values);
                self.ledger.holding_all(schema, values)?.first().copied()
            }
            false => None,
        };
        let outcome = match known {
            Some(id) => Outcome::Unchanged(id),
            None => self.write(schema, fields, &[])?,
        };
        let (Outcome::Created(id) | Outcome::Unchanged(id) | Outcome::Updated(id)) = outcome;
        self.once.insert(key, id);
        Ok(outcome)
    }

    fn write(
        &mut self,
        schema: &Arc<Collection>,
        mut fields: Fields,
        extension: &[u8],
    ) -> Result<Outcome, Error> {
        let ledger = self.ledger;
        ledger.check_create(schema)?;
        let is_unsigned = is_unsigned(schema, &fields);
        self.sign(schema, &mut fields);
        let references = self.references(schema);
        let fields = references.view.judge(validate(schema, &fields, &references))?;
        let ready = ledger.identify(schema, fields, extension);
        ledger.check_key_not_purged(ready.id)?;
        let hash = fields_hash(&ready.fields);
        let uniques = unique_keys(schema, &ready.fields);
        for id in [Some(ready.id), self.holder(schema, &ready.fields)?].into_iter().flatten() {
            match self.existing(id)? {
                Some(existing) if existing == hash => return Ok(Outcome::Unchanged(id)),
                Some(_) => {
                    let text = format!("{} {id} exists already with other contents", schema.name);
                    return Err(Error::fault("", text));
                }
                None => {}
            }
        }
        if is_unsigned {
            self.check_others(schema, &ready.fields, extension)?;
        }
        if ready.is_late {
            // Another device may import the same row, and both make the same record of it.
            let text = "it is of a month that this device let go; import it on another one, or say \
                        `evict --back-to MONTH` and sync first";
            return Err(Error::fault("", text));
        }
        self.written.insert(ready.id, hash);
        self.once.extend(uniques.into_iter().map(|unique| (unique, ready.id)));
        if !self.dry_run {
            self.seal_in(&ready)?;
        }
        Ok(Outcome::Created(ready.id))
    }

    /// Says who made a record where the row does not.
    fn sign(&self, schema: &Collection, fields: &mut Fields) {
        let ledger = self.ledger;
        if let Some(device) = &schema.device_field {
            let own = || Value::Text(ledger.device().to_string());
            fields.entry(device.clone()).or_insert_with(own);
        }
        if let Some(user) = &schema.user_field {
            let own = || Value::Text(ledger.user().to_string());
            fields.entry(user.clone()).or_insert_with(own);
        }
    }

    fn references(&self, schema: &Arc<Collection>) -> Overlay<'_> {
        Overlay { view: ViewReferences::new(self.ledger, schema, None), written: &self.written }
    }

    /// The record that holds unique values of these fields already.
    fn holder(&self, schema: &Collection, fields: &Fields) -> Result<Option<DocumentId>, Error> {
        let made = unique_keys(schema, fields).into_iter();
        if let Some(id) = made.into_iter().find_map(|unique| self.once.get(&unique)) {
            return Ok(Some(*id));
        }
        for group in unique_groups(schema, fields) {
            if let Some(id) = self.ledger.holding_all(schema, group)?.first() {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    /// The hash of the fields of a record that is here or was made by this import.
    fn existing(&self, id: DocumentId) -> Result<Option<[u8; 16]>, Error> {
        if let Some(hash) = self.written.get(&id) {
            return Ok(Some(*hash));
        }
        let record = self.ledger.row(id)?.and_then(|row| row.record);
        Ok(record.map(|record| fields_hash(&record.fields)))
    }

    fn seal_in(&mut self, ready: &super::create::Ready) -> Result<(), Error> {
        let ledger = self.ledger;
        let mut desk = ledger.desk();
        ledger.check_view(self.view)?;
        ledger.check_held(ready.scope)?;
        let (epoch, actor) = (desk.author.epoch(), desk.author.actor());
        let (document, change) = Document::create(&ledger.first_change(ready, actor))
            .map_err(|error: CreateError| Error::fault("", error.to_string()))?;
        let record = RecordRow::of(&document, &ready.schema)?;
        ledger.note_made(&desk, ready.scope, &document, &record);
        let chain = (epoch, ready.scope);
        desk.author.add(chain, ready.unsealed(change));
        let started = if desk.author.is_full(&chain) {
            ledger.start_seal(&mut desk, Some(chain))?
        } else {
            None
        };
        drop(desk);
        self.sealing.extend(started);
        while self.sealing.len() > SEALING_MAX {
            self.wait_one()?;
        }
        Ok(())
    }

    fn wait_one(&mut self) -> Result<(), Error> {
        let Some(sealing) = self.sealing.pop_front() else { return Ok(()) };
        self.ledger.finish_seal(sealing).map(|_| ())
    }

    /// Seals the rest and waits until everything is on disk.
    fn finish(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while !self.sealing.is_empty() {
            // Each one is waited for, whatever became of the others.
            result = self.wait_one().and(result);
        }
        result?;
        if self.dry_run { Ok(()) } else { self.ledger.seal_all() }
    }
}

/// The records that this import has made exist, although the view may not have them so far.
struct Overlay<'a> {
    view: ViewReferences<'a>,
    written: &'a BTreeMap<DocumentId, [u8; 16]>,
}

impl References for Overlay<'_> {
    fn exists(&self, collection: &str, id: &str) -> bool {
        let is_written = id.parse::<DocumentId>().is_ok_and(|id| self.written.contains_key(&id));
        is_written || self.view.exists(collection, id)
    }

    fn value(&self, collection: &str, id: &str, key: &str) -> Option<Value> {
        self.view.value(collection, id, key)
    }

    // A record that holds the same unique values may be this very row, imported before; the run
    // compares them itself.
    fn is_taken(&self, _collection: &str, _fields: &[String], _values: &[&Value]) -> bool {
        false
    }
}

/// Counts the bytes that are read.
struct Counting {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn read_mapping(policy: &Policy, options: &ImportOptions) -> Result<Mapping, Error> {
    match (&options.mapping, &options.collection) {
        (Some(_), Some(_)) => Err(Error::Usage {
            reason: "give --collection or --map: a mapping names its collections itself".into(),
        }),
        (Some(text), None) => Mapping::parse(text).map_err(|error| import_error(&error)),
        (None, Some(collection)) => {
            schema::named(policy, collection)?;
            Ok(Mapping::identity(collection))
        }
        (None, None) => Err(Error::Usage {
            reason: format!(
                "what do the rows hold? give --collection ({}) or --map MAP.toml",
                schema::names(policy)
            ),
        }),
    }
}

/// Whether a row leaves open whose record it is.
fn is_unsigned(schema: &Collection, fields: &Fields) -> bool {
    schema.device_field.as_ref().is_some_and(|device| !fields.contains_key(device))
}

/// What is known of the cells of a row.
#[derive(Debug, Clone, Copy)]
enum Cells {
    /// Somebody else wrote them: a cell for a list is its only item.
    Given,
    /// An export did, so that a list may have several items.
    Exported,
}

/// Gives texts the types that the schema wants; blanks are no values.
fn typed(schema: &Collection, fields: Fields, cells: Cells) -> Fields {
    let assignment = input::Assignment { collection: schema, clock: clock::local() };
    let typed = |(key, value): (String, Value)| {
        let key = assignment.key(&key);
        let field = schema.field(&key);
        let value = match value {
            Value::Text(text) if text.trim().is_empty() => return None,
            Value::Text(text) => match (assignment.value(field, text.trim()), cells) {
                (Value::List(_), Cells::Exported) => {
                    let items = items_of_cell(&text).into_iter().map(|item| match item {
                        Value::Text(item) => assignment.value(field, &item),
                        item => item,
                    });
                    Value::List(items.flat_map(items_of).collect())
                }
                (value, _) => value,
            },
            value => value,
        };
        Some((key, value))
    };
    fields.into_iter().filter_map(typed).collect()
}

fn items_of(value: Value) -> Vec<Value> {
    match value {
        Value::List(items) => items,
        value => vec![value],
    }
}

/// The unique values that a record has, by group: of fields only, and those that have a value.
fn unique_groups<'a>(
    schema: &'a Collection,
    fields: &'a Fields,
) -> impl Iterator<Item = Vec<(&'a str, &'a Value)>> {
    let value = |key: &'a String| Some((key.as_str(), fields.get(key)?));
    let is_plain = |unique: &&'a Unique| !unique.extended && unique.applies_to(fields);
    let groups = schema.unique.iter().filter(is_plain);
    groups.filter_map(move |unique| unique.fields.iter().map(value).collect())
}

/// The same as keys of what this import has made.
fn unique_keys(schema: &Collection, fields: &Fields) -> Vec<UniqueKey> {
    let key = |group: Vec<(&str, &Value)>| -> UniqueKey {
        (schema.number, group.into_iter().map(|(_, value)| value.to_cell()).collect())
    };
    unique_groups(schema, fields).map(key).collect()
}

fn fields_hash(fields: &Fields) -> [u8; 16] {
    let hash = blake3::hash(&crate::rows::encode(fields));
    *hash.as_bytes().first_chunk().expect("32 bytes have a first sixteen")
}

fn import_error(error: &dyn std::error::Error) -> Error {
    Error::Import { reason: crate::error::with_causes(error) }
}

#[cfg(test)]
mod tests;
