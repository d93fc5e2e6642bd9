//! Erasing records everywhere.

use crate::api::{PurgeOptions, PurgeReport, PurgedRecord};
use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// Has records erased on every device of the tenant, for good: contents and history. All of
    /// them or none, but for a crash in between: asked again, it goes on with those that are left.
    ///
    /// Others erase them when they learn of it. Backups and devices that never come back keep them.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::NotFound`] where there is no such record.
    pub async fn purge(&self, options: PurgeOptions) -> Result<Vec<PurgeReport>, Error> {
        let is_dry = options.dry_run;
        let mut reports = self.blocking_on_all(move |ledger| ledger.purge(&options)).await?;
        if is_dry {
            return Ok(reports);
        }
        let swept = self.blocking(Ledger::sweep).await;
        if let Err(error) = &swept {
            tracing::warn!(%error, "a purged record is not erased from the log so far");
        }
        reports.iter_mut().for_each(|report| report.erased = swept.is_ok());
        Ok(reports)
    }

    /// What was purged so far, the last one first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn purges(&self) -> Result<Vec<PurgedRecord>, Error> {
        self.blocking_on_all(Ledger::purges_said).await
    }
}
