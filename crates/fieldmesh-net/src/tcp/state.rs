//! What the task of a connection and its handles know in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::pipe::Meter;
use crate::closed::{CloseCode, ClosedReason};

/// What the task of a connection and its handles know in common.
#[derive(Debug)]
pub(super) struct State {
    ended: watch::Sender<Option<ClosedReason>>,
    farewell: watch::Sender<Option<(CloseCode, String)>>,
    /// Held while the connection moves, so that whoever finds a stream broken can wait for the
    /// reason.
    moving: Mutex<()>,
    round_trip_micros: AtomicU64,
    pub(super) meter: Arc<Meter>,
}

impl State {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            ended: watch::Sender::new(None),
            farewell: watch::Sender::new(None),
            moving: Mutex::default(),
            round_trip_micros: AtomicU64::new(0),
            meter,
        }
    }

    /// Ends the connection for its handles, unless it has ended before.
    pub(super) fn end(&self, reason: ClosedReason) {
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(reason);
            is_first
        });
    }

    /// Ends it here, with a word for the other side.
    pub(super) fn close(&self, code: CloseCode, text: &str) {
        if self.why().is_none() {
            self.farewell.send_if_modified(|farewell| {
                let is_first = farewell.is_none();
                farewell.get_or_insert_with(|| (code, text.to_owned()));
                is_first
            });
            self.end(ClosedReason::Here);
        }
    }

    /// Why it ended, if it has.
    pub(super) fn why(&self) -> Option<ClosedReason> {
        self.ended.borrow().clone()
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> ClosedReason {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as this borrow, so the wait ends with a reason.
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or(ClosedReason::Here)
    }

    /// Waits until it is ended here; gives what to tell the other side.
    pub(super) async fn farewell(&self) -> (CloseCode, String) {
        let mut farewell = self.farewell.subscribe();
        let said = farewell.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
        said.unwrap_or((CloseCode::Done, String::new()))
    }

    pub(super) fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a stream broke, if the connection did.
    pub(super) fn why_broken(&self) -> Option<ClosedReason> {
        drop(self.moving());
        self.why()
    }

    pub(super) fn took(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_micros.load(Ordering::Relaxed))
    }
}
