//! Letting old records go from a node, and saying what it holds.

use crate::api::{EvictOptions, EvictReport, KeptReport, Progress};
use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// Lets old records go that are safe elsewhere, or wants them once more.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for what is no month, [`Error::NotAllowed`] at a relay, or the store's own;
    /// a month is either here or gone then.
    pub async fn evict(
        &self,
        options: EvictOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<EvictReport, Error> {
        self.blocking_on_all(move |ledger: &Ledger| ledger.evict(&options, &mut progress)).await
    }

    /// From which month on this node holds records that go by time.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn kept(&self) -> Result<KeptReport, Error> {
        self.blocking(Ledger::kept).await
    }
}
