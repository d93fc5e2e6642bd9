//! Executes the commands of the five HTTP dialects over the records of one tenant's node.
//!
//! A dialect says what a request means; this crate does it and says what became of it, in the names
//! that the asking client knows. Nothing here knows HTTP, tokens or sessions. Whatever is answered
//! is on disk before, and the same request again is answered alike, also by a process that was
//! started anew in between. See the README for where each thing is kept.

mod alike;
mod cache;
mod conflict;
mod deletion;
mod device;
mod dispute;
mod edit;
mod entity;
mod fleet;
mod follow;
mod free;
mod inbox;
mod journal;
mod keys;
mod late;
mod listing;
mod names;
mod own;
mod page;
mod part;
mod photo;
mod push;
mod ready;
mod rejected;
mod rights;
mod settle;
mod stored;
mod superseded;
mod violation;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache::Pages;
use fieldmesh::gateway::Access;
use fieldmesh::{Error, Node};
use fieldmesh_dialect::command::{Pull, RejectedQuery};
use fieldmesh_dialect::outcome::{Page, RejectedPage};
use fieldmesh_dialect::{Caller, Command, Dialect, FeedId, Outcome, Refusal};
use fieldmesh_model::{DocumentId, Moment};
use futures::Stream;

pub use self::fleet::{AppDevice, Waiting};
pub use self::violation::Violation;

/// Executes commands over one node. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    access: Access,
    /// The feed as it was known last.
    feed: AtomicU64,
    pages: Pages,
}

/// A command on its way, with who sent it.
#[derive(Clone, Copy)]
struct Task<'a> {
    access: &'a Access,
    pages: &'a Pages,
    caller: &'a Caller,
    dialect: Option<Dialect>,
    at: Moment,
}

/// Who asks for something, over which contract and when.
#[derive(Clone)]
struct Asking {
    caller: Caller,
    dialect: Option<Dialect>,
    at: Moment,
}

impl Asking {
    fn task<'a>(&'a self, inner: &'a Inner) -> Task<'a> {
        let (access, pages) = (&inner.access, &inner.pages);
        Task { access, pages, caller: &self.caller, dialect: self.dialect, at: self.at }
    }
}

/// Why a command is not executed.
enum Failure {
    /// The caller is told why.
    Refused(Refusal),
    /// Something broke here.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Gateway {
    /// A gateway over `node`, which has to be open as long as commands are executed.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn open(node: Node) -> Result<Self, Error> {
        let opened = tokio::task::spawn_blocking(move || {
            let access = Access::new(&node);
            access.catch_up()?;
            let feed = AtomicU64::new(u64::from_be_bytes(access.feed_id()?));
            Ok(Self { inner: Arc::new(Inner { access, feed, pages: Pages::default() }) })
        });
        opened.await.map_err(|_| Error::ShuttingDown)?
    }

    /// The feed that cursors point into; it changes when the store is put back from a copy.
    pub fn feed(&self) -> FeedId {
        let known = &self.inner.feed;
        // Nobody waits here for a view that is begun anew: the store is the same.
        if let Some(feed) = self.inner.access.feed_id_now() {
            known.store(u64::from_be_bytes(feed), Ordering::Relaxed);
        }
        FeedId(known.load(Ordering::Relaxed).to_be_bytes())
    }

    /// Does what `command` says; `at` is the server's time.
    pub async fn execute(
        &self,
        caller: &Caller,
        dialect: Option<Dialect>,
        command: Command,
        at: Moment,
    ) -> Outcome {
        let asking = Asking { caller: caller.clone(), dialect, at };
        let done = match self.on_thread(&asking, move |task| task.run(command)).await {
            Ok(outcome) => self.with_own_conflicts(&asking, outcome).await,
            failed => failed,
        };
        done.unwrap_or_else(Failure::outcome)
    }

    /// Does work on a thread for what blocks.
    async fn on_thread<T: Send + 'static>(
        &self,
        asking: &Asking,
        work: impl FnOnce(Task<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (inner, asking) = (Arc::clone(&self.inner), asking.clone());
        let done = tokio::task::spawn_blocking(move || work(asking.task(&inner)));
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a command ended without an outcome");
            Err(Failure::Refused(Refusal::Failed))
        })
    }

    /// Records that came over a dialect and break rules which no source states, by id, from behind
    /// `after` on; at most `count`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn violations(
        &self,
        after: Option<DocumentId>,
        count: usize,
    ) -> Result<Vec<Violation>, Error> {
        let inner = Arc::clone(&self.inner);
        let read = move || violation::list(&inner.access, after, count);
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::ShuttingDown)?
    }

    /// The devices of apps, of everybody in the tenant.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn app_devices(&self) -> Result<Vec<AppDevice>, Error> {
        let inner = Arc::clone(&self.inner);
        let read = move || fleet::list(&inner.access);
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::ShuttingDown)?
    }

    /// What waits in the journal.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn waiting(&self) -> Result<Waiting, Error> {
        let inner = Arc::clone(&self.inner);
        let read = move || fleet::waiting(&inner.access);
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::ShuttingDown)?
    }

    /// What devices sent and nobody could store, of everybody in the tenant.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn rejected(&self, query: RejectedQuery) -> Result<RejectedPage, Error> {
        let inner = Arc::clone(&self.inner);
        let read = move || rejected::list(&inner.access, &query);
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Reads every photo that is whole; gives what is wrong with which, in words.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn check_photos(&self) -> Result<Vec<String>, Error> {
        let inner = Arc::clone(&self.inner);
        let check = move || photo::check(&inner.access);
        tokio::task::spawn_blocking(check).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Whether `sealed` is the file of the whole photo `id`; `None` where the store knows nothing
    /// of it. Blocks.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn is_photo(&self, id: &str, sealed: &[u8]) -> Result<Option<bool>, Error> {
        photo::is_of(&self.inner.access, id, sealed)
    }

    /// How many bytes the photo `id` has, if it is here and whole.
    pub async fn photo_size(&self, id: &str) -> Option<usize> {
        let (inner, id) = (Arc::clone(&self.inner), id.to_lowercase());
        let size = move || photo::size(&inner.access, &id);
        // What cannot be read is told where it is to be given out.
        tokio::task::spawn_blocking(size).await.ok()?.ok().flatten()
    }

    /// What happens from now on, or from the place that `pull` names, as soon as it can be read.
    pub fn follow(
        &self,
        caller: Caller,
        dialect: Option<Dialect>,
        pull: Pull,
    ) -> impl Stream<Item = Page> + Send + 'static {
        follow::pages(Arc::clone(&self.inner), caller, dialect, pull)
    }
}

