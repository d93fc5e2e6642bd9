//! The figures of queues: each app is told of what came over its own contract.

use fieldmesh::gateway::Access;
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::Office;

const AT: &str = "2025-10-25T08:00:00.000Z";

/// Sends changes of tasks with a phone, or another device.
async fn sync(office: &Office, caller: &Caller, device: &str, changes: &[(&str, &str, &str)]) {
    let change = |(operation, id, title): &(&str, &str, &str)| {
        json!({ "entityType": "task", "entityId": id, "operation": operation,
            "payload": { "title": title }, "clientVersion": 1, "timestamp": AT })
    };
    let changes: Vec<Json> = changes.iter().map(change).collect();
    let body = json!({ "deviceId": device, "changes": changes });
    let (status, body) = office.ask_as(caller, Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{body}");
}

/// What the asset app is told: completed, failed and in conflict.
async fn of_assets(office: &Office, caller: &Caller) -> [u64; 3] {
    let target = "/api/sync/queue/stats";
    let (_, stats) = office.ask_as(caller, Method::Get, target, &Json::Null).await;
    let (_, status) = office.ask_as(caller, Method::Get, "/api/sync/status", &Json::Null).await;
    let read = |from: &Json| {
        ["completed", "failed", "conflict"].map(|state| from[state].as_u64().unwrap())
    };
    assert_eq!(read(&stats), read(&status["queue"]));
    read(&stats)
}

/// What an admin of the health app is told of somebody, or of all: how many, and how many of them
/// are stored.
async fn of_health(office: &Office, query: &str) -> (Json, Json) {
    let target = format!("/api/v1/sync/stats{query}");
    let stats = office.get(&target).await;
    (stats["total"].clone(), stats["syncRate"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_app_sent_is_in_no_figure_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    assert_eq!(of_health(&office, "").await, (json!(0), json!("0.00%")));
    // The answer is lost, and the same comes again.
    for _ in 0..2 {
        let changes = [("CREATE", "t1", "Oil"), ("UPDATE", "t9", "Grease")];
        sync(&office, &ann, "phone", &changes).await;
        assert_eq!(of_assets(&office, &ann).await, [1, 1, 0]);
    }
    let made = json!({
        "id": "o1", "userId": "ann", "deviceId": "d", "operation": "CREATE",
        "resourceType": "patient", "data": { "name": "Rosa" }, "createdAtClient": AT,
    });
    let worker = Caller { role: Role::HealthWorker, ..ann.clone() };
    let batch = json!({ "operations": [made] });
    office.ask_as(&worker, Method::Post, "/api/v1/sync/batch", &batch).await;
    for query in ["", "?userId=ann"] {
        assert_eq!(of_health(&office, query).await, (json!(1), json!("100.00%")));
    }
    sync(&office, &bob, "phone", &[("UPDATE", "t1", "Clean")]).await;
    sync(&office, &ann, "tablet", &[("UPDATE", "t1", "Paint")]).await;
    assert_eq!(of_assets(&office, &ann).await, [1, 1, 1]);
    assert_eq!(of_assets(&office, &bob).await, [1, 0, 0]);
    office.close().await;
}

/// Notes figures as the first gateways did, of all contracts together.
fn note_as_before(access: &Access) {
    let length = 3_u64.to_be_bytes();
    let own = [&b"tally/"[..], &access.hidden(&[b"tally/", &length, b"ann"])].concat();
    let counts = postcard::to_allocvec(&[0_u64, 2, 0, 1]).unwrap();
    let mut write = access.write().unwrap();
    for key in [own, b"tally".to_vec()] {
        write.note(key, Some(counts.clone()));
    }
    write.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_from_before_an_update_stand_and_are_told_apart_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || note_as_before(&access)).await.unwrap();
    let ann = office.worker("ann");
    let before = (json!(3), json!("66.67%"));
    assert_eq!(of_assets(&office, &ann).await, [2, 1, 0]);
    assert_eq!(of_health(&office, "?userId=ann").await, before);
    sync(&office, &ann, "phone", &[("UPDATE", "t9", "Grease"), ("CREATE", "t1", "Oil")]).await;
    assert_eq!(of_assets(&office, &ann).await, [3, 2, 0]);
    assert_eq!(of_health(&office, "?userId=ann").await, before);
    assert_eq!(of_health(&office, "").await, before);
    office.close().await;
}
