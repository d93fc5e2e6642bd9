//! Drafts: records that are not finished.

use crate::api::{Draft, DraftChange, Record};
use crate::error::Error;

use super::Node;

impl Node {
    /// Begins, changes or discards a draft. It is on disk when this returns, and on no other device.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is no such draft; what was typed is not understood; there are
    /// too many drafts. Values that are missing or wrong are no error: the draft lists them.
    pub async fn change_draft(&self, change: DraftChange) -> Result<Draft, Error> {
        self.blocking(move |ledger| ledger.change_draft(&change)).await
    }

    /// The drafts on this device, those that were changed last first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn drafts(&self) -> Result<Vec<Draft>, Error> {
        self.blocking(crate::ledger::Ledger::drafts).await
    }

    /// One of them, by its id or the beginning of it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or more than one begins so.
    pub async fn draft(&self, id: &str) -> Result<Draft, Error> {
        let id = id.to_owned();
        self.blocking(move |ledger| ledger.draft(&id)).await
    }

    /// Records a draft, which then is none any more; one that is submitted twice is recorded once.
    ///
    /// # Errors
    ///
    /// As of [`Node::record`]; the draft stays.
    pub async fn submit_draft(&self, id: &str) -> Result<Record, Error> {
        let id = id.to_owned();
        let record = self.blocking(move |ledger| ledger.submit_draft(&id)).await?;
        super::tell_production(&record);
        Ok(record)
    }
}
