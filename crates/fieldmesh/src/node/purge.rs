//! Erasing a record everywhere.

use fieldmesh_model::DocumentId;

use crate::api::PurgeReport;
use crate::error::Error;

use super::Node;

impl Node {
    /// Has a record erased on every device of the tenant, for good: its contents and its history.
    ///
    /// Others erase it when they learn of it. Backups and devices that never come back keep it.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::NotFound`] where there is no such record.
    pub async fn purge(&self, id: DocumentId, reason: &str) -> Result<PurgeReport, Error> {
        let reason = reason.to_owned();
        let (report, items) = self.blocking(move |ledger| ledger.purge(id, &reason)).await?;
        self.announce(items);
        let swept = self.blocking(crate::ledger::Ledger::sweep).await;
        if let Err(error) = &swept {
            tracing::warn!(%error, "a purged record is not erased from the log so far");
        }
        Ok(PurgeReport { swept: swept.is_ok(), ..report })
    }
}
