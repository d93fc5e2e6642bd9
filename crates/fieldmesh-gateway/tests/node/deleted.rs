//! Where a deletion meets an edit: nothing is taken that is shown nowhere and that nobody is asked
//! about, over whichever contract it comes.

use fieldmesh::api::{ConflictQuery, Edits, ListQuery};
use fieldmesh::{Node, TenantOptions, UserId};
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::{Office, entry, live, now, well};

const NOTHING: [Json; 0] = [];

/// A change of the task, `millis` after it was made.
fn change(operation: &str, payload: &Json, version: u64, millis: i64) -> Json {
    json!({
        "entityType": "task", "entityId": "t", "operation": operation, "payload": payload,
        "clientVersion": version, "timestamp": now().plus_millis(millis - 60_000),
    })
}

/// What an app of the asset contract is answered to one change.
async fn sync(office: &Office, user: &str, change: &Json) -> Json {
    let body = json!({ "deviceId": format!("phone of {user}"), "changes": [change] });
    let (status, body) =
        office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// The titles of the tasks that are given to a device which has nothing.
async fn titles(office: &Office) -> Vec<Json> {
    let body = json!({ "deviceId": "fresh", "entityTypes": ["task"] });
    let delta = office.post("/api/sync/delta", &body).await;
    let changes = delta["changes"].as_array().unwrap().iter();
    let there = changes.filter(|it| it["operation"] != "DELETE");
    there.map(|it| it["payload"]["title"].clone()).collect()
}

async fn resolve(office: &Office, conflict: &Json, resolution: &str) -> Json {
    let body = json!({ "conflictId": conflict, "resolution": resolution });
    office.post("/api/sync/conflicts/resolve", &body).await
}

/// Queues an operation of the health contract on a patient and processes it.
async fn send(office: &Office, user: &str, kind: &str, name: &str, version: u64) -> Json {
    let mut operation = json!({ "userId": user, "deviceId": "d", "operation": kind,
        "resourceType": "patient", "data": { "id": "p", "name": name }, "version": version,
        "createdAtClient": now() });
    if kind != "CREATE" {
        operation["resourceId"] = "p".into();
    }
    let body = json!({ "operations": [operation] });
    let caller = health_worker(office, user);
    let target = "/api/v1/sync/batch";
    let (status, body) = office.ask_as(&caller, Method::Post, target, &body).await;
    assert_eq!(status, 200, "{body}");
    body["results"][0].clone()
}

fn health_worker(office: &Office, user: &str) -> Caller {
    Caller { role: Role::HealthWorker, ..office.worker(user) }
}

async fn patch(office: &Office, caller: &Caller, id: &Json, resolution: &str) -> Json {
    let target = format!("/api/v1/sync/resolve/{}?resolution={resolution}", id.as_str().unwrap());
    let (status, body) = office.ask_as(caller, Method::Patch, &target, &Json::Null).await;
    assert_eq!(status, 200, "{body}");
    body
}

fn tablet(office: &Office, user: &str) -> Caller {
    Caller { device: Some(format!("tablet of {user}")), ..office.worker(user) }
}

/// What an app of a practice is answered for one operation on the pet.
async fn push(office: &Office, caller: &Caller, kind: &str, id: &Json, more: Json) -> Json {
    let mut operation = json!({ "operation": kind, "entityType": "pets", "entityId": id });
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "clientTimestamp": now().as_millis(), "operations": [operation] });
    let (status, body) = office.ask_as(caller, Method::Post, "/api/sync/push", &body).await;
    assert_eq!(status, 200, "{body}");
    body["results"][0].clone()
}

async fn pet(office: &Office, caller: &Caller, name: &str) -> Json {
    let data = json!({ "data": { "name": name, "species": "dog", "ownerId": 7 } });
    push(office, caller, "create", &json!(name), data).await["realId"].clone()
}

async fn pets(office: &Office, caller: &Caller) -> Vec<Json> {
    let target = "/api/sync/pull?entityTypes=pets";
    let (_, pulled) = office.ask_as(caller, Method::Get, target, &Json::Null).await;
    let changes = pulled["changes"].as_array().unwrap().iter();
    let there = changes.filter(|it| it["operation"] != "delete");
    there.map(|it| it["data"]["name"].clone()).collect()
}

