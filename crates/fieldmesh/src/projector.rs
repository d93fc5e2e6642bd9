//! The thread that keeps the view in step with the log.
//!
//! The log is the truth and the view may lag behind it; this thread is the only writer of the
//! view. It reads what was appended, by whomever, in the order of the log, so that running and
//! rebuilding are one and the same code. While nobody waits for it, it lets entries gather before
//! it applies them, because a change and the batch that seals it cost little more than one of them.

mod step;
mod wait;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fieldmesh_identity::Policy;
use fieldmesh_model::{DeviceId, DocumentId};
use fieldmesh_store::{Place, Store};

use crate::api::Remaking;
use crate::error::Error;
use crate::made::MadeChanges;
use crate::making::{Made, Position};
use crate::places::Places;
use crate::projection::indexing;
use crate::readers::Readers;

use self::step::{Course, Next, Step, guarded};

/// Changes that one step applies at the most.
pub(crate) const STEP_CHANGES_MAX: usize = 1_024;

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
    /// Tells whoever waits without a thread that the thread has looked for something to do.
    turned: tokio::sync::watch::Sender<u64>,
    made: MadeChanges,
    /// Who is told of what is written.
    readers: Readers,
}

#[derive(Default)]
struct State {
    wake: bool,
    /// Whether somebody waits for the view, so that the next step begins at once.
    is_urgent: bool,
    /// Whether somebody has asked since the last step began; what failed is tried again then.
    is_asked: bool,
    stop: bool,
    position: Position,
    /// The end of the log when the view was opened.
    notes_first: Option<Place>,
    /// The last entry that was in a view as a whole.
    reached: Option<Place>,
    /// How often a view that an error broke was opened again.
    view_number: u64,
    /// How the notes fare, and whatever is made in one pass.
    notes: Health,
    /// How the records fare where they are made in a pass of their own.
    records: Health,
    /// How often the thread has looked for something to do.
    rounds: u64,
    /// The documents written since somebody asked for them; nothing where nobody did or there
    /// were too many.
    written: Option<BTreeSet<DocumentId>>,
}

/// Whether steps of one kind work.
#[derive(Default)]
struct Health {
    /// Why the last one did not.
    fault: Option<String>,
    /// Whether one was tried again and none has worked since.
    is_retry: bool,
}

impl State {
    /// How far the records have come, while those are made anew that were there before.
    fn remaking(&self) -> Option<Remaking> {
        self.position.remaking(self.notes_first)
    }

    /// Has the thread look for something to do at once, and try again what has failed.
    fn ask(&mut self) {
        (self.wake, self.is_urgent, self.is_asked) = (true, true, true);
    }

    /// Why not everything that is durable can be read.
    fn fault(&self) -> Option<&String> {
        self.notes.fault.as_ref().or(self.records.fault.as_ref())
    }

    /// Fails if whoever waits would wait for ever.
    fn check(&self, fault: Option<&String>) -> Result<(), Error> {
        match fault {
            Some(reason) => Err(Error::Store { reason: reason.clone() }),
            None if self.stop => Err(Error::ShuttingDown),
            None => Ok(()),
        }
    }

    /// A step of this kind has worked.
    fn succeed(&mut self, course: Course) {
        match course {
            Course::All => {
                self.notes = Health::default();
                self.records = Health::default();
            }
            Course::Notes => self.notes = Health::default(),
            Course::Records => self.records = Health::default(),
            Course::None => {}
        }
    }

    /// A step of this kind has not; `reopen` says why the view is not open.
    fn fail(&mut self, course: Course, error: &Error, reopen: Option<&Error>) {
        let health = if course == Course::Records { &mut self.records } else { &mut self.notes };
        match reopen {
            // Without a step that worked in between the same error would come for ever.
            None if !health.is_retry => {
                health.is_retry = true;
                (self.wake, self.is_urgent) = (true, true);
            }
            None => health.fault = Some(error.to_string()),
            Some(reopen) => health.fault = Some(format!("{error}; {reopen}")),
        }
    }

    fn note_written(&mut self, documents: Vec<DocumentId>) {
        let Some(written) = &mut self.written else { return };
        written.extend(documents);
        if written.len() > WRITTEN_MAX {
            self.written = None;
        }
    }
}

