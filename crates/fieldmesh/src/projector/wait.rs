//! Waiting for the view: until an entry is in it, until what was there before is there again.

use std::time::{Duration, Instant};

use fieldmesh_store::Place;

use crate::error::Error;

use super::{Projector, State};

/// Rounds of the thread after which a fault is one of now: one may have been under way.
const ROUNDS_TO_FAIL: u64 = 2;

impl Projector {
    /// Waits until everything of the entry at `place` is in the view. Blocks.
    pub(crate) fn wait(&self, place: Place) -> Result<(), Error> {
        self.wait_until(|state| state.position.shown() >= Some(place), State::fault)
    }

    /// Waits until the records are there that a view had before it was begun anew. Blocks.
    pub(crate) fn wait_made(&self) -> Result<(), Error> {
        self.wait_until(|state| state.remaking().is_none(), State::fault)
    }

    /// The same for a while; gives whether they are.
    pub(crate) fn wait_made_for(&self, patience: Duration) -> Result<bool, Error> {
        let is_made = |state: &State| state.remaking().is_none();
        self.wait_till(is_made, State::fault, Some(Instant::now() + patience))
    }

    /// How many entries of the log up to `end` are not in the view so far.
    pub(crate) fn behind(&self, end: Option<Place>) -> u64 {
        let number = |place: Option<Place>| place.map_or(0, |place| place.0.saturating_add(1));
        number(end).saturating_sub(number(self.lock().position.shown()))
    }

    /// Whether nothing that was said is still to be noted in a view that was begun anew.
    pub(crate) fn is_known(&self) -> bool {
        let state = self.lock();
        state.position.noted >= state.notes_first
    }

    /// Waits until a view that was begun anew knows of what it knew before, its records apart.
    /// Blocks.
    pub(crate) fn wait_known(&self) -> Result<(), Error> {
        let is_known = |state: &State| state.position.noted >= state.notes_first;
        self.wait_until(is_known, |state| state.notes.fault.as_ref())
    }

    /// Waits until the view knows of the entry at `place`, its records apart. Blocks.
    pub(crate) fn wait_noted(&self, place: Place) -> Result<(), Error> {
        let is_there = |state: &State| state.position.noted >= Some(place);
        self.wait_until(is_there, |state| state.notes.fault.as_ref())
    }

    fn wait_until(
        &self,
        is_there: impl Fn(&State) -> bool,
        fault: impl Fn(&State) -> Option<&String>,
    ) -> Result<(), Error> {
        self.wait_till(is_there, fault, None).map(drop)
    }

    /// Waits until something is there or, where `until` says so, that long; gives whether it is.
    fn wait_till(
        &self,
        is_there: impl Fn(&State) -> bool,
        fault: impl Fn(&State) -> Option<&String>,
        until: Option<Instant>,
    ) -> Result<bool, Error> {
        let mut state = self.lock();
        if is_there(&state) {
            return Ok(true);
        }
        state.ask();
        self.shared.changed.notify_all();
        let begun = state.rounds;
        loop {
            if is_there(&state) {
                return Ok(true);
            }
            match fault(&state).is_some() && state.rounds < begun + ROUNDS_TO_FAIL {
                // It failed before this asked: that is tried again before it is believed.
                true if !state.stop => {
                    state.ask();
                    self.shared.changed.notify_all();
                }
                _ => state.check(fault(&state))?,
            }
            let changed = &self.shared.changed;
            let Some(until) = until else {
                state = changed.wait(state).expect("no holder of this lock panics");
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = changed.wait_timeout(state, left);
            (state, _) = waited.expect("no holder of this lock panics");
        }
    }

    /// As [`Self::wait`], but no longer than `patience`; says whether it is there. Blocks.
    pub(crate) fn wait_for(&self, place: Place, patience: Duration) -> Result<bool, Error> {
        let is_there = |state: &State| state.position.shown() >= Some(place);
        self.wait_till(is_there, State::fault, Some(Instant::now() + patience))
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
        state.check(state.fault())
    }
}
