//! What a live query has not read so far.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use fieldmesh_model::DocumentId;
use tokio::sync::Notify;

use crate::rows::DocumentRow;

/// The most changes that wait for one reader; whoever reads more slowly begins again.
pub(crate) const CHANGES_WAITING_MAX: usize = 1_024;

/// Which documents are part of a live query's answer.
pub(crate) struct Admits {
    /// Whether a document fits.
    pub(crate) fits: Box<dyn Fn(&DocumentRow) -> bool + Send + Sync>,
    /// Whether of records that are alike some may fit and others not: which of them is shown then
    /// does not follow from each alone.
    pub(crate) tells_alike_apart: bool,
}

/// One change of an answer.
pub(crate) enum Change {
    Added(DocumentId, DocumentRow),
    Changed(DocumentId, DocumentRow),
    Removed(DocumentId),
}

/// What a reader takes.
pub(crate) enum Taken {
    Changes(VecDeque<Change>),
    /// More came than can wait: only the whole answer tells what is true.
    Lagged,
    /// Nothing comes any more.
    Ended,
}

/// The changes that wait for one reader.
pub(crate) struct Queue {
    /// The collection that is asked for.
    number: u16,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    admits: Admits,
    changes: VecDeque<Change>,
    is_lagging: bool,
    is_ended: bool,
}

impl Queue {
    pub(super) fn new(number: u16, admits: Admits) -> Self {
        let (changes, is_lagging, is_ended) = (VecDeque::new(), false, false);
        let state = State { admits, changes, is_lagging, is_ended };
        Self { number, state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) const fn number(&self) -> u16 {
        self.number
    }

    /// Whether the answer may have another one of records that are alike than the first of them.
    pub(super) fn tells_alike_apart(&self) -> bool {
        self.lock().admits.tells_alike_apart
    }

    /// Adds what the writing of one document changes of the answer: the rows before and after it,
    /// each with whether the record stood behind another one. With `is_alike` it is like others.
    pub(super) fn push(
        &self,
        id: DocumentId,
        (before, was_behind): (Option<&DocumentRow>, bool),
        (after, is_behind): (Option<&DocumentRow>, bool),
        is_alike: bool,
    ) {
        let mut state = self.lock();
        if state.is_lagging {
            return;
        }
        let fits = |row: Option<&DocumentRow>| row.is_some_and(|row| (state.admits.fits)(row));
        if is_alike && state.admits.tells_alike_apart {
            // Where its changes lie in the log is nobody's business.
            let is_same = was_behind == is_behind
                && before.map(|row| &row.record) == after.map(|row| &row.record);
            if !is_same && (fits(before) || fits(after)) {
                drop(state);
                self.lag();
            }
            return;
        }
        let admitted = |row, is_behind: bool| !is_behind && fits(row);
        let after = after.filter(|_| admitted(after, is_behind));
        let change = match (admitted(before, was_behind), after) {
            (false, None) => return,
            (false, Some(after)) => Change::Added(id, after.clone()),
            (true, None) => Change::Removed(id),
            // Where its changes lie in the log is nobody's business.
            (true, Some(after)) if before.is_some_and(|row| row.record == after.record) => return,
            (true, Some(after)) => Change::Changed(id, after.clone()),
        };
        if state.changes.len() >= CHANGES_WAITING_MAX {
            state.changes = VecDeque::new();
            state.is_lagging = true;
        } else {
            state.changes.push_back(change);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn lag(&self) {
        let mut state = self.lock();
        state.changes = VecDeque::new();
        state.is_lagging = true;
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn restart(&self, admits: Admits) {
        let mut state = self.lock();
        state.admits = admits;
        state.changes = VecDeque::new();
        state.is_lagging = false;
    }

    pub(super) fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_one();
    }

    /// Waits until there is something to take. For one reader.
    pub(crate) async fn ready(&self) {
        loop {
            {
                let state = self.lock();
                if state.is_lagging || state.is_ended || !state.changes.is_empty() {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_ended && state.changes.is_empty()
    }

    /// Takes all that is there; no changes where nothing is.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.lock();
        if state.is_lagging && !state.is_ended {
            return Taken::Lagged;
        }
        if state.changes.is_empty() && state.is_ended {
            return Taken::Ended;
        }
        Taken::Changes(std::mem::take(&mut state.changes))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
