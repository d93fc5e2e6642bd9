//! Goal: while records are made anew a device goes on, and no answer looks whole that is not.
//! Method: the view of a home is taken away, and no record is made of its log until the test has
//! recorded, edited, read and synced; then everything has to be as if nothing had been.

mod anew;
mod half;

use std::path::Path;

use fieldmesh_model::DeviceId;
use serde_json::json;

use crate::api::{Edits, ListQuery, NewRecord, Page, Record, SyncOptions, SyncResult};
use crate::making::{Hold, hold, release};
use crate::{Error, Node, TenantOptions};

/// More than a view may lag behind before it is brought up in two passes.
const WELLS: usize = 40;

/// Has a device make records again, also where a test fails.
struct Held(DeviceId);

impl Held {
    fn begin(device: DeviceId) -> Self {
        Self::with(device, Hold::At(None))
    }

    fn with(device: DeviceId, how: Hold) -> Self {
        hold(device, how);
        Self(device)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        release(self.0);
    }
}

fn well(number: usize) -> NewRecord {
    let fields = json!({
        "name": format!("Alder {number}"),
        "apiNumber": format!("42-227-{number:05}"),
        "status": "ACTIVE",
    });
    let fields = fields.as_object().unwrap().clone();
    NewRecord { collection: "well".into(), fields, ..NewRecord::default() }
}

fn entry(well: &Record, oil: u32, at: i64) -> NewRecord {
    let fields = json!({
        "wellId": well.id.to_string(),
        "entryType": "PRODUCTION",
        "data": {"oilVolume": oil},
    });
    let fields = fields.as_object().unwrap().clone();
    let at = Some(crate::Moment::from_millis(1_770_000_000_000 + at));
    NewRecord { collection: "field_entry".into(), fields, at, ..NewRecord::default() }
}

/// What refers to nothing and is compared with nothing.
fn pump(number: usize) -> NewRecord {
    let fields = json!({ "name": format!("Pump {number}"), "status": "IN_SERVICE" });
    let fields = fields.as_object().unwrap().clone();
    NewRecord { collection: "asset".into(), fields, ..NewRecord::default() }
}

fn all(collection: &str) -> ListQuery {
    ListQuery { collection: collection.into(), ..ListQuery::default() }
}

fn partial(collection: &str) -> ListQuery {
    ListQuery { partial: true, ..all(collection) }
}

fn oil(value: u32) -> Edits {
    Edits { assignments: vec![format!("oilVolume={value}")], ..Edits::default() }
}

/// A home with wells and an entry at each.
async fn home(path: &Path) -> (Vec<Record>, Vec<Record>, DeviceId) {
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let (node, _) = Node::builder(path).passphrase("one").create_tenant(options).await.unwrap();
    let (mut wells, mut entries) = (Vec::new(), Vec::new());
    for number in 0..WELLS {
        let well = node.record(well(number)).await.unwrap();
        entries.push(node.record(entry(&well, 80, 0)).await.unwrap());
        wells.push(well);
    }
    let device = node.ledger().device();
    node.shutdown().await.unwrap();
    (wells, entries, device)
}

fn lose_view(home: &Path) {
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
}

