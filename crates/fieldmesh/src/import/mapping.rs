//! A mapping: how the columns of a file become the fields of records.
//!
//! Everything that can be wrong with a mapping is found when it is read and when it meets the
//! header of a file, before the first row.

mod apply;
mod grammar;

use std::fmt;
use std::sync::Arc;

use super::expression::{Expression, ExpressionError};
use super::mapped::{Block, Create};

pub use apply::BoundMapping;

/// The columns with which an export begins. They are no fields: none can be called like the last
/// two, so no other file begins so.
pub const EXPORT_COLUMNS: [&str; 7] =
    ["id", "createdBy", "createdAt", "updatedAt", "device", "_conflicts", "_duplicates"];

/// The longest text of a mapping, in bytes.
pub const MAPPING_SIZE_MAX: usize = 256 * 1024;
/// The largest number of `[[record]]` blocks.
pub const BLOCKS_MAX: usize = 16;
/// The largest number of fields in one block.
pub const FIELDS_MAX: usize = 256;
/// The largest number of key columns in one block.
pub const KEY_PARTS_MAX: usize = 16;

/// A checked mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    blocks: Vec<Rules>,
    /// The columns the expressions name, by slot; every column of the file where this is none.
    columns: Option<Vec<String>>,
}

/// How one block makes its record.
#[derive(Debug, Clone)]
struct Rules {
    block: Arc<Block>,
    skip_if: Option<Expression>,
    key: Vec<Expression>,
    fields: Vec<(String, FieldRule)>,
}

#[derive(Debug, Clone)]
enum FieldRule {
    Value(Expression),
    List(Vec<Expression>),
    /// The id of the record that the block at this position makes of the same row.
    Reference(usize),
}

/// Why a mapping cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The text is too long.
    #[error("mapping: it has {size} bytes, limit is {MAPPING_SIZE_MAX}")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// The text is no TOML, or has other tables and keys than a mapping.
    #[error("mapping: {message}")]
    NotAMapping {
        /// What is wrong and on which line.
        message: String,
    },
    /// The mapping makes no records, or too many.
    #[error("mapping: it has {count} [[record]] blocks, 1 to {BLOCKS_MAX} are allowed")]
    BlockCount {
        /// How many it has.
        count: usize,
    },
    /// A part of the mapping is wrong.
    #[error("mapping: {place}: {fault}")]
    Faulty {
        /// Which part.
        place: Place,
        /// What is wrong with it.
        fault: MappingFault,
    },
}

/// A part of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The number of the `[[record]]` block, counted from 1; none for a map.
    pub record: Option<usize>,
    /// The key within it, such as `field data.oilVolume`; none for the block as a whole.
    pub item: Option<String>,
}

/// What is wrong with a part of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingFault {
    /// An expression is wrong.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// The file lacks a column.
    #[error("column {column:?} is not in the file; the file has {known}")]
    NoColumn {
        /// The column.
        column: String,
        /// The columns of the file.
        known: String,
    },
    /// A column cannot become a field of the same name.
    #[error("the column has no plain name, so it cannot be a field; use a mapping")]
    NoFieldName,
    /// A value of another kind is needed.
    #[error("{expected} is needed here")]
    Kind {
        /// What is needed.
        expected: &'static str,
    },
    /// A table of a field has a key that means nothing.
    #[error("{key:?} means nothing here; a field has {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that mean something.
        known: &'static str,
    },
    /// Two keys of a field exclude each other.
    #[error("{one} and {other} cannot stand together")]
    Together {
        /// One key.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// There are too many of something.
    #[error("there are {count}, limit is {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A block refers to none that stands before it.
    #[error("ref names {name:?}, which is no record before this one")]
    NoReference {
        /// The name.
        name: String,
    },
    /// Two blocks have one name.
    #[error("two records are called {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two lines of a block set one field.
    #[error("the field is set twice")]
    SameField,
    /// A block made once does not say what tells its records apart.
    #[error("create = \"once\" needs unique = [\"field\"], and unique needs create = \"once\"")]
    NoUnique,
    /// A unique field is not among the fields.
    #[error("unique names {field:?}, which is not among its fields")]
    UnknownUnique {
        /// The field.
        field: String,
    },
    /// A block has no fields.
    #[error("the record has no fields")]
    NoFields,
}

impl Mapping {
    /// Reads a mapping from TOML.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the block and the field where it stands.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAPPING_SIZE_MAX {
            return Err(MappingError::TooLarge { size: text.len() });
        }
        grammar::read(text)
    }

    /// The mapping that takes each column as the field of the same name of one collection.
    ///
    /// Dots in a column's name nest: `data.oilVolume`. Of a file that was exported as csv the first
    /// columns say which record a row is about, and become no fields.
    pub fn identity(collection: &str) -> Self {
        let block = Arc::new(Block {
            name: collection.to_owned(),
            collection: collection.to_owned(),
            create: Create::Each,
        });
        let rules = Rules { block, skip_if: None, key: Vec::new(), fields: Vec::new() };
        Self { blocks: vec![rules], columns: None }
    }

    /// The collections it makes records of, without repeats.
    pub fn collections(&self) -> Vec<&str> {
        let mut collections: Vec<&str> =
            self.blocks.iter().map(|rules| rules.block.collection.as_str()).collect();
        collections.sort_unstable();
        collections.dedup();
        collections
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record, &self.item) {
            (Some(record), Some(item)) => write!(f, "record {record}, {item}"),
            (Some(record), None) => write!(f, "record {record}"),
            (None, Some(item)) => f.write_str(item),
            (None, None) => f.write_str("the file"),
        }
    }
}

#[cfg(test)]
mod tests;
