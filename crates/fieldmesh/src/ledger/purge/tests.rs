//! Whether a purged record is gone from every store, and only that one.
//!
//! Real nodes in one process; what is gone is looked for in each entry of each log and in each row
//! of each view, where nothing is encrypted.

mod beside;
mod given_up;
mod leftovers;
mod remade;

use std::path::{Path, PathBuf};

use fieldmesh_store::{Direction, KeyRange};

use super::*;
use crate::api::{Edits, ListQuery, NewRecord, SyncOptions, SyncResult};
use crate::{Node, TenantOptions};

/// What nobody may find any more.
const SECRET: &str = "fell at the separator";

/// A tenant whose first device is the office, and a folder for all homes.
struct Crew {
    folder: tempfile::TempDir,
    office: Node,
    address: String,
}

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let office = builder.create_tenant(options).await.unwrap().0;
        let address = listen(&office).await;
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        office.record(well).await.unwrap();
        Self { folder, office, address }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn device(&self, name: &str, role: Role) -> Node {
        let options = crate::api::InviteOptions {
            role,
            user: None,
            valid: Duration::from_secs(600),
            count: 1,
        };
        let invitation = self.office.invite(options).await.unwrap().remove(0).invitation;
        let builder = Node::builder(self.home(name)).passphrase("one");
        let builder = if role == Role::Relay { builder.forward_only() } else { builder };
        let (node, _) = builder.join(&invitation, Some(name.into())).await.unwrap();
        listen(&node).await;
        if role != Role::Relay {
            sync(&node, &self.address).await;
        }
        node
    }

    /// The office is stopped and comes back.
    async fn restart_office(self) -> Self {
        let home = self.home("office");
        self.office.shutdown().await.unwrap();
        let office = open(&home).await;
        let address = listen(&office).await;
        Self { folder: self.folder, office, address }
    }
}

async fn open(home: &Path) -> Node {
    Node::builder(home).passphrase("one").open().await.unwrap()
}

async fn listen(node: &Node) -> String {
    node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string()
}

async fn sync(node: &Node, address: &str) {
    let with = vec![address.into()];
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_| {}).await.unwrap();
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
}

fn new_entry(minute: u32, notes: &str) -> NewRecord {
    let assignments = vec![
        "wellId=Alder 1".into(),
        "entryType=PRODUCTION".into(),
        format!("recordedAt=2026-03-01T08:{minute:02}:00Z"),
        "oilVolume=10".into(),
        format!("notes={notes}"),
    ];
    NewRecord { collection: "field_entry".into(), assignments, ..NewRecord::default() }
}

async fn entry(node: &Node, minute: u32, notes: &str) -> DocumentId {
    node.record(new_entry(minute, notes)).await.unwrap().id
}

fn asked(id: DocumentId, reason: &str) -> PurgeOptions {
    PurgeOptions { records: vec![id.to_string()], reason: reason.into(), dry_run: false }
}

async fn purge(node: &Node, id: DocumentId, reason: &str) -> Result<Vec<PurgeReport>, Error> {
    node.purge(asked(id, reason)).await
}

async fn list(node: &Node) -> Vec<DocumentId> {
    let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let mut ids: Vec<DocumentId> =
        node.list(query).await.unwrap().into_iter().map(|it| it.id).collect();
    ids.sort_unstable();
    ids
}

/// Whether an entry of the log has the words of the secret.
fn is_in_log(node: &Node) -> bool {
    let mut is_in = false;
    let replayed = node.ledger().store.replay(None, |_, entry| {
        is_in |= entry.bytes.windows(SECRET.len()).any(|it| it == SECRET.as_bytes());
        ControlFlow::Continue(())
    });
    replayed.unwrap();
    is_in
}

