//! Conflicts that an app's person may not settle: what he writes is taken and ends none of them.

use fieldmesh::api::{ConflictQuery, ConflictReport, Edits, ListQuery};
use fieldmesh::gateway::Access;
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::entity::{PUMP, define};
use crate::live::{join, sync};
use crate::{Office, now};

fn worker(office: &Office, user: &str) -> Caller {
    Caller { role: Role::HealthWorker, ..office.worker(user) }
}

/// What a worker sends of the encounter, in knowledge of everything.
async fn send(office: &Office, caller: &Caller, operation: &str, data: &Json) -> Json {
    let operation = json!({ "userId": caller.user, "deviceId": "d", "operation": operation,
        "resourceType": "encounter", "resourceId": "e1", "version": 9, "data": data,
        "createdAtClient": now() });
    let body = json!({ "operations": [operation] });
    let (status, answer) = office.ask_as(caller, Method::Post, "/api/v1/sync/batch", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["results"][0].clone()
}

async fn open(office: &Office) -> Vec<ConflictReport> {
    office.node.conflicts(ConflictQuery::default()).await.unwrap()
}

/// The values among which somebody has to choose.
fn values(of: &ConflictReport) -> Vec<&str> {
    let mut values: Vec<&str> = of.values.iter().filter_map(|it| it.value.as_str()).collect();
    values.sort_unstable();
    values
}

/// The fields of the encounter.
async fn encounter(office: &Office) -> serde_json::Map<String, Json> {
    let query = ListQuery { collection: "encounter".into(), ..ListQuery::default() };
    office.node.list(query).await.unwrap().remove(0).fields
}

/// Ann's encounter, of which two devices tell the diagnosis differently.
async fn dispute(office: &Office, folder: &std::path::Path) {
    let (device, address) = join(&office.node, &folder.join("device")).await;
    let made = json!({ "diagnosis": "cold", "notes": "x" });
    let made = send(office, &worker(office, "ann"), "CREATE", &made).await;
    assert_eq!(made["status"], "SYNCED", "{made}");
    sync(&device, &address).await;
    for (node, diagnosis) in [(&office.node, "flu"), (&device, "malaria")] {
        let query = ListQuery { collection: "encounter".into(), ..ListQuery::default() };
        let id = node.list(query).await.unwrap()[0].id.to_string();
        let assignments = vec![format!("diagnosis={diagnosis}")];
        node.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    }
    sync(&device, &address).await;
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
    device.shutdown().await.unwrap();
    let found = open(office).await;
    let field: Vec<&ConflictReport> = found.iter().filter(|it| it.kind == "field").collect();
    assert_eq!(field.len(), 1, "{found:?}");
    assert_eq!(values(field[0]), ["flu", "malaria"]);
}

async fn disputed(office: &Office) -> Vec<ConflictReport> {
    let mut found = open(office).await;
    found.retain(|it| it.kind == "field");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_diagnoses_wait_for_who_may_choose_whatever_an_app_writes_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    dispute(&office, folder.path()).await;
    let shown = encounter(&office).await["diagnosis"].clone();
    let (bob, admin) = (worker(&office, "bob"), office.caller(Role::Admin));
    let edit = json!({ "diagnosis": "typhus", "prescription": "rest" });
    let taken = send(&office, &bob, "UPDATE", &edit).await;
    assert_eq!(taken["status"], "CONFLICT", "{taken}");
    assert_eq!(taken["affectedFields"], json!(["diagnosis"]), "{taken}");
    let after = disputed(&office).await;
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(values(&after[0]), ["flu", "malaria", "typhus"]);
    // What nobody disputes is written, and what was shown still is.
    let after = encounter(&office).await;
    assert_eq!((&after["prescription"], &after["diagnosis"]), (&json!("rest"), &shown));
    // Apps are told of all that competes.
    let listed = office.get("/api/v1/sync/conflicts").await;
    let text = listed.to_string();
    for value in ["flu", "malaria", "typhus"] {
        assert!(text.contains(value), "{value}: {listed}");
    }
    // A deletion decides nothing either.
    let gone = send(&office, &bob, "DELETE", &json!({})).await;
    assert_eq!(gone["status"], "SYNCED", "{gone}");
    assert_eq!(values(&disputed(&office).await[0]), ["flu", "malaria", "typhus"]);
    // Nor does what somebody edits of it then who wrote none of these.
    let edit = json!({ "diagnosis": "mumps" });
    let beside = send(&office, &worker(&office, "eve"), "UPDATE", &edit).await;
    assert_eq!(beside["status"], "CONFLICT", "{beside}");
    assert_eq!(values(&disputed(&office).await[0]), ["flu", "malaria", "mumps", "typhus"]);
    // Who made the encounter, or leads, ends it by an edit as ever, once it is back.
    let id = beside["id"].as_str().unwrap();
    let target = format!("/api/v1/sync/resolve/{id}?resolution=CLIENT_WINS");
    let back = office.ask(Method::Patch, &target, &Json::Null).await;
    assert_eq!(back["status"], "SYNCED", "{back}");
    let chosen = send(&office, &admin, "UPDATE", &json!({ "diagnosis": "dengue" })).await;
    assert_eq!(chosen["status"], "SYNCED", "{chosen}");
    assert_eq!(disputed(&office).await, []);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_made_a_record_settles_what_competes_in_it_with_an_edit_of_his_app() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    dispute(&office, folder.path()).await;
    let ann = worker(&office, "ann");
    let chosen = send(&office, &ann, "UPDATE", &json!({ "diagnosis": "dengue" })).await;
    assert_eq!(chosen["status"], "SYNCED", "{chosen}");
    assert_eq!(disputed(&office).await, []);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_wants_to_win_ends_no_conflict_that_a_manager_has_to_settle() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let well = crate::well(&office.node, 1).await;
    let (device, address) = join(&office.node, &folder.path().join("device")).await;
    let push = async |user: &str, oil: f64| {
        let entries = json!([crate::entry(&well, 0, oil)]);
        let body =
            json!({ "deviceId": "T1", "entries": entries, "conflictResolution": "CLIENT_WINS" });
        let caller = office.worker(user);
        let (status, answer) = office.ask_as(&caller, Method::Post, "/sync/push", &body).await;
        assert_eq!((status, &answer["succeeded"]), (200, &json!(1)), "{answer}");
        answer["results"][0]["status"].clone()
    };
    assert_eq!(push("ann", 80.0).await, "STORED");
    // What nobody disputes his request settles, as the contract has it.
    assert_eq!(push("ann", 81.0).await, "CONFLICT");
    assert_eq!(disputed(&office).await, []);
    sync(&device, &address).await;
    for (node, oil) in [(&office.node, 82), (&device, 83)] {
        let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
        let id = node.list(query).await.unwrap()[0].id.to_string();
        let assignments = vec![format!("oilVolume={oil}")];
        node.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    }
    sync(&device, &address).await;
    device.shutdown().await.unwrap();
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
    assert_eq!(disputed(&office).await[0].values.len(), 2);
    assert_eq!(push("bob", 90.0).await, "CONFLICT");
    assert_eq!(disputed(&office).await[0].values.len(), 3);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_competes_in_a_record_is_listed_though_what_was_beside_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let (device, address) = join(&office.node, &folder.path().join("device")).await;
    let (ann, bob) = (worker(&office, "ann"), worker(&office, "bob"));
    send(&office, &ann, "CREATE", &json!({ "diagnosis": "cold" })).await;
    send(&office, &ann, "UPDATE", &json!({ "diagnosis": "flu" })).await;
    sync(&device, &address).await;
    let stale = json!({ "userId": "bob", "deviceId": "d", "operation": "UPDATE",
        "resourceType": "encounter", "resourceId": "e1", "version": 1,
        "data": { "diagnosis": "malaria" }, "createdAtClient": now() });
    let body = json!({ "operations": [stale] });
    let (_, answer) = office.ask_as(&bob, Method::Post, "/api/v1/sync/batch", &body).await;
    let entry = answer["results"][0].clone();
    assert_eq!(entry["status"], "CONFLICT", "{entry}");
    // A device that has not heard of it replaces the other side.
    let query = ListQuery { collection: "encounter".into(), ..ListQuery::default() };
    let id = device.list(query).await.unwrap()[0].id.to_string();
    let assignments = vec!["diagnosis=typhus".to_owned()];
    device.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    sync(&device, &address).await;
    device.shutdown().await.unwrap();
    let listed = office.get("/api/v1/sync/conflicts").await["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let sides = (&listed[0]["localData"]["diagnosis"], &listed[0]["serverData"]["diagnosis"]);
    assert_eq!(sides, (&json!("malaria"), &json!("typhus")), "{listed}");
    // Nobody has decided, and the entry does not say so.
    let process = format!("/api/v1/sync/process/{}", entry["id"].as_str().unwrap());
    let again = office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1;
    assert_eq!(again["status"], "CONFLICT", "{again}");
    let target = format!(
        "/api/v1/sync/resolve/{}?resolution=SERVER_WINS",
        listed[0]["id"].as_str().unwrap()
    );
    office.ask(Method::Patch, &target, &Json::Null).await;
    let decided = office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1;
    let said = (&decided["status"], &decided["result"]["diagnosis"]);
    assert_eq!(said, (&json!("SYNCED"), &json!("typhus")), "{decided}");
    office.close().await;
}

/// A change of an asset app to a check of a pump.
fn check(id: &str, operation: &str, payload: &Json) -> Json {
    json!({ "entityType": "pump_check", "entityId": id, "operation": operation,
        "payload": payload, "clientVersion": 1, "timestamp": now().plus_millis(-60_000) })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_says_what_is_there_decides_nothing_about_what_is_alike() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{unique}")).await;
    let sync = async |user: &str, change: Json| {
        let body = json!({ "deviceId": user, "changes": [change] });
        let caller = office.worker(user);
        let answer = office.ask_as(&caller, Method::Post, "/api/sync", &body).await.1;
        answer["results"][0].clone()
    };
    let tag = |tag: &str| json!({ "tag": tag });
    for (id, name) in [("a", "P1"), ("b", "P2")] {
        let made = sync("eve", check(id, "CREATE", &tag(name))).await;
        assert_eq!(made["status"], "COMPLETED", "{made}");
    }
    let alike = sync("eve", check("b", "UPDATE", &tag("P1"))).await;
    assert_eq!(alike["status"], "COMPLETED", "{alike}");
    // He did not know of it and says the same, and something else.
    let edit = json!({ "tag": "P1", "pressure": 7 });
    let same = sync("bob", check("b", "UPDATE", &edit)).await;
    assert_eq!(same["status"], "COMPLETED", "{same}");
    let other = sync("bob", check("b", "UPDATE", &tag("P3"))).await;
    assert_eq!(other["status"], "FAILED", "{other}");
    let why = other["error"].as_str().unwrap();
    assert!(why.contains("of several that are alike"), "{other}");
    office.close().await;
}
