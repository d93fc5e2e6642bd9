//! Edits that were made apart: by clients on old versions, and by devices of their own.

use fieldmesh::api::{ConflictQuery, Edits, ListQuery, Resolution};
use serde_json::{Value as Json, json};

use crate::Office;
use crate::live::{join, sync};

/// Each title comes from a device of its own.
fn change(operation: &str, payload: &Json, version: u64) -> Json {
    json!({ "deviceId": payload["title"], "changes": [{
        "entityType": "task", "entityId": "t1", "operation": operation, "payload": payload,
        "clientVersion": version, "timestamp": "2025-10-25T10:00:00.000Z",
    }]})
}

fn tasks() -> ListQuery {
    ListQuery { collection: "task".into(), ..ListQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_takes_the_edits_that_clients_made_on_old_versions() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("office");
    let office = Office::create(&home).await;
    let (device, _) = join(&office.node, &folder.path().join("device")).await;
    let made = json!({ "title": "Oil", "status": "OPEN" });
    office.post("/api/sync", &change("CREATE", &made, 1)).await;
    for title in ["Grease", "Clean", "Paint"] {
        office.post("/api/sync", &change("UPDATE", &json!({ "title": title }), 1)).await;
    }
    office.close().await;
    // A new process writes no change that contradicts one of the old one's.
    let office = Office::open(&home).await;
    for title in ["Check", "Turn"] {
        office.post("/api/sync", &change("UPDATE", &json!({ "title": title }), 1)).await;
    }
    let address = office.node.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
    sync(&device, &address).await;
    let (ours, theirs) = (office.node.list(tasks()).await, device.list(tasks()).await);
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(ours[0].fields, theirs[0].fields);
    assert_eq!(ours[0].fields["title"], "Grease");
    let quarantine =
        ConflictQuery { kind: Some("quarantine".into()), closed: true, ..ConflictQuery::default() };
    assert_eq!(device.conflicts(quarantine).await.unwrap(), []);
    let history = device.history(&ours[0].id.to_string()).await.unwrap();
    assert_eq!(history.len(), 6);
    for node in [device, office.node] {
        let verified = node.verify().await.unwrap();
        assert!(verified.clean, "{verified:?}");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_devices_is_listed_and_settled_over_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let (device, address) = join(&office.node, &folder.path().join("device")).await;
    let operation = json!({
        "userId": "ann", "deviceId": "d", "operation": "CREATE", "resourceType": "encounter",
        "resourceId": "e1", "data": { "diagnosis": "cold" }, "version": 1,
        "createdAtClient": "2025-10-25T08:00:00.000Z",
    });
    office.post("/api/v1/sync/batch", &json!({ "operations": [operation] })).await;
    sync(&device, &address).await;
    let query = ListQuery { collection: "encounter".into(), ..ListQuery::default() };
    let id = device.list(query.clone()).await.unwrap()[0].id.to_string();
    for (node, diagnosis) in [(&office.node, "flu"), (&device, "asthma")] {
        let assignments = vec![format!("diagnosis={diagnosis}")];
        let edits = Edits { assignments, ..Edits::default() };
        node.edit(&id, edits).await.unwrap();
    }
    sync(&device, &address).await;
    let listed = office.get("/api/v1/sync/conflicts").await["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["resourceId"], "e1");
    assert_eq!(listed[0]["affectedFields"], json!(["diagnosis"]));
    let mut sides = [&listed[0]["localData"]["diagnosis"], &listed[0]["serverData"]["diagnosis"]]
        .map(|side| side.as_str().unwrap());
    sides.sort_unstable();
    assert_eq!(sides, ["asthma", "flu"]);
    let target = format!(
        "/api/v1/sync/resolve/{}?resolution=CLIENT_WINS",
        listed[0]["id"].as_str().unwrap()
    );
    let method = fieldmesh_dialect::Method::Patch;
    let settled = office.ask(method, &target, &Json::Null).await;
    assert_eq!(settled["result"]["diagnosis"], listed[0]["localData"]["diagnosis"]);
    assert_eq!(office.get("/api/v1/sync/conflicts").await["conflicts"], json!([]));
    sync(&device, &address).await;
    let query = ConflictQuery { kind: Some("field".into()), ..ConflictQuery::default() };
    assert_eq!(device.conflicts(query).await.unwrap(), []);
    device.shutdown().await.unwrap();
    office.close().await;
}

/// What a dialect accepts is taken as it is, and shown on every device until somebody corrects it.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_breaks_rules_is_shown_everywhere_until_it_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let (device, address) = join(&office.node, &folder.path().join("device")).await;
    let well = crate::well(&office.node, 1).await;
    let odd = json!({ "deviceId": "T1", "entries": [{
        "wellId": well, "entryType": "PRODUCTION", "recordedAt": "2025-10-25T09:30:00.000Z",
        "data": { "oilVolume": 1.0, "runtime": 25 }, "latitude": 31.9,
    }]});
    assert_eq!(office.post("/sync/push", &odd).await["succeeded"], 1);
    sync(&device, &address).await;
    let rules = || ConflictQuery { kind: Some("rule".into()), ..ConflictQuery::default() };
    let listed = device.conflicts(rules()).await.unwrap();
    assert_eq!(listed, office.node.conflicts(rules()).await.unwrap());
    let mut broken: Vec<_> = listed
        .iter()
        .map(|item| (item.field.as_str(), item.faults.len(), item.values.len(), item.open))
        .collect();
    broken.sort_unstable();
    assert_eq!(broken, [("data.runtime", 1, 1, true), ("longitude", 1, 0, true)]);
    let runtime = listed.iter().find(|item| item.field == "data.runtime").unwrap();
    let set = |text: &str| Resolution::Set(vec![text.to_owned()]);
    let wrong = office.node.resolve(&runtime.id, set("runtime=26")).await;
    assert!(matches!(wrong, Err(fieldmesh::Error::Invalid { .. })), "{wrong:?}");
    let another = office.node.resolve(&runtime.id, set("notes=seen")).await;
    assert!(matches!(another, Err(fieldmesh::Error::Invalid { .. })), "{another:?}");
    // The longitude that is missing stops nobody from correcting the runtime.
    let mended = office.node.resolve(&runtime.id, set("runtime=24")).await.unwrap();
    assert_eq!(mended.conflicts.len(), 1);
    sync(&device, &address).await;
    let left = device.conflicts(rules()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].field, "longitude");
    let edits = Edits { assignments: vec!["longitude=-102.1".into()], ..Edits::default() };
    office.node.edit(&left[0].record.to_string(), edits).await.unwrap();
    sync(&device, &address).await;
    assert_eq!(device.conflicts(ConflictQuery::default()).await.unwrap(), []);
    device.shutdown().await.unwrap();
    office.close().await;
}
