//! A backend for tests: it answers with samples and remembers what it was asked.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::sync::Mutex;

use fieldmesh::api::{
    AdoptReport, BackupOptions, BackupReport, BulkEdit, BulkReport, Class, CompactReport,
    ConflictQuery, ConflictReport, ConnectivityReport, DeviceReport, DoctorReport, Edits,
    EvictOptions, EvictReport, ExportQuery, ImportOptions, ImportReport, InvitationReport,
    InviteOptions, KeptReport, ListQuery, NewRecord, Page, PeerReport, Problem, Progress,
    PurgeOptions, PurgeReport, PurgedRecord, Record, RefusedRow, RekeyOptions, RekeyReport,
    Remaking, Resolution, Revision, RevokeOptions, RevokeReport, StatusReport, SyncNow,
    SyncOptions, SyncReport, SyncSettingsChange, VerifyReport,
};
use fieldmesh::api::{Draft, DraftChange, NewRuling};
use fieldmesh::api::{Notice, SeenNotices};
use fieldmesh::api::{RelayOptions, RelayReport};
use fieldmesh::api::{ResolveAll, ResolveAllReport, Verdict};
use fieldmesh::api::{SchemaOptions, SchemaReport, SchemaShown};
use fieldmesh_model::Moment;
use fieldmesh_model::validate::Fault;

use crate::backend::{Answer, Backend, Listener, Sink, Source};
use crate::render::samples;

/// How many bytes an export of the collection `large` has.
pub(crate) const LARGE_EXPORT_SIZE: usize = 3 << 20;

/// The backend.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    asked: Mutex<Vec<String>>,
    /// How far its records have come, one for each page until they are there.
    made: Mutex<VecDeque<u64>>,
}

impl Fake {
    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Has its next pages say that the records are so far.
    pub(crate) fn make(&self, percents: impl IntoIterator<Item = u64>) {
        self.made.lock().unwrap().extend(percents);
    }

    fn answer<T: Send + 'static>(&self, asked: impl std::fmt::Debug, answer: T) -> Answer<'_, T> {
        self.asked.lock().unwrap().push(format!("{asked:?}"));
        Box::pin(async { Ok(answer) })
    }
}

/// What the fake says to a record that is not valid.
pub(crate) fn invalid() -> Problem {
    Problem {
        class: Class::Invalid,
        detail: "the record is not valid".into(),
        faults: vec![Fault {
            field: "data.oilVolume".into(),
            message: "cannot be negative".into(),
        }],
    }
}