/// How many deletions people at devices are asked about.
async fn asked(office: &Office) -> usize {
    let kind = Some("deleted-and-edited".to_owned());
    let query = ConflictQuery { kind, ..ConflictQuery::default() };
    office.node.conflicts(query).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_deleted_asset_is_asked_about_whatever_version_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    sync(&office, "ann", &change("CREATE", &json!({ "title": "A" }), 1, 0)).await;
    sync(&office, "ann", &change("DELETE", &json!({}), 1, 1)).await;
    for (version, title) in [(1, "B"), (2, "C"), (9, "D")] {
        let edit = change("UPDATE", &json!({ "title": title }), version, 2);
        let told = sync(&office, "bob", &edit).await;
        assert_eq!(told["results"][0]["status"], "CONFLICT", "{version}: {told}");
        let conflict = &told["conflicts"][0];
        assert_eq!(conflict["clientData"]["title"], title, "{told}");
        assert_eq!(titles(&office).await, NOTHING);
        assert_eq!(asked(&office).await, 1);
        // The answer was lost: the same question once more.
        let again = sync(&office, "bob", &edit).await;
        assert_eq!(again["conflicts"][0]["id"], conflict["id"], "{again}");
        let listed = office.get("/api/sync/conflicts").await;
        assert!(listed.to_string().contains(conflict["id"].as_str().unwrap()), "{listed}");
    }
    // What changes nothing of it is asked of nobody, and nobody is told that it is there.
    let same = change("UPDATE", &json!({ "title": "A" }), 2, 3);
    let told = sync(&office, "eve", &same).await;
    assert_eq!(told["results"][0]["error"], "Record not found", "{told}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_pet_that_a_colleague_deleted_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let edits = [("A", &ann, None), ("B", &bob, None), ("C", &bob, Some(2)), ("D", &ann, Some(7))];
    for (index, (name, caller, version)) in edits.into_iter().enumerate() {
        let id = pet(&office, &ann, name).await;
        let deleted = push(&office, &bob, "delete", &id, json!({})).await;
        assert_eq!(deleted["success"], true, "{deleted}");
        let mut edit = json!({ "data": { "name": "Max" } });
        if let Some(version) = version {
            edit["version"] = version.into();
        }
        let told = push(&office, caller, "update", &id, edit).await;
        assert_eq!(told["conflictData"]["conflictType"], "delete", "{version:?}: {told}");
        assert_eq!(pets(&office, &ann).await, NOTHING);
        assert_eq!(asked(&office).await, index + 1);
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_deleted_patient_is_on_the_list_of_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    send(&office, "ann", "CREATE", "A", 1).await;
    let deleted = send(&office, "ann", "DELETE", "A", 1).await;
    assert_eq!(
        (&deleted["status"], &deleted["result"]["deleted"]),
        (&json!("SYNCED"), &json!(true))
    );
    let told = send(&office, "bob", "UPDATE", "bp 180/110", 2).await;
    assert_eq!(told["status"], "CONFLICT", "{told}");
    assert_eq!((&told["serverDeleted"], &told["localDeleted"]), (&json!(true), &Json::Null));
    let listed = office.get("/api/v1/sync/conflicts").await["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["localData"]["name"], "bp 180/110", "{listed}");
    assert_eq!(listed[0]["serverDeleted"], true, "{listed}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_a_device_deleted_cannot_be_edited() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let body = json!({ "deviceId": "T1", "entries": [entry(&well, 0, 80.0)] });
    let pushed = office.post("/sync/push", &body).await;
    let id = pushed["results"][0]["entryId"].as_str().unwrap().to_owned();
    office.node.delete(&id).await.unwrap();
    let target = format!("/sync/entries/{id}");
    let edit = json!({ "data": { "oilVolume": 9 } });
    let admin = office.caller(Role::Admin);
    let (status, told) = office.ask_as(&admin, Method::Patch, &target, &edit).await;
    assert_eq!(status, 404, "{told}");
    let read = office.get("/sync/entries").await;
    assert_eq!(read["entries"], json!([]), "{read}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_device_deleted_is_asked_about_where_it_comes_again_with_other_values() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let event = |volume: f64| {
        json!({ "tenantId": "acme", "events": [{ "id": "a", "type": "PRODUCTION_LOGGED",
            "timestamp": "2025-10-25T09:30:00.000Z", "deviceId": "T1", "userId": "ann",
            "payload": { "wellId": well, "volume": volume } }] })
    };
    office.post("/field-data/sync", &event(1.0)).await;
    let query = ListQuery { collection: "field_event".into(), ..ListQuery::default() };
    let id = office.node.list(query).await.unwrap()[0].id.to_string();
    office.node.delete(&id).await.unwrap();
    let told = office.post("/field-data/sync", &event(2.0)).await;
    assert_eq!(told["conflicts"][0]["reason"], "Event was deleted", "{told}");
    assert_eq!((&told["syncedEventIds"], asked(&office).await), (&json!([]), 1));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_deletion_of_an_asset_leaves_what_a_colleague_wrote_until_somebody_decides() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    sync(&office, "ann", &change("CREATE", &json!({ "title": "A" }), 1, 0)).await;
    sync(&office, "ann", &change("UPDATE", &json!({ "title": "B" }), 1, 1)).await;
    let stale = change("DELETE", &json!({}), 1, 2);
    let told = sync(&office, "bob", &stale).await;
    assert_eq!(told["results"][0]["status"], "CONFLICT", "{told}");
    let conflict = &told["conflicts"][0];
    let sides = (&conflict["clientDeleted"], &conflict["serverData"]["title"]);
    assert_eq!(sides, (&json!(true), &json!("B")));
    assert_eq!(sync(&office, "bob", &stale).await["conflicts"][0]["id"], conflict["id"]);
    assert_eq!(titles(&office).await, ["B"]);
    let listed = office.get("/api/sync/conflicts").await;
    assert_eq!(listed["conflicts"].as_array().unwrap().len(), 1, "{listed}");
    // Kept, and nothing is asked any more.
    let settled = resolve(&office, &conflict["id"], "SERVER_WINS").await;
    let entity = &settled["entity"];
    assert_eq!((&entity["payload"]["title"], &entity["deleted"]), (&json!("B"), &Json::Null));
    assert_eq!(titles(&office).await, ["B"]);
    assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    // Who has been told of it means it.
    let told = sync(&office, "eve", &change("DELETE", &json!({}), 1, 3)).await;
    let settled = resolve(&office, &told["conflicts"][0]["id"], "CLIENT_WINS").await;
    assert_eq!(settled["entity"]["deleted"], true, "{settled}");
    assert_eq!(titles(&office).await, NOTHING);
    assert_eq!(asked(&office).await, 0);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_deletion_of_a_pet_or_a_patient_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let id = pet(&office, &ann, "Rex").await;
    pets(&office, &bob).await;
    let edit = json!({ "data": { "name": "Max" } });
    assert_eq!(push(&office, &ann, "update", &id, edit).await["success"], true);
    for more in [json!({}), json!({ "version": 1 })] {
        let told = push(&office, &bob, "delete", &id, more).await;
        let data = &told["conflictData"];
        let said = (&data["conflictType"], &data["serverData"]["name"]);
        assert_eq!(said, (&json!("delete"), &json!("Max")), "{told}");
        assert_eq!(pets(&office, &ann).await, ["Max"]);
    }
    // By then he has read it.
    pets(&office, &bob).await;
    pets(&office, &bob).await;
    assert_eq!(push(&office, &bob, "delete", &id, json!({})).await["success"], true);
    assert_eq!(pets(&office, &ann).await, NOTHING);

    send(&office, "ann", "CREATE", "A", 1).await;
    send(&office, "ann", "UPDATE", "important", 1).await;
    let told = send(&office, "bob", "DELETE", "A", 1).await;
    assert_eq!((&told["status"], &told["localDeleted"]), (&json!("CONFLICT"), &json!(true)));
    assert_eq!(told["serverData"]["name"], "important", "{told}");
    // It leaves the state when somebody deletes it, knowing all of it.
    let deleted = send(&office, "ann", "DELETE", "A", 2).await;
    assert_eq!(
        (&deleted["status"], &deleted["result"]["deleted"]),
        (&json!("SYNCED"), &json!(true))
    );
    let target = format!("/api/v1/sync/process/{}", told["id"].as_str().unwrap());
    let bob = health_worker(&office, "bob");
    let (_, decided) = office.ask_as(&bob, Method::Post, &target, &Json::Null).await;
    assert_eq!(decided["status"], "SYNCED", "{decided}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_stands_is_answered_with_what_the_server_had() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    sync(&office, "ann", &change("CREATE", &json!({ "title": "A" }), 1, 0)).await;
    sync(&office, "ann", &change("DELETE", &json!({}), 1, 1)).await;
    let edit = change("UPDATE", &json!({ "title": "B" }), 1, 2);
    let told = sync(&office, "bob", &edit).await["conflicts"][0].clone();
    let said = (&told["serverData"]["title"], &told["serverDeleted"], &told["clientDeleted"]);
    assert_eq!(said, (&json!("A"), &json!(true), &Json::Null), "{told}");
    for _ in 0..2 {
        let settled = resolve(&office, &told["id"], "SERVER_WINS").await;
        let entity = &settled["entity"];
        let said = (&entity["payload"]["title"], &entity["deleted"]);
        assert_eq!(said, (&json!("A"), &json!(true)), "{settled}");
        assert_eq!(titles(&office).await, NOTHING);
    }

    send(&office, "ann", "CREATE", "A", 1).await;
    send(&office, "ann", "DELETE", "A", 1).await;
    let told = send(&office, "bob", "UPDATE", "Z", 1).await;
    let bob = health_worker(&office, "bob");
    let settled = patch(&office, &bob, &told["id"], "SERVER_WINS").await;
    let target = format!("/api/v1/sync/process/{}", told["id"].as_str().unwrap());
    let (_, again) = office.ask_as(&bob, Method::Post, &target, &Json::Null).await;
    for answer in [settled, again] {
        let said = (&answer["status"], &answer["result"]["name"], &answer["result"]["deleted"]);
        assert_eq!(said, (&json!("SYNCED"), &json!("A"), &json!(true)), "{answer}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_worker_brings_nothing_back_and_deletes_nothing_without_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (bob, admin) = (health_worker(&office, "bob"), office.caller(Role::Admin));
    send(&office, "ann", "CREATE", "A", 1).await;
    send(&office, "ann", "DELETE", "A", 1).await;
    let edited = send(&office, "bob", "UPDATE", "B", 1).await;
    let asked = patch(&office, &bob, &edited["id"], "CLIENT_WINS").await;
    let said = (&asked["status"], &asked["reviewStatus"]);
    assert_eq!(said, (&json!("CONFLICT"), &json!("AWAITING_APPROVAL")));
    let settled = patch(&office, &admin, &edited["id"], "CLIENT_WINS").await;
    let said = (&settled["status"], &settled["result"]["name"], &settled["result"]["deleted"]);
    assert_eq!(said, (&json!("SYNCED"), &json!("B"), &Json::Null));

    let deleted = send(&office, "bob", "DELETE", "B", 1).await;
    assert_eq!(deleted["status"], "CONFLICT", "{deleted}");
    let asked = patch(&office, &bob, &deleted["id"], "CLIENT_WINS").await;
    assert_eq!(asked["reviewStatus"], "AWAITING_APPROVAL", "{asked}");
    let settled = patch(&office, &admin, &deleted["id"], "CLIENT_WINS").await;
    let said = (&settled["status"], &settled["result"]["deleted"]);
    assert_eq!(said, (&json!("SYNCED"), &json!(true)), "{settled}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_asked_about_and_comes_again_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let id = pet(&office, &ann, "Rex").await;
    pets(&office, &bob).await;
    let edit = json!({ "data": { "name": "Max" } });
    assert_eq!(push(&office, &ann, "update", &id, edit).await["success"], true);
    // The answer is lost each time, so he has read nothing of it.
    for _ in 0..3 {
        let told = push(&office, &bob, "delete", &id, json!({})).await;
        assert_eq!(told["conflictData"]["serverData"]["name"], "Max", "{told}");
        assert_eq!(pets(&office, &ann).await, ["Max"]);
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_worker_puts_no_deleted_patient_together_without_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (bob, admin) = (health_worker(&office, "bob"), office.caller(Role::Admin));
    send(&office, "ann", "CREATE", "A", 1).await;
    send(&office, "ann", "DELETE", "A", 1).await;
    let edited = send(&office, "bob", "UPDATE", "B", 1).await;
    let put_together = async |caller: &Caller| {
        let id = edited["id"].as_str().unwrap();
        let target = format!("/api/v1/sync/resolve/{id}?resolution=MANUAL");
        let body = json!({ "data": { "name": "B" } });
        let (status, body) = office.ask_as(caller, Method::Patch, &target, &body).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let asked = put_together(&bob).await;
    let said = (&asked["status"], &asked["reviewStatus"]);
    assert_eq!(said, (&json!("CONFLICT"), &json!("MANUAL_REVIEW")), "{asked}");
    let query = ListQuery { collection: "patient".into(), ..ListQuery::default() };
    assert!(office.node.list(query).await.unwrap().is_empty());
    let settled = put_together(&admin).await;
    let said = (&settled["status"], &settled["result"]["name"], &settled["result"]["deleted"]);
    assert_eq!(said, (&json!("SYNCED"), &json!("B"), &Json::Null), "{settled}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wins_over_a_deletion_has_his_words_there_whatever_was_written_before_that() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    for (kind, id) in [("task", "t"), ("widget", "w")] {
        let of = |operation: &str, title: &str, version: u64, millis: i64| {
            let payload = if title.is_empty() { json!({}) } else { json!({ "title": title }) };
            let mut change = change(operation, &payload, version, millis);
            change["entityType"] = kind.into();
            change["entityId"] = id.into();
            change
        };
        sync(&office, "ann", &of("CREATE", "A", 1, 0)).await;
        sync(&office, "ann", &of("UPDATE", "X", 1, 1)).await;
        sync(&office, "ann", &of("DELETE", "", 2, 2)).await;
        let told = sync(&office, "bob", &of("UPDATE", "B", 1, 3)).await;
        let settled = resolve(&office, &told["conflicts"][0]["id"], "CLIENT_WINS").await;
        let entity = &settled["entity"];
        let said = (&entity["payload"]["title"], &entity["deleted"]);
        assert_eq!(said, (&json!("B"), &Json::Null), "{settled}");
    }
    assert_eq!((titles(&office).await, asked(&office).await), (vec![json!("B")], 0));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deleted_and_who_edited_is_told_with_what_each_of_them_had() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).gateway();
    let office = Office::over(builder.create_tenant(options).await.unwrap().0).await;
    let (device, address) = live::join(&office.node, &folder.path().join("device")).await;
    let ann = UserId::from_bytes([0x11; 16]).to_string();
    send(&office, &ann, "CREATE", "A", 1).await;
    live::sync(&device, &address).await;
    let query = ListQuery { collection: "patient".into(), ..ListQuery::default() };
    let id = device.list(query).await.unwrap()[0].id.to_string();
    let edits = Edits { assignments: vec!["name=B".into()], ..Edits::default() };
    device.edit(&id, edits).await.unwrap();
    send(&office, &ann, "DELETE", "A", 1).await;
    live::sync(&device, &address).await;

    let listed = office.get("/api/v1/sync/conflicts").await["conflicts"][0].clone();
    let said = (&listed["localData"]["name"], &listed["serverData"]["name"]);
    assert_eq!(said, (&json!("B"), &json!("A")), "{listed}");
    assert_eq!((&listed["serverDeleted"], &listed["localDeleted"]), (&json!(true), &Json::Null));
    assert_eq!(listed["serverUserId"], ann.as_str(), "{listed}");
    let editor = listed["userId"].as_str().unwrap();
    assert!(editor.parse::<UserId>().is_ok() && editor != ann, "{listed}");
    let kind = Some("deleted-and-edited".to_owned());
    let query = ConflictQuery { kind, ..ConflictQuery::default() };
    for node in [&device, &office.node] {
        let items = node.conflicts(query.clone()).await.unwrap();
        let made_for: Vec<_> = items[0].values.iter().map(|it| it.made_for.as_deref()).collect();
        assert_eq!(made_for, [Some(ann.as_str()), None]);
    }
    device.shutdown().await.unwrap();
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_comes_again_is_answered_with_the_version_that_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    sync(&office, "ann", &change("CREATE", &json!({ "title": "A" }), 1, 0)).await;
    let gone = change("DELETE", &json!({}), 1, 1);
    let first = sync(&office, "ann", &gone).await["results"][0].clone();
    assert_eq!((&first["status"], &first["version"]), (&json!("COMPLETED"), &json!(2)));
    // Somebody edits it who does not know of that.
    let told = sync(&office, "bob", &change("UPDATE", &json!({ "title": "B" }), 1, 2)).await;
    assert_eq!(told["results"][0]["status"], "CONFLICT", "{told}");
    assert_eq!(sync(&office, "ann", &gone).await["results"][0], first);
    office.close().await;
}
