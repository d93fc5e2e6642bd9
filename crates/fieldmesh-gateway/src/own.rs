//! How many conflicts of a caller are open: counted a part of the list at a time, so that whoever
//! asks keeps no thread from others for as long as the list of a whole tenant takes.

use fieldmesh_dialect::command::ConflictQuery;
use fieldmesh_dialect::outcome::{Overview, Tally};
use fieldmesh_dialect::{Dialect, Outcome};

use crate::listing::{ROWS_MAX, Whose};
use crate::{Asking, Failure, Gateway};

impl Gateway {
    /// Adds to an outcome that tells a person of his conflicts how many are open.
    pub(crate) async fn with_own_conflicts(
        &self,
        asking: &Asking,
        outcome: Outcome,
    ) -> Result<Outcome, Failure> {
        match outcome {
            Outcome::Overview(overview) => {
                let conflicts = self.own_conflicts(asking).await?;
                let tally = Tally { conflicts, ..overview.tally };
                Ok(Outcome::Overview(Overview { tally, conflicts, ..overview }))
            }
            // An app of this contract is told at once of a conflict, so no entry waits for it.
            Outcome::Tally(tally) if asking.dialect == Some(Dialect::Asset) => {
                let conflicts = self.own_conflicts(asking).await?;
                Ok(Outcome::Tally(Tally { conflicts, ..tally }))
            }
            outcome => Ok(outcome),
        }
    }

    async fn own_conflicts(&self, asking: &Asking) -> Result<u64, Failure> {
        let (mut count, mut after) = (0, None);
        loop {
            let part = self.on_thread(asking, move |task| {
                let query = ConflictQuery { collection: None, after, conflicts_max: ROWS_MAX };
                task.access.on_one_view(|| task.listed(&query, Whose::Caller, ROWS_MAX))
            });
            let part = part.await?;
            count += part.rows.len() as u64;
            after = part.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }
}