impl Backend for Fake {
    fn record(&self, new: NewRecord) -> Answer<'_, Record> {
        if new.assignments.iter().any(|text| text.ends_with("=-1")) {
            return Box::pin(async { Err(invalid()) });
        }
        self.answer(new, samples::record())
    }

    fn edit(&self, id: String, edits: Edits) -> Answer<'_, Record> {
        self.answer((id, edits), samples::record())
    }

    fn delete(&self, id: String) -> Answer<'_, Record> {
        self.answer(("delete", id), samples::other_record())
    }

    fn restore(&self, id: String) -> Answer<'_, Record> {
        self.answer(("restore", id), samples::record())
    }

    fn approve(&self, id: String, ruling: NewRuling) -> Answer<'_, Record> {
        self.answer(("approve", id, ruling), samples::record())
    }

    fn show(&self, id: String) -> Answer<'_, Record> {
        self.answer(("show", id), samples::record())
    }

    fn history(&self, id: String) -> Answer<'_, Vec<Revision>> {
        self.answer(("history", id), samples::revisions())
    }

    fn list(&self, query: ListQuery) -> Answer<'_, Vec<Record>> {
        self.answer(query, vec![samples::record(), samples::other_record()])
    }

    fn page(&self, query: ListQuery) -> Answer<'_, Page> {
        let records = vec![samples::record(), samples::other_record()];
        let made = self.made.lock().unwrap().pop_front();
        let remaking = made.map(|done| Remaking { done, of: 100 });
        self.answer(("page", query), Page { records, next: Some("01ab".into()), remaking })
    }

    fn count(&self, query: ListQuery) -> Answer<'_, u64> {
        self.answer(("count", query), 2)
    }

    fn show_at(&self, id: String, at: Moment) -> Answer<'_, Record> {
        self.answer(("show_at", id, at), samples::record())
    }

    fn edit_all(&self, bulk: BulkEdit) -> Answer<'_, BulkReport> {
        self.answer(bulk, samples::bulk_report())
    }

    fn export(&self, query: ExportQuery, mut sink: Sink) -> Answer<'_, ()> {
        let collection = query.list.collection;
        Box::pin(async move {
            if collection == "nothing" {
                return Ok(());
            }
            if collection == "unknown" {
                return Err(invalid());
            }
            let writing = tokio::task::spawn_blocking(move || {
                for _ in 0..LARGE_EXPORT_SIZE / 1_024 {
                    sink.write_all(&[b'x'; 1_024])?;
                }
                sink.flush()
            });
            writing.await.unwrap().map_err(|error| crate::problem::failed(error.to_string()))?;
            if collection == "breaking" { Err(invalid()) } else { Ok(()) }
        })
    }

    fn import(
        &self,
        mut source: Source,
        options: ImportOptions,
        mut listener: Listener,
    ) -> Answer<'_, ImportReport> {
        self.asked.lock().unwrap().push(format!("{options:?}"));
        Box::pin(async move {
            if options.collection.as_deref() == Some("unknown") {
                return Err(invalid());
            }
            let reading = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                source.read_to_string(&mut text)?;
                std::io::Result::Ok(text)
            });
            let text = reading.await.unwrap();
            let text = text.map_err(|error| crate::problem::failed(error.to_string()))?;
            let rows = text.lines().count() as u64;
            listener(Progress::Import { rows, bytes: text.len() as u64 });
            listener(Progress::Refused(RefusedRow { row: 2, faults: invalid().faults }));
            Ok(ImportReport { rows, imported: rows - 1, refused: 1, ..ImportReport::default() })
        })
    }

    fn sync(&self, options: SyncOptions, mut listener: Listener) -> Answer<'_, SyncReport> {
        listener(Progress::Sync { received: 1, sent: 2 });
        self.answer(options, samples::sync())
    }

    fn connectivity(&self) -> Answer<'_, ConnectivityReport> {
        self.answer("connectivity", ConnectivityReport::default())
    }

    fn configure_sync(&self, change: SyncSettingsChange) -> Answer<'_, ConnectivityReport> {
        self.answer(change, ConnectivityReport::default())
    }

    fn sync_now(&self) -> Answer<'_, SyncNow> {
        self.answer("sync now", samples::sync_now())
    }

    fn warnings(&self) -> Answer<'_, Vec<String>> {
        self.answer("warnings", Vec::new())
    }

    fn status(&self) -> Answer<'_, StatusReport> {
        self.answer("status", samples::status())
    }

    fn peers(&self) -> Answer<'_, Vec<PeerReport>> {
        self.answer("peers", samples::peers())
    }

    fn devices(&self) -> Answer<'_, Vec<DeviceReport>> {
        self.answer("devices", samples::devices())
    }

    fn revoke(&self, device: String, options: RevokeOptions) -> Answer<'_, RevokeReport> {
        self.answer((device, options), samples::revoked())
    }

    fn adopt(&self, device: String, batches: Vec<String>) -> Answer<'_, AdoptReport> {
        self.answer((device, batches), samples::adopted())
    }

    fn add_relay(&self, options: RelayOptions) -> Answer<'_, Vec<RelayReport>> {
        self.answer(options, samples::relays())
    }

    fn remove_relay(&self, address: String) -> Answer<'_, String> {
        self.answer(("remove relay", address), "the address of relay".into())
    }

    fn relays(&self) -> Answer<'_, Vec<RelayReport>> {
        self.answer("relays", samples::relays())
    }

    fn conflicts(&self, query: ConflictQuery) -> Answer<'_, Vec<ConflictReport>> {
        self.answer(query, vec![samples::conflict()])
    }

    fn conflict(&self, id: String) -> Answer<'_, ConflictReport> {
        self.answer(("conflict", id), samples::conflict())
    }

    fn comment(&self, id: String, text: String) -> Answer<'_, ConflictReport> {
        self.answer(("comment", id, text), samples::conflict())
    }

    fn resolve(&self, id: String, resolution: Resolution) -> Answer<'_, Record> {
        self.answer((id, resolution), samples::record())
    }

    fn decide(&self, id: String, verdict: Verdict) -> Answer<'_, ConflictReport> {
        self.answer((id, verdict), samples::conflict())
    }

    fn notices(&self, all: bool) -> Answer<'_, Vec<Notice>> {
        self.answer(("notices", all), vec![samples::notice()])
    }

    fn see_notices(&self, seen: SeenNotices) -> Answer<'_, Vec<Notice>> {
        self.answer(seen, vec![samples::notice()])
    }

    fn resolve_all(&self, all: ResolveAll) -> Answer<'_, ResolveAllReport> {
        self.answer(all, samples::settled())
    }

    fn invite(&self, options: InviteOptions) -> Answer<'_, Vec<InvitationReport>> {
        let invitation =
            InvitationReport { invitation: "fieldmesh1abc".into(), expires_at: samples::at() };
        self.answer(options, vec![invitation])
    }

    fn rekey(&self, options: RekeyOptions) -> Answer<'_, RekeyReport> {
        self.answer(options, samples::rekey())
    }

    fn verify(&self) -> Answer<'_, VerifyReport> {
        self.answer("verify", VerifyReport { clean: true, ..VerifyReport::default() })
    }

    fn backup(&self, options: BackupOptions, mut listener: Listener) -> Answer<'_, BackupReport> {
        listener(Progress::Backup { entries: 7 });
        self.answer(options, samples::backup())
    }

    fn compact(&self, mut listener: Listener) -> Answer<'_, CompactReport> {
        listener(Progress::Compact { done: 1, of: 2 });
        self.answer("compact", samples::compaction())
    }

    fn evict(&self, options: EvictOptions, mut listener: Listener) -> Answer<'_, EvictReport> {
        listener(Progress::Compact { done: 1, of: 2 });
        self.answer(options, samples::evicted())
    }

    fn kept(&self) -> Answer<'_, KeptReport> {
        self.answer("kept", samples::kept())
    }

    fn purge(&self, options: PurgeOptions) -> Answer<'_, Vec<PurgeReport>> {
        self.answer(options, samples::purged())
    }

    fn change_draft(&self, change: DraftChange) -> Answer<'_, Draft> {
        self.answer(change, samples::draft())
    }

    fn drafts(&self) -> Answer<'_, Vec<Draft>> {
        self.answer("drafts", vec![samples::draft()])
    }

    fn draft(&self, id: String) -> Answer<'_, Draft> {
        self.answer(("draft", id), samples::draft())
    }

    fn submit_draft(&self, id: String) -> Answer<'_, Record> {
        self.answer(("submit", id), samples::record())
    }

    fn schema(&self, options: SchemaOptions) -> Answer<'_, SchemaReport> {
        self.answer(options, samples::schema())
    }

    fn schemas(&self, name: Option<String>) -> Answer<'_, Vec<SchemaShown>> {
        self.answer(name, samples::schemas())
    }

    fn purges(&self) -> Answer<'_, Vec<PurgedRecord>> {
        self.answer("purges", samples::purges())
    }

    fn doctor(&self) -> Answer<'_, DoctorReport> {
        self.answer("doctor", DoctorReport::default())
    }

    fn accept_losses(&self) -> Answer<'_, u64> {
        self.answer("accept", 3)
    }
}
