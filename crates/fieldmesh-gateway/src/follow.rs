//! What happens from now on, as pages.

use std::sync::Arc;

use fieldmesh::Error;
use fieldmesh::gateway::{Growth, Mark};
use fieldmesh_dialect::command::Pull;
use fieldmesh_dialect::outcome::Page;
use fieldmesh_dialect::{Caller, Dialect, Since};
use fieldmesh_model::Moment;
use futures::{Stream, stream};
use tokio::task::JoinHandle;

use crate::{Failure, Inner, Task};

/// One who follows.
struct Follower {
    inner: Arc<Inner>,
    caller: Caller,
    dialect: Option<Dialect>,
    pull: Pull,
    growth: Growth,
    /// Where the feed stood when the following began.
    begun: Option<JoinHandle<Result<Mark, Error>>>,
}

/// Pages as soon as there is something to say; the end of the stream is the end of the node.
pub(crate) fn pages(
    inner: Arc<Inner>,
    caller: Caller,
    dialect: Option<Dialect>,
    pull: Pull,
) -> impl Stream<Item = Page> + Send + 'static {
    let growth = inner.access.growth();
    let is_now = pull.since == Since::Now;
    let begun = is_now.then(|| {
        let inner = Arc::clone(&inner);
        tokio::task::spawn_blocking(move || inner.access.on_one_view(|| inner.access.mark()))
    });
    let follower = Follower { inner, caller, dialect, pull, growth, begun };
    stream::unfold(follower, |mut follower| async move {
        let page = follower.next().await?;
        Some((page, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<Page> {
        if let Some(begun) = self.begun.take() {
            self.pull.since = Since::Sent(begun.await.ok()?.ok()?.position);
        }
        loop {
            // What arrives while the page is read is seen by the next look.
            self.growth.mark_seen();
            let page = match self.read().await {
                Ok(page) => page,
                Err(Failure::Refused(_)) => return None,
                Err(Failure::Broken(error)) => {
                    tracing::warn!(%error, "a client can follow no further");
                    return None;
                }
            };
            self.pull.since = Since::Sent(page.place);
            if !page.items.is_empty() {
                return Some(page);
            }
            if !page.more {
                self.growth.more().await.then_some(())?;
            }
        }
    }

    async fn read(&self) -> Result<Page, Failure> {
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let (dialect, pull) = (self.dialect, self.pull.clone());
        let read = tokio::task::spawn_blocking(move || {
            // The server's time is not asked for here: items carry their moments of arrival.
            let at = Moment::ZERO;
            let (access, pages) = (&inner.access, &inner.pages);
            let task = Task { access, pages, caller: &caller, dialect, at };
            access.on_one_view(|| task.pull(&pull))
        });
        read.await.unwrap_or(Err(Failure::Broken(Error::ShuttingDown)))
    }
}
