//! A home that a daemon holds, asked over its socket.

mod client;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Method;
use fieldmesh::api::{
    AdoptReport, BackupOptions, BackupReport, BulkEdit, BulkReport, CompactReport, ConflictQuery,
    ConflictReport, ConnectivityReport, DeviceReport, DoctorReport, Edits, EvictOptions,
    EvictReport, ExportQuery, ImportOptions, ImportReport, InvitationReport, InviteOptions,
    KeptReport, ListQuery, NewComment, NewRecord, Page, PeerReport, Problem, PurgeOptions,
    PurgeReport, PurgedRecord, Record, RekeyOptions, RekeyReport, Resolution, Revision,
    RevokeOptions, RevokeReport, StatusReport, SyncNow, SyncOptions, SyncReport,
    SyncSettingsChange, VerifyReport,
};
use fieldmesh::api::{Draft, DraftChange, NewRuling};
use fieldmesh::api::{NewVerdict, ResolveAll, ResolveAllReport, Verdict};
use fieldmesh::api::{Notice, SeenNotices};
use fieldmesh::api::{RelayOptions, RelayReport};
use fieldmesh::api::{SchemaOptions, SchemaReport, SchemaShown};
use fieldmesh_model::Moment;
use serde_json::json;

use super::{Answer, Backend, Listener, Sink, Source};
use crate::problem;
use crate::wire::query::{self, escape};
use client::Exchange;

/// The daemon behind a socket.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    socket: PathBuf,
}

impl Remote {
    /// The daemon that listens on `socket`.
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Tells the daemon to stop and waits until its socket is gone, at most for `patience`.
    pub(crate) async fn stop(&self, patience: Duration) -> Result<(), Problem> {
        self.exchange(Method::POST, "/v1/stop").nothing().await?;
        let gone = async {
            while self.socket.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, gone).await.map_err(|_| {
            problem::failed(format!(
                "the daemon was told to stop but has not ended within {} seconds",
                patience.as_secs()
            ))
        })
    }

    /// Changes which log lines the daemon writes.
    pub(crate) async fn log(&self, filter: &str) -> Result<(), Problem> {
        let asked = self.exchange(Method::PUT, "/v1/log");
        asked.json(&json!({ "filter": filter }))?.nothing().await
    }

    fn exchange(&self, method: Method, target: impl Into<String>) -> Exchange<'_> {
        Exchange::new(&self.socket, method, target.into())
    }

    fn at_record(&self, method: Method, id: &str, action: &str) -> Exchange<'_> {
        self.exchange(method, format!("/v1/records/{}{action}", escape(id)))
    }
}

