//! What a mapping makes of a row: flat records, still to be validated, looked up and stored.

use std::sync::Arc;

use fieldmesh_model::{DocumentId, Fields, Moment};

use super::row::RowPlace;

/// The records of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Where the row stands.
    pub place: RowPlace,
    /// Its records, in the order of the mapping; none if every block skipped the row.
    pub records: Vec<MappedRecord>,
}

/// One record of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedRecord {
    /// What all records of this block of the mapping have in common.
    pub block: Arc<Block>,
    /// The fields, flat; blank ones are left out.
    ///
    /// A value of a csv file that no expression has computed is still a text, so the collection's
    /// schema must read it as the type of its field.
    pub fields: Fields,
    /// Fields that hold the id of another record of the same row.
    pub references: Vec<Reference>,
    /// What the mapping's key columns add to the natural key; empty without key columns.
    ///
    /// Each part is its length as four bytes, big endian, and its trimmed text in UTF-8, so equal
    /// parts and nothing else give equal bytes.
    pub key_extension: Vec<u8>,
    /// The record that the row was exported from; none where the file is no export.
    pub exported: Option<Exported>,
}

/// What the row of an export tells of the record that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The record.
    pub id: DocumentId,
    /// When it had last changed by then; none where the row does not say so any more.
    pub updated_at: Option<Moment>,
}

/// What all records of one block of a mapping have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The name of the block, by which others refer to it.
    pub name: String,
    /// The collection of its records.
    pub collection: String,
    /// When a record is made.
    pub create: Create,
}

/// When a block makes a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Create {
    /// For each row.
    Each,
    /// For the first row that has these values of these fields; other rows mean the same record
    /// and change nothing of it.
    Once {
        /// The fields that tell one record from another.
        unique: Vec<String>,
    },
}

/// A field that holds the id of another record of the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The field.
    pub field: String,
    /// The position of the other record in [`Mapped::records`]; always an earlier one.
    pub record: usize,
}

impl MappedRecord {
    /// The parts of the key extension as a person reads them.
    pub fn key_text(&self) -> String {
        let mut parts = Vec::new();
        let mut rest = self.key_extension.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (part, tail) = tail.split_at(length.min(tail.len()));
            parts.push(String::from_utf8_lossy(part).into_owned());
            rest = tail;
        }
        parts.join(", ")
    }
}
