//! Reading what must stand under one schema: records are read anew when another one counts, and
//! what is answered meanwhile would be of two, or lack what its index does not hold so far.

use std::sync::Arc;

use fieldmesh_identity::{Policy, SignedSchema};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::projection::schemas::Stand;
use crate::readers::Kept;
use crate::schema;

/// Turns of the view in which nothing moves, neither what is read anew nor what is applied: then it
/// is not waited for any longer.
const STALLED_MAX: u32 = 8;
/// How often something is read until no other schema comes in between.
const READS_MAX: u32 = 8;

impl Ledger {
    /// Reads what is about a collection by one policy while its rows stand under that; once more
    /// where another schema came in between. Blocks while they are read anew.
    pub(in crate::ledger) fn steadily<T>(
        &self,
        number: u16,
        mut read: impl FnMut(&Policy) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..READS_MAX {
            let Some((policy, before)) = self.await_schema(number)? else {
                return read(&self.policy());
            };
            let found = read(&policy);
            if Stand::read(self.view(), number)? == before {
                return found;
            }
        }
        let name = &self.schema(number).name;
        let reason = format!("{name} is defined anew again and again; try it once more");
        Err(Error::Store { reason })
    }

    /// The view as it is now, once no row waits to be read anew: that would end what is kept.
    pub(crate) fn keep(&self) -> Result<Arc<Kept>, Error> {
        self.settle()?;
        if let Err(error) = self.await_schemas() {
            // Whoever asks for that collection is told.
            tracing::warn!(%error, "a snapshot begins while records are read anew");
        }
        Ok(self.projector.readers().keep())
    }

    /// As [`Self::await_schema`], of every collection, also of those that nobody defines any more.
    pub(in crate::ledger) fn await_schemas(&self) -> Result<(), Error> {
        let mut numbers = Stand::numbers(self.view())?;
        numbers.extend(self.policy().schemas().map(SignedSchema::number));
        for number in numbers {
            self.await_schema(number)?;
        }
        Ok(())
    }

    /// Waits until all rows of a collection stand under the schema that counts; gives the policy
    /// that says so and how they stand. None where no schema but the built-in one ever comes.
    pub(in crate::ledger) fn await_schema(
        &self,
        number: u16,
    ) -> Result<Option<(Arc<Policy>, Stand)>, Error> {
        // Without records nothing is read anew, and no index lacks any.
        let has_records = !self.projector.forwards_only() && self.store.end().is_some();
        if !schema::is_foreign(number) || !has_records {
            return Ok(None);
        }
        let how_far = || Ok::<_, Error>((self.projector.position(), Stand::of_all(self.view())?));
        let mut stalled = 0;
        let mut before = None;
        loop {
            let (policy, stand) = (self.policy(), Stand::read(self.view(), number)?);
            if stand.is_whole(&policy, number)? {
                return Ok(Some((policy, stand)));
            }
            if stalled >= STALLED_MAX {
                let reason = format!(
                    "the records of {} have to be read anew, and that does not go on; `fieldmesh \
                     doctor` may say why",
                    schema::numbered(&policy, number).name
                );
                return Err(Error::Store { reason });
            }
            self.projector.turn_over()?;
            let after = Some(how_far()?);
            stalled = if after == before { stalled + 1 } else { 0 };
            before = after;
        }
    }
}
