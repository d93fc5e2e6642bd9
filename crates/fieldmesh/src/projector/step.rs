//! One step of the thread: which of the passes goes on, and a part of it.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use fieldmesh_identity::Policy;
use fieldmesh_model::DocumentId;
use fieldmesh_store::Place;

use crate::entry::Entry;
use crate::error::Error;
use crate::making::Position;
use crate::projection::{Projection, Reach, Sources};

use super::{Shared, Work};

/// What a step has done.
pub(super) struct Step {
    /// How far the view goes now, if it goes further.
    pub(super) position: Option<Position>,
    /// The documents that it wrote.
    pub(super) written: Vec<DocumentId>,
    /// Whether it ended before the log did.
    pub(super) is_cut: bool,
}

/// From where the thread goes on.
pub(super) struct Next {
    pub(super) position: Position,
    /// The last entry that is noted before any record is made.
    pub(super) notes_first: Option<Place>,
    /// Whether records are made: not where the last try has failed and nobody asks.
    pub(super) may_make: bool,
}

/// Which of the passes a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// The only one.
    All,
    /// All but the records, where they lag behind.
    Notes,
    /// The records alone.
    Records,
    /// None: there is nothing to do, or what there is has failed.
    None,
}

impl Course {
    /// Which pass goes on after a step of `before`.
    ///
    /// What the log had at the beginning is noted first: a home is open then. With what comes in
    /// later the passes take turns, so that neither waits until nothing comes any more.
    pub(super) fn choose(work: &Work, next: &Next, before: Self) -> Self {
        let Next { position, notes_first, may_make } = *next;
        if position.making.is_none() {
            return Self::All;
        }
        let has_notes = work.store.end() > position.noted;
        let may_make = may_make && position.noted >= notes_first;
        match (has_notes, may_make) {
            (true, true) if before == Self::Notes => Self::Records,
            (true, _) => Self::Notes,
            (false, true) => Self::Records,
            (false, false) => Self::None,
        }
    }
}

/// A step whose panic ends in an error: whoever waits for the view must never wait for ever.
pub(super) fn guarded(
    work: &Work,
    course: (Position, Course),
    shared: &Shared,
) -> Result<Step, Error> {
    let step = AssertUnwindSafe(|| step(work, course, shared));
    std::panic::catch_unwind(step).unwrap_or_else(|_| {
        Err(Error::Store { reason: "the view could not be written; see the log".into() })
    })
}

/// Applies the next entries, of which the course says what is made.
pub(super) fn step(
    work: &Work,
    (position, course): (Position, Course),
    shared: &Shared,
) -> Result<Step, Error> {
    // A view that an error broke is found out here, also where there is nothing to apply.
    work.store.view().applied().map_err(|error| Error::store(&error))?;
    let (end, noted) = (work.store.end(), position.noted);
    let made = position.making.unwrap_or_default();
    match course {
        Course::None => Ok(Step { position: None, written: Vec::new(), is_cut: false }),
        Course::All => {
            let pass = Pass { reach: Reach::All, behind: noted, end };
            let Applied { last, written, is_cut } = pass.step(work, shared)?;
            let position = last.map(|last| Position { noted: Some(last), making: None });
            Ok(Step { position, written, is_cut })
        }
        Course::Notes => {
            let pass = Pass { reach: Reach::Notes(made), behind: noted, end };
            let Applied { last, .. } = pass.step(work, shared)?;
            let position = last.map(|last| Position { noted: Some(last), ..position });
            Ok(Step { position, written: Vec::new(), is_cut: true })
        }
        Course::Records => {
            let end = noted;
            #[cfg(test)]
            let end = crate::making::held_end(work.me, end)?;
            #[cfg(test)]
            if end < noted && made.0 >= end {
                std::thread::yield_now();
                return Ok(Step { position: Some(position), written: Vec::new(), is_cut: true });
            }
            let pass = Pass { reach: Reach::Records(noted), behind: made.0, end };
            let Applied { written, .. } = pass.step(work, shared)?;
            // What was written says how far it goes.
            let position = Position::read(work.store.view())?;
            Ok(Step { position: Some(position), written, is_cut: true })
        }
    }
}

/// A part of the log, and what of it is made into rows.
struct Pass {
    reach: Reach,
    /// The last entry that was applied.
    behind: Option<Place>,
    /// The last entry that is looked at; the policy is read after this was found out, so it knows
    /// whoever wrote that.
    end: Option<Place>,
}

/// What a part of a pass has done.
struct Applied {
    /// The place of the last entry, if there was one.
    last: Option<Place>,
    written: Vec<DocumentId>,
    /// Whether there is more of it.
    is_cut: bool,
}

