//! A node: the records of one tenant on this device, and its conversations with others.
//!
//! Everything that waits for a disk runs on blocking threads; everything that waits for a peer
//! runs in tasks that the node owns and that end with it.

mod backup;
mod builder;
mod bulk;
mod claim;
mod connectivity;
mod contacts;
mod contents;
mod copies;
mod devices;
mod doctor;
mod dormant;
mod draft;
mod enrol;
mod erase;
mod evict;
mod keeper;
mod listener;
mod live;
mod mender;
mod notes;
mod notices;
mod open;
mod purge;
mod query;
mod rekey;
mod relays;
mod report;
mod schema;
mod scrub;
mod snapshot;
mod sync;
mod upkeep;
mod vitals;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fieldmesh_model::DocumentId;
use fieldmesh_store::CloseError;
use tokio::task::JoinSet;

use crate::api::{
    ConflictQuery, ConflictReport, Edits, ExportQuery, ImportOptions, ImportReport, ListQuery,
    NewRecord, NewRuling, Progress, Record, Remaking, Resolution, ResolveAll, ResolveAllReport,
    Revision, Verdict, VerifyReport,
};
use crate::error::{Error, with_causes};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::mesh::{Call, Mesh, MeshEvent};
use crate::projector::ProjectorThread;

pub use self::builder::{Builder, TenantOptions};
pub use self::bulk::BulkPreview;
pub use self::claim::{ClaimCall, ClaimHandler};
pub use self::dormant::{Dormant, Wake};
pub use self::keeper::RunOptions;
pub use self::listener::Listener;
pub use self::live::LiveQuery;
pub use self::snapshot::Snapshot;

use self::connectivity::Watch;
use self::contacts::Contacts;
#[cfg(test)]
pub(crate) use self::open::open_store;
use self::rekey::Rekey;

/// How long a node that is closed makes records of what is in its log alone.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A node; clones are handles on the same one.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # runtime.block_on(async {
/// use fieldmesh::{Node, TenantOptions};
/// use fieldmesh::api::NewRecord;
///
/// let folder = tempfile::tempdir().unwrap();
/// let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
/// let (node, tenant) = Node::builder(folder.path().join("home"))
///     .passphrase("correct horse battery")
///     .create_tenant(options)
///     .await
///     .unwrap();
/// assert_eq!(tenant.name, "Gulf Crew");
///
/// let well = NewRecord {
///     collection: "well".into(),
///     assignments: ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"]
///         .map(String::from)
///         .to_vec(),
///     ..NewRecord::default()
/// };
/// let record = node.record(well).await.unwrap();
/// assert_eq!(record.fields["name"], "Alder 1");
/// assert_eq!(node.show("Alder 1").await.unwrap(), record);
/// node.shutdown().await.unwrap();
/// # });
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

struct Inner {
    home: Arc<Home>,
    ledger: Arc<Ledger>,
    mesh: Mesh,
    contacts: Contacts,
    watch: Arc<Watch>,
    listener: tokio::sync::Mutex<Option<Listener>>,
    /// A listener of the caller's that is shared with other nodes, or one of our own.
    owns_listener: bool,
    /// Whether the node keeps its connections by itself.
    is_running: AtomicBool,
    /// Whether it dials relays because the tenant's admins have signed where they are.
    dials_signed: AtomicBool,
    /// One sync at a time: a second one waits and then finds little to do.
    syncing: tokio::sync::Mutex<()>,
    tasks: Mutex<JoinSet<()>>,
    thread: Mutex<Option<ProjectorThread>>,
    rekey: Rekey,
    /// Whether the home erases itself.
    is_erasing: AtomicBool,
    /// How much of what shows that this device runs twice is noted.
    copies_noted: AtomicU64,
    /// Why the home has erased itself, once it has.
    erased: tokio::sync::watch::Sender<Option<String>>,
}

