//! What ours is held against: a store of rows with an index for every question ours answers.

use std::error::Error;
use std::path::Path;

use fieldmesh_model::DocumentId;

use super::crew::entries::Entry;
use super::redb_file::Redb;
use super::sqlite::Sqlite;

/// An entry as a row: its JSON, and what it is found by.
pub(crate) struct Row {
    pub(crate) id: [u8; 16],
    pub(crate) well: [u8; 16],
    pub(crate) kind: &'static str,
    pub(crate) at: i64,
    pub(crate) body: String,
}

impl Row {
    /// The rows of entries, numbered from `first` on.
    pub(crate) fn all(
        entries: &[Entry],
        wells: &[String],
        first: u64,
    ) -> Result<Vec<Self>, Box<dyn Error>> {
        let numbered = entries.iter().zip(first..);
        numbered.map(|(entry, number)| Self::new(entry, wells, number)).collect()
    }

    fn new(entry: &Entry, wells: &[String], number: u64) -> Result<Self, Box<dyn Error>> {
        let json = entry.json(wells);
        let at = entry.recorded_at().as_millis();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        let well = well_id(json["wellId"].as_str().ok_or("an entry has a well")?)?;
        Ok(Self { id, well, kind: "PRODUCTION", at, body: json.to_string() })
    }
}

/// The bytes of a well's id.
pub(crate) fn well_id(text: &str) -> Result<[u8; 16], Box<dyn Error>> {
    Ok(*text.parse::<DocumentId>()?.as_bytes())
}

/// A store of rows.
pub(crate) trait Other: Send {
    /// Writes rows and their index rows durably, all at once.
    fn insert(&mut self, rows: &[Row]) -> Result<(), Box<dyn Error>>;

    /// Reads the newest rows of a well, newest first; gives their bodies.
    fn newest(&self, well: &[u8; 16], count: usize) -> Result<Vec<String>, Box<dyn Error>>;

    /// Makes the file as small as it gets.
    fn shrink(&mut self) -> Result<(), Box<dyn Error>>;
}

/// The stores there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Redb,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Redb];

    /// Opens the store in a folder of its own, or makes it.
    pub(crate) fn open(self, folder: &Path) -> Result<Box<dyn Other>, Box<dyn Error>> {
        std::fs::create_dir_all(folder)?;
        match self {
            Self::Sqlite => Ok(Box::new(Sqlite::open(&folder.join("sqlite"))?)),
            Self::Redb => Ok(Box::new(Redb::open(&folder.join("redb"))?)),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redb => "redb",
        }
    }
}
