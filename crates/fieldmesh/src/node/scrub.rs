//! The task that reads everything that is stored, while nothing else needs the disk.

use std::time::Duration;

use crate::error::Error;
use crate::ledger::Ledger;

use super::Node;

/// How long the check rests after each step, so that everybody else comes first.
const REST: Duration = Duration::from_millis(10);

impl Node {
    /// Checks in the background what is stored, where that is due, until shutdown.
    pub(super) fn scrub(&self) {
        let weak = std::sync::Arc::downgrade(&self.inner);
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(async move {
            let Some(inner) = weak.upgrade() else { return };
            let mut is_left = (Self { inner }).blocking(Ledger::begin_scrub).await;
            while matches!(is_left, Ok(true)) {
                tokio::time::sleep(REST).await;
                let Some(inner) = weak.upgrade() else { return };
                is_left = (Self { inner }).blocking(Ledger::scrub).await;
            }
            if let Err(error) = is_left {
                tracing::warn!(%error, "what is stored could not be checked to the end");
                if let Some(inner) = weak.upgrade() {
                    inner.ledger.break_off_scrub(&error);
                }
            }
        });
    }

    /// Writes down how far the check has come.
    pub(super) async fn pause_scrub(&self) {
        match self.blocking(Ledger::pause_scrub).await {
            Ok(()) | Err(Error::Erased { .. }) => {}
            Err(error) => tracing::warn!(%error, "how far a check has come could not be written"),
        }
    }
}
