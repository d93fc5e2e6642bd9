//! What the commands ask of a home, whoever holds it.
//!
//! [`Local`] opens the home in this process; [`Remote`] asks the daemon that holds it. Commands and
//! the daemon's routes know only [`Backend`].

mod local;
mod remote;

use std::io;

use fieldmesh::api::{
    AdoptReport, BackupOptions, BackupReport, BulkEdit, BulkReport, CompactReport, ConflictQuery,
    ConflictReport, ConnectivityReport, DeviceReport, DoctorReport, Edits, EvictOptions,
    EvictReport, ExportQuery, ImportOptions, ImportReport, InvitationReport, InviteOptions,
    KeptReport, ListQuery, NewRecord, Page, PeerReport, Problem, Progress, PurgeOptions,
    PurgeReport, PurgedRecord, Record, RekeyOptions, RekeyReport, Resolution, Revision,
    RevokeOptions, RevokeReport, StatusReport, SyncNow, SyncOptions, SyncReport,
    SyncSettingsChange, VerifyReport,
};
use fieldmesh::api::{Draft, DraftChange, NewRuling};
use fieldmesh::api::{Notice, SeenNotices};
use fieldmesh::api::{RelayOptions, RelayReport};
use fieldmesh::api::{ResolveAll, ResolveAllReport, Verdict};
use fieldmesh::api::{SchemaOptions, SchemaReport, SchemaShown};
use fieldmesh_model::Moment;
use futures::future::BoxFuture;

pub(crate) use local::Local;
pub(crate) use remote::Remote;

/// What a backend gives, once it is there.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, Problem>>;

/// Told what is going on while something long runs.
pub(crate) type Listener = Box<dyn FnMut(Progress) + Send>;

/// A file that is read piece by piece.
pub(crate) type Source = Box<dyn io::Read + Send>;

/// Where a file is written piece by piece.
pub(crate) type Sink = Box<dyn io::Write + Send>;