/// The entries of the log that hold anything of the record.
fn in_log(node: &Node, id: DocumentId) -> usize {
    let mut count = 0;
    let replayed = node.ledger().store.replay(None, |_, entry| {
        let is_in = match Entry::decode(&entry).unwrap() {
            Entry::Batch(bytes) => {
                Batch::decode(&bytes).unwrap().leaves().iter().any(|leaf| leaf.document == id)
            }
            Entry::Change(local) => local.document == id,
            Entry::Item(_) | Entry::Fact(_) | Entry::Note(_) => false,
        };
        let has_words = entry.bytes.windows(SECRET.len()).any(|it| it == SECRET.as_bytes());
        count += usize::from(is_in || has_words);
        ControlFlow::Continue(())
    });
    assert!(replayed.unwrap().bad_frames.is_empty());
    count
}

/// The rows of records, indexes, inbox and quarantine, with their keys.
fn record_rows(node: &Node) -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for tree in [Tree::Document, Tree::Index, Tree::Inbox, Tree::Quarantine] {
        for row in rows::scan(node.ledger().view(), tree, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row.unwrap();
            let value = match tree {
                // Where it stands in the feed depends on what the log lacks.
                Tree::Document => {
                    let row: rows::DocumentRow = rows::decode(&value).unwrap();
                    rows::encode(&rows::DocumentRow { arrived: Vec::new(), feed: 0, ..row })
                }
                _ => value,
            };
            all.push((tree, key, value));
        }
    }
    all
}

