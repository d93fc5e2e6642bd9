//! Goal: through the daemon a command gets what it would get from the home itself, failures
//! included.
//! Method: the real client against the real routes over a real socket, with a backend that answers
//! samples.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use fieldmesh::api::{
    BackupOptions, BulkEdit, BulkSeen, Choice, Class, ConflictQuery, Edits, Evict, EvictOptions,
    ExportQuery, ImportOptions, InviteOptions, ListQuery, NewRecord, Problem, Progress,
    PurgeOptions, RekeyOptions, Resolution, RevokeOptions, SyncOptions,
};
use fieldmesh::api::{
    DraftChange, NewRuling, RelayOptions, ResolveAll, SchemaOptions, SchemaStep, SeenNotices,
    Verdict,
};
use fieldmesh_model::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::fake::{Fake, LARGE_EXPORT_SIZE, invalid};
use super::*;
use crate::backend::{Listener, Remote};
use crate::log::Logs;
use crate::render::samples;

struct Running {
    home: PathBuf,
    path: PathBuf,
    fake: Arc<Fake>,
    remote: Remote,
    daemon: JoinHandle<()>,
}

impl Running {
    fn start(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("fmd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let mut socket = Socket::bind(crate::PROGRAM, &home).unwrap();
        let path = socket.path().to_owned();
        let fake = Arc::new(Fake::default());
        let backend: Arc<dyn Backend> = Arc::clone(&fake) as Arc<dyn Backend>;
        let shared = Shared::new(backend, Logs::for_tests(), CancellationToken::new());
        let daemon = tokio::spawn(async move {
            serve(&mut socket, shared).await.unwrap();
        });
        Self { home, remote: Remote::new(path.clone()), path, fake, daemon }
    }

    fn last_asked(&self) -> String {
        self.fake.asked().last().cloned().unwrap_or_default()
    }

    async fn end(self) {
        self.remote.stop(Duration::from_secs(10)).await.unwrap();
        self.daemon.await.unwrap();
        assert!(!self.path.exists());
        std::fs::remove_dir(self.home).unwrap();
    }
}

fn list() -> ListQuery {
    ListQuery {
        collection: "field_entry".into(),
        filters: vec!["wellId=State 12-4".into(), "notes=a&b".into()],
        since: Some(samples::at()),
        until: None,
        limit: Some(2),
        deleted: true,
        not_safe: true,
        ..ListQuery::default()
    }
}

fn bulk() -> BulkEdit {
    BulkEdit {
        list: list(),
        dry_run: true,
        expect: Some(2),
        seen: Some(vec![BulkSeen { id: samples::record().id, version: "5ea1".into() }]),
        ..BulkEdit::default()
    }
}

#[tokio::test]
async fn every_question_reaches_the_home_and_every_answer_comes_back() {
    let running = Running::start("all");
    let remote = &running.remote;
    let new = NewRecord { assignments: vec!["oilVolume=1".into()], ..NewRecord::default() };
    assert_eq!(remote.record(new.clone()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{new:?}"));
    assert_eq!(remote.list(list()).await.unwrap().len(), 2);
    assert_eq!(running.last_asked(), format!("{:?}", list()));
    let name = "State 12-4/ö?".to_owned();
    assert_eq!(remote.show(name.clone()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{:?}", ("show", &name)));
    let edits = Edits { assignments: vec!["notes=".into()], ..Edits::default() };
    assert_eq!(remote.edit(name.clone(), edits.clone()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{:?}", (&name, edits)));
    assert_eq!(remote.delete(name.clone()).await, Ok(samples::other_record()));
    assert_eq!(remote.restore(name.clone()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{:?}", ("restore", &name)));
    let past = remote.show_at(name.clone(), samples::at()).await;
    assert_eq!(past, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{:?}", ("show_at", &name, samples::at())));
    assert_eq!(remote.history(name).await, Ok(samples::revisions()));
    assert_eq!(remote.page(list()).await.unwrap().next.as_deref(), Some("01ab"));
    assert_eq!(running.last_asked(), format!("{:?}", ("page", list())));
    assert_eq!(remote.count(list()).await, Ok(2));
    assert_eq!(running.last_asked(), format!("{:?}", ("count", list())));
    let bulk = bulk();
    assert_eq!(remote.edit_all(bulk.clone()).await, Ok(samples::bulk_report()));
    assert_eq!(running.last_asked(), format!("{bulk:?}"));
    assert_eq!(remote.status().await, Ok(samples::status()));
    assert_eq!(remote.sync_now().await, Ok(samples::sync_now()));
    assert_eq!(remote.peers().await, Ok(samples::peers()));
    assert_eq!(remote.devices().await, Ok(samples::devices()));
    let options = RevokeOptions { reason: "lost & found".into(), wipe: true };
    assert_eq!(remote.revoke("bb/ö".into(), options.clone()).await, Ok(samples::revoked()));
    assert_eq!(running.last_asked(), format!("{:?}", ("bb/ö", options)));
    let batches = vec!["1f3a9c02".to_owned()];
    assert_eq!(remote.adopt("bb".into(), batches.clone()).await, Ok(samples::adopted()));
    assert_eq!(running.last_asked(), format!("{:?}", ("bb", batches)));
    assert!(remote.verify().await.unwrap().clean);
    let options = BackupOptions { file: "/a b".into(), since: Some("/ö".into()) };
    let backup = remote.backup(options.clone(), Box::new(|_| {})).await;
    assert_eq!(backup, Ok(samples::backup()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(remote.compact(Box::new(|_| {})).await.unwrap(), samples::compaction());
    let evict = Evict::Before { month: "2026-03".into() };
    let options = EvictOptions { evict, dry_run: true };
    let evicted = remote.evict(options.clone(), Box::new(|_| {})).await;
    assert_eq!(evicted, Ok(samples::evicted()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(remote.kept().await, Ok(samples::kept()));
    let options = RekeyOptions { passphrase: Some("old".into()), key_file: Some("k".into()) };
    assert_eq!(remote.rekey(options.clone()).await, Ok(samples::rekey()));
    // A passphrase is in no log line.
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert!(!running.last_asked().contains("old"));
    let options = PurgeOptions { records: vec!["7c/ö".into()], ..PurgeOptions::default() };
    assert_eq!(remote.purge(options.clone()).await, Ok(samples::purged()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(remote.purges().await, Ok(samples::purges()));
    let (text, step) = ("name = \"ö\"\n".into(), SchemaStep::Preview);
    let options = SchemaOptions { text, step, ..SchemaOptions::default() };
    assert_eq!(remote.schema(options.clone()).await, Ok(samples::schema()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(remote.schemas(None).await, Ok(samples::schemas()));
    assert_eq!(running.last_asked(), "None");
    assert_eq!(remote.schemas(Some("a/ö".into())).await, Ok(samples::schemas()));
    assert_eq!(running.last_asked(), "Some(\"a/ö\")");
    assert!(!remote.doctor().await.unwrap().open);
    assert_eq!(remote.accept_losses().await.unwrap(), 3);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_record_that_awaits_approval_reaches_the_home() {
    let running = Running::start("approval");
    let (remote, name) = (&running.remote, "P-7, pump house / east".to_owned());
    let ruling = NewRuling { refuse: Some("too much".into()), version: Some("3b".into()) };
    assert_eq!(remote.approve(name.clone(), ruling.clone()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), format!("{:?}", ("approve", &name, ruling)));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_relays_reaches_the_home() {
    let running = Running::start("relays");
    let remote = &running.remote;
    let address = "[2001:db8::1]:7843".to_owned();
    let options = RelayOptions { address: address.clone(), ..RelayOptions::default() };
    assert_eq!(remote.add_relay(options.clone()).await, Ok(samples::relays()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(remote.remove_relay(address).await, Ok("the address of relay".into()));
    assert_eq!(running.last_asked(), "(\"remove relay\", \"[2001:db8::1]:7843\")");
    assert_eq!(remote.relays().await, Ok(samples::relays()));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_drafts_reach_the_home() {
    let running = Running::start("drafts");
    let remote = &running.remote;
    let edits = Edits { assignments: vec!["a=ö".into()], ..Edits::default() };
    let change = DraftChange::Edit { id: "5b/ö".into(), edits };
    assert_eq!(remote.change_draft(change.clone()).await, Ok(samples::draft()));
    assert_eq!(running.last_asked(), format!("{change:?}"));
    assert_eq!(remote.drafts().await, Ok(vec![samples::draft()]));
    assert_eq!(remote.draft("5b/ö".into()).await, Ok(samples::draft()));
    assert_eq!(running.last_asked(), "(\"draft\", \"5b/ö\")");
    assert_eq!(remote.submit_draft("5b/ö".into()).await, Ok(samples::record()));
    assert_eq!(running.last_asked(), "(\"submit\", \"5b/ö\")");
    running.end().await;
}

#[tokio::test]
async fn conflicts_and_invitations_pass_through() {
    let running = Running::start("conflicts");
    let remote = &running.remote;
    let query =
        ConflictQuery { kind: Some("field".into()), closed: true, ..ConflictQuery::default() };
    assert_eq!(remote.conflicts(query.clone()).await, Ok(vec![samples::conflict()]));
    assert_eq!(running.last_asked(), format!("{query:?}"));
    assert_eq!(remote.conflict("7c21".into()).await, Ok(samples::conflict()));
    for resolution in [
        Resolution::Take(Choice::Label("B".into())),
        Resolution::Take(Choice::Latest),
        Resolution::Set(vec!["oilVolume=1".into()]),
    ] {
        remote.resolve("7c21".into(), resolution.clone()).await.unwrap();
        assert_eq!(running.last_asked(), format!("{:?}", ("7c21", resolution)));
    }
    remote.comment("7c21".into(), "so it is".into()).await.unwrap();
    remote.decide("7c21".into(), Verdict::Discard).await.unwrap();
    assert_eq!(running.last_asked(), format!("{:?}", ("7c21", Verdict::Discard)));
    assert_eq!(remote.notices(true).await, Ok(vec![samples::notice()]));
    assert_eq!(running.last_asked(), format!("{:?}", ("notices", true)));
    let seen = SeenNotices { ids: Some(vec!["7c21".into()]) };
    assert_eq!(remote.see_notices(seen.clone()).await, Ok(vec![samples::notice()]));
    assert_eq!(running.last_asked(), format!("{seen:?}"));
    let all = ResolveAll { query, dry_run: true, ..ResolveAll::of(Choice::Client) };
    assert_eq!(remote.resolve_all(all.clone()).await, Ok(samples::settled()));
    assert_eq!(running.last_asked(), format!("{all:?}"));
    let options = InviteOptions {
        role: Role::Manager,
        user: Some("a@b.c".into()),
        valid: Duration::from_secs(60),
        count: 2,
    };
    let invitations = remote.invite(options.clone()).await.unwrap();
    assert_eq!(invitations[0].invitation, "fieldmesh1abc");
    assert_eq!(running.last_asked(), format!("{options:?}"));
    running.end().await;
}

#[tokio::test]
async fn a_failure_comes_back_whole_and_as_a_problem() {
    let running = Running::start("failure");
    let new = NewRecord { assignments: vec!["oilVolume=-1".into()], ..NewRecord::default() };
    assert_eq!(running.remote.record(new).await, Err(invalid()));
    let problem = running.remote.list(ListQuery::default()).await.unwrap_err();
    assert_eq!(problem.class, Class::Usage);
    let raw = raw(&running, "GET /v1/nowhere HTTP/1.1").await;
    assert!(raw.starts_with("HTTP/1.1 404"), "{raw}");
    assert!(raw.contains("application/problem+json"), "{raw}");
    assert!(raw.contains("\"status\":404"), "{raw}");
    let raw = self::raw(&running, "PUT /v1/records HTTP/1.1").await;
    assert!(raw.starts_with("HTTP/1.1 405"), "{raw}");
    let problem = running.remote.log("fieldmesh=loud").await.unwrap_err();
    assert_eq!(problem.class, Class::Usage);
    running.end().await;
}

async fn raw(running: &Running, line: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(&running.path).await.unwrap();
    let request = format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn recorder() -> (Arc<Mutex<Vec<Progress>>>, Listener) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let for_listener = Arc::clone(&told);
    (told, Box::new(move |progress| for_listener.lock().unwrap().push(progress)))
}

#[tokio::test]
async fn a_sync_tells_its_progress_before_its_report() {
    let running = Running::start("sync");
    let (told, listener) = recorder();
    let options = SyncOptions { with: vec!["truck-7".into()], ..SyncOptions::default() };
    assert_eq!(running.remote.sync(options.clone(), listener).await, Ok(samples::sync()));
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!(*told.lock().unwrap(), [Progress::Sync { received: 1, sent: 2 }]);
    running.end().await;
}

#[tokio::test]
async fn a_file_is_uploaded_whole_and_refused_rows_come_back() {
    let running = Running::start("import");
    let (told, listener) = recorder();
    let text = "a line of some length\n".repeat(40_000);
    let options = ImportOptions {
        collection: Some("well".into()),
        mapping: Some("key = [\n\"a\"\n]".into()),
        update: true,
        dry_run: true,
    };
    let source = Box::new(io::Cursor::new(text.clone().into_bytes()));
    let report = running.remote.import(source, options.clone(), listener).await.unwrap();
    assert_eq!(running.last_asked(), format!("{options:?}"));
    assert_eq!((report.rows, report.refused), (40_000, 1));
    let told = told.lock().unwrap().clone();
    assert_eq!(told[0], Progress::Import { rows: 40_000, bytes: text.len() as u64 });
    assert!(matches!(&told[1], Progress::Refused(row) if row.row == 2));
    running.end().await;
}

#[tokio::test]
async fn an_import_that_fails_at_once_tells_why_although_the_file_is_large() {
    let running = Running::start("import-fails");
    let (_, listener) = recorder();
    let options = ImportOptions { collection: Some("unknown".into()), ..ImportOptions::default() };
    let source = Box::new(io::Cursor::new(vec![b'x'; 20 << 20]));
    assert_eq!(running.remote.import(source, options, listener).await, Err(invalid()));
    running.end().await;
}

/// A file whose disk fails in the middle.
struct Failing(usize);

impl io::Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        self.0 -= 1;
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_is_not_taken_for_the_whole() {
    let running = Running::start("import-disk");
    let (_, listener) = recorder();
    let options = ImportOptions { collection: Some("well".into()), ..ImportOptions::default() };
    let problem = running.remote.import(Box::new(Failing(3)), options, listener).await.unwrap_err();
    assert!(problem.detail.contains("the disk is gone"), "{}", problem.detail);
    running.end().await;
}

/// A file in memory that others can look at.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn export(running: &Running, collection: &str) -> (Result<(), Problem>, usize) {
    let memory = Memory::default();
    let list = ListQuery { collection: collection.into(), ..ListQuery::default() };
    let query = ExportQuery { list, ..ExportQuery::default() };
    let result = running.remote.export(query, Box::new(memory.clone())).await;
    let size = memory.0.lock().unwrap().len();
    (result, size)
}

#[tokio::test]
async fn an_export_is_whole_or_fails() {
    let running = Running::start("export");
    assert_eq!(export(&running, "large").await, (Ok(()), LARGE_EXPORT_SIZE));
    assert_eq!(export(&running, "nothing").await, (Ok(()), 0));
    assert_eq!(export(&running, "unknown").await, (Err(invalid()), 0));
    let (result, _) = export(&running, "breaking").await;
    assert_eq!(result.unwrap_err().class, Class::Failed);
    running.end().await;
}
