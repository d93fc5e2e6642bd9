//! Exports: records or their histories, as json lines or csv, in order of id.

use std::collections::BTreeSet;
use std::io::Write;

use fieldmesh_model::schema::Collection;
use fieldmesh_model::value::LIST_SEPARATOR;
use fieldmesh_model::{DocumentId, Value};

use crate::api::{ExportFormat, ExportQuery, ListQuery, Record, Revision};
use crate::error::Error;
use crate::import::EXPORT_COLUMNS;
use crate::readers::Kept;

use super::Ledger;
use super::query::Names;
use super::record::hex;

/// The letters of the short hash by which a row names a change.
const SHORT_HASH_LETTERS: usize = 16;

impl Ledger {
    /// Writes what `query` asks for to `out`; gives the number of lines without a header.
    ///
    /// Records are written in the order of their ids, so that equal stores export equal bytes.
    pub(crate) fn export(&self, query: &ExportQuery, out: &mut dyn Write) -> Result<u64, Error> {
        let kept = self.keep()?;
        self.export_in(query, &kept, out)
    }

    /// Writes what `query` asks of a snapshot.
    pub(crate) fn export_in(
        &self,
        query: &ExportQuery,
        kept: &Kept,
        out: &mut dyn Write,
    ) -> Result<u64, Error> {
        if !query.also.is_empty() && query.format == ExportFormat::Csv {
            let reason = "a table has the columns of one collection; export several as json lines";
            return Err(Error::Usage { reason: reason.into() });
        }
        // What is not understood is told before the first line is written.
        let asked = std::iter::once(&query.list.collection).chain(&query.also);
        let asked = asked
            .map(|collection| {
                let list = ListQuery { collection: collection.clone(), ..query.list.clone() };
                self.plan(&list).map(|_| list)
            })
            .collect::<Result<Vec<ListQuery>, Error>>()?;
        let mut out = std::io::BufWriter::new(out);
        let mut written = 0;
        for list in asked {
            let (plan, ids) = self.planned(&list, |plan| self.ids(plan, Some(kept)))?;
            written += match (query.history, query.format) {
                (true, ExportFormat::Jsonl) => self.export_history(&ids, kept, &mut out),
                (true, ExportFormat::Csv) => Err(Error::Usage {
                    reason: "a history is exported as json lines; leave --format csv out".into(),
                }),
                (false, ExportFormat::Jsonl) => self.export_lines(&ids, kept, &mut out),
                (false, ExportFormat::Csv) => self.export_csv(&plan.schema, &ids, kept, &mut out),
            }?;
        }
        out.flush().map_err(write_error)?;
        Ok(written)
    }

    fn export_lines(
        &self,
        ids: &BTreeSet<DocumentId>,
        kept: &Kept,
        out: &mut dyn Write,
    ) -> Result<u64, Error> {
        let mut names = Names::default();
        let mut written = 0;
        for id in ids {
            if let Some(record) = self.exported(*id, kept, &mut names)? {
                write_line(out, &record)?;
                written += 1;
            }
        }
        Ok(written)
    }

    fn export_history(
        &self,
        ids: &BTreeSet<DocumentId>,
        kept: &Kept,
        out: &mut dyn Write,
    ) -> Result<u64, Error> {
        let mut written = 0;
        for id in ids {
            for revision in self.history_in(*id, kept)? {
                write_line(out, &revision)?;
                written += 1;
            }
        }
        Ok(written)
    }

    fn export_csv(
        &self,
        schema: &Collection,
        ids: &BTreeSet<DocumentId>,
        kept: &Kept,
        out: &mut dyn Write,
    ) -> Result<u64, Error> {
        let keys = self.columns(schema, ids, kept)?;
        let mut table = csv::Writer::from_writer(out);
        let names = keys.iter().map(String::as_str);
        table.write_record(EXPORT_COLUMNS.into_iter().chain(names)).map_err(csv_error)?;
        let mut names = Names::default();
        let mut written = 0;
        for id in ids {
            let Some(row) = self.row_in(Some(kept), *id)? else { continue };
            let Some(record) = row.record else { continue };
            let schema = self.schema(row.scope.collection);
            let cells = cells(&self.to_record(*id, &schema, record.clone(), &mut names));
            let values = keys.iter().map(|key| record.fields.get(key).map(Value::to_export_cell));
            let values = values.map(Option::unwrap_or_default);
            table.write_record(cells.into_iter().chain(values)).map_err(csv_error)?;
            written += 1;
        }
        table.flush().map_err(write_error)?;
        Ok(written)
    }

    /// The schema's fields, then every other key that a record holds.
    fn columns(
        &self,
        schema: &Collection,
        ids: &BTreeSet<DocumentId>,
        kept: &Kept,
    ) -> Result<Vec<String>, Error> {
        let mut keys: Vec<String> = schema.fields.iter().map(|field| field.key.clone()).collect();
        let mut others = BTreeSet::new();
        for id in ids {
            if let Some(record) = self.row_in(Some(kept), *id)?.and_then(|row| row.record) {
                others.extend(record.fields.into_keys().filter(|key| schema.field(key).is_none()));
            }
        }
        keys.extend(others);
        Ok(keys)
    }

    /// The revisions of a record that were there when the snapshot was taken.
    fn history_in(&self, id: DocumentId, kept: &Kept) -> Result<Vec<Revision>, Error> {
        let Some(row) = self.row_in(Some(kept), id)? else { return Ok(Vec::new()) };
        let known: BTreeSet<String> = row.changes.iter().map(|it| hex(&it.hash)).collect();
        let mut history = self.history(id)?;
        history.retain(|revision| {
            revision.change.get(..SHORT_HASH_LETTERS).is_some_and(|hash| known.contains(hash))
        });
        Ok(history)
    }

    fn exported(
        &self,
        id: DocumentId,
        kept: &Kept,
        names: &mut Names,
    ) -> Result<Option<Record>, Error> {
        let Some(mut row) = self.row_in(Some(kept), id)? else { return Ok(None) };
        let Some(record) = row.record.take() else { return Ok(None) };
        let schema = self.schema(row.scope.collection);
        Ok(Some(self.to_record(id, &schema, record, names)))
    }
}

/// What is told of a record beside its fields: by whom it is, and what nobody has decided so far.
fn cells(record: &Record) -> [String; EXPORT_COLUMNS.len()] {
    let alike: Vec<String> = record.duplicates.iter().map(DocumentId::to_string).collect();
    [
        record.id.to_string(),
        record.created_by.to_string(),
        record.created_at.to_string(),
        record.updated_at.to_string(),
        record.device_id.to_string(),
        record.conflicts.join(LIST_SEPARATOR),
        alike.join(LIST_SEPARATOR),
    ]
}

fn write_line<T: serde::Serialize>(out: &mut dyn Write, value: &T) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, value).map_err(|error| write_error(error.into()))?;
    out.write_all(b"\n").map_err(write_error)
}

fn write_error(source: std::io::Error) -> Error {
    Error::File { what: "the export cannot be written".into(), source }
}

fn csv_error(error: csv::Error) -> Error {
    write_error(std::io::Error::other(error))
}
