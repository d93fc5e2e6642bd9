//! A mapping that has met its file, and what it makes of each row.

use std::mem::take;
use std::sync::Arc;

use fieldmesh_model::{Fields, Value};

use super::super::expression::{self, EvaluationError, Expression};
use super::super::mapped::{Exported, Mapped, MappedRecord, Reference};
use super::super::reader::Format;
use super::super::row::{Cells, Fault, Row, RowFault};
use super::{EXPORT_COLUMNS, FieldRule, Mapping, MappingError, MappingFault, Place, Rules};

/// A mapping whose columns are found in a file.
#[derive(Debug, Clone)]
pub struct BoundMapping {
    blocks: Vec<Rules>,
    sources: Sources,
}

/// Where the cells of the expressions come from.
#[derive(Debug, Clone)]
enum Sources {
    /// Slot to position in a csv row.
    Positions(Vec<usize>),
    /// Slot to name in a json line.
    Names(Vec<String>),
    /// Each column of a csv file as it is, but for the first ones of an export.
    EveryColumn { told: usize, fields: Vec<String> },
    /// Each field of a json line as it is.
    EveryField,
}

/// The cells of one row, as the mapping needs them.
enum Gathered {
    /// By slot, for the expressions.
    Cells(Vec<Value>),
    /// By name, for a record as it is; with the id and the time that an export tells.
    Fields(Fields, Option<[String; 2]>),
}

impl Mapping {
    /// Finds the mapping's columns in a file.
    ///
    /// The fields of json lines differ from line to line, so there a missing one is a blank.
    ///
    /// # Errors
    ///
    /// A column is not in the file; the error names the first field that needs it.
    pub fn bind(&self, format: &Format) -> Result<BoundMapping, MappingError> {
        let sources = match (&self.columns, format) {
            (Some(columns), Format::JsonLines) => Sources::Names(columns.clone()),
            (Some(columns), Format::Csv { columns: known }) => {
                let position = |(slot, column): (usize, &String)| {
                    let found = known.iter().position(|known| known == column);
                    found.ok_or_else(|| self.missing(slot, column, known))
                };
                let positions: Result<_, _> = columns.iter().enumerate().map(position).collect();
                Sources::Positions(positions?)
            }
            (None, Format::JsonLines) => Sources::EveryField,
            (None, Format::Csv { columns }) => {
                let is_export = columns.iter().take(EXPORT_COLUMNS.len()).eq(EXPORT_COLUMNS);
                let told = if is_export { EXPORT_COLUMNS.len() } else { 0 };
                let (told, fields) = columns.split_at(told);
                if let Some(column) = fields.iter().find(|column| !is_field_name(column)) {
                    let item = Some(format!("column {column:?}"));
                    let place = Place { record: None, item };
                    return Err(MappingError::Faulty { place, fault: MappingFault::NoFieldName });
                }
                Sources::EveryColumn { told: told.len(), fields: fields.to_vec() }
            }
        };
        Ok(BoundMapping { blocks: self.blocks.clone(), sources })
    }

    fn missing(&self, slot: usize, column: &str, known: &[String]) -> MappingError {
        let mut place = Place { record: None, item: None };
        'found: for (index, rules) in self.blocks.iter().enumerate() {
            for (item, expression) in rules.expressions() {
                if expression.names(slot) {
                    place = Place { record: Some(index + 1), item: Some(item) };
                    break 'found;
                }
            }
        }
        let fault = MappingFault::NoColumn { column: column.into(), known: known.join(", ") };
        MappingError::Faulty { place, fault }
    }
}

impl Rules {
    fn expressions(&self) -> Vec<(String, &Expression)> {
        let mut expressions = Vec::new();
        for (field, rule) in &self.fields {
            let item = || format!("field {field}");
            match rule {
                FieldRule::Value(expression) => expressions.push((item(), expression)),
                FieldRule::List(items) => expressions.extend(items.iter().map(|it| (item(), it))),
                FieldRule::Reference(_) => {}
            }
        }
        expressions.extend(self.key.iter().map(|part| ("key".to_owned(), part)));
        expressions.extend(self.skip_if.iter().map(|test| ("skip_if".to_owned(), test)));
        expressions
    }
}

impl BoundMapping {
    /// The records of a row.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the row; then none of its records is to be kept.
    pub fn apply(&self, row: Row) -> Result<Mapped, RowFault> {
        let place = row.place;
        let records = match self.gather(row.cells) {
            Some(Gathered::Fields(fields, told)) => {
                let no_id = |_| RowFault::whole(place, "the id of the row is none");
                let exported = told.map(|[id, updated_at]| {
                    let id = id.trim().parse().map_err(no_id)?;
                    Ok(Exported { id, updated_at: updated_at.parse().ok() })
                });
                self.whole(&fields, exported.transpose()?)
            }
            Some(Gathered::Cells(cells)) => {
                self.records(&cells).map_err(|faults| RowFault { place, faults })?
            }
            None => return Err(RowFault::whole(place, "the row belongs to another file")),
        };
        Ok(Mapped { place, records })
    }

