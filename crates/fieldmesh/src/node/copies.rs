//! What a node says when another home signs with its key.

use std::sync::atomic::Ordering;

use crate::error::Error;

use super::Node;

impl Node {
    /// Notes durably that another home signs with this device's key, if something has shown it.
    pub(super) async fn heed_copies(&self) {
        let (shown, has_forked) = {
            let news = self.inner.mesh.news();
            let news = news.borrow();
            (news.copies(), news.own_forks > 0)
        };
        // What was shown before the last note shows nothing of today.
        if shown <= self.inner.copies_noted.load(Ordering::Relaxed) {
            return;
        }
        match self.blocking(move |ledger| ledger.note_twice(has_forked)).await {
            Ok(()) => {
                self.inner.copies_noted.fetch_max(shown, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(%error, "that this device runs twice could not be written");
            }
        }
    }

    /// What whoever uses this device has to know before anything else, in words: that it runs
    /// twice, that its records are being made anew, or that some of the log was never read. Nothing
    /// where all is well.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn warnings(&self) -> Result<Vec<String>, Error> {
        self.blocking(|ledger| {
            let words = || Some(ledger.remaking()?.words());
            let remaking = ledger.remaking_fault().or_else(words);
            let unread = ledger.unread_words();
            Ok(ledger.runs_twice().into_iter().chain(remaking).chain(unread).collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::BatchId;
    use fieldmesh_replica::Event;

    use crate::entry::Fact;
    use crate::mesh::MeshEvent;
    use crate::{Node, TenantOptions, clock};

    const WEEK_MILLIS: i64 = 7 * 24 * 3_600 * 1_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_does_not_warn_for_ever_of_a_copy_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("lead")).passphrase("one");
        let (lead, _) = builder.create_tenant(options).await.unwrap();
        let shown = || {
            let event = Event::OwnBatchUnknown { batch: BatchId::from_bytes([1; 32]) };
            lead.inner.mesh.announce(MeshEvent::Replica(event));
        };
        shown();
        lead.heed_copies().await;
        assert_eq!(lead.warnings().await.unwrap().len(), 1);

        // More than a week goes by, and nothing shows it again.
        let long_ago = Fact::Twice(clock::now().plus_millis(-WEEK_MILLIS - 1));
        lead.blocking(move |ledger| ledger.remember(long_ago)).await.unwrap();
        lead.heed_copies().await;
        assert!(lead.warnings().await.unwrap().is_empty());
        shown();
        lead.heed_copies().await;
        assert_eq!(lead.warnings().await.unwrap().len(), 1);
        lead.shutdown().await.unwrap();
    }
}
