//! The tenants of a relay: all of them are known, the ones used last are open.
//!
//! An open tenant costs threads, memory and files, and most have nobody connected most of the
//! time. Whoever connects or asks opens it; when too many are open, the one that was not used for
//! longest is closed, unless a device is connected to it or somebody is at work on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use fieldmesh::api::Problem;
use fieldmesh::{Builder, Dormant, Listener, Node, RunOptions};
use fieldmesh_model::TenantId;
use tokio::task::JoinSet;

use super::quota::Quotas;
use super::slot::{self, Slot};
use crate::problem;

/// How many tenants are open at a time unless told otherwise.
pub(crate) const OPEN_TENANTS_MAX_DEFAULT: usize = 500;
/// Files that an open tenant may need: the store's lock, its log, its view, and the 64 segments at
/// the most that it keeps open to read them. A tenant that is opened often has many small ones.
const FILES_PER_TENANT: u64 = 80;
/// Files that are left for everything else.
const FILES_LEFT: u64 = 256;
/// Threads of an open tenant: that of its log, that of its view, that which brings the view up to
/// date, and room for one that makes something anew.
const THREADS_PER_TENANT: u64 = 4;
/// Threads that are left for everything else: those that serve sockets, and those that wait for
/// disks and stretch passwords, of which there may be 512.
const THREADS_LEFT: u64 = 600;
/// How many homes are looked at or opened at the same time.
const OPENING_MAX: usize = 4;

/// Every tenant of a relay; clones are handles on the same ones.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) key_file: PathBuf,
    listener: Option<Listener>,
    open_max: usize,
    pub(super) quotas: RwLock<Quotas>,
    slots: RwLock<BTreeMap<TenantId, Arc<Slot>>>,
    open: AtomicUsize,
    uses: AtomicU64,
    /// Whether nothing is opened any more.
    is_closed: AtomicBool,
    /// One at a time looks for what can be closed.
    closing: tokio::sync::Mutex<()>,
}

impl Pool {
    pub(super) fn new(
        key_file: PathBuf,
        listener: Option<Listener>,
        open_max: usize,
        quotas: Quotas,
    ) -> Self {
        let room = Room::of_system();
        if let Some(few) = room.few_for(open_max) {
            let (files, threads, fitting) = (room.files, room.threads, room.tenants());
            tracing::warn!(
                files,
                threads,
                fitting,
                "fewer tenants are kept open: the system allows few {few}"
            );
        }
        let open_max = open_max.min(room.tenants());
        let inner = Inner {
            key_file,
            listener,
            open_max: open_max.max(1),
            quotas: RwLock::new(quotas),
            slots: RwLock::default(),
            open: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            closing: tokio::sync::Mutex::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How the home of a tenant is opened.
    pub(super) fn builder(&self, home: &Path) -> Builder {
        Node::builder(home).key_file(&self.inner.key_file).forward_only()
    }

    /// Takes in the tenants of `homes`; gives the homes that cannot be served, and why: of two that
    /// hold the same tenant the second.
    pub(super) async fn add_all(&self, homes: Vec<PathBuf>) -> Vec<(PathBuf, Problem)> {
        let mut broken = Vec::new();
        for home in homes {
            if let Err(problem) = self.add_home(home.clone()).await {
                broken.push((home, problem));
            }
        }
        broken
    }

    /// Takes in one more tenant.
    ///
    /// # Errors
    ///
    /// Its home cannot be opened, or another one holds the same tenant.
    pub(super) async fn add_home(&self, home: PathBuf) -> Result<Arc<Slot>, Problem> {
        let looked = self.builder(&home).look().await;
        let dormant = looked.map_err(|error| error.problem())?;
        let fleet = self.read_book(&home).await;
        self.add(Slot::new(home, &dormant, fleet), &dormant)
    }

    fn add(&self, slot: Slot, dormant: &Dormant) -> Result<Arc<Slot>, Problem> {
        let (tenant, slot) = (slot.tenant.tenant, Arc::new(slot));
        {
            let mut slots = self.inner.slots.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(other) = slots.get(&tenant) {
                return Err(slot::doubled(&slot, other));
            }
            slots.insert(tenant, Arc::clone(&slot));
        }
        if let Some(listener) = &self.inner.listener {
            let (pool, slot) = (Arc::downgrade(&self.inner), Arc::downgrade(&slot));
            let wake = move || wake(pool.clone(), slot.clone());
            let added = listener.add_dormant(dormant, Arc::new(move || Box::pin(wake())));
            if let Err(error) = added {
                let mut slots = self.inner.slots.write().unwrap_or_else(PoisonError::into_inner);
                slots.remove(&tenant);
                return Err(error.problem());
            }
        }
        Ok(slot)
    }

    /// Every tenant, open or not.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        let slots = self.inner.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().cloned().collect()
    }

    /// The tenant with this id.
    pub(super) fn slot(&self, tenant: &TenantId) -> Option<Arc<Slot>> {
        let slots = self.inner.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(tenant).cloned()
    }

    pub(super) fn contains(&self, tenant: &TenantId) -> bool {
        let slots = self.inner.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.contains_key(tenant)
    }

    /// The node of a tenant, opened if need be. It stays open while the handle is held.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(super) async fn node(&self, slot: &Arc<Slot>) -> Result<Arc<Node>, Problem> {
        let (pool, slot) = (self.clone(), Arc::clone(slot));
        // Whoever asked may be gone before it is open.
        let opening = tokio::spawn(async move { pool.opened(&slot).await });
        opening.await.unwrap_or_else(|error| Err(problem::failed(error.to_string())))
    }

