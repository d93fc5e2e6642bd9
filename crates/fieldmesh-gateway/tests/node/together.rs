//! Several edits of one field in one request: what its author knows, and what he is told.

use fieldmesh::api::ListQuery;
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::{Moment, Role};
use serde_json::{Value as Json, json};

use crate::{Office, now};

/// What the only record of a collection has in a field.
async fn shown(office: &Office, collection: &str, field: &str) -> Json {
    let query = ListQuery { collection: collection.into(), ..ListQuery::default() };
    office.node.list(query).await.unwrap()[0].fields[field].clone()
}

/// Sends operations of the veterinary app, by somebody whose app names no device.
async fn push(office: &Office, operations: &[Json]) -> Json {
    let body = json!({ "clientTimestamp": now().as_millis(), "operations": operations });
    let ann = office.worker("ann");
    let (status, body) = office.ask_as(&ann, Method::Post, "/api/sync/push", &body).await;
    assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_one_push_follow_each_other_where_no_device_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let made = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "name": "A", "species": "dog", "ownerId": 7 } });
    let id = push(&office, &[made]).await["results"][0]["realId"].clone();
    let at = now().as_millis();
    let edit = |name: &str, order: i64| {
        json!({ "operation": "update", "entityType": "pets", "entityId": id, "version": 1,
            "data": { "name": name }, "timestamp": at + order })
    };
    let [second, third, fourth] = [edit("B", 1), edit("C", 2), edit("D", 3)];
    // The first answer is lost, so the same comes again; then once more, with what followed.
    let queue = [second, third, fourth];
    for (count, last) in [(2, "C"), (2, "C"), (3, "D"), (2, "D")] {
        let pushed = push(&office, &queue[..count]).await;
        assert_eq!((&pushed["processed"], &pushed["conflicts"]), (&json!(count), &json!(0)));
        assert_eq!(shown(&office, "pet", "name").await, last);
    }
    // What comes by itself on an old version is from another of her devices, for all one knows.
    let apart = push(&office, &[edit("E", 4)]).await;
    assert_eq!(apart["conflicts"], 1, "{apart}");
    assert_eq!(shown(&office, "pet", "name").await, "D");
    office.close().await;
}

/// A worker's operation on the patient.
fn operation(user: &str, kind: &str, id: &str, name: &str) -> Json {
    json!({
        "id": id, "userId": user, "deviceId": "d", "operation": kind, "resourceType": "patient",
        "resourceId": "p1", "data": { "name": name }, "version": 1,
        "createdAtClient": now(),
    })
}

/// The results of a batch, as states and the names that stand.
async fn batch(office: &Office, caller: &Caller, operations: &[Json]) -> Vec<(Json, Json)> {
    let (target, body) = ("/api/v1/sync/batch", json!({ "operations": operations }));
    let (status, body) = office.ask_as(caller, Method::Post, target, &body).await;
    assert_eq!(status, 200, "{body}");
    let results = body["results"].as_array().unwrap();
    let told = |result: &Json| (result["status"].clone(), result["result"]["name"].clone());
    results.iter().map(told).collect()
}

