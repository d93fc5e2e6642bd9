//! Collections of the tenant's own.

use crate::api::{SchemaOptions, SchemaReport, SchemaShown};
use crate::error::Error;

use super::Node;

impl Node {
    /// Checks the schema of a collection, says what it changes, or puts it in force on every device
    /// of the tenant: all of it or nothing.
    ///
    /// Records stay as they are. Others read them by the schema as soon as they hear of it.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] names every mistake and everything that would be lost;
    /// [`Error::NotAllowed`] says who may apply it.
    pub async fn schema(&self, options: SchemaOptions) -> Result<SchemaReport, Error> {
        self.blocking(move |ledger| ledger.take_schema(&options)).await
    }

    /// The collections that there are: the tenant's own, also what another definition goes before,
    /// then the built-in ones. With a `name` those of it alone, in full.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCollection`] where no collection has the name.
    pub async fn schemas(&self, name: Option<String>) -> Result<Vec<SchemaShown>, Error> {
        self.blocking(move |ledger| ledger.schemas(name.as_deref())).await
    }
}
