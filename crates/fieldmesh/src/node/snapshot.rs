//! Many questions about one moment.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use crate::api::{ExportQuery, ListQuery, Page};
use crate::error::Error;
use crate::readers::Kept;

use super::Node;

/// All records of all collections as they were at one moment.
///
/// Taking one is free; while it is held, memory keeps what is changed meanwhile, up to 64 MiB.
/// Records that are purged meanwhile are gone from it too.
#[derive(Clone)]
pub struct Snapshot {
    node: Node,
    kept: Arc<Kept>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Node {
    /// The records as they are at this moment, whatever comes while they are read.
    ///
    /// # Errors
    ///
    /// The node is shutting down, or its store cannot be read.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let keep = |ledger: &crate::ledger::Ledger| ledger.keep();
        Ok(Snapshot { node: self.clone(), kept: self.blocking_on_all(keep).await? })
    }
}

impl Snapshot {
    /// A page of records, as [`Node::page`] gives it.
    ///
    /// # Errors
    ///
    /// The query is not understood, or [`Error::SnapshotLost`]: take another one.
    pub async fn page(&self, query: ListQuery) -> Result<Page, Error> {
        let kept = Arc::clone(&self.kept);
        self.node.blocking(move |ledger| ledger.page_in(&query, Some(&kept))).await
    }

    /// How many records a query asks for.
    ///
    /// # Errors
    ///
    /// As of [`Snapshot::page`].
    pub async fn count(&self, query: ListQuery) -> Result<u64, Error> {
        let kept = Arc::clone(&self.kept);
        self.node.blocking(move |ledger| ledger.count_in(&query, Some(&kept))).await
    }

    /// Writes records to `out`, as [`Node::export`] does; gives their number.
    ///
    /// # Errors
    ///
    /// As of [`Snapshot::page`], or `out` fails.
    pub async fn export(
        &self,
        query: ExportQuery,
        mut out: impl Write + Send + 'static,
    ) -> Result<u64, Error> {
        let kept = Arc::clone(&self.kept);
        self.node.blocking(move |ledger| ledger.export_in(&query, &kept, &mut out)).await
    }
}