fn told(state: &str, name: &str) -> (Json, Json) {
    (state.into(), if name.is_empty() { Json::Null } else { name.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_says_is_synced_is_what_stands() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] =
        ["ann", "bob"].map(|user| Caller { role: Role::HealthWorker, ..office.worker(user) });
    batch(&office, &ann, &[operation("ann", "CREATE", "o1", "A")]).await;
    let both = [operation("ann", "UPDATE", "o2", "B"), operation("ann", "UPDATE", "o3", "C")];
    // The answer is lost, and the same comes again.
    for _ in 0..2 {
        let synced = batch(&office, &ann, &both).await;
        assert_eq!(synced, [told("SYNCED", "C"), told("SYNCED", "C")]);
        assert_eq!(shown(&office, "patient", "name").await, "C");
    }
    // Who did not know of it is asked, whatever else is in his request and however often.
    let stale = operation("bob", "UPDATE", "o4", "D");
    let both = [stale.clone(), stale, operation("bob", "UPDATE", "o5", "E")];
    let asked = batch(&office, &bob, &both).await;
    assert_eq!(asked, [told("CONFLICT", ""), told("CONFLICT", ""), told("CONFLICT", "")]);
    assert_eq!(shown(&office, "patient", "name").await, "C");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_whose_edits_come_in_one_batch_know_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let chief = Caller { user: "chief".to_owned(), ..office.caller(Role::Admin) };
    batch(&office, &chief, &[operation("ann", "CREATE", "o1", "A")]).await;
    let both = [operation("ann", "UPDATE", "o2", "B"), operation("bob", "UPDATE", "o3", "C")];
    assert_eq!(batch(&office, &chief, &both).await, [told("SYNCED", "B"), told("CONFLICT", "")]);
    assert_eq!(shown(&office, "patient", "name").await, "B");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_again_and_has_grown_contradicts_nothing_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let operation = |id: &str, kind: &str, data: Json, millis: i64| {
        json!({ "id": id, "userId": "ann", "deviceId": "D", "operation": kind, "version": 1,
            "resourceType": "patient", "resourceId": "p1", "data": data,
            "createdAtClient": now().plus_millis(millis - 60_000) })
    };
    let statuses = async |operations: &[Json]| {
        let answer = office.post("/api/v1/sync/batch", &json!({ "operations": operations })).await;
        let results = answer["results"].as_array().unwrap().iter();
        results.map(|it| it["status"].clone()).collect::<Vec<_>>()
    };
    let made = operation("o0", "CREATE", json!({ "name": "A", "village": "X" }), 0);
    assert_eq!(statuses(&[made]).await, ["SYNCED"]);
    let first = operation("o1", "UPDATE", json!({ "name": "B" }), 1);
    let second = operation("o2", "UPDATE", json!({ "name": "C" }), 2);
    assert_eq!(statuses(std::slice::from_ref(&first)).await, ["SYNCED"]);
    // The answer was lost, and he went on working.
    for _ in 0..2 {
        assert_eq!(statuses(&[first.clone(), second.clone()]).await, ["SYNCED", "SYNCED"]);
    }
    // What comes by itself on an old version is a question still.
    let alone = operation("o3", "UPDATE", json!({ "name": "D" }), 3);
    assert_eq!(statuses(&[alone]).await, ["CONFLICT"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_millisecond_brought_stays_apart_when_the_batch_comes_again_grown() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let operation = |id: &str, kind: &str, data: Json, millis: i64| {
        json!({ "id": id, "userId": "ann", "deviceId": "D", "operation": kind, "version": 1,
            "resourceType": "patient", "resourceId": "p1", "data": data,
            "createdAtClient": Moment::from_millis(1_761_399_000_000 + millis) })
    };
    let statuses = async |operations: &[Json]| {
        let answer = office.post("/api/v1/sync/batch", &json!({ "operations": operations })).await;
        let results = answer["results"].as_array().unwrap().iter();
        results.map(|it| it["status"].clone()).collect::<Vec<_>>()
    };
    let made = operation("o0", "CREATE", json!({ "name": "A", "village": "X" }), 0);
    assert_eq!(statuses(&[made]).await, ["SYNCED"]);
    // Two of one millisecond, of which the second brings nothing new, and what followed them.
    let queue = [
        operation("o1", "UPDATE", json!({ "name": "B" }), 1),
        operation("o2", "UPDATE", json!({ "name": "B" }), 1),
        operation("o3", "UPDATE", json!({ "village": "Y" }), 1),
        operation("o4", "UPDATE", json!({ "name": "C" }), 1),
        // Meant once more, in the same millisecond.
        operation("o5", "UPDATE", json!({ "name": "B" }), 1),
        operation("o6", "DELETE", json!({}), 2),
    ];
    for count in 1..queue.len() {
        assert_eq!(statuses(&queue[..count]).await, vec!["SYNCED"; count], "{count}");
        let name = if count == 4 { "C" } else { "B" };
        assert_eq!(shown(&office, "patient", "name").await, name, "{count}");
        let village = if count < 3 { "X" } else { "Y" };
        assert_eq!(shown(&office, "patient", "village").await, village, "{count}");
    }
    assert_eq!(statuses(&queue).await, vec!["SYNCED"; queue.len()]);
    let open = office.node.conflicts(fieldmesh::api::ConflictQuery::default()).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_meant_once_more_is_written_though_the_clock_went_back() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let operation = |id: &str, kind: &str, name: &str, millis: i64| {
        let mut operation = operation("ann", kind, id, name);
        operation["createdAtClient"] = json!(Moment::from_millis(1_761_399_000_000 + millis));
        operation
    };
    let ann = Caller { role: Role::HealthWorker, ..office.worker("ann") };
    let queue = [
        operation("o0", "CREATE", "A", 0),
        operation("o1", "UPDATE", "B", 1),
        operation("o2", "UPDATE", "C", 2),
        operation("o3", "UPDATE", "B", 1),
    ];
    for _ in 0..2 {
        let states: Vec<Json> =
            batch(&office, &ann, &queue).await.into_iter().map(|(state, _)| state).collect();
        assert_eq!(states, ["SYNCED"; 4]);
        assert_eq!(shown(&office, "patient", "name").await, "B");
    }
    office.close().await;
}