    fn gather(&self, cells: Cells) -> Option<Gathered> {
        let gathered = match (&self.sources, cells) {
            (Sources::Positions(positions), Cells::Texts(mut texts)) => {
                let take = |at: &usize| texts.get_mut(*at).map_or(Value::Null, |it| cell(take(it)));
                Gathered::Cells(positions.iter().map(take).collect())
            }
            (Sources::Names(names), Cells::Fields(mut fields)) => {
                let take = |name: &String| fields.remove(name).unwrap_or(Value::Null);
                Gathered::Cells(names.iter().map(take).collect())
            }
            (Sources::EveryColumn { told, fields }, Cells::Texts(texts)) => {
                let cell_of = |name| {
                    let at = EXPORT_COLUMNS.iter().position(|column| *column == name);
                    at.and_then(|at| texts.get(at)).cloned().unwrap_or_default()
                };
                let exported = [cell_of("id"), cell_of("updatedAt")];
                let exported = (*told > 0 && !exported[0].trim().is_empty()).then_some(exported);
                let values = texts.into_iter().skip(*told).map(cell);
                Gathered::Fields(fields.iter().cloned().zip(values).collect(), exported)
            }
            (Sources::EveryField, Cells::Fields(fields)) => Gathered::Fields(fields, None),
            (Sources::Positions(_) | Sources::EveryColumn { .. }, Cells::Fields(_))
            | (Sources::Names(_) | Sources::EveryField, Cells::Texts(_)) => return None,
        };
        Some(gathered)
    }

    /// The fields of a row as one record of each block; there is only one without a mapping.
    fn whole(&self, fields: &Fields, exported: Option<Exported>) -> Vec<MappedRecord> {
        let given = |(_, value): &(&String, &Value)| **value != Value::Null;
        let record = |rules: &Rules| MappedRecord {
            block: Arc::clone(&rules.block),
            fields: fields.iter().filter(given).map(|(k, v)| (k.clone(), v.clone())).collect(),
            references: Vec::new(),
            key_extension: Vec::new(),
            exported,
        };
        self.blocks.iter().map(record).collect()
    }

    fn records(&self, cells: &[Value]) -> Result<Vec<MappedRecord>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut records = Vec::with_capacity(self.blocks.len());
        let mut positions: Vec<Option<usize>> = Vec::with_capacity(self.blocks.len());
        for rules in &self.blocks {
            let skipped = match &rules.skip_if {
                Some(test) => test.holds(cells).unwrap_or_else(|error| {
                    faults.push(fault(None, format!("skip_if: {error}")));
                    true
                }),
                None => false,
            };
            if skipped {
                positions.push(None);
                continue;
            }
            let record = rules.record(cells, &positions, &self.blocks, &mut faults);
            positions.push(Some(records.len()));
            records.push(record);
        }
        if faults.is_empty() { Ok(records) } else { Err(faults) }
    }
}

impl Rules {
    fn record(
        &self,
        cells: &[Value],
        positions: &[Option<usize>],
        blocks: &[Self],
        faults: &mut Vec<Fault>,
    ) -> MappedRecord {
        let mut fields = Fields::new();
        let mut references = Vec::new();
        for (field, rule) in &self.fields {
            let value = match rule {
                FieldRule::Value(expression) => expression.evaluate(cells),
                FieldRule::List(items) => list(items, cells),
                FieldRule::Reference(block) => {
                    match positions.get(*block).copied().flatten() {
                        Some(record) => references.push(Reference { field: field.clone(), record }),
                        None => {
                            let name = blocks.get(*block).map_or("", |it| it.block.name.as_str());
                            let message = format!("the record {name:?} is skipped for this row");
                            faults.push(fault(Some(field), message));
                        }
                    }
                    continue;
                }
            };
            match value {
                Ok(value) if is_blank(&value) => {}
                Ok(value) => {
                    fields.insert(field.clone(), value);
                }
                Err(error) => faults.push(fault(Some(field), error.to_string())),
            }
        }
        let mut key_extension = Vec::new();
        for (index, part) in self.key.iter().enumerate() {
            match part.evaluate(cells).and_then(|value| expression::key_text(&value)) {
                Ok(text) => extend_key(&mut key_extension, &text),
                Err(error) => faults.push(fault(None, format!("key part {}: {error}", index + 1))),
            }
        }
        let block = Arc::clone(&self.block);
        MappedRecord { block, fields, references, key_extension, exported: None }
    }
}

/// A cell of csv; nothing but spaces is a blank.
fn cell(text: String) -> Value {
    if text.trim().is_empty() { Value::Null } else { Value::Text(text) }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Moment(_) => false,
    }
}

fn list(items: &[Expression], cells: &[Value]) -> Result<Value, EvaluationError> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        match item.evaluate(cells)? {
            Value::List(inner) => values.extend(inner),
            value if is_blank(&value) => {}
            value => values.push(value),
        }
    }
    Ok(Value::List(values))
}

fn extend_key(key: &mut Vec<u8>, text: &str) {
    // A row is smaller than 4 GiB by far, so the length always fits.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(text.as_bytes());
}

fn fault(field: Option<&String>, message: String) -> Fault {
    Fault { field: field.cloned(), message }
}

/// Letters, digits and underscores, nested with dots.
fn is_field_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.split('.')
        .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(plain))
}
