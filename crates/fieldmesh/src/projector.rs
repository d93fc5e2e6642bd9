//! The thread that keeps the view in step with the log.
//!
//! The log is the truth and the view may lag behind it; this thread is the only writer of the
//! view. It reads what was appended, by whomever, in the order of the log, so that running and
//! rebuilding are one and the same code. While nobody waits for it, it lets entries gather before
//! it applies them, because a change and the batch that seals it cost little more than one of them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Place, Store};

use crate::entry::Entry;
use crate::error::Error;
use crate::made::MadeChanges;
use crate::places::Places;
use crate::projection::{Projection, Sources, indexing};
use crate::readers::Readers;

/// Changes that one step applies at the most.
const STEP_CHANGES_MAX: usize = 1_024;

/// The least time from one step to the next while nobody waits for the view. Each step costs
/// something whatever it applies, and a change that its batch follows at once is written once.
const STEP_INTERVAL: Duration = Duration::from_millis(50);

/// Documents whose writing is kept in mind for whoever counts; beyond them all are counted anew.
const WRITTEN_MAX: usize = 16_384;

/// How long a read waits for a broken view to be opened again.
const REOPEN_PATIENCE: Duration = Duration::from_secs(2);

/// A handle on the thread.
#[derive(Clone)]
pub(crate) struct Projector {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The same as in the state, for a step that is under way.
    is_stopped: AtomicBool,
    /// Whether no record is ever read here.
    forward_only: bool,
    /// Tells whoever follows that the view has grown.
    grown: tokio::sync::watch::Sender<u64>,
    made: MadeChanges,
    /// Who is told of what is written.
    readers: Readers,
}

#[derive(Default)]
struct State {
    wake: bool,
    /// Whether somebody waits for the view, so that the next step begins at once.
    is_urgent: bool,
    stop: bool,
    applied: Option<Place>,
    failed: Option<String>,
    /// Whether the view was reopened and no step has worked since.
    is_retry: bool,
    /// How often the thread has looked for something to do.
    rounds: u64,
    /// The documents written since somebody asked for them; nothing where nobody did or there
    /// were too many.
    written: Option<BTreeSet<DocumentId>>,
}

impl State {
    fn note_written(&mut self, documents: Vec<DocumentId>) {
        let Some(written) = &mut self.written else { return };
        written.extend(documents);
        if written.len() > WRITTEN_MAX {
            self.written = None;
        }
    }
}

/// What a step has done.
struct Step {
    /// The place of the last entry, if there was one.
    last: Option<Place>,
    /// The documents that it wrote.
    written: Vec<DocumentId>,
    /// Whether it ended before the log did.
    is_cut: bool,
}

/// What the thread works with.
pub(crate) struct Work {
    pub(crate) store: Arc<Store>,
    /// Where every batch of the log lies.
    pub(crate) places: Arc<Places>,
    pub(crate) policy: Arc<RwLock<Arc<Policy>>>,
    pub(crate) me: DeviceId,
    pub(crate) forward_only: bool,
}

/// The thread; joining it waits until it has stopped.
pub(crate) struct ProjectorThread(JoinHandle<()>);

impl ProjectorThread {
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the projector panicked; the view catches up at the next start");
        }
    }
}

impl Projector {
    /// Starts the thread behind what the view has applied already.
    pub(crate) fn start(work: Work) -> Result<(Self, ProjectorThread), Error> {
        indexing::begin(&work.store)?;
        let applied = work.store.view().applied().map_err(|error| Error::store(&error))?;
        let state = State { wake: true, applied, ..State::default() };
        let state = Mutex::new(state);
        let shared = Shared { state, forward_only: work.forward_only, ..Shared::default() };
        let shared = Arc::new(shared);
        let projector = Self { shared };
        let runner = projector.clone();
        let thread = std::thread::Builder::new()
            .name("projector".into())
            .spawn(move || runner.run(&work))
            .map_err(|source| Error::File { what: "cannot start a thread".into(), source })?;
        Ok((projector, ProjectorThread(thread)))
    }

