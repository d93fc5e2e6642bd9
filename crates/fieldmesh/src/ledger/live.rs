//! Live queries: an answer, and what changes of it from the same moment on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::api::{ListQuery, LiveEvent, Record};
use crate::error::Error;
use crate::readers::{Admits, Change, Kept, Queue};
use crate::rows::DocumentRow;

use super::Ledger;
use super::query::Names;

impl Ledger {
    /// Begins to follow a query; gives its present answer and the queue of what follows.
    pub(crate) fn follow(&self, query: &ListQuery) -> Result<(Vec<Record>, Arc<Queue>), Error> {
        check(query)?;
        self.settle()?;
        let plan = self.plan(query)?;
        let admits: Admits =
            Box::new(move |row| row.record.as_ref().is_some_and(|record| plan.admits(row, record)));
        let (kept, queue) = self.projector.readers().follow(admits);
        Ok((self.answer(query, &kept)?, queue))
    }

    /// The answer anew for a reader that was too slow.
    pub(crate) fn refollow(&self, query: &ListQuery, queue: &Queue) -> Result<Vec<Record>, Error> {
        self.settle()?;
        let kept = self.projector.readers().resume(queue);
        self.answer(query, &kept)
    }

    fn answer(&self, query: &ListQuery, kept: &Kept) -> Result<Vec<Record>, Error> {
        let (_, found) = self.planned(query, |plan| self.find(plan, Some(kept)))?;
        Ok(self.to_records(found.records))
    }

    /// Changes of an answer as people see them.
    pub(crate) fn events(&self, changes: VecDeque<Change>) -> VecDeque<LiveEvent> {
        let mut names = Names::default();
        let mut read = |id, mut row: DocumentRow| {
            let record = row.record.take()?;
            let schema = self.schema(row.scope.collection);
            let safe = Some(self.safety(&row));
            Some(Record { safe, ..self.to_record(id, &schema, record, &mut names) })
        };
        let event = |change| match change {
            Change::Added(id, row) => read(id, row).map(LiveEvent::Added),
            Change::Changed(id, row) => read(id, row).map(LiveEvent::Changed),
            Change::Removed(id) => Some(LiveEvent::Removed(id)),
        };
        changes.into_iter().filter_map(event).collect()
    }
}

/// What is asked of a live query must follow from each record alone.
fn check(query: &ListQuery) -> Result<(), Error> {
    let reason = if query.not_safe {
        "how safe records are changes without them; a live query cannot follow it, list them anew"
    } else if query.limit.is_some() || query.cursor.is_some() {
        "a live query has its whole answer; leave limit and cursor out, and bound it by time"
    } else {
        return Ok(());
    };
    Err(Error::Usage { reason: reason.into() })
}