/// What the thread works with.
pub(crate) struct Work {
    pub(crate) store: Arc<Store>,
    /// Where every batch of the log lies.
    pub(crate) places: Arc<Places>,
    pub(crate) policy: Arc<RwLock<Arc<Policy>>>,
    pub(crate) me: DeviceId,
    pub(crate) forward_only: bool,
    /// A view that lags behind by more entries is used before its records are made.
    pub(crate) lag_max: u64,
    /// Changes that one step applies at the most.
    pub(crate) step_changes: usize,
}

impl Work {
    /// How far the view goes, and in how many passes it is brought up.
    fn survey(&self) -> Result<Position, Error> {
        Ok(Position::read(self.store.view())?.in_passes(self.store.end(), self.lag_max))
    }
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
        let (position, notes_first) = (work.survey()?, work.store.end());
        let reached = position.shown();
        let state = State { wake: true, position, notes_first, reached, ..State::default() };
        let (state, forward_only) = (Mutex::new(state), work.forward_only);
        let shared = Arc::new(Shared { state, forward_only, ..Shared::default() });
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
    pub(crate) fn hurry(&self) {
        self.lock().ask();
        self.shared.changed.notify_all();
    }

    /// Ends the thread. A step that has not begun to write is given up: with large records it can
    /// take longer than anybody waits for an end, and the next start makes it again.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        self.turn();
        self.shared.readers.end();
    }

    /// How far the records have come, while those are made anew that were there before.
    pub(crate) fn remaking(&self) -> Option<Remaking> {
        self.lock().remaking()
    }

    /// Whether that goes on.
    pub(crate) fn is_remaking(&self) -> bool {
        let state = self.lock();
        state.remaking().is_some() && state.fault().is_none() && !state.stop
    }

    /// Changes whenever the thread has looked for something to do.
    pub(crate) fn turned(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.turned.subscribe()
    }

    /// Has a view that an error broke opened again, and waits a moment for it. Blocks.
    pub(crate) fn reopen(&self) {
        let mut state = self.lock();
        let rounds = state.rounds;
        state.ask();
        self.shared.changed.notify_all();
        // Two rounds: one that finds it broken, one that works on the new one.
        let is_same = |state: &mut State| state.rounds < rounds + 2 && !state.stop;
        let _ = self.shared.changed.wait_timeout_while(state, REOPEN_PATIENCE, is_same);
    }

    /// Whether records are only handed on, and none is ever in the view.
    pub(crate) fn forwards_only(&self) -> bool {
        self.shared.forward_only
    }

    /// Changes whenever a step has written records.
    pub(crate) fn grown(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.grown.subscribe()
    }

    /// The last entry that is in the view as a whole.
    pub(crate) fn applied(&self) -> Option<Place> {
        self.position().shown()
    }

    /// Which view it is: another one than before may lack what that had, so whoever has looked for
    /// something and not found it looks here afterwards.
    pub(crate) fn view_number(&self) -> u64 {
        self.lock().view_number
    }

    /// How far the view goes.
    pub(crate) fn position(&self) -> Position {
        self.lock().position
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
        self.lock().fault().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder of this lock panics")
    }

    fn run(&self, work: &Work) {
        let (mut begun, mut before) = (None, Course::None);
        while let Some(next) = self.next(begun) {
            begun = Some(Instant::now());
            let course = Course::choose(work, &next, before);
            match guarded(work, (next.position, course), &self.shared) {
                Ok(step) => self.take_over(work, course, step),
                Err(Error::ShuttingDown) => {}
                Err(error) => {
                    tracing::error!(%error, "the view cannot follow the log");
                    self.heal(work, course, &error);
                }
            }
            before = course;
            self.lock().rounds += 1;
            self.shared.changed.notify_all();
            self.turn();
        }
        compact(&work.store);
    }

    /// Goes on from what a step has done.
    fn take_over(&self, work: &Work, course: Course, step: Step) {
        let Step { position, written, is_cut } = step;
        let (is_grown, is_idle) = (!written.is_empty(), position.is_none() && !is_cut);
        let is_left = is_idle && make_indexes(&work.store);
        let mut state = self.lock();
        state.note_written(written);
        state.succeed(course);
        if let Some(position) = position {
            state.position = position;
            state.reached = state.reached.max(position.shown());
        }
        // There may be more.
        state.wake |= !is_idle || is_left;
        state.is_urgent |= is_cut || is_left;
        drop(state);
        if is_grown {
            self.shared.grown.send_modify(|steps| *steps = steps.wrapping_add(1));
        }
        if is_idle {
            settle(&work.store);
        }
    }

    /// Tells whoever waits without a thread.
    fn turn(&self) {
        self.shared.turned.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    /// Opens a view again that an error broke, and goes on from where it then is.
    fn heal(&self, work: &Work, course: Course, error: &Error) {
        let is_sound = work.store.view().applied().is_ok();
        let reopened = if is_sound { Ok(()) } else { self.reopen_view(work) };
        let mut state = self.lock();
        // How much of the step was written nobody knows.
        state.written = None;
        if reopened.is_ok() && !is_sound {
            // What kept the view before from going on says nothing of this one.
            (state.notes.fault, state.records.fault) = (None, None);
        }
        state.fail(course, error, reopened.as_ref().err());
    }

    fn reopen_view(&self, work: &Work) -> Result<(), Error> {
        let mut state = self.lock();
        // It may be empty from here on, and nobody is to take what it lacks for what there is not.
        state.view_number += 1;
        state.position = Position { noted: None, making: Some(Made::default()) };
        state.notes_first = work.store.end();
        let reached = state.reached;
        drop(state);
        self.shared.readers.lose();
        work.store.reopen_view().map_err(|error| Error::store(&error))?;
        let found = Position::read(work.store.view())?;
        // However little of what could be read is gone, until it is back that is told.
        let lag_max = if found.shown() < reached { 0 } else { work.lag_max };
        let end = work.store.end();
        let mut state = self.lock();
        (state.position, state.notes_first) = (found.in_passes(end, lag_max), end);
        Ok(())
    }

    /// Waits for something to do, and for more of it if the last step has `begun` a moment ago and
    /// nobody waits; `None` when it is time to stop.
    fn next(&self, begun: Option<Instant>) -> Option<Next> {
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
        let may_make = std::mem::take(&mut state.is_asked) || state.records.fault.is_none();
        let State { position, notes_first, .. } = *state;
        (!state.stop).then_some(Next { position, notes_first, may_make })
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

#[cfg(test)]
impl Projector {
    /// Begins the view anew as if what broke it had left nothing of it; nothing is made before
    /// somebody asks.
    pub(crate) fn begin_anew(&self, store: &Store) {
        let mut state = self.lock();
        let mut emptied = fieldmesh_store::WriteSet::new();
        use fieldmesh_store::Tree::*;
        for tree in [Meta, Document, Leaf, Index, Inbox, Feed, Peer, Blob, Item, Chain, Quarantine]
        {
            let all = fieldmesh_store::KeyRange::all();
            let order = fieldmesh_store::Direction::Ascending;
            for key in store.view().keys(tree, &all, order, usize::MAX).unwrap() {
                emptied.delete(tree, key);
            }
        }
        store.view().apply(emptied).unwrap();
        state.view_number += 1;
        state.position = Position { noted: None, making: Some(Made::default()) };
        state.notes_first = store.end();
    }
}

#[cfg(test)]
impl Work {
    /// How far so many steps come, before each of which something `arrives`.
    pub(crate) fn after_steps(&self, steps: usize, mut arrives: impl FnMut()) -> Position {
        let (shared, mut before) = (Shared::default(), Course::None);
        let (mut position, notes_first) = (self.survey().unwrap(), self.store.end());
        for _ in 0..steps {
            arrives();
            let next = Next { position, notes_first, may_make: true };
            let course = Course::choose(self, &next, before);
            let step = step::step(self, (position, course), &shared).unwrap();
            (position, before) = (step.position.unwrap_or(position), course);
        }
        position
    }

    /// Whether one step over the whole log was broken off because the thread is told to stop.
    pub(crate) fn breaks_off(&self) -> bool {
        let shared = Shared { is_stopped: AtomicBool::new(true), ..Shared::default() };
        let step = step::step(self, (Position::default(), Course::All), &shared);
        matches!(step, Err(Error::ShuttingDown))
    }
}