impl Backend for Remote {
    fn record(&self, new: NewRecord) -> Answer<'_, Record> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/records").json(&new)?.value().await },
        )
    }

    fn edit(&self, id: String, edits: Edits) -> Answer<'_, Record> {
        Box::pin(async move { self.at_record(Method::PATCH, &id, "").json(&edits)?.value().await })
    }

    fn delete(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.at_record(Method::DELETE, &id, "").value().await })
    }

    fn restore(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.at_record(Method::POST, &id, "/restore").value().await })
    }

    fn approve(&self, id: String, ruling: NewRuling) -> Answer<'_, Record> {
        Box::pin(async move {
            self.at_record(Method::POST, &id, "/approval").json(&ruling)?.value().await
        })
    }

    fn show(&self, id: String) -> Answer<'_, Record> {
        Box::pin(async move { self.at_record(Method::GET, &id, "").value().await })
    }

    fn history(&self, id: String) -> Answer<'_, Vec<Revision>> {
        Box::pin(async move { self.at_record(Method::GET, &id, "/history").value().await })
    }

    fn list(&self, query: ListQuery) -> Answer<'_, Vec<Record>> {
        Box::pin(async move {
            let pairs = query::list_pairs(&query);
            self.exchange(Method::GET, format!("/v1/records{}", query::join(&pairs))).value().await
        })
    }

    fn page(&self, query: ListQuery) -> Answer<'_, Page> {
        Box::pin(async move {
            let pairs = query::list_pairs(&query);
            self.exchange(Method::GET, format!("/v1/pages{}", query::join(&pairs))).value().await
        })
    }

    fn count(&self, query: ListQuery) -> Answer<'_, u64> {
        Box::pin(async move {
            let pairs = query::list_pairs(&query);
            self.exchange(Method::GET, format!("/v1/count{}", query::join(&pairs))).value().await
        })
    }

    fn show_at(&self, id: String, at: Moment) -> Answer<'_, Record> {
        Box::pin(async move {
            let pairs = vec![("at".to_owned(), at.to_string())];
            self.at_record(Method::GET, &id, &format!("/past{}", query::join(&pairs))).value().await
        })
    }

    fn edit_all(&self, bulk: BulkEdit) -> Answer<'_, BulkReport> {
        Box::pin(
            async move { self.exchange(Method::PATCH, "/v1/records").json(&bulk)?.value().await },
        )
    }

    fn export(&self, query: ExportQuery, sink: Sink) -> Answer<'_, ()> {
        Box::pin(async move {
            let pairs = query::export_pairs(&query);
            let target = format!("/v1/export{}", query::join(&pairs));
            self.exchange(Method::GET, target).copy(sink).await
        })
    }

    fn import(
        &self,
        source: Source,
        options: ImportOptions,
        listener: Listener,
    ) -> Answer<'_, ImportReport> {
        Box::pin(async move {
            let (upload, body) = upload::start(source, &options)?;
            let report = self.exchange(Method::POST, "/v1/import").body(body).lines(listener).await;
            // A file that cannot be read also breaks the exchange; the file is the cause.
            upload.finish().await?;
            report
        })
    }

    fn sync(&self, options: SyncOptions, listener: Listener) -> Answer<'_, SyncReport> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/sync").json(&options)?.lines(listener).await
        })
    }

    fn connectivity(&self) -> Answer<'_, ConnectivityReport> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/connectivity").value().await })
    }

    fn configure_sync(&self, change: SyncSettingsChange) -> Answer<'_, ConnectivityReport> {
        Box::pin(async move {
            self.exchange(Method::PATCH, "/v1/connectivity").json(&change)?.value().await
        })
    }

    fn sync_now(&self) -> Answer<'_, SyncNow> {
        Box::pin(async move { self.exchange(Method::POST, "/v1/connectivity/sync").value().await })
    }

    fn warnings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/warnings").value().await })
    }

    fn status(&self) -> Answer<'_, StatusReport> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/status").value().await })
    }

    fn peers(&self) -> Answer<'_, Vec<PeerReport>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/peers").value().await })
    }

    fn devices(&self) -> Answer<'_, Vec<DeviceReport>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/devices").value().await })
    }

    fn revoke(&self, device: String, options: RevokeOptions) -> Answer<'_, RevokeReport> {
        Box::pin(async move {
            let target = format!("/v1/devices/{}/revoke", escape(&device));
            self.exchange(Method::POST, target).json(&options)?.value().await
        })
    }

    fn adopt(&self, device: String, batches: Vec<String>) -> Answer<'_, AdoptReport> {
        Box::pin(async move {
            let target = format!("/v1/devices/{}/adopt", escape(&device));
            self.exchange(Method::POST, target).json(&batches)?.value().await
        })
    }

    fn add_relay(&self, options: RelayOptions) -> Answer<'_, Vec<RelayReport>> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/relays").json(&options)?.value().await },
        )
    }

    fn remove_relay(&self, address: String) -> Answer<'_, String> {
        let path = format!("/v1/relays/{}", escape(&address));
        Box::pin(async move { self.exchange(Method::DELETE, path).value().await })
    }

    fn relays(&self) -> Answer<'_, Vec<RelayReport>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/relays").value().await })
    }

    fn conflicts(&self, query: ConflictQuery) -> Answer<'_, Vec<ConflictReport>> {
        Box::pin(async move {
            let target = format!("/v1/conflicts{}", query::join(&query::conflict_pairs(&query)));
            self.exchange(Method::GET, target).value().await
        })
    }

    fn conflict(&self, id: String) -> Answer<'_, ConflictReport> {
        Box::pin(async move {
            self.exchange(Method::GET, format!("/v1/conflicts/{}", escape(&id))).value().await
        })
    }

    fn comment(&self, id: String, text: String) -> Answer<'_, ConflictReport> {
        Box::pin(async move {
            let target = format!("/v1/conflicts/{}/comments", escape(&id));
            self.exchange(Method::POST, target).json(&NewComment { text })?.value().await
        })
    }

    fn resolve(&self, id: String, resolution: Resolution) -> Answer<'_, Record> {
        Box::pin(async move {
            let target = format!("/v1/conflicts/{}/resolve", escape(&id));
            self.exchange(Method::POST, target).json(&resolution)?.value().await
        })
    }

    fn decide(&self, id: String, verdict: Verdict) -> Answer<'_, ConflictReport> {
        Box::pin(async move {
            let path = format!("/v1/conflicts/{}/verdict", escape(&id));
            self.exchange(Method::POST, path).json(&NewVerdict { verdict })?.value().await
        })
    }

    fn notices(&self, all: bool) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move {
            self.exchange(Method::GET, format!("/v1/notices?all={all}")).value().await
        })
    }

    fn see_notices(&self, seen: SeenNotices) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/notices/seen").json(&seen)?.value().await
        })
    }

    fn resolve_all(&self, all: ResolveAll) -> Answer<'_, ResolveAllReport> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/conflicts/resolve").json(&all)?.value().await
        })
    }

    fn invite(&self, options: InviteOptions) -> Answer<'_, Vec<InvitationReport>> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/invitations").json(&options)?.value().await
        })
    }

    fn rekey(&self, options: RekeyOptions) -> Answer<'_, RekeyReport> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/rekey").json(&options)?.value().await },
        )
    }

    fn verify(&self) -> Answer<'_, VerifyReport> {
        Box::pin(async move { self.exchange(Method::POST, "/v1/verify").value().await })
    }

    fn backup(&self, options: BackupOptions, listener: Listener) -> Answer<'_, BackupReport> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/backup").json(&options)?.lines(listener).await
        })
    }

    fn compact(&self, listener: Listener) -> Answer<'_, CompactReport> {
        Box::pin(async move { self.exchange(Method::POST, "/v1/compact").lines(listener).await })
    }

    fn evict(&self, options: EvictOptions, listener: Listener) -> Answer<'_, EvictReport> {
        Box::pin(async move {
            self.exchange(Method::POST, "/v1/evict").json(&options)?.lines(listener).await
        })
    }

    fn kept(&self) -> Answer<'_, KeptReport> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/evict").value().await })
    }

    fn purge(&self, options: PurgeOptions) -> Answer<'_, Vec<PurgeReport>> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/purges").json(&options)?.value().await },
        )
    }

    fn change_draft(&self, change: DraftChange) -> Answer<'_, Draft> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/drafts").json(&change)?.value().await },
        )
    }

    fn drafts(&self) -> Answer<'_, Vec<Draft>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/drafts").value().await })
    }

    fn draft(&self, id: String) -> Answer<'_, Draft> {
        let path = format!("/v1/drafts/{}", escape(&id));
        Box::pin(async move { self.exchange(Method::GET, path).value().await })
    }

    fn submit_draft(&self, id: String) -> Answer<'_, Record> {
        let path = format!("/v1/drafts/{}/submit", escape(&id));
        Box::pin(async move { self.exchange(Method::POST, path).value().await })
    }

    fn schema(&self, options: SchemaOptions) -> Answer<'_, SchemaReport> {
        Box::pin(
            async move { self.exchange(Method::POST, "/v1/schemas").json(&options)?.value().await },
        )
    }

    fn schemas(&self, name: Option<String>) -> Answer<'_, Vec<SchemaShown>> {
        let path = match name {
            Some(name) => format!("/v1/schemas/{}", escape(&name)),
            None => "/v1/schemas".to_owned(),
        };
        Box::pin(async move { self.exchange(Method::GET, path).value().await })
    }

    fn purges(&self) -> Answer<'_, Vec<PurgedRecord>> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/purges").value().await })
    }

    fn doctor(&self) -> Answer<'_, DoctorReport> {
        Box::pin(async move { self.exchange(Method::GET, "/v1/doctor").value().await })
    }

    fn accept_losses(&self) -> Answer<'_, u64> {
        Box::pin(async move { self.exchange(Method::POST, "/v1/doctor/accept").value().await })
    }
}
