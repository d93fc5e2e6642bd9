//! What a node says when another home signs with its key.

use crate::error::Error;

use super::Node;

impl Node {
    /// Notes durably that another home signs with this device's key, if something has shown it.
    pub(super) async fn heed_copies(&self) {
        if !self.inner.mesh.news().borrow().is_twice() {
            return;
        }
        if let Err(error) = self.blocking(crate::ledger::Ledger::note_twice).await {
            tracing::error!(%error, "that this device runs twice could not be written");
        }
    }

    /// What whoever uses this device has to know before anything else, in words: that it runs
    /// twice. Nothing where all is well.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn warnings(&self) -> Result<Vec<String>, Error> {
        self.blocking(|ledger| Ok(ledger.runs_twice().into_iter().collect())).await
    }
}