impl Task<'_> {
    /// Executes a command where all records are there.
    fn run(&self, command: Command) -> Result<Outcome, Failure> {
        match writes(&command) {
            // What is written is bound to the view that was looked at where that happens.
            true => {
                self.access.await_records()?;
                self.execute(command)
            }
            false => self.access.on_one_view(|| self.execute(command)),
        }
    }

    fn execute(&self, command: Command) -> Result<Outcome, Failure> {
        match command {
            Command::Health => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                Ok(Outcome::Healthy { at: self.at, version })
            }
            Command::Push(push) => self.push(&push).map(|(pushed, _)| Outcome::Pushed(pushed)),
            Command::Pull(pull) | Command::Follow(pull) => self.pull(&pull).map(Outcome::Page),
            Command::Exchange { push, pull } => self.exchange(&push, &pull),
            Command::Reading { device } => self.reading(&device).map(Outcome::Reading),
            Command::Queue(queue) => self.queue(&queue),
            Command::Process { entries } => self.process(&entries),
            Command::Journal(query) => self.pending(&query),
            Command::Retry(retry) => self.retry(&retry),
            Command::Tally(whose) => self.tally(&whose).map(Outcome::Tally),
            Command::Overview => self.overview(),
            Command::Devices => self.devices().map(Outcome::Devices),
            Command::Register { device, public_key, user } => {
                self.register(&device, public_key, user.as_deref())
            }
            Command::Unregister { device, user } => self.unregister(&device, user.as_deref()),
            Command::Conflicts(query) => self.conflicts(&query),
            Command::Resolve(resolve) => self.resolve(&resolve),
            Command::Rejected(query) => self.rejected(&query),
            // A page holds records of several kinds, so all of them go.
            Command::Invalidate { .. } => Ok(Outcome::Invalidated { count: self.pages.forget() }),
            Command::StorePhoto(photo) => self.store_photo(&photo),
            Command::LoadPhoto { id } => self.load_photo(&id),
            // Whoever counts requests, knows tokens or talks with devices answers these.
            Command::Login(_)
            | Command::Refresh(_)
            | Command::ChangePassword(_)
            | Command::MakeResetCode { .. }
            | Command::ResetPassword(_)
            | Command::Traffic(_)
            | Command::Fleet(_) => Err(Failure::missing("Endpoint")),
        }
    }
}

/// Whether a command leaves something behind.
const fn writes(command: &Command) -> bool {
    matches!(
        command,
        Command::Push(_)
            | Command::Exchange { .. }
            | Command::Queue(_)
            | Command::Process { .. }
            | Command::Retry(_)
            | Command::Register { .. }
            | Command::Unregister { .. }
            | Command::Resolve(_)
            | Command::StorePhoto(_)
    )
}

impl Failure {
    /// What the caller is told.
    fn outcome(self) -> Outcome {
        Outcome::Refused(match self {
            Self::Refused(refusal) => refusal,
            // What the caller gave cannot be stored so.
            Self::Broken(Error::Invalid { faults }) => Refusal::Invalid { faults },
            // The device itself may not.
            Self::Broken(Error::NotAllowed { reason: why }) => Refusal::Forbidden { why },
            Self::Broken(error @ Error::Full { .. }) => {
                tracing::warn!(%error, "a command has to come again");
                Refusal::Full
            }
            Self::Broken(error @ Error::Remaking { .. }) => {
                tracing::warn!(%error, "a command has to come again");
                Refusal::Failed
            }
            Self::Broken(error) => {
                tracing::error!(%error, "a command could not be executed");
                Refusal::Failed
            }
        })
    }

    fn missing(what: &str) -> Self {
        Self::Refused(Refusal::Missing { what: what.to_owned() })
    }

    fn contradiction(why: impl Into<String>) -> Self {
        Self::Refused(Refusal::Contradiction { why: why.into() })
    }

    fn forbidden(why: &str) -> Self {
        Self::Refused(Refusal::Forbidden { why: why.to_owned() })
    }
}