/// A home that answers. Wherever an `id` is asked, an ending of it or a unique name does as well.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Validates and stores a new record.
    fn record(&self, new: NewRecord) -> Answer<'_, Record>;
    /// Changes fields of a record.
    fn edit(&self, id: String, edits: Edits) -> Answer<'_, Record>;
    /// Deletes a record.
    fn delete(&self, id: String) -> Answer<'_, Record>;
    /// Brings a deleted record back.
    fn restore(&self, id: String) -> Answer<'_, Record>;
    /// Approves a record as it was looked at, or refuses it.
    fn approve(&self, id: String, ruling: NewRuling) -> Answer<'_, Record>;
    /// One record.
    fn show(&self, id: String) -> Answer<'_, Record>;
    /// Every change of one record.
    fn history(&self, id: String) -> Answer<'_, Vec<Revision>>;
    /// The records of a collection.
    fn list(&self, query: ListQuery) -> Answer<'_, Vec<Record>>;
    /// A page of the records of a collection.
    fn page(&self, query: ListQuery) -> Answer<'_, Page>;
    /// How many records a query asks for.
    fn count(&self, query: ListQuery) -> Answer<'_, u64>;
    /// One record as it was at a time.
    fn show_at(&self, id: String, at: Moment) -> Answer<'_, Record>;
    /// Changes many records alike, or shows what that would do.
    fn edit_all(&self, bulk: BulkEdit) -> Answer<'_, BulkReport>;
    /// Writes a collection to `sink`.
    fn export(&self, query: ExportQuery, sink: Sink) -> Answer<'_, ()>;
    /// Reads records from `source`.
    fn import(
        &self,
        source: Source,
        options: ImportOptions,
        listener: Listener,
    ) -> Answer<'_, ImportReport>;
    /// Gets in step once.
    fn sync(&self, options: SyncOptions, listener: Listener) -> Answer<'_, SyncReport>;
    /// The network, and what syncs by itself.
    fn connectivity(&self) -> Answer<'_, ConnectivityReport>;
    /// Changes what syncs by itself.
    fn configure_sync(&self, change: SyncSettingsChange) -> Answer<'_, ConnectivityReport>;
    /// Syncs unless a sync is under way, nobody is there or nothing is to be done.
    fn sync_now(&self) -> Answer<'_, SyncNow>;
    /// What whoever uses the home has to know before anything else, in words.
    fn warnings(&self) -> Answer<'_, Vec<String>>;
    /// The home's state.
    fn status(&self) -> Answer<'_, StatusReport>;
    /// Other devices as this one reaches them.
    fn peers(&self) -> Answer<'_, Vec<PeerReport>>;
    /// The tenant's devices.
    fn devices(&self) -> Answer<'_, Vec<DeviceReport>>;
    /// Shuts a device out of the tenant; `device` is its id.
    fn revoke(&self, device: String, options: RevokeOptions) -> Answer<'_, RevokeReport>;
    /// Lets batches of a revoked device count, all that are here where none is named.
    fn adopt(&self, device: String, batches: Vec<String>) -> Answer<'_, AdoptReport>;
    /// Says where a relay is, or takes one in by its claim; gives the addresses that are new.
    fn add_relay(&self, options: RelayOptions) -> Answer<'_, Vec<RelayReport>>;
    /// Takes an address of a relay back; gives what it was, in words.
    fn remove_relay(&self, address: String) -> Answer<'_, String>;
    /// The addresses of relays.
    fn relays(&self) -> Answer<'_, Vec<RelayReport>>;
    /// The conflict inbox.
    fn conflicts(&self, query: ConflictQuery) -> Answer<'_, Vec<ConflictReport>>;
    /// One item of the inbox.
    fn conflict(&self, id: String) -> Answer<'_, ConflictReport>;
    /// Says something about one conflict.
    fn comment(&self, id: String, text: String) -> Answer<'_, ConflictReport>;
    /// Settles one conflict.
    fn resolve(&self, id: String, resolution: Resolution) -> Answer<'_, Record>;
    /// Adopts or discards what is quarantined or was deleted and edited, or lists it again.
    fn decide(&self, id: String, verdict: Verdict) -> Answer<'_, ConflictReport>;
    /// What others did with this person's work.
    fn notices(&self, all: bool) -> Answer<'_, Vec<Notice>>;
    /// Marks notices as seen on this device.
    fn see_notices(&self, seen: SeenNotices) -> Answer<'_, Vec<Notice>>;
    /// Settles many open conflicts alike, or shows what that would do.
    fn resolve_all(&self, all: ResolveAll) -> Answer<'_, ResolveAllReport>;
    /// Issues invitations.
    fn invite(&self, options: InviteOptions) -> Answer<'_, Vec<InvitationReport>>;
    /// Begins to write everything anew with another data key; the status tells how far it has come.
    fn rekey(&self, options: RekeyOptions) -> Answer<'_, RekeyReport>;
    /// Checks everything the home holds.
    fn verify(&self) -> Answer<'_, VerifyReport>;
    /// Writes a backup.
    fn backup(&self, options: BackupOptions, listener: Listener) -> Answer<'_, BackupReport>;
    /// Makes the home take as little of the disk as it can.
    fn compact(&self, listener: Listener) -> Answer<'_, CompactReport>;
    /// Lets old records go, or wants them once more.
    fn evict(&self, options: EvictOptions, listener: Listener) -> Answer<'_, EvictReport>;
    /// From which month on the home holds records that go by time.
    fn kept(&self) -> Answer<'_, KeptReport>;
    /// Erases records on every device, for good.
    fn purge(&self, options: PurgeOptions) -> Answer<'_, Vec<PurgeReport>>;
    /// What was purged so far.
    fn purges(&self) -> Answer<'_, Vec<PurgedRecord>>;
    /// Begins, changes or discards a draft.
    fn change_draft(&self, change: DraftChange) -> Answer<'_, Draft>;
    /// The drafts on this device.
    fn drafts(&self) -> Answer<'_, Vec<Draft>>;
    /// One of them.
    fn draft(&self, id: String) -> Answer<'_, Draft>;
    /// Records a draft.
    fn submit_draft(&self, id: String) -> Answer<'_, Record>;
    /// Checks the schema of a collection, or puts it in force.
    fn schema(&self, options: SchemaOptions) -> Answer<'_, SchemaReport>;
    /// The collections that there are, or one in full.
    fn schemas(&self, name: Option<String>) -> Answer<'_, Vec<SchemaShown>>;
    /// What is wrong with the home, and what was done.
    fn doctor(&self) -> Answer<'_, DoctorReport>;
    /// Gives up what is lost for good; gives how many entries it was.
    fn accept_losses(&self) -> Answer<'_, u64>;
}