fn assert_gone(node: &Node, id: DocumentId) {
    node.ledger().catch_up().unwrap();
    node.ledger().sweep().unwrap();
    assert_eq!(in_log(node, id), 0);
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    for (tree, key, value) in record_rows(node) {
        assert!(!has(&key, id.as_bytes()) && !has(&value, id.as_bytes()), "{tree:?} {key:?}");
    }
    for row in rows::scan(node.ledger().view(), Tree::Meta, KeyRange::all(), Direction::Ascending) {
        let (key, _) = row.unwrap();
        assert!(!has(&key, id.as_bytes()), "{key:?}");
    }
    assert!(!node.ledger().is_unswept().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_record_is_gone_from_every_device_and_from_the_relay() {
    let crew = Crew::new().await;
    let relay = crew.device("relay", Role::Relay).await;
    let tablet = crew.device("tablet", Role::Operator).await;
    let secret = entry(&tablet, 1, SECRET).await;
    let kept = entry(&tablet, 2, "all quiet").await;
    let at_relay = listen(&relay).await;
    sync(&tablet, &at_relay).await;
    sync(&crew.office, &at_relay).await;
    assert!([&tablet, &relay, &crew.office].iter().all(|node| in_log(node, secret) > 0));

    let report = purge(&crew.office, secret, "asked for").await.unwrap().remove(0);
    assert_eq!((report.id, report.changes, report.erased), (secret, 1, true));
    sync(&crew.office, &at_relay).await;
    sync(&tablet, &at_relay).await;
    for node in [&tablet, &relay, &crew.office] {
        assert_gone(node, secret);
    }
    for node in [&tablet, &crew.office] {
        assert_eq!(list(node).await, [kept]);
        let verified = node.verify().await.unwrap();
        assert!(verified.clean, "{verified:?}");
        let shown = node.show(&secret.to_string()).await.unwrap_err().to_string();
        assert!(shown.contains("was purged by") && shown.contains("(asked for)"), "{shown}");
        assert_eq!(node.history(&secret.to_string()).await.unwrap_err().to_string(), shown);
        // The id follows from person, time and key: only on the same person's device it is the
        // purged one, and then that is said.
        match node.record(new_entry(1, "again")).await {
            Ok(record) => assert_ne!(record.id, secret),
            Err(error) => assert!(error.to_string().contains("was purged by"), "{error}"),
        }
    }
    // Whoever comes later gets what is left from those that erased the rest.
    let van = crew.device("van", Role::Operator).await;
    sync(&van, &at_relay).await;
    assert!(list(&van).await.contains(&kept));
    assert_gone(&van, secret);
    for node in [tablet, relay, van] {
        node.shutdown().await.unwrap();
    }
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_wrote_offline_on_a_purged_record_is_erased_when_it_comes() {
    let mut crew = Crew::new().await;
    let van = crew.device("van", Role::Operator).await;
    let secret = entry(&van, 1, SECRET).await;
    sync(&van, &crew.address).await;
    purge(&crew.office, secret, "asked for").await.unwrap();
    assert_gone(&crew.office, secret);
    // Out of reach the van goes on with it, and records something else.
    let fields = serde_json::json!({ "notes": format!("{SECRET} again") });
    let edits = Edits { fields: fields.as_object().unwrap().clone(), ..Edits::default() };
    van.edit(&secret.to_string(), edits).await.unwrap();
    let kept = entry(&van, 2, "all quiet").await;

    sync(&van, &crew.address).await;
    assert_eq!(list(&van).await, [kept]);
    assert_eq!(list(&crew.office).await, [kept], "what came with it counts");
    crew.office.ledger().catch_up().unwrap();
    let items = crew.office.ledger().name_late().unwrap();
    let policy = crew.office.ledger().policy();
    assert!(items.iter().all(|item| policy.counts(&item.id())));
    assert_gone(&crew.office, secret);
    crew = crew.restart_office().await;
    sync(&van, &crew.address).await;
    assert_gone(&van, secret);
    assert_gone(&crew.office, secret);
    assert_eq!(list(&van).await, [kept]);
    assert!(van.verify().await.unwrap().clean);
    van.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_a_power_cut_left_undone_is_done_at_the_next_start() {
    let mut crew = Crew::new().await;
    let secret = entry(&crew.office, 1, SECRET).await;
    let kept = entry(&crew.office, 2, "all quiet").await;
    // The item is durable, and nothing else is done.
    crew.office.ledger().purge(&asked(secret, "asked for")).unwrap();
    crew = crew.restart_office().await;
    assert_eq!(in_log(&crew.office, secret), 0);
    // Half of it is done: the log is written anew, and nothing says so.
    let other = entry(&crew.office, 3, SECRET).await;
    let ledger = crew.office.ledger();
    ledger.purge(&asked(other, "")).unwrap();
    ledger.projector.turn_over().unwrap();
    let (policy, until) = (ledger.policy(), ledger.projector.applied().unwrap());
    ledger.erase(&policy, &ledger.remains(&policy, until).unwrap().places).unwrap();
    assert!(ledger.is_unswept().unwrap());
    crew = crew.restart_office().await;
    for id in [secret, other] {
        assert_gone(&crew.office, id);
    }
    assert_eq!(list(&crew.office).await, [kept]);
    assert!(crew.office.verify().await.unwrap().clean);
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_made_anew_from_the_swept_log_has_the_same_rows() {
    let crew = Crew::new().await;
    for minute in 1..20 {
        entry(&crew.office, minute, "all quiet").await;
    }
    let secret = entry(&crew.office, 30, SECRET).await;
    entry(&crew.office, 31, "all quiet").await;
    purge(&crew.office, secret, "").await.unwrap();
    crew.office.ledger().catch_up().unwrap();
    let before = record_rows(&crew.office);
    assert!(!before.is_empty());
    let home = crew.home("office");
    crew.office.shutdown().await.unwrap();
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
    let office = open(&home).await;
    office.ledger().catch_up().unwrap();
    assert_eq!(record_rows(&office), before);
    assert_gone(&office, secret);
    office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_purges_and_nothing_is_gone_when_another_tries() {
    let crew = Crew::new().await;
    let tablet = crew.device("tablet", Role::Manager).await;
    let kept = entry(&tablet, 1, SECRET).await;
    let refused = purge(&tablet, kept, "no").await;
    assert!(matches!(refused, Err(Error::NotAllowed { .. })), "{refused:?}");
    assert_eq!(list(&tablet).await, [kept]);
    assert!(in_log(&tablet, kept) > 0);
    let unknown = purge(&crew.office, DocumentId::from_bytes([9; 16]), "").await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    tablet.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}