    /// Says that the log has grown.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        if !state.wake {
            state.wake = true;
            self.shared.changed.notify_all();
        }
    }

    /// As [`Self::wake`], and that somebody waits.
    fn hurry(&self) {
        let mut state = self.lock();
        (state.wake, state.is_urgent) = (true, true);
        self.shared.changed.notify_all();
    }

    /// Ends the thread. A step that has not begun to write is given up: with large records it can
    /// take longer than anybody waits for an end, and the next start makes it again.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        self.shared.readers.end();
    }

    /// Waits until the entry at `place` is in the view. Blocks.
    pub(crate) fn wait(&self, place: Place) -> Result<(), Error> {
        if self.applied() >= Some(place) {
            return Ok(());
        }
        self.hurry();
        let mut state = self.lock();
        loop {
            if state.applied >= Some(place) {
                return Ok(());
            }
            if let Some(reason) = &state.failed {
                return Err(Error::Store { reason: reason.clone() });
            }
            if state.stop {
                return Err(Error::ShuttingDown);
            }
            state = self.shared.changed.wait(state).expect("no holder of this lock panics");
        }
    }

    /// Waits until the entry at `place` is in the view, but no longer than `patience`. Blocks.
    pub(crate) fn wait_briefly(&self, place: Place, patience: Duration) {
        if self.applied() >= Some(place) {
            return;
        }
        self.hurry();
        let is_behind = |state: &mut State| {
            state.applied < Some(place) && state.failed.is_none() && !state.stop
        };
        // Whether it is there or not, the caller reads what is.
        let _ = self.shared.changed.wait_timeout_while(self.lock(), patience, is_behind);
    }

    /// Has a view that an error broke opened again, and waits a moment for it. Blocks.
    pub(crate) fn reopen(&self) {
        let mut state = self.lock();
        let rounds = state.rounds;
        (state.wake, state.is_urgent) = (true, true);
        self.shared.changed.notify_all();
        // Two rounds: one that finds it broken, one that works on the new one.
        let is_same = |state: &mut State| state.rounds < rounds + 2 && !state.stop;
        let _ = self.shared.changed.wait_timeout_while(state, REOPEN_PATIENCE, is_same);
    }

    /// Waits for a step that begins after this call, so with the policy of now. Blocks.
    pub(crate) fn turn_over(&self) -> Result<(), Error> {
        let mut state = self.lock();
        let rounds = state.rounds;
        // The first round may have begun before.
        for round in 1..=2 {
            (state.wake, state.is_urgent) = (true, true);
            self.shared.changed.notify_all();
            while state.rounds < rounds + round {
                if state.stop {
                    return Err(Error::ShuttingDown);
                }
                state = self.shared.changed.wait(state).expect("no holder of this lock panics");
            }
        }
        match &state.failed {
            Some(reason) => Err(Error::Store { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Whether records are only handed on, and none is ever in the view.
    pub(crate) fn forwards_only(&self) -> bool {
        self.shared.forward_only
    }

    /// Changes whenever a step has written records.
    pub(crate) fn grown(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.grown.subscribe()
    }

    /// The last entry that is in the view.
    pub(crate) fn applied(&self) -> Option<Place> {
        self.lock().applied
    }

    /// The documents that were written since this was asked last, maybe with some that were seen
    /// already; `None` where only looking at all of them tells.
    pub(crate) fn take_written(&self) -> Option<BTreeSet<DocumentId>> {
        self.lock().written.replace(BTreeSet::new())
    }

    /// Where a change that is made here leaves its record for the thread.
    pub(crate) fn made(&self) -> &MadeChanges {
        &self.shared.made
    }

    /// Who reads the view while it is written.
    pub(crate) fn readers(&self) -> &Readers {
        &self.shared.readers
    }

    /// Why the view does not follow the log.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder of this lock panics")
    }

    fn run(&self, work: &Work) {
        let mut begun = None;
        while let Some(applied) = self.next(begun) {
            begun = Some(Instant::now());
            match guarded(work, applied, &self.shared) {
                Ok(Step { last: Some(place), written, is_cut }) => {
                    let is_grown = !written.is_empty();
                    let mut state = self.lock();
                    state.note_written(written);
                    state.applied = Some(place);
                    state.failed = None;
                    state.is_retry = false;
                    // There may be more.
                    state.wake = true;
                    state.is_urgent |= is_cut;
                    drop(state);
                    self.tell(is_grown);
                }
                Ok(Step { last: None, written, is_cut }) => {
                    let is_grown = !written.is_empty();
                    let is_left = is_cut || make_indexes(&work.store);
                    let mut state = self.lock();
                    state.wake |= is_left;
                    state.is_urgent |= is_left;
                    state.note_written(written);
                    state.failed = None;
                    state.is_retry = false;
                    drop(state);
                    self.tell(is_grown);
                    settle(&work.store);
                }
                Err(Error::ShuttingDown) => {}
                Err(error) => {
                    tracing::error!(%error, "the view cannot follow the log");
                    self.heal(work, &error);
                }
            }
            self.lock().rounds += 1;
            self.shared.changed.notify_all();
        }
        compact(&work.store);
    }

    /// Tells whoever follows, if records were written.
    fn tell(&self, is_grown: bool) {
        if is_grown {
            self.shared.grown.send_modify(|steps| *steps = steps.wrapping_add(1));
        }
    }

    /// Opens the view again after an error broke it, and goes on from where it then is.
    fn heal(&self, work: &Work, error: &Error) {
        self.shared.readers.lose();
        let reopened = work.store.reopen_view().and_then(|_| work.store.view().applied());
        let mut state = self.lock();
        // How much of the step was written nobody knows.
        state.written = None;
        match reopened {
            // Without a step that worked in between the same error would come for ever.
            Ok(applied) if !state.is_retry => {
                state.applied = applied;
                state.is_retry = true;
                (state.wake, state.is_urgent) = (true, true);
            }
            Ok(_) => state.failed = Some(error.to_string()),
            Err(reopen) => state.failed = Some(format!("{error}; {reopen}")),
        }
    }

    /// Waits for something to do, and for more of it if the last step has `begun` a moment ago and
    /// nobody waits; gives the position, or `None` when it is time to stop.
    fn next(&self, begun: Option<Instant>) -> Option<Option<Place>> {
        let mut state = self.lock();
        while !state.wake && !state.stop {
            state = self.shared.changed.wait(state).expect("no holder of this lock panics");
        }
        let pause = begun.map_or(Duration::ZERO, |at| STEP_INTERVAL.saturating_sub(at.elapsed()));
        let may_wait = |state: &mut State| !state.is_urgent && !state.stop;
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(state, pause, may_wait);
        (state, _) = waited.expect("no holder of this lock panics");
        (state.wake, state.is_urgent) = (false, false);
        (!state.stop).then_some(state.applied)
    }
}

/// Has the view put in order, and written anew if it wastes the disk, when nothing waits to be
/// applied.
fn settle(store: &Store) {
    if let Err(error) = store.view().settle() {
        tracing::warn!(%error, "the view is put in order later");
    }
    compact(store);
}

/// Has the view written anew if it wastes the disk.
fn compact(store: &Store) {
    if let Err(error) = store.compact_wasteful_view() {
        tracing::warn!(%error, "the view keeps its size on the disk");
    }
}

/// Makes the next part of the indexes that the view lacks; says whether any is left.
fn make_indexes(store: &Store) -> bool {
    indexing::step(store).unwrap_or_else(|error| {
        tracing::warn!(%error, "lists look at every record where an index would do");
        false
    })
}

/// A step whose panic ends in an error: whoever waits for the view must never wait for ever.
fn guarded(work: &Work, applied: Option<Place>, shared: &Shared) -> Result<Step, Error> {
    let step = AssertUnwindSafe(|| step(work, applied, shared));
    std::panic::catch_unwind(step).unwrap_or_else(|_| {
        Err(Error::Store { reason: "the view could not be written; see the log".into() })
    })
}

/// Applies the next entries.
fn step(work: &Work, applied: Option<Place>, shared: &Shared) -> Result<Step, Error> {
    // A view that an error broke is found out here, also where there is nothing to apply.
    work.store.view().applied().map_err(|error| Error::store(&error))?;
    let policy = Arc::clone(&work.policy.read().expect("no holder of this lock panics"));
    let sources = Sources {
        store: &work.store,
        places: &work.places,
        policy,
        me: work.me,
        forward_only: work.forward_only,
        is_stopped: &shared.is_stopped,
        made: &shared.made,
        readers: &shared.readers,
    };
    let mut projection = Projection::new(&sources)?;
    // The last entries may have been dropped; who waits for them waits for the end all the same.
    let end = work.store.end().filter(|end| Some(*end) > applied);
    let mut is_cut = false;
    let mut last = None;
    let mut failed = None;
    let replayed = work.store.replay(applied, |place, entry| {
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
        if projection.changes() >= STEP_CHANGES_MAX {
            is_cut = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let replayed = replayed.map_err(|error| Error::store(&error))?;
    for bad in &replayed.bad_frames {
        let (segment, offset) = (bad.segment, bad.offset);
        tracing::warn!(segment, offset, bytes = bad.length, "damage in the log is passed over");
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if !is_cut {
        last = last.max(end);
    }
    let is_repinned = projection.repin()?;
    let is_repurged = projection.repurge()?;
    let (is_reread, is_left) = projection.read_by_schema()?;
    is_cut |= is_left;
    if is_cut {
        projection.expect_more();
    }
    let written = match last.or(applied.filter(|_| is_repinned || is_repurged || is_reread)) {
        Some(place) => projection.finish(place)?,
        None => Vec::new(),
    };
    Ok(Step { last, written, is_cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NewRecord;
    use crate::{Node, TenantOptions};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_that_is_stopped_does_not_first_make_all_it_received_readable() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("lead")).passphrase("one");
        let (lead, _) = builder.create_tenant(options).await.unwrap();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let collection = "well".into();
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        lead.record(well).await.unwrap();
        let ledger = lead.ledger();
        let work = Work {
            store: Arc::clone(&ledger.store),
            places: Arc::clone(&ledger.places),
            policy: Arc::new(RwLock::new(ledger.policy())),
            me: ledger.device(),
            forward_only: false,
        };
        // From the beginning of the log, as if nothing of it was in the view.
        let before = ledger.view().applied().unwrap();
        let shared = Shared { is_stopped: AtomicBool::new(true), ..Shared::default() };
        let step = step(&work, None, &shared);
        assert!(matches!(step, Err(Error::ShuttingDown)));
        assert_eq!(ledger.view().applied().unwrap(), before);
        drop(work);
        lead.shutdown().await.unwrap();
    }
}
