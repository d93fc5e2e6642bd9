//! The task that has damage looked at as soon as anybody has read it.

use std::sync::Arc;

use crate::ledger::Ledger;

use super::Node;

impl Node {
    /// Has whatever is found damaged noted, and asked for, until shutdown.
    pub(super) fn mend(&self) {
        let harms = Arc::clone(&self.inner.ledger.damaged);
        // What was put off is looked at once all records are there.
        let mut turned = self.inner.ledger.projector.turned();
        turned.mark_changed();
        let weak = Arc::downgrade(&self.inner);
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(async move {
            let Some(inner) = weak.upgrade() else { return };
            if let Err(error) = (Self { inner }).blocking(Ledger::ask_for_lacking).await {
                tracing::warn!(%error, "what is lacking could not be asked for");
            }
            loop {
                let is_found = tokio::select! {
                    () = harms.found() => true,
                    _ = turned.changed(), if harms.has_put_off() => false,
                };
                let Some(inner) = weak.upgrade() else { return };
                if !is_found && inner.ledger.remaking().is_some() {
                    continue;
                }
                // What could not be noted is found again by the next reading.
                if let Err(error) = (Self { inner }).blocking(Ledger::mend).await {
                    tracing::warn!(%error, "damage in the log could not be noted");
                }
            }
        });
    }
}
