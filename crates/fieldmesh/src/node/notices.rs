//! What became of this person's work by the hand of others.

use crate::api::{Notice, SeenNotices};
use crate::error::Error;

use super::Node;

impl Node {
    /// What this person should hear of, the newest first: values of his that others decided against,
    /// changes that could not be applied, batches that do not count, records that were not approved.
    /// With `all` also what was marked as seen. Nobody is told of what he did himself.
    ///
    /// It is derived from what is stored, and gone where its cause is: an adopted batch, for one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn notices(&self, all: bool) -> Result<Vec<Notice>, Error> {
        self.reading(move |ledger| ledger.notices(all)).await
    }

    /// Marks notices as seen, on this device alone; gives those that were meant.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Ambiguous`] with candidates: then none is marked.
    pub async fn see_notices(&self, seen: SeenNotices) -> Result<Vec<Notice>, Error> {
        self.blocking_on_all(move |ledger| ledger.see_notices(seen.ids.as_deref())).await
    }
}
