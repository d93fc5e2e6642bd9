//! The collections that the tenant defines: checked, applied and shown.

use crate::error::Error;
use crate::projection::schemas;
use crate::schema;

use super::Ledger;

impl Ledger {
    /// Waits until all rows of a collection stand under the schema that counts: while they are read
    /// anew, lists and counts would mix two of them. Blocks.
    pub(super) fn await_schema(&self, number: u16) -> Result<(), Error> {
        if !schema::is_foreign(number) {
            return Ok(());
        }
        // A view that has nothing so far has no row either.
        while self.projector.applied().is_some()
            && !schemas::is_shown(self.view(), &self.policy(), number)?
        {
            self.projector.turn_over()?;
        }
        Ok(())
    }
}