impl Pass {
    /// Applies the next entries.
    fn step(&self, work: &Work, shared: &Shared) -> Result<Applied, Error> {
        let policy = Arc::clone(&work.policy.read().expect("no holder of this lock panics"));
        let sources = self.sources(work, shared, policy);
        let mut projection = Projection::new(&sources)?;
        let (mut last, mut is_cut) = self.read(work, &mut projection)?;
        if !is_cut {
            // The last entries may have been dropped; who waits for them waits for the end all the
            // same.
            last = last.max(self.end.filter(|end| Some(*end) > self.behind));
        }
        let is_repinned = projection.repin()?;
        let is_repurged = projection.repurge()?;
        let (is_reread, is_left) = projection.read_by_schema()?;
        is_cut |= is_left;
        if is_cut {
            projection.expect_more();
        }
        let is_due = is_repinned || is_repurged || is_reread || self.is_over();
        let written = match last.or(self.behind.filter(|_| is_due)) {
            Some(place) => projection.finish(place)?,
            None => Vec::new(),
        };
        Ok(Applied { last, written, is_cut })
    }

    fn sources<'a>(&self, work: &'a Work, shared: &'a Shared, policy: Arc<Policy>) -> Sources<'a> {
        Sources {
            store: &work.store,
            places: &work.places,
            policy,
            me: work.me,
            forward_only: work.forward_only,
            is_stopped: &shared.is_stopped,
            made: &shared.made,
            readers: &shared.readers,
            reach: self.reach,
        }
    }

    /// Whether a pass over the records has nothing left, which is to be written down.
    fn is_over(&self) -> bool {
        matches!(self.reach, Reach::Records(_)) && self.behind >= self.end
    }

    /// Applies entries until there are enough for a set; gives the last, and whether there are more.
    fn read(
        &self,
        work: &Work,
        projection: &mut Projection<'_>,
    ) -> Result<(Option<Place>, bool), Error> {
        let (store, step_changes) = (&work.store, work.step_changes);
        let (mut last, mut is_cut, mut failed) = (None, false, None);
        let replayed = store.replay(self.behind, |place, entry| {
            // What has come since may be of people whom the policy of this step does not know.
            if Some(place) > self.end {
                return ControlFlow::Break(());
            }
            let applied = match Entry::decode(&entry) {
                Ok(entry) if projection.ends_before(&entry) => {
                    is_cut = true;
                    return ControlFlow::Break(());
                }
                Ok(entry) => projection.apply(place, entry),
                Err(error) => {
                    tracing::error!(?place, %error, "an entry of the log is skipped");
                    Ok(())
                }
            };
            if let Err(error) = applied {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            last = Some(place);
            if projection.changes() >= step_changes {
                is_cut = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let replayed = replayed.map_err(|error| Error::store(&error))?;
        for bad in &replayed.bad_frames {
            let (segment, offset) = (bad.segment, bad.offset);
            tracing::warn!(segment, offset, bytes = bad.length, "damage in the log is passed over");
            projection.pass_over(&bad.sequences);
        }
        failed.map_or(Ok((last, is_cut)), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::RwLock;

    use super::*;
    use crate::api::NewRecord;
    use crate::projector::STEP_CHANGES_MAX;
    use crate::{Node, TenantOptions};

    /// A record of somebody whose certificate came with it was refused for good where both came
    /// after the policy of a step was read and before its entries were.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_while_a_step_is_made_is_left_to_the_policy_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("lead")).passphrase("one");
        let (lead, _) = builder.create_tenant(options).await.unwrap();
        let ledger = lead.ledger();
        let work = Work {
            store: Arc::clone(&ledger.store),
            places: Arc::clone(&ledger.places),
            policy: Arc::new(RwLock::new(ledger.policy())),
            me: ledger.device(),
            forward_only: false,
            lag_max: u64::MAX,
            step_changes: STEP_CHANGES_MAX,
        };
        let end = work.store.end();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let collection = "well".into();
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        lead.record(well).await.unwrap();
        assert!(work.store.end() > end);

        let shared = Shared::default();
        let pass = Pass { reach: Reach::All, behind: None, end };
        let policy = Arc::clone(&work.policy.read().unwrap());
        let sources = pass.sources(&work, &shared, policy);
        let mut projection = Projection::new(&sources).unwrap();
        let (last, is_cut) = pass.read(&work, &mut projection).unwrap();
        assert!(!is_cut && last <= end, "{last:?} lies behind {end:?}");
        lead.shutdown().await.unwrap();
    }
}
