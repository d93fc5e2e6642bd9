//! A home that this process has opened.

use fieldmesh::Node;
use fieldmesh::api::{
    AdoptReport, BackupOptions, BackupReport, BulkEdit, BulkReport, CompactReport, ConflictQuery,
    ConflictReport, ConnectivityReport, DeviceReport, DoctorReport, Edits, EvictOptions,
    EvictReport, ExportQuery, ImportOptions, ImportReport, InvitationReport, InviteOptions,
    KeptReport, ListQuery, NewRecord, Page, PeerReport, Problem, PurgeOptions, PurgeReport,
    PurgedRecord, Record, RekeyOptions, RekeyReport, Resolution, Revision, RevokeOptions,
    RevokeReport, StatusReport, SyncNow, SyncOptions, SyncReport, SyncSettingsChange, VerifyReport,
};
use fieldmesh::api::{Draft, DraftChange, NewRuling};
use fieldmesh::api::{Notice, SeenNotices};
use fieldmesh::api::{RelayOptions, RelayReport};
use fieldmesh::api::{ResolveAll, ResolveAllReport, Verdict};
use fieldmesh::api::{SchemaOptions, SchemaReport, SchemaShown};
use fieldmesh_model::Moment;

use super::{Answer, Backend, Listener, Sink, Source};

/// A node in this process.
#[derive(Clone)]
pub(crate) struct Local(pub(crate) Node);

impl Local {
    /// Closes the node in order.
    pub(crate) async fn close(self) -> Result<(), Problem> {
        self.0.shutdown().await.map_err(problem)
    }
}

/// What went wrong, as every part of the program passes it on.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn problem(error: fieldmesh::Error) -> Problem {
    error.problem()
}

