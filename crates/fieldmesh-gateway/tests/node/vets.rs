//! What a practice's app is told of a conflict: what contradicts it, the time or the version alone.

use fieldmesh_dialect::{Caller, Method};
use serde_json::{Value as Json, json};

use crate::{Office, now};

async fn push(office: &Office, user: &str, kind: &str, id: &Json, more: Json) -> Json {
    let mut operation = json!({ "operation": kind, "entityType": "pets", "entityId": id });
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "clientTimestamp": now().as_millis(), "operations": [operation] });
    let caller = Caller { device: Some(user.to_owned()), ..office.worker(user) };
    let (status, body) = office.ask_as(&caller, Method::Post, "/api/sync/push", &body).await;
    assert_eq!(status, 200, "{body}");
    body["results"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_late_by_its_version_alone_is_told_that_it_is_that() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let data = json!({ "data": { "name": "Rex", "species": "dog", "ownerId": 7 } });
    let id = push(&office, "ann", "create", &json!("t"), data).await["realId"].clone();
    let edit = json!({ "version": 1, "data": { "name": "Max" } });
    assert_eq!(push(&office, "ann", "update", &id, edit).await["success"], true);
    // By whose clock the server's record was edited before, or behind, each of these.
    for (name, minutes, about) in [("Bob", 60, "version"), ("Tim", -60, "timestamp")] {
        let at = now().plus_millis(minutes * 60_000).as_millis();
        let edit = json!({ "version": 1, "timestamp": at, "data": { "name": name } });
        let told = push(&office, "bob", "update", &id, edit).await;
        assert_eq!(told["conflictData"]["conflictType"], about, "{told}");
        assert_eq!(told["conflictData"]["affectedFields"], json!(["name"]), "{told}");
    }
    office.close().await;
}
