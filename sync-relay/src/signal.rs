//! Signals that ask the program to end.

use fieldmesh::api::Problem;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::problem;

/// Ctrl-C and the signal of service managers.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the program at once.
    pub(crate) fn take() -> Result<Self, Problem> {
        let take = |kind| {
            signal(kind).map_err(|error| problem::failed(format!("cannot take signals: {error}")))
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
