//! Who changed what, told at devices that were not there when an app wrote it over a gateway.

use fieldmesh::api::{InviteOptions, ListQuery, Revision};
use fieldmesh::{Node, TenantOptions, UserId};
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::Office;
use crate::disputes::check;
use crate::entity::{PUMP, define};
use crate::live::sync;

const ANN: UserId = UserId::from_bytes([0x11; 16]);
const BOB: UserId = UserId::from_bytes([0x22; 16]);

fn change(operation: &str, payload: &Json, version: u64) -> Json {
    json!({ "changes": [{
        "entityType": "task", "entityId": "t1", "operation": operation, "payload": payload,
        "clientVersion": version, "timestamp": "2025-10-25T10:00:00.000Z",
    }]})
}

/// Ann makes a task, Bob changes and deletes it; gives its id.
async fn work(office: &Office) -> String {
    let (ann, bob) = (office.worker(&ANN.to_string()), office.worker(&BOB.to_string()));
    let bob = Caller { role: Role::Manager, ..bob };
    let made = json!({ "title": "Oil", "status": "OPEN" });
    for (caller, body) in [
        (&ann, change("CREATE", &made, 1)),
        (&bob, change("UPDATE", &json!({ "title": "Grease" }), 1)),
        (&bob, change("DELETE", &json!({}), 2)),
    ] {
        let mut body = body;
        body["deviceId"] = json!(caller.user);
        let (status, answer) = office.ask_as(caller, Method::Post, "/api/sync", &body).await;
        let result = &answer["results"][0]["status"];
        assert!(status == 200 && result != "FAILED" && result != "CONFLICT", "{answer}");
    }
    let query = ListQuery { collection: "task".into(), deleted: true, ..ListQuery::default() };
    office.node.list(query).await.unwrap()[0].id.to_string()
}

fn people(history: &[Revision]) -> Vec<(Option<&str>, Option<&str>)> {
    history.iter().map(|it| (it.made_for.as_deref(), it.user.as_deref())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_names_the_person_and_not_the_gateway_that_wrote_for_him() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).gateway();
    let office = Office::over(builder.create_tenant(options).await.unwrap().0).await;
    let address = office.node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    // Bob has a device as well, Ann has none.
    let valid = std::time::Duration::from_secs(600);
    let user = Some("bob@example.org".to_owned());
    let options = InviteOptions { role: Role::Operator, user, valid, count: 1 };
    let invited = office.node.invite_person_at(BOB, options, vec![address.clone()]).await.unwrap();
    let builder = Node::builder(folder.path().join("device"));
    let (device, _) = builder.join(&invited[0].invitation, Some("truck".into())).await.unwrap();
    let id = work(&office).await;
    sync(&device, &address).await;
    let (ann, bob) = (ANN.to_string(), BOB.to_string());
    let history = device.history(&id).await.unwrap();
    let bobs = (Some(bob.as_str()), Some("bob@example.org"));
    assert_eq!(people(&history), [(Some(ann.as_str()), None), bobs, bobs]);
    let relay = office.node.tenant().device;
    assert!(history.iter().all(|it| it.device == Some(relay)), "{history:?}");
    device.shutdown().await.unwrap();
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_no_gateway_makes_nobody_else_the_author_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).gateway();
    let office = Office::over(builder.create_tenant(options).await.unwrap().0).await;
    let address = office.node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    let valid = std::time::Duration::from_secs(600);
    let options = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
    let invited = office.node.invite_person_at(BOB, options, vec![address.clone()]).await.unwrap();
    let builder = Node::builder(folder.path().join("device"));
    let (device, _) = builder.join(&invited[0].invitation, Some("truck".into())).await.unwrap();
    // Bob's device writes what a gateway would write for Ann.
    let well = crate::well(&office.node, 1).await;
    let tablet = Office::over(device).await;
    sync(&tablet.node, &address).await;
    let body = json!({ "deviceId": "T", "entries": [crate::entry(&well, 1, 2.0)] });
    let ann = tablet.worker(&ANN.to_string());
    let (status, pushed) = tablet.ask_as(&ann, Method::Post, "/sync/push", &body).await;
    assert_eq!((status, &pushed["succeeded"]), (200, &json!(1)), "{pushed}");
    sync(&tablet.node, &address).await;
    let access = fieldmesh::gateway::Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
    let read = office.get("/sync/entries").await;
    assert_eq!(read["entries"][0]["createdBy"], BOB.to_string(), "{read}");
    // So she may not change it, though it says that it is hers.
    let id = read["entries"][0]["id"].as_str().unwrap();
    let target = format!("/sync/entries/{id}");
    let edit = json!({ "data": { "oilVolume": 9 } });
    let ann = office.worker(&ANN.to_string());
    let (status, told) = office.ask_as(&ann, Method::Patch, &target, &edit).await;
    assert_eq!(status, 403, "{told}");
    tablet.close().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_no_gateway_puts_nothing_down_to_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let id = work(&office).await;
    let history = office.node.history(&id).await.unwrap();
    let own = history[0].user.as_deref();
    assert!(own.is_some());
    assert_eq!(people(&history), [(None, own); 3]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_both_of_two_records_is_named_as_who_changed_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).gateway();
    let office = Office::over(builder.create_tenant(options).await.unwrap().0).await;
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{unique}")).await;
    let ann = office.worker(&ANN.to_string());
    for id in ["a", "b"] {
        let change = check(id, "CREATE", &json!({ "tag": "P1" }));
        let body = json!({ "deviceId": "d", "changes": [change] });
        assert_eq!(office.ask_as(&ann, Method::Post, "/api/sync", &body).await.0, 200);
    }
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    let bob = Caller { role: Role::Manager, ..office.worker(&BOB.to_string()) };
    let body = json!({ "conflictId": listed[0]["id"], "resolution": "MERGE" });
    let target = "/api/sync/conflicts/resolve";
    let (status, kept) = office.ask_as(&bob, Method::Post, target, &body).await;
    assert_eq!(status, 200, "{kept}");
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    let records = office.node.list(query).await.unwrap();
    assert_eq!(records.len(), 2);
    for record in records {
        let history = office.node.history(&record.id.to_string()).await.unwrap();
        let last = history.last().unwrap();
        assert_eq!((history.len(), &last.made_for), (2, &Some(BOB.to_string())), "{history:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_deletion_back_over_an_app_is_named_as_who_did() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).gateway();
    let office = Office::over(builder.create_tenant(options).await.unwrap().0).await;
    let id = work(&office).await;
    let ann = office.worker(&ANN.to_string());
    let mut stale = change("UPDATE", &json!({ "status": "DONE" }), 1);
    stale["deviceId"] = "phone".into();
    let told = office.ask_as(&ann, Method::Post, "/api/sync", &stale).await.1;
    assert_eq!(told["results"][0]["status"], "CONFLICT", "{told}");
    let body = json!({ "conflictId": told["conflicts"][0]["id"], "resolution": "MERGE" });
    let target = "/api/sync/conflicts/resolve";
    let (status, settled) = office.ask_as(&ann, Method::Post, target, &body).await;
    assert_eq!(status, 200, "{settled}");
    assert_eq!(settled["entity"]["deleted"], Json::Null, "{settled}");
    let history = office.node.history(&id).await.unwrap();
    assert_eq!(history.last().unwrap().made_for, Some(ANN.to_string()), "{history:?}");
    office.close().await;
}
