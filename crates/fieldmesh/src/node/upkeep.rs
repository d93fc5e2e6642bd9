//! The upkeep of a node's store in the background, and at once when somebody asks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::{CompactReport, Progress};
use crate::error::Error;
use crate::ledger::Ledger;

use super::{Inner, Node};

/// How often a node looks for upkeep; one piece at each look leaves the disk to everybody else.
const UPKEEP_TICK: Duration = Duration::from_secs(5);

/// Of all nodes of a process one works at a time.
static TURN: Semaphore = Semaphore::const_new(1);

/// Keeps up the store of a node until the node is gone.
pub(super) async fn run(node: Weak<Inner>) {
    let mut ticks = interval(UPKEEP_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = node.upgrade() else { return };
        let ledger = Arc::clone(&inner.ledger);
        drop(inner);
        let Ok(_turn) = TURN.acquire().await else { return };
        // A store that is being closed breaks off what is under way.
        let kept_up = tokio::task::spawn_blocking(move || {
            // What is asked of records waits for all of them; nobody else's turn waits with it.
            if ledger.remaking().is_some() {
                return;
            }
            erase_purged(&ledger);
            ledger.want_what_is_defined();
            if !ledger.keep_up() {
                ledger.evict_if_due();
            }
        });
        let kept_up = kept_up.await;
        if let Err(error) = kept_up {
            tracing::error!(%error, "the upkeep of a store ended without an answer");
        }
    }
}

/// Erases what was purged, and names what has come late of it. What fails is tried again.
fn erase_purged(ledger: &Ledger) {
    if let Err(error) = ledger.name_late() {
        tracing::warn!(%error, "late changes of purged records are not named");
    }
    ledger.try_sweep();
}

impl Node {
    /// Makes the store as small as it can be, and says what that has freed.
    ///
    /// # Errors
    ///
    /// The store cannot be read or is being closed; what was done so far stays done.
    pub async fn compact(
        &self,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<CompactReport, Error> {
        self.blocking_on_all(move |ledger: &Ledger| ledger.compact(&mut progress)).await
    }
}
