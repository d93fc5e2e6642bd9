//! Requests that end halfway, and others on the device who write at the same time.

use fieldmesh::api::{Edits, ListQuery};
use fieldmesh::gateway::{Access, NewDocument};
use fieldmesh_dialect::Method;
use fieldmesh_model::{Edit, Fields, Moment, Value, catalogue};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::live::{join, sync};
use crate::{Office, now};

const AT: Moment = Moment::from_millis(1_761_300_000_000);

fn tasks() -> ListQuery {
    ListQuery { collection: "task".into(), ..ListQuery::default() }
}

fn title(text: &str) -> Fields {
    Fields::from([("title".to_owned(), Value::Text(text.to_owned()))])
}

fn new<'a>(fields: &'a Fields, key: &'a [u8]) -> NewDocument<'a> {
    let collection = catalogue::named("task").unwrap();
    NewDocument { collection, name: None, key, fields, at: AT, user: "ann" }
}

#[test]
fn a_record_of_a_request_that_failed_halfway_reaches_the_crew() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let office = runtime.block_on(Office::create(&folder.path().join("office")));
    let home = folder.path().join("device");
    let (device, address) = runtime.block_on(join(&office.node, &home));
    let access = Access::new(&office.node);
    let fields = title("Oil");
    let mut write = access.write().unwrap();
    write.create(&new(&fields, b"one")).unwrap();
    drop(write);
    runtime.block_on(sync(&device, &address));
    let listed = runtime.block_on(device.list(tasks())).unwrap();
    assert_eq!(listed.len(), 1);
    runtime.block_on(device.shutdown()).unwrap();
    drop(access);
    runtime.block_on(office.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_somebody_else_uses_holds_up_nobody_elses_operations() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let operation = |user: &str, id: &str, resource: &str| {
        json!({
            "id": id, "userId": user, "deviceId": "d", "operation": "CREATE",
            "resourceType": "encounter", "resourceId": resource, "data": { "diagnosis": "cold" },
            "version": 1, "createdAtClient": "2025-10-25T08:00:00.000Z",
        })
    };
    let batch = |operations: Vec<Json>| json!({ "operations": operations });
    let target = "/api/v1/sync/batch";
    let (ann, bob) = (office.worker("ann"), office.worker("bob"));
    let first = batch(vec![operation("bob", "x", "e1")]);
    assert_eq!(office.ask_as(&bob, Method::Post, target, &first).await.0, 200);
    let second = batch(vec![
        operation("ann", "y", "e2"),
        operation("ann", "x", "e3"),
        operation("ann", "z", "e4"),
    ]);
    let (status, body) = office.ask_as(&ann, Method::Post, target, &second).await;
    assert_eq!(status, 200, "{body}");
    let results = body["results"].as_array().unwrap();
    let states: Vec<&Json> = results.iter().map(|result| &result["status"]).collect();
    assert_eq!(states, [&json!("SYNCED"), &json!("FAILED"), &json!("SYNCED")]);
    office.close().await;
}

#[test]
fn an_edit_of_the_crew_during_a_push_is_kept() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let office = runtime.block_on(Office::create(&folder.path().join("office")));
    let access = Access::new(&office.node);
    let fields = title("Oil");
    let mut write = access.write().unwrap();
    let id = write.create(&new(&fields, b"one")).unwrap().id;
    write.finish().unwrap();

    let mut write = access.write().unwrap();
    write.held_at(id, 1).unwrap();
    let assignments = vec!["description=at the pump".to_owned()];
    let edits = Edits { assignments, ..Edits::default() };
    runtime.block_on(office.node.edit(&id.to_string(), edits)).unwrap();
    let edit = Edit::set("title", Value::Text("Grease".into()));
    write.edit(id, None, &[edit], now(), "ann").unwrap();
    write.finish().unwrap();

    let held = access.held(id).unwrap().unwrap();
    assert_eq!(held.version, 3);
    let text = |key: &str| held.fields.get(key).and_then(Value::as_text).map(str::to_owned);
    assert_eq!(text("title").as_deref(), Some("Grease"));
    assert_eq!(text("description").as_deref(), Some("at the pump"));
    drop(access);
    runtime.block_on(office.close());
}