/// Says in the log that a production entry was made, in the words that crews look for.
fn tell_production(record: &Record) {
    if record.fields.get("entryType").is_some_and(|kind| kind == "PRODUCTION") {
        tracing::info!(target: "SyncEngine", "Production logged locally: {}", record.id);
    }
}

impl Node {
    /// Prepares a node in the folder `home`.
    pub fn builder(home: impl Into<std::path::PathBuf>) -> Builder {
        Builder::new(home.into())
    }

    /// Creates a record; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] carries every fault; [`Error::Taken`] names the record that has the
    /// same natural key.
    pub async fn record(&self, new: NewRecord) -> Result<Record, Error> {
        let record = self.blocking(move |ledger| ledger.create(&new)).await?;
        tell_production(&record);
        Ok(record)
    }

    /// Changes fields of the record that `name` means: an id, the end of one, or a unique name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] carries every fault that the edits would bring in.
    pub async fn edit(&self, name: &str, edits: Edits) -> Result<Record, Error> {
        self.on_record(name, move |ledger, id| ledger.edit(id, &edits)).await
    }

    /// As [`Node::edit`], if the record is still at `version`, so that nothing is overwritten that
    /// nobody has seen.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] where it is not; otherwise as of [`Node::edit`].
    pub async fn edit_if(&self, name: &str, edits: Edits, version: &str) -> Result<Record, Error> {
        let version = version.to_owned();
        self.on_record(name, move |ledger, id| ledger.edit_if(id, &edits, Some(&version))).await
    }

    /// As [`Node::delete`], if the record is still at `version`.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] where it is not; otherwise as of [`Node::delete`].
    pub async fn delete_if(&self, name: &str, version: &str) -> Result<Record, Error> {
        let version = version.to_owned();
        self.on_record(name, move |ledger, id| ledger.delete_if(id, Some(&version))).await
    }

    /// As [`Node::restore`], if the record is still at `version`.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] where it is not; otherwise as of [`Node::restore`].
    pub async fn restore_if(&self, name: &str, version: &str) -> Result<Record, Error> {
        let version = version.to_owned();
        self.on_record(name, move |ledger, id| ledger.restore_if(id, Some(&version))).await
    }

    /// Deletes a record; it stays in the history.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may.
    pub async fn delete(&self, name: &str) -> Result<Record, Error> {
        self.on_record(name, Ledger::delete).await
    }

    /// Takes a deletion back.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may.
    pub async fn restore(&self, name: &str) -> Result<Record, Error> {
        self.on_record(name, Ledger::restore).await
    }

    /// Approves a record as it reads here, or refuses it with a reason; gives it as it is then. It
    /// takes a collection that asks for approval, and counts for what its author has seen: an edit
    /// that comes from elsewhere waits again.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::Stale`] where it reads otherwise than
    /// [`NewRuling::version`] says, and [`Error::Usage`] where there is nothing to decide.
    pub async fn approve(&self, name: &str, ruling: NewRuling) -> Result<Record, Error> {
        self.on_record(name, move |ledger, id| ledger.rule(id, &ruling)).await
    }

    /// One record; while records are made anew from the log it says so.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Ambiguous`] with candidates; [`Error::Remaking`] where it
    /// may be among those that are not made so far.
    pub async fn show(&self, name: &str) -> Result<Record, Error> {
        let name = name.to_owned();
        let show = move |ledger: &Ledger| ledger.show_named(&name);
        self.blocking(move |ledger| ledger.on_one_view(show)).await
    }

    /// Every change of a record, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Ambiguous`] with candidates.
    pub async fn history(&self, name: &str) -> Result<Vec<Revision>, Error> {
        self.on_record(name, Ledger::history).await
    }

    /// Records, newest first.
    ///
    /// # Errors
    ///
    /// The collection or a condition is not understood.
    pub async fn list(&self, query: ListQuery) -> Result<Vec<Record>, Error> {
        self.reading(move |ledger| ledger.list(&query)).await
    }

