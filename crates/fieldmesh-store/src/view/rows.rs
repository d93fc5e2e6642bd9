//! The seam below the view: one sorted map of small rows, written atomically.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use super::{Direction, Row};

/// The rows between two physical keys.
pub type RowRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);
/// Rows to write (`Some`) or remove (`None`) together.
pub type RowBatch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Why rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// The system refuses: full disk, no permission, too many files. The rows may be good.
    #[error("the system refuses")]
    Io(#[source] io::Error),
    /// The files of the rows are damaged.
    #[error("the files are damaged")]
    Damaged,
    /// The database panicked, which it does on damaged files.
    #[error("the database panicked")]
    Panicked,
}

impl RowsError {
    /// Whether the rows must be rebuilt; otherwise opening them again may help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Io(_) => false,
            Self::Damaged | Self::Panicked => true,
        }
    }
}

/// A sorted map of rows of at most some 4 KiB.
pub trait Rows: Send + Sync {
    /// One value.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError>;

    /// At most `limit` rows of a range, in order.
    fn scan(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, RowsError>;

    /// Writes all of a batch or, if the process ends meanwhile, nothing.
    fn write(&self, batch: RowBatch) -> Result<(), RowsError>;

    /// Makes everything written durable.
    fn flush(&self) -> Result<(), RowsError>;
}

/// Where the rows of a store are.
pub trait RowsSource: Send + Sync {
    /// Opens them, creating an empty map if there is none.
    fn open(&self) -> Result<Box<dyn Rows>, RowsError>;

    /// Moves what is there out of the way, so that the next open begins empty.
    fn set_aside(&self) -> Result<(), RowsError>;

    /// Removes what is there.
    fn discard(&self) -> Result<(), RowsError>;

    /// Removes what was moved out of the way earlier.
    fn forget_set_aside(&self) -> Result<(), RowsError>;

    /// Opens an empty map beside the rows, for [`RowsSource::take_beside`] to put in their place.
    fn open_beside(&self) -> Result<Box<dyn Rows>, RowsError>;

    /// Puts the map beside, which is flushed, in the place of the rows; neither is open.
    ///
    /// If the process ends meanwhile, the next open finds one of them.
    fn take_beside(&self) -> Result<(), RowsError>;

    /// What the rows take on the disk.
    fn disk_bytes(&self) -> Result<u64, RowsError>;
}
