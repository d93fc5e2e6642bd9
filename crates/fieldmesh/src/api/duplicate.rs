//! Records that were made for the same thing.

use serde::{Deserialize, Serialize};

use super::Record;

/// Records that share what no two records of their collection share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateReport {
    /// The records, in the order of their labels.
    pub records: Vec<Record>,
    /// The flat keys of the fields that are not the same in all of them.
    pub differ: Vec<String>,
    /// How many more there are at least.
    pub more: u32,
}
