//! What the task is asked, in the order in which it takes it.
//!
//! Completions of its own work go before what comes from the network, and the clock goes before
//! both once a deadline has passed: peers that talk without a pause must not keep it from being
//! looked at.

use std::time::Duration;

use fieldmesh_replica::Input;
use tokio::sync::mpsc;

use super::Call;

/// Inputs handled between two looks at the clock.
const TURN_MAX: usize = 32;

/// Both queues of the task.
pub(super) struct Inbox {
    calls: mpsc::Receiver<Call>,
    urgent: mpsc::UnboundedReceiver<Call>,
    /// Calls given since the clock was looked at.
    turn: usize,
    /// Whether the last turn began with the clock; then the next one does not.
    has_ticked: bool,
}

impl Inbox {
    pub(super) const fn new(
        calls: mpsc::Receiver<Call>,
        urgent: mpsc::UnboundedReceiver<Call>,
    ) -> Self {
        Self { calls, urgent, turn: 0, has_ticked: false }
    }

    /// Waits for the first call of a turn: a tick at the latest after `wait`, which is the time to
    /// the next deadline.
    pub(super) async fn next(&mut self, wait: Duration) -> Option<Call> {
        self.turn = 0;
        let is_due = wait.is_zero() && !self.has_ticked;
        self.has_ticked = is_due;
        if is_due {
            return Some(Call::Input(Input::Tick));
        }
        tokio::select! {
            biased;
            call = self.urgent.recv() => call,
            call = self.calls.recv() => call,
            () = tokio::time::sleep(wait) => Some(Call::Input(Input::Tick)),
        }
    }

    /// A completion of the task's own work that belongs to the same turn.
    pub(super) fn more(&mut self) -> Option<Call> {
        self.turn += 1;
        if self.turn < TURN_MAX { self.urgent.try_recv().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_replica::LinkId;

    use super::*;

    fn is_tick(call: Option<&Call>) -> bool {
        matches!(call, Some(Call::Input(Input::Tick)))
    }

    #[tokio::test]
    async fn a_silent_peer_is_noticed_although_another_one_never_stops_talking() {
        let (calls, receiver) = mpsc::channel(8);
        let (urgent, urgent_receiver) = mpsc::unbounded_channel();
        let mut inbox = Inbox::new(receiver, urgent_receiver);
        let call = || Call::Input(Input::Resync { link: Some(LinkId(1)) });
        let (mut ticks, mut others) = (0, 0);
        for _ in 0..100 {
            let _ = calls.try_send(call());
            urgent.send(call()).unwrap();
            let mut next = inbox.next(Duration::ZERO).await;
            while let Some(call) = next {
                if is_tick(Some(&call)) {
                    ticks += 1;
                } else {
                    others += 1;
                }
                next = inbox.more();
            }
        }
        assert!(ticks >= 50, "{ticks} looks at the clock");
        assert!(others >= 100, "and {others} calls, which wait no longer for it than it for them");
        // Where no deadline has passed nothing goes before the calls.
        assert!(!is_tick(inbox.next(Duration::from_secs(1)).await.as_ref()));
    }
}