#[test]
fn what_a_large_request_noted_is_there_after_a_restart() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("office");
    let office = runtime.block_on(Office::create(&home));
    let access = Access::new(&office.node);
    let mut write = access.write().unwrap();
    for number in 0..17_u8 {
        write.note(vec![number], Some(vec![number; 1 << 20]));
    }
    write.finish().unwrap();
    drop(access);
    runtime.block_on(office.close());

    let office = runtime.block_on(Office::open(&home));
    let access = Access::new(&office.node);
    for number in 0..17_u8 {
        assert_eq!(access.note(&[number]).unwrap(), Some(vec![number; 1 << 20]));
    }
    drop(access);
    runtime.block_on(office.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_nothing_can_keep_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("office");
    let office = Office::create(&home).await;
    let change = |id: &str, title: &str| {
        json!({
            "entityType": "task", "entityId": id, "operation": "CREATE",
            "payload": { "title": title, "status": "OPEN" },
            "clientVersion": 1, "timestamp": "2025-10-25T10:00:00.000Z",
        })
    };
    let huge = "x".repeat(3 << 20);
    let body = json!({ "deviceId": "d", "changes": [change("t1", &huge), change("t2", "Oil")] });
    let answer = office.post("/api/sync", &body).await;
    assert!(answer["results"][0]["error"].to_string().contains("larger than"), "{answer}");
    let entry = |id: &str, title: &str| {
        json!({
            "id": id, "userId": "ann", "deviceId": "d", "operation": "CREATE",
            "resourceType": "encounter", "resourceId": id, "data": { "diagnosis": title },
            "version": 1, "createdAtClient": "2025-10-25T08:00:00.000Z",
        })
    };
    let body = json!({ "operations": [entry("e1", &huge), entry("e2", "cold")] });
    let answer = office.post("/api/v1/sync/batch", &body).await;
    let results = answer["results"].as_array().unwrap();
    let states: Vec<&Json> = results.iter().map(|result| &result["status"]).collect();
    assert_eq!(states, [&json!("FAILED"), &json!("SYNCED")]);
    office.close().await;

    let office = Office::open(&home).await;
    assert_eq!(office.node.list(tasks()).await.unwrap().len(), 1);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_refers_to_records_as_an_edit_does() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let change = |kind: &str, id: &str, operation: &str, payload: Json| {
        json!({ "deviceId": "d", "changes": [{
            "entityType": kind, "entityId": id, "operation": operation, "payload": payload,
            "clientVersion": 1, "timestamp": "2025-10-25T10:00:00.000Z",
        }]})
    };
    let elsewhere = |mut request: Json| {
        request["deviceId"] = "e".into();
        request
    };
    let pump = json!({ "name": "Pump 1", "serialNumber": "S1" });
    office.post("/api/sync", &change("asset", "a1", "CREATE", pump)).await;
    let made = json!({ "title": "Oil", "status": "OPEN" });
    office.post("/api/sync", &change("task", "t1", "CREATE", made)).await;
    let edit = change("task", "t1", "UPDATE", json!({ "title": "Grease" }));
    office.post("/api/sync", &elsewhere(edit)).await;
    let stale = change("task", "t1", "UPDATE", json!({ "title": "Clean" }));
    let conflict = office.post("/api/sync", &stale).await["conflicts"][0]["id"].clone();

    let merge =
        |data: Json| json!({ "conflictId": conflict, "resolution": "MERGE", "resolvedData": data });
    let target = "/api/sync/conflicts/resolve";
    office.post(target, &merge(json!({ "title": "Both", "assetId": "a1" }))).await;
    let task = &office.node.list(tasks()).await.unwrap()[0];
    let query = ListQuery { collection: "asset".into(), ..ListQuery::default() };
    let asset = &office.node.list(query).await.unwrap()[0];
    assert_eq!(task.fields["title"], "Both");
    assert_eq!(task.fields["assetId"], asset.id.to_string());
    office.close().await;
}
