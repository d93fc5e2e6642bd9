//! Live queries: an answer, and what changes of it from the same moment on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fieldmesh_identity::Policy;
use fieldmesh_model::DocumentId;

use crate::alike::row::beside_others;
use crate::api::{ListQuery, LiveEvent, Record};
use crate::changes::version;
use crate::error::Error;
use crate::readers::{Admits, Change, Kept, Queue};
use crate::rows::DocumentRow;

use super::Ledger;
use super::query::{Names, Plan};

/// A query that is followed.
pub(crate) struct Followed<T, Q = Arc<Queue>> {
    pub(crate) present: T,
    /// What follows.
    pub(crate) queue: Q,
    /// Where the feed stood before; nothing that stands before it is missing in the answer.
    pub(crate) cursor: String,
}

impl Ledger {
    /// Begins to follow a query; gives its present answer and the queue of what follows.
    pub(crate) fn follow(&self, query: &ListQuery) -> Result<Followed<Vec<Record>>, Error> {
        check(query)?;
        self.settle()?;
        let number = self.schema_named(&query.collection)?.number;
        self.steadily(number, |policy| {
            let admits = admits(self.plan_by(policy, query)?);
            let cursor = self.feed_cursor()?;
            let (kept, queue) = self.projector.readers().follow(number, admits);
            Ok(Followed { present: self.answer(policy, query, &kept)?, queue, cursor })
        })
    }

    /// Begins to follow a query of which a reader knows what it was at a cursor.
    pub(crate) fn follow_after(
        &self,
        query: &ListQuery,
        cursor: &str,
    ) -> Result<(Followed<()>, VecDeque<LiveEvent>), Error> {
        let Followed { present, queue, cursor: reached } = self.follow(query)?;
        let collection = self.schema_named(&query.collection)?.number;
        let changed = self.changed_since(collection, cursor)?;
        let changed = match self.plan(query)?.tells_alike_apart() {
            // Another one may be shown now of those that are like what has changed.
            true => {
                let alike = beside_others(self.view(), collection)?;
                changed.filter(|changed| changed.iter().all(|id| !alike.contains(id)))
            }
            false => changed,
        };
        let events = match changed {
            None => [LiveEvent::Resync(present)].into(),
            Some(changed) => {
                let mut held: BTreeMap<DocumentId, Record> =
                    present.into_iter().map(|record| (record.id, record)).collect();
                let event = |id| match held.remove(&id) {
                    Some(record) => LiveEvent::Changed(record),
                    None => LiveEvent::Removed(id),
                };
                changed.into_iter().map(event).collect()
            }
        };
        Ok((Followed { present: (), queue, cursor: reached }, events))
    }

    /// The answer anew for a reader that was too slow.
    pub(crate) fn refollow(
        &self,
        query: &ListQuery,
        queue: &Queue,
    ) -> Result<Followed<Vec<Record>, ()>, Error> {
        self.settle()?;
        let number = self.schema_named(&query.collection)?.number;
        let followed = self.steadily(number, |policy| {
            // Another schema may count than when it began.
            let admits = admits(self.plan_by(policy, query)?);
            let cursor = self.feed_cursor()?;
            let kept = self.projector.readers().resume(queue, admits);
            Ok(Followed { present: self.answer(policy, query, &kept)?, queue: (), cursor })
        });
        // What has no answer is asked for once more.
        followed.inspect_err(|_| queue.lag())
    }

    /// What `read` finds while no set of rows is being written.
    pub(crate) fn between_sets<T>(&self, read: impl FnOnce() -> T) -> T {
        self.projector.readers().between(read)
    }

    fn answer(
        &self,
        policy: &Policy,
        query: &ListQuery,
        kept: &Kept,
    ) -> Result<Vec<Record>, Error> {
        let plan = self.plan_by(policy, query)?;
        Ok(self.to_records(self.find(&plan, Some(kept))?.records))
    }

    /// Changes of an answer as people see them.
    pub(crate) fn events(&self, changes: VecDeque<Change>) -> VecDeque<LiveEvent> {
        let mut names = Names::default();
        let mut read = |id, mut row: DocumentRow| {
            let record = row.record.take()?;
            let schema = self.schema(row.scope.collection);
            let (safe, version) = (Some(self.safety(id, &row)), Some(version(&row.changes)));
            Some(Record { safe, version, ..self.to_record(id, &schema, record, &mut names) })
        };
        let event = |change| match change {
            Change::Added(id, row) => read(id, row).map(LiveEvent::Added),
            Change::Changed(id, row) => read(id, row).map(LiveEvent::Changed),
            Change::Removed(id) => Some(LiveEvent::Removed(id)),
        };
        changes.into_iter().filter_map(event).collect()
    }
}

fn admits(plan: Plan) -> Admits {
    let tells_alike_apart = plan.tells_alike_apart();
    let fits =
        move |row: &DocumentRow| row.record.as_ref().is_some_and(|record| plan.admits(row, record));
    Admits { fits: Box::new(fits), tells_alike_apart }
}

/// What is asked of a live query must follow from each record alone.
fn check(query: &ListQuery) -> Result<(), Error> {
    let reason = if query.not_safe {
        "how safe records are changes without them; a live query cannot follow it, list them anew"
    } else if query.limit.is_some() || query.cursor.is_some() {
        "a live query has its whole answer; leave limit and cursor out, and bound it by time"
    } else if query.duplicates {
        "a live query has one of the records that are alike; list them, or ask for one by its id"
    } else {
        return Ok(());
    };
    Err(Error::Usage { reason: reason.into() })
}