async fn open(home: &Path) -> Node {
    Node::builder(home).passphrase("one").open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_records_while_its_view_is_made_anew_and_is_never_shown_less_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (wells, entries, device) = home(&path).await;
    lose_view(&path);
    let held = Held::begin(device);
    let node = open(&path).await;

    let status = node.status().await.unwrap();
    assert_eq!(status.state, "remaking");
    let remaking = status.remaking.unwrap();
    assert!(remaking.done < remaking.of && remaking.percent() < 100, "{remaking:?}");
    assert_eq!(node.warnings().await.unwrap(), [remaking.words()]);
    assert!(node.doctor().await.unwrap().remaking.is_some());
    let Page { records, remaking, .. } = node.page(partial("well")).await.unwrap();
    assert_eq!((records.len(), remaking.is_some()), (0, true));
    let whole = tokio::spawn({
        let node = node.clone();
        async move { (node.list(all("well")).await, node.count(all("field_entry")).await) }
    });

    // What depends on no other record is recorded; what may be there already waits.
    let fresh = node.record(pump(1)).await.unwrap();
    let taken = node.record(entry(&wells[0], 82, 0)).await;
    assert!(matches!(taken, Err(Error::Remaking { .. })), "{taken:?}");
    for name in [&entries[0].id.to_string(), "Alder 1"] {
        let edited = node.edit(name, oil(90)).await;
        assert!(matches!(edited, Err(Error::Remaking { .. })), "{edited:?}");
        let shown = node.show(name).await;
        assert!(matches!(shown, Err(Error::Remaking { .. })), "{shown:?}");
    }
    let unique = node.record(well(0)).await;
    assert!(matches!(unique, Err(Error::Remaking { .. })), "{unique:?}");
    assert!(!whole.is_finished(), "a list without a word for it gave less than there is");

    drop(held);
    let (listed, counted) = whole.await.unwrap();
    assert_eq!(listed.unwrap().len(), WELLS);
    assert_eq!(counted.unwrap(), WELLS as u64);
    let status = node.status().await.unwrap();
    assert_eq!((status.state.as_str(), status.remaking), ("ready", None));
    assert_eq!((status.records["field_entry"], status.records["asset"]), (WELLS as u64, 1));
    assert_eq!(node.show(&fresh.id.to_string()).await.unwrap().fields["name"], "Pump 1");
    let taken = node.record(entry(&wells[0], 82, 0)).await;
    assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
    node.edit(&entries[0].id.to_string(), oil(90)).await.unwrap();
    assert!(node.verify().await.unwrap().clean);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_between_two_ends_of_the_program_in_a_remake_is_sealed_once_and_travels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (wells, _, device) = home(&path).await;
    lose_view(&path);
    let held = Held::begin(device);
    let mut recorded = Vec::new();
    for turn in 0..3 {
        let node = open(&path).await;
        assert_eq!(node.status().await.unwrap().state, "remaking", "turn {turn}");
        recorded.push(node.record(pump(turn)).await.unwrap().id);
        node.shutdown().await.unwrap();
    }
    let node = open(&path).await;
    let address = node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let invited = node
        .invite(crate::api::InviteOptions {
            role: crate::Role::Manager,
            user: Some("ana@example.org".into()),
            valid: std::time::Duration::from_secs(600),
            count: 1,
        })
        .await
        .unwrap();
    let builder = Node::builder(folder.path().join("other")).passphrase("two");
    let (other, _) = builder.join(&invited[0].invitation, Some("other".into())).await.unwrap();
    let options = SyncOptions {
        with: vec![address.to_string()],
        timeout: std::time::Duration::from_secs(60),
        mdns: false,
        ..SyncOptions::default()
    };
    let report = other.sync(options.clone(), |_| {}).await.unwrap();
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    assert_eq!(other.count(all("asset")).await.unwrap(), 3);
    // What comes in meanwhile is there in the end, and so is what goes out.
    let theirs = other.record(entry(&wells[2], 60, 60_000)).await.unwrap().id;
    let report = other.sync(options, |_| {}).await.unwrap();
    assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    assert_eq!(node.status().await.unwrap().state, "remaking");

    drop(held);
    recorded.push(theirs);
    assert_eq!(node.list(all("field_entry")).await.unwrap().len(), WELLS + 1);
    for id in recorded {
        node.show(&id.to_string()).await.unwrap();
    }
    let mine = node.status().await.unwrap();
    let others = other.status().await.unwrap();
    assert_eq!((mine.root, &mine.records), (others.root, &others.records));
    assert!(node.verify().await.unwrap().clean);
    other.shutdown().await.unwrap();
    node.shutdown().await.unwrap();
}
