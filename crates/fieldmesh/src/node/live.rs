//! Live queries as streams.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, Stream};

use crate::api::{ListQuery, LiveEvent, Record};
use crate::error::Error;
use crate::ledger::Followed;
use crate::readers::{Queue, Taken};

use super::{Inner, Node};

/// The answer to a query, and what changes of it from then on.
///
/// Dropping it is all it takes to end it. It ends by itself when the node shuts down. Reading is
/// what it costs: each change of a record is compared with the query once, and records that do not
/// change are read no more.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # runtime.block_on(async {
/// use fieldmesh::api::{ListQuery, LiveEvent};
/// use fieldmesh::{Node, TenantOptions};
/// use serde_json::json;
///
/// let folder = tempfile::tempdir().unwrap();
/// let builder = Node::builder(folder.path().join("home")).passphrase("correct horse");
/// let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
/// let (node, _) = builder.create_tenant(crew).await.unwrap();
///
/// let query = ListQuery { collection: "well".into(), ..ListQuery::default() };
/// let mut wells = node.subscribe(query).await.unwrap();
/// assert_eq!(wells.next().await.unwrap().unwrap(), LiveEvent::Present(vec![]));
///
/// let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
/// node.collection("well").insert(well.as_object().unwrap()).await.unwrap();
/// let LiveEvent::Added(well) = wells.next().await.unwrap().unwrap() else { unreachable!() };
/// assert_eq!(well.fields["name"], "Alder 1");
/// node.shutdown().await.unwrap();
/// assert!(wells.next().await.is_none());
/// # });
/// ```
pub struct LiveQuery<T = Record> {
    events: BoxStream<'static, Result<LiveEvent<T>, Error>>,
    reached: Arc<Mutex<String>>,
}

impl<T> LiveQuery<T> {
    /// The next event; none once the node is shut down.
    ///
    /// # Errors
    ///
    /// The store cannot be read; nothing follows.
    pub async fn next(&mut self) -> Option<Result<LiveEvent<T>, Error>> {
        self.events.next().await
    }

    /// Where in the feed of changes the reader is: everything before it was given. It goes on from
    /// there by [`Node::subscribe_after`], also after a restart.
    pub fn cursor(&self) -> String {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same events with records of another type.
    pub(crate) fn map<U: 'static>(
        self,
        mut change: impl FnMut(T) -> Result<U, Error> + Send + 'static,
    ) -> LiveQuery<U>
    where
        T: 'static,
    {
        let events = self.events.map(move |event| {
            Ok(match event? {
                LiveEvent::Present(all) => {
                    LiveEvent::Present(all.into_iter().map(&mut change).collect::<Result<_, _>>()?)
                }
                LiveEvent::Resync(all) => {
                    LiveEvent::Resync(all.into_iter().map(&mut change).collect::<Result<_, _>>()?)
                }
                LiveEvent::Added(one) => LiveEvent::Added(change(one)?),
                LiveEvent::Changed(one) => LiveEvent::Changed(change(one)?),
                LiveEvent::Removed(id) => LiveEvent::Removed(id),
            })
        });
        LiveQuery { events: events.boxed(), reached: self.reached }
    }
}

impl<T> Stream for LiveQuery<T> {
    type Item = Result<LiveEvent<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

impl<T> fmt::Debug for LiveQuery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveQuery").finish_non_exhaustive()
    }
}

impl Node {
    /// Follows a query: its whole answer first, then what is added, changed and removed, each
    /// change once and in the order in which records can be read.
    ///
    /// A reader who is more than a thousand changes behind gets the whole answer anew, said as
    /// [`LiveEvent::Resync`], and so does one who asks for what only some of several records that
    /// are alike may have, when one of these changes.
    ///
    /// # Errors
    ///
    /// The query is not understood, or asks for what does not follow from each record alone: a
    /// limit, a cursor, safety.
    pub async fn subscribe(&self, query: ListQuery) -> Result<LiveQuery, Error> {
        let asked = query.clone();
        let begun = self.reading(move |ledger| ledger.follow(&asked)).await?;
        let Followed { present, queue, cursor } = begun;
        Ok(self.follow(query, queue, [LiveEvent::Present(present)].into(), cursor))
    }

