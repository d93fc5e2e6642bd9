//! Files of other systems become records: csv or json lines, plain or gzip, by a mapping.
//!
//! Nothing here stores, looks up or validates a record. A row becomes a [`Mapped`], or a
//! [`RowFault`] that names everything wrong with it; the same file and mapping always give the
//! same outcomes in the same order.
//!
//! # Rows
//!
//! Rows are read one at a time and counted as a person does: the first row of data is row 1; the
//! header and empty lines do not count, a broken row does. A broken row (wrong number of cells,
//! broken quoting, no UTF-8, no JSON, larger than [`ROW_SIZE_MAX`]) is refused alone.
//!
//! # Mappings
//!
//! A mapping is TOML: `[[record]]` blocks, each making one record of each row, and `[maps.NAME]`
//! tables that turn codes into values.
//!
//! | key of a block | meaning |
//! |---|---|
//! | `collection` | the collection of the record |
//! | `name` | what `ref("name")` in later blocks calls it; the collection's name if left out |
//! | `create = "once"` | one record for all rows with equal `unique` fields, from the first |
//! | `unique = ["field"]` | what tells such records apart |
//! | `key = ["column"]` | expressions that extend the natural key, where it alone is not unique |
//! | `skip_if = "condition"` | rows of which this block makes no record |
//! | `fields` | a table from field to value; nested fields with dots |
//!
//! The value of a field is an expression in quotes (`"oilBbl / 31"`), a number, `true`, `false` or
//! a time as a constant, a list of these, `"ref(\"name\")"` for the id of another record of the
//! row, or a table with one of `column`, `constant` or `template` and, applied in this order,
//! `digits`, `map`, `factor` or `unit`, `default`. A blank value leaves its field out.
//!
//! # Expressions
//!
//! ```text
//! oilBbl                     the column of this name; `Oil (bbl)` in backticks for other names
//! 12.5  'text'  "text"       constants; also true, false, blank
//! 'week {month} of {year}'   a text with expressions in braces; {{ and }} are braces
//! + - * /                    numbers, also where the file has them as text; blank stays blank
//! == != < <= > >=            numbers by value; texts only as equal or not
//! and or not                 conditions; a blank one does not hold
//! if a then b else c         only the branch that is taken is computed
//! ```
//!
//! | function | gives |
//! |---|---|
//! | `blank(x)`, `default(x, y)` | whether x is blank; y where x is |
//! | `number(x)`, `round(x, decimals)`, `min(x, y)`, `max(x, y)` | numbers |
//! | `text(x)`, `trim(x)`, `upper(x)`, `lower(x)` | texts |
//! | `squeeze(x)` | x trimmed, and each run of spaces in it made one |
//! | `part(x, from, count)` | characters, the first is 1 |
//! | `digits(x, '2-3-5', '2-3-5-2')` | the digits of x in groups, by the first pattern that fits |
//! | `map(x, 'name')` | the value of code x in a map; `"*"` in the map stands for other codes |
//! | `convert(x, 'm3', 'bbl')` | x in another unit |
//! | `time(x)` | the moment of an RFC 3339 time |
//! | `date(x)`, `month_start(x)` | 00:00 UTC of the date, of the first day of its month |
//! | `year(x)`, `month(x)`, `days_in_month(x)` | whole numbers |
//!
//! A date is `2011-01-31`, `2011-01` or the date in UTC of an RFC 3339 time.
//!
//! There are no loops and nothing but the row to compute from. The units of `convert` are m3, l,
//! gal, bbl, cf, MCF, MMCF; Pa, kPa, bar, PSI; mm, in, in64 (64ths of an inch), m; min, h, d.

mod csv_row;
mod expression;
mod json_row;
mod mapped;
mod mapping;
mod reader;
mod row;
mod window;

use std::io::Read;

pub use expression::{
    EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX, EXPRESSION_SIZE_MAX, EvaluationError,
    ExpressionError, TEXT_SIZE_MAX,
};
pub use mapped::{Block, Create, Exported, Mapped, MappedRecord, Reference};
pub use mapping::{
    BLOCKS_MAX, BoundMapping, EXPORT_COLUMNS, FIELDS_MAX, KEY_PARTS_MAX, MAPPING_SIZE_MAX, Mapping,
    MappingError, MappingFault, Place,
};
pub use reader::{COLUMNS_MAX, FileError, Format, ROW_SIZE_MAX, Reader};
pub use row::{Cells, Fault, Row, RowFault, RowPlace};

/// The rows of one file, mapped one at a time.
///
/// As an iterator it gives `Ok(Ok(records))` for a row, `Ok(Err(faults))` for a refused row, and
/// ends after an `Err`, from which no reading goes on.
///
/// # Examples
///
/// ```
/// use fieldmesh::import::{Import, Mapping};
///
/// let mapping = Mapping::parse(
///     r#"
///     [[record]]
///     collection = "well"
///     [record.fields]
///     apiNumber = "digits(api, '2-3-5')"
///     "#,
/// )?;
/// let file = "api\n4222730001\nunknown\n".as_bytes();
/// let mut import = Import::open(file, &mapping)?;
/// let first = import.next().ok_or("no row")??.map_err(|fault| fault.to_string())?;
/// assert_eq!(first.records[0].fields.len(), 1);
/// let refused = import.next().ok_or("no row")??.unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "row 2: apiNumber: \"unknown\" does not have the digits of 2-3-5",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Import {
    reader: Reader,
    mapping: BoundMapping,
}

/// Why an import cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is no csv and no json lines.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mapping does not fit the file.
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

impl Import {
    /// Reads the beginning of a file and finds the mapping's columns in it.
    ///
    /// # Errors
    ///
    /// Nothing was imported; the error says what is wrong with the file or the mapping.
    pub fn open(
        source: impl Read + Send + 'static,
        mapping: &Mapping,
    ) -> Result<Self, ImportError> {
        let reader = Reader::open(source)?;
        let mapping = mapping.bind(reader.format())?;
        Ok(Self { reader, mapping })
    }

    /// How many rows were read, refused ones included.
    pub fn rows(&self) -> u64 {
        self.reader.rows()
    }
}

impl Iterator for Import {
    type Item = Result<Result<Mapped, RowFault>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.reader.next()?;
        Some(row.map(|row| row.and_then(|row| self.mapping.apply(row))))
    }
}

#[cfg(test)]
mod tests;
