//! Reading what must stand under one schema: records are read anew when another one counts, and
//! what is answered meanwhile would be of two, or lack what its index does not hold so far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldmesh_identity::{Policy, SignedSchema};
use fieldmesh_model::DocumentId;

use crate::changes::Closure;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::projection::schemas::Stand;
use crate::readers::Kept;
use crate::rows::{DocumentRow, RecordRow};
use crate::schema;

/// How long whoever asks waits for records that are read anew before he is told to come again; in
/// tests as long as it takes.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 120 } else { 2 });

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
            let Some((policy, before)) = self.await_schema(number, Instant::now() + PATIENCE)?
            else {
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

    /// The row of a document with its record as `policy` has it read, whatever it stands under.
    pub(in crate::ledger) fn row_by(
        &self,
        policy: &Policy,
        id: DocumentId,
    ) -> Result<Option<DocumentRow>, Error> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let number = row.scope.collection;
        if !schema::is_foreign(number) {
            return Ok(Some(row));
        }
        let before = Stand::read(self.view(), number)?;
        let Some(mut row) = self.row(id)? else { return Ok(None) };
        let is_steady = Stand::read(self.view(), number)? == before;
        if row.record.is_none() || (is_steady && before.is_whole(policy, number)?) {
            return Ok(Some(row));
        }
        let closure = Closure::read(&self.store, &row.changes, self.device());
        let schema = schema::numbered(policy, number);
        let read = closure.and_then(|closure| {
            let document = closure.document(id, policy)?;
            RecordRow::judged(&document, &closure, (policy, &schema))
        });
        match read {
            Ok(record) => row.record = Some(record),
            // With one of its changes damaged a record stays as it was shown last.
            Err(error) => tracing::warn!(document = %id.short(), %error, "a record cannot be read"),
        }
        Ok(Some(row))
    }

    /// The view as it is now, once no row waits to be read anew: that would end what is kept of it.
    pub(crate) fn keep(&self) -> Result<Arc<Kept>, Error> {
        self.settle()?;
        let mut numbers = Stand::numbers(self.view())?;
        numbers.extend(self.policy().schemas().map(SignedSchema::number));
        let until = Instant::now() + PATIENCE;
        for number in numbers {
            if let Err(error) = self.await_schema(number, until) {
                // Whoever asks for that collection is told.
                tracing::warn!(number, %error, "a snapshot begins while records are read anew");
            }
        }
        Ok(self.projector.readers().keep())
    }

    /// Waits until all rows of a collection stand under the schema that counts, or else until the
    /// time given; gives the policy that says so and how they stand. None where no schema but the
    /// built-in one ever comes.
    pub(in crate::ledger) fn await_schema(
        &self,
        number: u16,
        until: Instant,
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
            if Instant::now() >= until {
                let name = &schema::numbered(&policy, number).name;
                let reason = format!("the records of {name} are being read by another definition");
                let remaking = self.remaking().map(|remaking| remaking.percent());
                let percent = remaking.map_or_else(|| stand.percent(), Ok)?;
                return Err(Error::Remaking { percent, reason });
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