    /// Follows a query from where an earlier reader of the same one was, whose
    /// [`LiveQuery::cursor`] this is.
    ///
    /// What has changed meanwhile comes first, as [`LiveEvent::Changed`] whether or not the reader
    /// has it, and as [`LiveEvent::Removed`] whether or not he had it. Where that cannot be told,
    /// as the cursor is of another store or too much has changed, the whole answer comes as
    /// [`LiveEvent::Resync`].
    ///
    /// # Errors
    ///
    /// As of [`Node::subscribe`].
    pub async fn subscribe_after(
        &self,
        query: ListQuery,
        cursor: &str,
    ) -> Result<LiveQuery, Error> {
        let (asked, before) = (query.clone(), cursor.to_owned());
        let begun = self.reading(move |ledger| ledger.follow_after(&asked, &before)).await?;
        let (Followed { present: (), queue, cursor: reached }, events) = begun;
        let live = self.follow(query, queue, events, reached);
        // Until the last of them is given the reader is where he was.
        cursor.clone_into(&mut live.reached.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(live)
    }

    fn follow(
        &self,
        query: ListQuery,
        queue: Arc<Queue>,
        events: VecDeque<LiveEvent>,
        cursor: String,
    ) -> LiveQuery {
        let reached = Arc::new(Mutex::new(String::new()));
        let follower = Follower {
            node: Arc::downgrade(&self.inner),
            query,
            queue,
            events,
            cursor,
            reached: Arc::clone(&reached),
            is_over: false,
        };
        let events = stream::unfold(follower, |mut follower| async {
            let event = follower.next().await?;
            Some((event, follower))
        });
        LiveQuery { events: events.boxed(), reached }
    }
}

/// What stands behind the stream. It does not keep the node open.
struct Follower {
    node: Weak<Inner>,
    query: ListQuery,
    queue: Arc<Queue>,
    events: VecDeque<LiveEvent>,
    /// Where the reader is once he has been given these.
    cursor: String,
    reached: Arc<Mutex<String>>,
    is_over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<LiveEvent, Error>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                if self.events.is_empty() {
                    self.reach();
                }
                return Some(Ok(event));
            }
            self.reach();
            if self.is_over {
                return None;
            }
            if let Err(error) = self.read().await {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    /// Tells how far the reader has come.
    fn reach(&self) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.clone_from(&self.cursor);
    }

    /// Waits for what follows.
    async fn read(&mut self) -> Result<(), Error> {
        self.queue.ready().await;
        let node = self.node.upgrade().filter(|_| !self.queue.is_over());
        let Some(node) = node.map(|inner| Node { inner }) else {
            self.is_over = true;
            return Ok(());
        };
        let (query, queue) = (self.query.clone(), Arc::clone(&self.queue));
        let read = node.blocking(move |ledger| {
            // A set of rows shows before all of it stands in the queue, so nobody reads meanwhile.
            let (cursor, taken) = ledger.between_sets(|| (ledger.feed_cursor(), queue.take()));
            let cursor = cursor?;
            Ok(match taken {
                Taken::Changes(changes) => Some((ledger.events(changes), cursor)),
                Taken::Lagged => {
                    let Followed { present, cursor, .. } =
                        ledger.on_one_view(|ledger| ledger.refollow(&query, &queue))?;
                    Some(([LiveEvent::Resync(present)].into(), cursor))
                }
                Taken::Ended => None,
            })
        });
        match read.await {
            Ok(Some((events, cursor))) => (self.events, self.cursor) = (events, cursor),
            Ok(None) | Err(Error::ShuttingDown) => self.is_over = true,
            // What is read by another definition takes a while; it is asked for again.
            Err(Error::Remaking { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