impl Backend for Local {
    fn record(&self, new: NewRecord) -> Answer<'_, Record> {
        Box::pin(async move { self.0.record(new).await.map_err(problem) })
    }

    fn edit(&self, id: String, edits: Edits) -> Answer<'_, Record> {
        Box::pin(async move { self.0.edit(&id, edits).await.map_err(problem) })
    }

    fn delete(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.0.delete(&id).await.map_err(problem) })
    }

    fn restore(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.0.restore(&id).await.map_err(problem) })
    }

    fn approve(&self, id: String, ruling: NewRuling) -> Answer<'_, Record> {
        Box::pin(async move { self.0.approve(&id, ruling).await.map_err(problem) })
    }

    fn show(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.0.show(&id).await.map_err(problem) })
    }

    fn history(&self, id: String) -> Answer<'_, Vec<Revision>> {
        Box::pin(async move { self.0.history(&id).await.map_err(problem) })
    }

    fn list(&self, query: ListQuery) -> Answer<'_, Vec<Record>> {
        Box::pin(async move { self.0.list(query).await.map_err(problem) })
    }

    fn page(&self, query: ListQuery) -> Answer<'_, Page> {
        Box::pin(async move { self.0.page(query).await.map_err(problem) })
    }

    fn count(&self, query: ListQuery) -> Answer<'_, u64> {
        Box::pin(async move { self.0.count(query).await.map_err(problem) })
    }

    fn show_at(&self, id: String, at: Moment) -> Answer<'_, Record> {
        Box::pin(async move { self.0.show_at(&id, at).await.map_err(problem) })
    }

    fn edit_all(&self, bulk: BulkEdit) -> Answer<'_, BulkReport> {
        Box::pin(async move { self.0.edit_all(bulk).await.map_err(problem) })
    }

    fn export(&self, query: ExportQuery, sink: Sink) -> Answer<'_, ()> {
        Box::pin(async move { self.0.export(query, sink).await.map(drop).map_err(problem) })
    }

    fn import(
        &self,
        source: Source,
        options: ImportOptions,
        listener: Listener,
    ) -> Answer<'_, ImportReport> {
        Box::pin(async move { self.0.import(source, options, listener).await.map_err(problem) })
    }

    fn sync(&self, options: SyncOptions, listener: Listener) -> Answer<'_, SyncReport> {
        Box::pin(async move { self.0.sync(options, listener).await.map_err(problem) })
    }

    fn connectivity(&self) -> Answer<'_, ConnectivityReport> {
        Box::pin(async move { Ok(self.0.connectivity()) })
    }

    fn configure_sync(&self, change: SyncSettingsChange) -> Answer<'_, ConnectivityReport> {
        Box::pin(async move { self.0.configure_sync(change).await.map_err(problem) })
    }

    fn sync_now(&self) -> Answer<'_, SyncNow> {
        Box::pin(async move { Ok(self.0.sync_now().await) })
    }

    fn warnings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { self.0.warnings().await.map_err(problem) })
    }

    fn status(&self) -> Answer<'_, StatusReport> {
        Box::pin(async move { self.0.status().await.map_err(problem) })
    }

    fn peers(&self) -> Answer<'_, Vec<PeerReport>> {
        Box::pin(async move { self.0.peers().await.map_err(problem) })
    }

    fn devices(&self) -> Answer<'_, Vec<DeviceReport>> {
        Box::pin(async move { self.0.devices().await.map_err(problem) })
    }

    fn revoke(&self, device: String, options: RevokeOptions) -> Answer<'_, RevokeReport> {
        Box::pin(async move { self.0.revoke(&device, options).await.map_err(problem) })
    }

    fn adopt(&self, device: String, batches: Vec<String>) -> Answer<'_, AdoptReport> {
        Box::pin(async move { self.0.adopt(&device, batches).await.map_err(problem) })
    }

    fn add_relay(&self, options: RelayOptions) -> Answer<'_, Vec<RelayReport>> {
        Box::pin(async move { self.0.add_relay(options).await.map_err(problem) })
    }

    fn remove_relay(&self, address: String) -> Answer<'_, String> {
        Box::pin(async move { self.0.remove_relay(&address).await.map_err(problem) })
    }

    fn relays(&self) -> Answer<'_, Vec<RelayReport>> {
        Box::pin(async move { self.0.relay_addresses().await.map_err(problem) })
    }

    fn conflicts(&self, query: ConflictQuery) -> Answer<'_, Vec<ConflictReport>> {
        Box::pin(async move { self.0.conflicts(query).await.map_err(problem) })
    }

    fn conflict(&self, id: String) -> Answer<'_, ConflictReport> {
        Box::pin(async move { self.0.conflict(&id).await.map_err(problem) })
    }

    fn comment(&self, id: String, text: String) -> Answer<'_, ConflictReport> {
        Box::pin(async move { self.0.comment(&id, &text).await.map_err(problem) })
    }

    fn resolve(&self, id: String, resolution: Resolution) -> Answer<'_, Record> {
        Box::pin(async move { self.0.resolve(&id, resolution).await.map_err(problem) })
    }

    fn decide(&self, id: String, verdict: Verdict) -> Answer<'_, ConflictReport> {
        Box::pin(async move { self.0.decide(&id, verdict).await.map_err(problem) })
    }

    fn notices(&self, all: bool) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move { self.0.notices(all).await.map_err(problem) })
    }

    fn see_notices(&self, seen: SeenNotices) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move { self.0.see_notices(seen).await.map_err(problem) })
    }

    fn resolve_all(&self, all: ResolveAll) -> Answer<'_, ResolveAllReport> {
        Box::pin(async move { self.0.resolve_all(all).await.map_err(problem) })
    }

    fn invite(&self, options: InviteOptions) -> Answer<'_, Vec<InvitationReport>> {
        Box::pin(async move { self.0.invite(options).await.map_err(problem) })
    }

    fn rekey(&self, options: RekeyOptions) -> Answer<'_, RekeyReport> {
        Box::pin(async move { self.0.rekey(options).await.map_err(problem) })
    }

    fn verify(&self) -> Answer<'_, VerifyReport> {
        Box::pin(async move { self.0.verify().await.map_err(problem) })
    }

    fn backup(&self, options: BackupOptions, listener: Listener) -> Answer<'_, BackupReport> {
        Box::pin(async move { self.0.backup(options, listener).await.map_err(problem) })
    }

    fn compact(&self, listener: Listener) -> Answer<'_, CompactReport> {
        Box::pin(async move { self.0.compact(listener).await.map_err(problem) })
    }

    fn evict(&self, options: EvictOptions, listener: Listener) -> Answer<'_, EvictReport> {
        Box::pin(async move { self.0.evict(options, listener).await.map_err(problem) })
    }

    fn kept(&self) -> Answer<'_, KeptReport> {
        Box::pin(async move { self.0.kept().await.map_err(problem) })
    }

    fn purge(&self, options: PurgeOptions) -> Answer<'_, Vec<PurgeReport>> {
        Box::pin(async move { self.0.purge(options).await.map_err(problem) })
    }

    fn change_draft(&self, change: DraftChange) -> Answer<'_, Draft> {
        Box::pin(async move { self.0.change_draft(change).await.map_err(problem) })
    }

    fn drafts(&self) -> Answer<'_, Vec<Draft>> {
        Box::pin(async move { self.0.drafts().await.map_err(problem) })
    }

    fn draft(&self, id: String) -> Answer<'_, Draft> {
        Box::pin(async move { self.0.draft(&id).await.map_err(problem) })
    }

    fn submit_draft(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.0.submit_draft(&id).await.map_err(problem) })
    }

    fn schema(&self, options: SchemaOptions) -> Answer<'_, SchemaReport> {
        Box::pin(async move { self.0.schema(options).await.map_err(problem) })
    }

    fn schemas(&self, name: Option<String>) -> Answer<'_, Vec<SchemaShown>> {
        Box::pin(async move { self.0.schemas(name).await.map_err(problem) })
    }

    fn purges(&self) -> Answer<'_, Vec<PurgedRecord>> {
        Box::pin(async move { self.0.purges().await.map_err(problem) })
    }

    fn doctor(&self) -> Answer<'_, DoctorReport> {
        Box::pin(async move { self.0.doctor().await.map_err(problem) })
    }

    fn accept_losses(&self) -> Answer<'_, u64> {
        Box::pin(async move { self.0.accept_losses().await.map_err(problem) })
    }
}
