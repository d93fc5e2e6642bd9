//! The upkeep of a node's store in the background, and at once when somebody asks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fieldmesh_identity::Policy;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::{CompactReport, Progress};
use crate::error::{Error, with_causes};
use crate::home::Home;
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
    // The open has kept that of now, and no item is read again for nothing.
    let mut kept = node.upgrade().map(|inner| inner.ledger.policy());
    loop {
        ticks.tick().await;
        let Some(inner) = node.upgrade() else { return };
        let (home, ledger) = (Arc::clone(&inner.home), Arc::clone(&inner.ledger));
        let is_erasing = inner.is_erasing.load(Ordering::Relaxed);
        drop(inner);
        if is_erasing {
            return;
        }
        let known = kept.clone();
        let Ok(_turn) = TURN.acquire().await else { return };
        // A store that is being closed breaks off what is under way.
        let kept_up = tokio::task::spawn_blocking(move || {
            // What is asked of records waits for all of them; nobody else's turn waits with it.
            if ledger.remaking().is_some() {
                return known;
            }
            let known = keep_policy(&home, &ledger, known);
            erase_purged(&ledger);
            ledger.want_what_is_defined();
            if !ledger.keep_up() {
                ledger.evict_if_due();
            }
            known
        });
        match kept_up.await {
            Ok(known) => kept = known,
            Err(error) => {
                tracing::error!(%error, "the upkeep of a store ended without an answer");
            }
        }
    }
}

/// Keeps a second copy of the policy, unless it is the one that is `known` to be kept: what lies apart
/// in the log may be one block soon. Gives the one that is kept now.
fn keep_policy(home: &Home, ledger: &Ledger, known: Option<Arc<Policy>>) -> Option<Arc<Policy>> {
    let policy = ledger.policy();
    if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &policy)) {
        return known;
    }
    let items = ledger.policy_items();
    match items.and_then(|items| home.keep_founding(&policy, ledger.device(), items.iter())) {
        Ok(()) => Some(policy),
        Err(error) => {
            let error = with_causes(&error);
            tracing::warn!(error, "the second copy of the policy is not written");
            known
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
        let home = Arc::clone(&self.inner.home);
        let compact = move |ledger: &Ledger| {
            keep_policy(&home, ledger, None);
            ledger.compact(&mut progress)
        };
        self.blocking_on_all(compact).await
    }
}