    async fn opened(&self, slot: &Arc<Slot>) -> Result<Arc<Node>, Problem> {
        let node = {
            let mut open = slot.node.lock().await;
            slot.used.store(self.inner.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            if let Some(node) = &*open {
                return Ok(Arc::clone(node));
            }
            // Set before any slot is closed, so that none is opened behind that.
            if self.inner.is_closed.load(Ordering::SeqCst) {
                return Err(problem::failed("the relay is stopping"));
            }
            slot.check()?;
            let opened = self.open(slot).await;
            slot.note(opened.as_ref());
            let node = Arc::new(opened?);
            *open = Some(Arc::clone(&node));
            node
        };
        if self.inner.open.fetch_add(1, Ordering::Relaxed) >= self.inner.open_max {
            let (pool, but) = (self.clone(), slot.tenant.tenant);
            // Others are asked how they fare for it, and nobody needs to wait for that.
            tokio::spawn(async move { pool.make_room(&but).await });
        }
        Ok(node)
    }

    async fn open(&self, slot: &Slot) -> Result<Node, Problem> {
        let builder = self.builder(&slot.home);
        let Some(listener) = &self.inner.listener else {
            return builder.open().await.map_err(|error| error.problem());
        };
        let node = builder.listener(listener.clone()).open().await;
        let node = node.map_err(|error| error.problem())?;
        self.grant(slot, &node).await;
        // What a tenant's admin signs does not say where the operator's machine connects to.
        let options = RunOptions { mdns: false, dials_signed: false, ..RunOptions::default() };
        node.run(options).await.map_err(|error| error.problem())?;
        Ok(node)
    }

    /// Closes what was not used for longest, but for `but`, until no more are open than should be.
    async fn make_room(&self, but: &TenantId) {
        let _one = self.inner.closing.lock().await;
        let mut slots = self.slots();
        slots.sort_by_key(|slot| slot.used());
        for slot in slots {
            if self.inner.open.load(Ordering::Relaxed) <= self.inner.open_max {
                return;
            }
            if slot.tenant.tenant != *but {
                self.close_idle(&slot).await;
            }
        }
        let open = self.inner.open.load(Ordering::Relaxed);
        tracing::debug!(open, limit = self.inner.open_max, "all that are open are in use");
    }

    /// Closes a tenant that nobody uses; whoever asks for it meanwhile waits and opens it again.
    async fn close_idle(&self, slot: &Slot) {
        // What is being opened or closed is in use.
        let Ok(mut open) = slot.node.try_lock() else { return };
        // New handles are given under the lock alone, so that this one is the last.
        let Some(node) = open.take_if(|node| Arc::strong_count(node) == 1) else { return };
        self.keep_book(slot, &node).await;
        match slot::vitals(&node).await {
            Ok(vitals) if vitals.connections == 0 => slot.remember(&vitals),
            _ => {
                *open = Some(node);
                return;
            }
        }
        self.inner.open.fetch_sub(1, Ordering::Relaxed);
        let tenant = slot.tenant.tenant.short();
        tracing::debug!(tenant, "closed, as it was not used for longest");
        if let Err(error) = Node::clone(&node).shutdown().await {
            tracing::error!(tenant, %error, "tenant not closed in order");
        }
    }

    /// Leaves a tenant out of all that is served.
    pub(super) fn forget(&self, tenant: &TenantId) {
        if let Some(listener) = &self.inner.listener {
            listener.forget(tenant);
        }
        self.inner.slots.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Closes the node of a tenant, whoever still has a handle on it.
    pub(super) async fn closed(&self, slot: &Slot, node: &Node) {
        self.keep_book(slot, node).await;
        self.inner.open.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = Node::clone(node).shutdown().await {
            let tenant = slot.tenant.tenant.short();
            tracing::error!(tenant, %error, "tenant not closed in order");
        }
    }

    /// Opens tenants, as many at once as may be open, until one is.
    ///
    /// # Errors
    ///
    /// The first problem, where there are tenants and none can be opened.
    pub(super) async fn open_some(&self) -> Result<(), Problem> {
        let mut first_problem = None;
        for slots in self.slots().chunks(self.inner.open_max) {
            let outcomes = self.visit(slots.to_vec()).await;
            if outcomes.iter().any(Result::is_ok) {
                return Ok(());
            }
            first_problem = first_problem.or_else(|| outcomes.into_iter().find_map(Result::err));
        }
        first_problem.map_or(Ok(()), Err)
    }

    /// Opens, and closes again, those that [`Pool::open_some`] left out.
    pub(super) async fn look_at_the_rest(&self) {
        self.visit(self.slots().into_iter().skip(self.inner.open_max).collect()).await;
    }

    async fn visit(&self, slots: Vec<Arc<Slot>>) -> Vec<Result<(), Problem>> {
        let (mut visits, mut outcomes) = (JoinSet::new(), Vec::with_capacity(slots.len()));
        let ended = |_| Err(problem::failed("a tenant was not looked at to the end"));
        for slot in slots {
            if visits.len() >= OPENING_MAX
                && let Some(outcome) = visits.join_next().await
            {
                outcomes.push(outcome.unwrap_or_else(ended));
            }
            let pool = self.clone();
            visits.spawn(async move {
                let opened = pool.node(&slot).await.map(drop);
                // Opening is faster than closing: the next one waits until there is room for it.
                pool.make_room(&slot.tenant.tenant).await;
                opened
            });
        }
        while let Some(outcome) = visits.join_next().await {
            outcomes.push(outcome.unwrap_or_else(ended));
        }
        outcomes
    }

    /// Closes every tenant that is open.
    ///
    /// # Errors
    ///
    /// One was not closed in order; nothing that was acknowledged is lost.
    pub(super) async fn shutdown(&self) -> Result<(), Problem> {
        self.inner.is_closed.store(true, Ordering::SeqCst);
        let mut closing = JoinSet::new();
        for slot in self.slots() {
            let pool = self.clone();
            closing.spawn(async move {
                let node = slot.node.lock().await.take();
                let Some(node) = node else { return Ok(()) };
                pool.keep_book(&slot, &node).await;
                Node::clone(&node).shutdown().await.map_err(|error| {
                    let tenant = slot.tenant.tenant.short();
                    tracing::error!(tenant, %error, "tenant not closed in order");
                    error.problem()
                })
            });
        }
        let mut result = Ok(());
        while let Some(closed) = closing.join_next().await {
            result = result.and(closed.unwrap_or(Ok(())));
        }
        result
    }
}

/// What the system allows this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Files open at a time; none where there is no limit.
    files: Option<u64>,
    /// Threads; none where there is no limit.
    threads: Option<u64>,
}

impl Room {
    /// What this process is allowed, which from now on has all the files that it may.
    pub(crate) fn of_system() -> Self {
        let files = fieldmesh_shell::limits::raise_open_files();
        Self { files, threads: fieldmesh_shell::limits::threads() }
    }

