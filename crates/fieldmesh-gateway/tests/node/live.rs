//! What a device records appears at a client that follows the gateway, and the reverse.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use fieldmesh::Node;
use fieldmesh::api::{InviteOptions, ListQuery, SyncOptions};
use fieldmesh_dialect::command::Pull;
use fieldmesh_dialect::{Command, Dialect, Method, Outcome, Request, Since, understand};
use fieldmesh_model::Role;
use futures::StreamExt;
use serde_json::json;

use crate::{Office, entry, now, well};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_device_reaches_who_follows_and_an_entry_of_an_app_reaches_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let first = well(&office.node, 1).await;
    let (device, address) = join(&office.node, &folder.path().join("device")).await;

    let caller = office.caller(Role::Admin);
    let request = Request::new(Method::Get, "/sync/live", now());
    let ask = understand(&request, Some(&caller)).unwrap();
    let Command::Follow(pull) = ask.command.clone() else { panic!("{:?}", ask.command) };
    // From where the feed stands now: what was there before is no news.
    let now_on = Pull { since: Since::Now, ..pull.clone() };
    let dialect = Some(Dialect::Wellpulse);
    let here = office.gateway.execute(&caller, dialect, Command::Pull(now_on), now()).await;
    let Outcome::Page(here) = here else { panic!("{here:?}") };
    let pull = Pull { since: Since::Place(here.place), ..pull };
    let mut pages = pin!(office.gateway.follow(caller, dialect, pull));

    let second = well(&device, 2).await;
    sync(&device, &address).await;
    let page = tokio::time::timeout(Duration::from_secs(10), pages.next()).await.unwrap().unwrap();
    let names: Vec<String> = page.items.iter().map(|it| it.record.name.to_string()).collect();
    assert_eq!(names, [second]);

    let push = json!({ "deviceId": "T1", "entries": [entry(&first, 0, 80.0)] });
    let pushed = office.post("/sync/push", &push).await;
    let page = tokio::time::timeout(Duration::from_secs(10), pages.next()).await.unwrap().unwrap();
    assert_eq!(json!(page.items[0].record.name), pushed["results"][0]["entryId"]);
    // That a batch holds the entry from here on is no news, so the next thing is what comes next.
    sync(&device, &address).await;
    let third = well(&device, 3).await;
    sync(&device, &address).await;
    let page = tokio::time::timeout(Duration::from_secs(10), pages.next()).await.unwrap().unwrap();
    let names: Vec<String> = page.items.iter().map(|it| it.record.name.to_string()).collect();
    assert_eq!(names, [third]);
    let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    let entries = device.list(query).await.unwrap();
    assert_eq!(entries[0].fields["wellId"], json!(first));
    drop(office.gateway);
    device.shutdown().await.unwrap();
    office.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_follows_wells_alone_is_told_of_no_entries_that_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let first = well(&office.node, 1).await;
    let push = async |device: &str, minute: usize| {
        let body = json!({ "deviceId": device, "entries": [entry(&first, minute, 80.0)] });
        office.post("/sync/push", &body).await;
    };
    let waiting = async || {
        let status = office.get("/sync/status?deviceId=T1").await;
        status["pendingEntries"].as_u64().unwrap()
    };
    let caller = office.caller(Role::Admin);
    let follow = async |include: &str| {
        let target = format!("/sync/live?deviceId=T1&include={include}");
        let ask = understand(&Request::new(Method::Get, &target, now()), Some(&caller)).unwrap();
        let Command::Follow(pull) = ask.command.clone() else { panic!("{:?}", ask.command) };
        // As one that goes on by its cursor.
        let pull = Command::Pull(Pull { since: Since::Place(1), ..pull });
        let outcome = office.gateway.execute(&caller, ask.dialect, pull, now()).await;
        assert!(matches!(outcome, Outcome::Page(_)), "{outcome:?}");
    };
    push("T2", 0).await;
    follow("wells,users").await;
    assert_eq!(waiting().await, 0, "a device that never wrote");
    push("T1", 3).await;
    follow("wells,users").await;
    push("T2", 1).await;
    assert_eq!(waiting().await, 0);
    follow("wells,entries").await;
    push("T2", 2).await;
    assert_eq!(waiting().await, 1);
    // What is read of wells takes none of them off the list.
    follow("wells").await;
    assert_eq!(waiting().await, 1);
    office.close().await;
}

/// A device of the office that has everything, and where it reaches the office.
pub(crate) async fn join(office: &Node, home: &Path) -> (Node, String) {
    let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role: Role::Admin, user: None, valid, count: 1 };
    let invited = office.invite(options).await.unwrap();
    let builder = Node::builder(home);
    let (device, _) = builder.join(&invited[0].invitation, Some("tablet".into())).await.unwrap();
    sync(&device, &address).await;
    (device, address)
}

pub(crate) async fn sync(node: &Node, address: &str) {
    let options = SyncOptions { with: vec![address.into()], mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_| {}).await.unwrap();
    assert_eq!(report.result, fieldmesh::api::SyncResult::Ok, "{report:?}");
}
