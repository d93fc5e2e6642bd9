//! One row of a file, and what is wrong with one.

use std::fmt;

use fieldmesh_model::Fields;

/// A row as the file has it, before any mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub place: RowPlace,
    /// What it holds.
    pub cells: Cells,
}

/// Where a row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPlace {
    /// The number of the row as a person counts: the first row of data is 1, the header and empty
    /// lines do not count, a broken row does.
    pub number: u64,
    /// The line of the (inflated) file on which it begins, counted from 1 and with the header.
    pub line: u64,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// The texts of a csv row, in the order of the header.
    Texts(Vec<String>),
    /// The fields of a json line, flattened: `{"data":{"oil":1}}` is `data.oil`.
    Fields(Fields),
}

/// A row that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {}: {}", .place.number, Listed(.faults))]
pub struct RowFault {
    /// Where it stands.
    pub place: RowPlace,
    /// Everything that is wrong with it.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field of the record; none where the row as a whole is broken.
    pub field: Option<String>,
    /// What is wrong, for a person.
    pub message: String,
}

impl RowFault {
    /// A row that is broken as a whole.
    pub fn whole(place: RowPlace, message: impl Into<String>) -> Self {
        Self { place, faults: vec![Fault { field: None, message: message.into() }] }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}