    /// How many tenants can be open; one at the least.
    pub(crate) fn tenants(self) -> usize {
        self.by_files().min(self.by_threads())
    }

    /// Of what there is too little for so many tenants, if that is so.
    pub(crate) fn few_for(self, tenants: usize) -> Option<&'static str> {
        let few = if self.by_files() < self.by_threads() { "files" } else { "threads" };
        (self.tenants() < tenants).then_some(few)
    }

    fn by_files(self) -> usize {
        fitting(self.files, FILES_LEFT, FILES_PER_TENANT)
    }

    fn by_threads(self) -> usize {
        fitting(self.threads, THREADS_LEFT, THREADS_PER_TENANT)
    }
}

/// For how many tenants a limit has room; for one at the least.
fn fitting(limit: Option<u64>, left: u64, per_tenant: u64) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    usize::try_from(limit.saturating_sub(left) / per_tenant).unwrap_or(usize::MAX).max(1)
}

/// Opens the tenant of `slot` for somebody who connected.
async fn wake(pool: Weak<Inner>, slot: Weak<Slot>) -> Option<Arc<Node>> {
    let pool = Pool { inner: pool.upgrade()? };
    // What went wrong is in the log and in the tenant's state.
    pool.node(&slot.upgrade()?).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_tenants_are_open_as_the_system_has_files_and_threads_for() {
        let kept = |files, threads| {
            let room = Room { files, threads };
            (room.tenants().min(500), room.few_for(500))
        };
        assert_eq!(kept(None, None), (500, None));
        assert_eq!(kept(Some(1 << 20), Some(1 << 20)), (500, None));
        assert_eq!(kept(Some(4_096), None), (48, Some("files")));
        assert_eq!(kept(Some(64), None), (1, Some("files")));
        assert_eq!(kept(None, Some(1_000)), (100, Some("threads")));
        assert_eq!(kept(Some(4_096), Some(1_000)), (48, Some("files")));
        assert_eq!(kept(Some(1 << 20), Some(100)), (1, Some("threads")));
        assert_eq!(Room { files: Some(64), threads: None }.few_for(1), None);
    }
}