    /// Writes records to `out`; gives their number.
    ///
    /// # Errors
    ///
    /// The query is not understood, or `out` fails.
    pub async fn export(
        &self,
        query: ExportQuery,
        mut out: impl Write + Send + 'static,
    ) -> Result<u64, Error> {
        self.blocking_on_all(move |ledger| ledger.export(&query, &mut out)).await
    }

    /// Reads records from `file`; what is imported is on disk when this returns.
    ///
    /// # Errors
    ///
    /// The file or the mapping is not understood: no row was read. A bad row is no error; it is
    /// counted and reported.
    pub async fn import(
        &self,
        file: impl Read + Send + 'static,
        options: ImportOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<ImportReport, Error> {
        let import = move |ledger: &Ledger| ledger.import(Box::new(file), &options, &mut progress);
        self.blocking_on_all(import).await
    }

    /// The conflict inbox.
    ///
    /// # Errors
    ///
    /// The kind is not known.
    pub async fn conflicts(&self, query: ConflictQuery) -> Result<Vec<ConflictReport>, Error> {
        self.reading(move |ledger| ledger.conflicts(&query)).await
    }

    /// One item of the inbox, by its id or the end of it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] also where it has been settled.
    pub async fn conflict(&self, id: &str) -> Result<ConflictReport, Error> {
        let id = id.to_owned();
        self.reading(move |ledger| ledger.conflict(&id)).await
    }

    /// Says something about an item of the inbox, for every device; gives the item with it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is empty or too long; [`Error::NotAllowed`] where this device may
    /// write nothing in the record's collection.
    pub async fn comment(&self, id: &str, text: &str) -> Result<ConflictReport, Error> {
        let (id, text) = (id.to_owned(), text.to_owned());
        self.blocking_on_all(move |ledger| ledger.comment(&id, &text)).await
    }

    /// Settles one item of the inbox by an ordinary change that replaces all its values.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::Usage`] where the choice does not fit.
    pub async fn resolve(&self, id: &str, resolution: Resolution) -> Result<Record, Error> {
        let id = id.to_owned();
        self.blocking_on_all(move |ledger| ledger.settle_conflict(&id, &resolution)).await
    }

    /// Adopts or discards what is quarantined, or a deleted record that somebody edited meanwhile;
    /// gives the item as it is then. Only what was quarantined is discarded on this device alone;
    /// all else is so on every device.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] says who may; [`Error::Usage`] where the verdict does not fit.
    pub async fn decide(&self, id: &str, verdict: Verdict) -> Result<ConflictReport, Error> {
        let id = id.to_owned();
        self.blocking_on_all(move |ledger| ledger.decide(&id, verdict)).await
    }

    /// Settles every open item that a query gives by the same choice, or shows what that would do.
    /// What cannot be settled so is told and left; the others are settled all the same.
    ///
    /// # Errors
    ///
    /// The kind is not known, or none of its items has sides.
    pub async fn resolve_all(&self, all: ResolveAll) -> Result<ResolveAllReport, Error> {
        self.blocking_on_all(move |ledger| ledger.settle_conflicts(&all)).await
    }

    /// Checks every frame, signature and record of the home.
    ///
    /// # Errors
    ///
    /// The store cannot be read at all; what is wrong inside it is in the report.
    pub async fn verify(&self) -> Result<VerifyReport, Error> {
        self.blocking_on_all(Ledger::verify).await
    }

    /// Ends every conversation and task and closes the store.
    ///
    /// Nothing is lost without it: whatever was acknowledged is on disk.
    ///
    /// # Errors
    ///
    /// The view could not be flushed; it catches up at the next start.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.inner.mesh.urgent(Call::Stop);
        if let Some(listener) = self.inner.listener.lock().await.take() {
            if self.inner.owns_listener {
                listener.close().await;
            } else {
                listener.remove(&self.inner.ledger.identity.tenant);
            }
        }
        let mut tasks = {
            let mut slot = self.inner.tasks.lock().expect("no holder of this lock panics");
            std::mem::take(&mut *slot)
        };
        tasks.shutdown().await;
        self.pause_scrub().await;
        self.inner.watch.feed(crate::connectivity::Input::Destroyed);
        let inner = Arc::clone(&self.inner);
        if let Err(error) = self.blocking(move |_| inner.watch.save(&inner.home)).await {
            tracing::warn!(%error, "the settings of sync could not be written");
        }
        let inner = Arc::clone(&self.inner);
        match self.blocking(move |ledger| inner.contacts.save(ledger)).await {
            Ok(()) | Err(Error::Erased { .. }) => {}
            Err(error) => tracing::warn!(%error, "addresses of peers could not be written"),
        }
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.close()).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Runs `work` on a blocking thread.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.check_erased()?;
        let ledger = Arc::clone(&self.inner.ledger);
        tokio::task::spawn_blocking(move || work(&ledger)).await.map_err(|error| {
            tracing::error!(%error, "a call ended without an answer");
            Error::ShuttingDown
        })?
    }

    /// As [`Self::blocking`], once the records are there of all that the log has now: whoever waits
    /// for those that are made anew holds no thread meanwhile.
    pub(crate) async fn blocking_on_all<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let projector = &self.inner.ledger.projector;
        let mut turned = projector.turned();
        while projector.is_remaking() && turned.changed().await.is_ok() {}
        self.blocking(work).await
    }

    /// The same for what is only read, and all of it from one view.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        read: impl Fn(&Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking_on_all(move |ledger| ledger.on_one_view(read)).await
    }

    /// Waits until all records are there, where they are being made anew; `progress` is told how
    /// far they have come.
    ///
    /// Whoever asks later is told why, if they cannot be made.
    pub async fn until_made(&self, mut progress: impl FnMut(Remaking)) {
        let ledger = &self.inner.ledger;
        let mut turned = ledger.projector.turned();
        while let Some(remaking) = ledger.remaking() {
            if !ledger.projector.is_remaking() || turned.changed().await.is_err() {
                return;
            }
            progress(remaking);
        }
    }

    async fn on_record<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Ledger, DocumentId) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let name = name.to_owned();
        self.blocking(move |ledger| {
            let id = ledger.resolve(&name)?;
            work(ledger, id)
        })
        .await
    }

    pub(crate) fn shared_ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.inner.ledger)
    }

    pub(crate) fn shared_home(&self) -> Arc<Home> {
        Arc::clone(&self.inner.home)
    }

    #[cfg(test)]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Everything that happens on the mesh from here on.
    fn events(&self) -> tokio::sync::broadcast::Receiver<MeshEvent> {
        self.inner.mesh.events()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a shutdown the thread would keep the store open.
        self.ledger.projector.stop();
    }
}

impl Inner {
    /// Waits a moment for records that are in the log alone: if an entry is damaged there before the
    /// next start, the view tells what it was.
    fn catch_up(&self) {
        let Ledger { projector, store, .. } = &*self.ledger;
        let is_left = self.erased.borrow().is_none() && projector.remaking().is_none();
        if let Some(end) = store.end().filter(|_| is_left) {
            // Whether it comes to that or not, the next start goes on from where this one ended.
            let _ = projector.wait_for(end, CLOSE_PATIENCE);
        }
    }

    fn close(&self) -> Result<(), Error> {
        self.rekey.stop();
        self.catch_up();
        self.ledger.projector.stop();
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if let Some(thread) = thread {
            thread.join();
        }
        let closed = match self.ledger.store.close() {
            // Whoever has only read on a full disk is not told that it failed.
            Err(error @ CloseError::Mark(_)) => {
                tracing::warn!(error = with_causes(&error), "the next start looks closer");
                Ok(())
            }
            closed => closed.map_err(|error| Error::store(&error)),
        };
        if self.erased.borrow().is_none() {
            return closed;
        }
        // What could not be written is erased with the rest.
        self.home.erase_store();
        Ok(())
    }
}
