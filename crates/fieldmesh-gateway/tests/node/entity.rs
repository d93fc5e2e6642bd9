//! Types that no collection is made for: three contracts leave theirs open, so whatever an app calls
//! a record, it comes back so, and devices of the crew see it.

use fieldmesh::api::{Edits, ListQuery, SchemaOptions, SchemaStep};
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::{Office, now};

/// A change of an asset app, `millis` after it was made.
fn change(kind: &str, id: &str, operation: &str, payload: &Json, version: u64) -> Json {
    json!({
        "entityType": kind, "entityId": id, "operation": operation, "payload": payload,
        "clientVersion": version, "timestamp": now().plus_millis(-60_000),
    })
}

async fn sync(office: &Office, device: &str, token: &Json, changes: &[Json]) -> Json {
    let body = json!({ "deviceId": device, "syncToken": token, "changes": changes });
    let (status, answer) =
        office.ask_as(&office.worker(device), Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn listed(office: &Office, collection: &str) -> Vec<Json> {
    let query = ListQuery { collection: collection.into(), ..ListQuery::default() };
    let records = office.node.list(query).await.unwrap();
    let mut fields: Vec<Json> = records.into_iter().map(|it| Json::Object(it.fields)).collect();
    fields.sort_by_key(Json::to_string);
    fields
}

fn odd() -> Json {
    json!({
        "name": "Valve", "size": 3, "_own": true, "parts": [{ "n": 1 }, [2]], "a.b": { "c": "d" },
        "practiceNote": "x", "deep": { "x": { "y": [1, 2] } },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widget_comes_back_with_its_type_and_its_json_and_moves_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let created = sync(
        &office,
        "ann",
        &Json::Null,
        &[
            change("widget", "7", "CREATE", &odd(), 1),
            change("gadget", "7", "CREATE", &json!({ "name": "Other" }), 1),
        ],
    )
    .await;
    let status = |answer: &Json, index: usize| answer["results"][index]["status"].clone();
    assert_eq!(
        (status(&created, 0), status(&created, 1)),
        ("COMPLETED".into(), "COMPLETED".into())
    );
    let bob = sync(&office, "bob", &Json::Null, &[]).await;
    let seen = |of: &Json| -> Vec<Json> {
        let changes = of["changes"].as_array().unwrap().iter();
        let one =
            |it: &Json| json!([it["entityType"], it["entityId"], it["operation"], it["payload"]]);
        changes.map(one).collect()
    };
    let gadget = json!(["gadget", "7", "CREATE", { "name": "Other" }]);
    assert_eq!(seen(&bob), [json!(["widget", "7", "CREATE", odd()]), gadget.clone()]);
    // Two edits of different fields on one version merge; of one field they are asked about.
    let edit = |payload: Json| change("widget", "7", "UPDATE", &payload, 1);
    let ann = sync(&office, "ann", &created["syncToken"], &[edit(json!({ "size": 4 }))]).await;
    assert_eq!(ann["conflicts"], json!([]));
    let beside = sync(&office, "bob", &bob["syncToken"], &[edit(json!({ "name": "Gate" }))]).await;
    assert_eq!(beside["conflicts"], json!([]), "{beside}");
    let against = sync(&office, "bob", &bob["syncToken"], &[edit(json!({ "size": 5 }))]).await;
    let conflict = &against["conflicts"][0];
    assert_eq!(
        (&conflict["entityType"], &conflict["entityId"], &conflict["clientData"]),
        (&json!("widget"), &json!("7"), &json!({ "size": 5 })),
    );
    assert_eq!(conflict["serverData"]["size"], 4);
    let open = office.get("/api/sync/conflicts?entityType=widget").await;
    assert_eq!(open["conflicts"][0]["affectedFields"], json!(["size"]), "{open}");
    assert_eq!(office.get("/api/sync/conflicts?entityType=gadget").await["conflicts"], json!([]));
    let body = json!({ "conflictId": conflict["id"], "resolution": "MANUAL",
        "resolvedData": { "size": 6 } });
    let settled = office.post("/api/sync/conflicts/resolve", &body).await;
    assert_eq!(settled["entity"]["entityType"], "widget");
    assert_eq!(settled["entity"]["payload"]["size"], 6);
    let body = json!({ "deviceId": "x", "entityTypes": ["gadget"] });
    assert_eq!(seen(&office.post("/api/sync/delta", &body).await), [gadget]);
    let gone = [change("widget", "7", "DELETE", &json!({}), 9)];
    assert_eq!(status(&sync(&office, "ann", &Json::Null, &gone).await, 0), "COMPLETED");
    let last = sync(&office, "bob", &against["syncToken"], &[]).await;
    assert_eq!(last["changes"][0]["operation"], "DELETE", "{last}");
    let left = json!([{ "source": "asset", "kind": "gadget", "externalId": "7",
        "payload": { "name": "Other" } }]);
    assert_eq!(json!(listed(&office, "free_record").await), left);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_shown_the_free_records_of_its_own_contract_and_practice() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let data = json!({ "petId": 5, "practiceId": 1, "durationMinutes": 20, "text": "lame" });
    let push = |practice: i64| {
        let mut data = data.clone();
        data["practiceId"] = practice.into();
        let operation = json!({ "operation": "create", "entityType": "medicalRecords",
            "tempId": format!("t{practice}"), "data": data });
        json!({ "clientTimestamp": 1, "operations": [operation] })
    };
    let vet = |practice: i64| Caller { practices: [practice].into(), ..office.worker("vet") };
    for practice in [1, 2] {
        let answer =
            office.ask_as(&vet(practice), Method::Post, "/api/sync/push", &push(practice)).await.1;
        assert_eq!(
            (&answer["processed"], &answer["results"][0]["tempId"]),
            (&json!(1), &json!(format!("t{practice}"))),
            "{answer}"
        );
    }
    for target in ["/api/sync/pull", "/api/sync/pull?entityTypes=medicalRecords"] {
        let pulled = office.ask_as(&vet(1), Method::Get, target, &Json::Null).await.1;
        let changes = pulled["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{pulled}");
        assert_eq!(changes[0]["entityType"], "medicalRecords");
        for (key, value) in data.as_object().unwrap() {
            assert_eq!(&changes[0]["data"][key], value, "{key}");
        }
    }
    // The same type and id over another contract is another record, and none of the asset app's.
    let operation = json!({ "userId": "ann", "deviceId": "D", "operation": "CREATE",
        "resourceType": "observation", "resourceId": "o1", "data": { "pulse": 80 },
        "createdAtClient": now() });
    let body = json!({ "operations": [operation] });
    let answer = office.post("/api/v1/sync/batch", &body).await;
    assert_eq!(answer["results"][0]["status"], "SYNCED", "{answer}");
    assert_eq!(answer["results"][0]["result"], json!({ "id": "o1", "pulse": 80 }));
    let other = change("observation", "o1", "CREATE", &json!({ "pulse": 90 }), 1);
    let answer = sync(&office, "bob", &Json::Null, &[other]).await;
    assert_eq!((&answer["conflicts"], &answer["changes"]), (&json!([]), &json!([])), "{answer}");
    assert_eq!(listed(&office, "free_record").await.len(), 4);
    // Bob has read his own; of what comes next he is behind by what is of his contract.
    let next = change("widget", "w", "CREATE", &json!({}), 1);
    sync(&office, "ann", &Json::Null, &[next]).await;
    office.ask_as(&vet(1), Method::Post, "/api/sync/push", &push(3)).await;
    let bob = office.worker("bob");
    let status = office.ask_as(&bob, Method::Get, "/api/sync/status", &Json::Null).await.1;
    assert_eq!(status["backlog"], 1, "{status}");
    office.close().await;
}

/// What the app reads of the only widget.
async fn widget(office: &Office) -> Json {
    let body = json!({ "deviceId": "reader", "entityTypes": ["widget"] });
    office.post("/api/sync/delta", &body).await["changes"][0]["payload"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_called_like_a_share_of_a_sum_comes_back_and_changes_no_stock() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (share, item) = (format!("stock+{}", "0a".repeat(16)), format!("tags*{}", "b".repeat(32)));
    let mut payload = json!({ "stock": 5, "tags": ["a"], "inner": { "stock": 2 } });
    payload[&share] = 7.into();
    payload[&item] = "b".into();
    payload[&format!("+{}", "1".repeat(32))] = 3.into();
    payload["inner"][&share] = 4.into();
    sync(&office, "ann", &Json::Null, &[change("widget", "7", "CREATE", &payload, 1)]).await;
    assert_eq!(widget(&office).await, payload);
    let edit = json!({ &share: 8 });
    sync(&office, "ann", &Json::Null, &[change("widget", "7", "UPDATE", &edit, 1)]).await;
    payload[&share] = 8.into();
    assert_eq!(widget(&office).await, payload);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_becomes_something_of_another_shape_is_read_back_so() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let made = json!({ "x": { "a": { "b": 1 }, "c": 2 }, "other": "stays" });
    sync(&office, "ann", &Json::Null, &[change("widget", "7", "CREATE", &made, 1)]).await;
    let shapes = [
        json!(5),
        json!({ "a": { "b": 3 } }),
        json!([{ "n": 1 }]),
        json!("text"),
        json!({ "": 1 }),
        json!({ "a": 4 }),
        json!({}),
        json!([1, null]),
        json!([]),
        json!(true),
    ];
    for x in shapes {
        let edit = change("widget", "7", "UPDATE", &json!({ "x": x }), 99);
        let answer = sync(&office, "ann", &Json::Null, &[edit]).await;
        assert_eq!(answer["conflicts"], json!([]), "{answer}");
        assert_eq!(widget(&office).await, json!({ "x": x, "other": "stays" }));
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reads_back_the_nulls_and_the_empty_things_that_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let payload = json!({
        "name": null, "title": " Valve ", "a": null, "deep": { "x": null, "y": { "z": null } }, "list": [], "text": "",
        "object": {}, "lists": [null, 1], "padded": " x ", "time": "2026-03-01T08:30:00Z",
        "half": 0.5, "a.b": null, "_own": null, "b{}": null, "": null,
    });
    sync(&office, "ann", &Json::Null, &[change("widget", "7", "CREATE", &payload, 1)]).await;
    assert_eq!(widget(&office).await, payload);
    // A null gives way to a value, and takes its place again.
    for name in [json!("Valve"), Json::Null, json!("Gate"), json!([{ "n": 1 }]), Json::Null] {
        let edit = change("widget", "7", "UPDATE", &json!({ "name": name }), 9);
        let answer = sync(&office, "ann", &Json::Null, &[edit]).await;
        assert_eq!(answer["conflicts"], json!([]), "{answer}");
        assert_eq!(widget(&office).await["name"], name);
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_shapes_of_a_member_the_one_that_was_decided_for_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let made = json!({ "x": { "a": 1 } });
    sync(&office, "ann", &Json::Null, &[change("widget", "7", "CREATE", &made, 1)]).await;
    let mut version = 1;
    let decided = [("SERVER_WINS", json!({ "a": 2 })), ("CLIENT_WINS", json!(5))];
    for (number, (resolution, x)) in decided.iter().enumerate() {
        let edit = |x: Json| [change("widget", "7", "UPDATE", &json!({ "x": x }), version)];
        sync(&office, "ann", &Json::Null, &edit(json!({ "a": 2 + number }))).await;
        let against = sync(&office, "bob", &Json::Null, &edit(json!(5))).await;
        let conflict = &against["conflicts"][0]["id"];
        let body = json!({ "conflictId": conflict, "resolution": resolution });
        let settled = office.post("/api/sync/conflicts/resolve", &body).await;
        version = settled["entity"]["version"].as_u64().unwrap();
        assert_eq!(widget(&office).await, json!({ "x": x }), "{against}");
    }
    office.close().await;
}

/// An app may write its practice as text, or beside the data alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_free_record_is_of_its_practice_however_the_app_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let vet =
        |practice: i64, name: &str| Caller { practices: [practice].into(), ..office.worker(name) };
    let beside = json!({ "operation": "create", "entityType": "medicalRecords", "tempId": "a",
        "practiceId": 2, "data": { "text": "beside" } });
    let mut operations = vec![beside];
    for (name, practice) in [("b", json!("2")), ("c", json!(2.0)), ("d", json!("north"))] {
        operations.push(json!({ "operation": "create", "entityType": "medicalRecords",
            "tempId": name, "data": { "practiceId": practice, "text": name } }));
    }
    let push = json!({ "clientTimestamp": 1, "operations": operations });
    let answer = office.ask_as(&vet(2, "ann"), Method::Post, "/api/sync/push", &push).await.1;
    assert_eq!(answer["processed"], 4, "{answer}");
    let pulled = async |caller: &Caller| {
        let target = "/api/sync/pull?entityTypes=medicalRecords";
        let pulled = office.ask_as(caller, Method::Get, target, &Json::Null).await.1;
        pulled["changes"].as_array().unwrap().len()
    };
    let unbound = Caller { practices: [].into(), ..office.worker("eve") };
    let read = (pulled(&vet(1, "bob")).await, pulled(&vet(2, "cam")).await, pulled(&unbound).await);
    assert_eq!(read, (0, 3, 4));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_can_be_no_type_is_refused_alone_and_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let long = "a".repeat(65);
    let names = ["__proto__", "../../etc", "<b>", "7up", "a\u{202e}b", " ", &long, "free_record"];
    let changes: Vec<Json> =
        names.iter().map(|name| change(name, "1", "CREATE", &json!({ "x": 1 }), 1)).collect();
    let answer = sync(&office, "ann", &Json::Null, &changes).await;
    let results = answer["results"].as_array().unwrap();
    let (last, bad) = results.split_last().unwrap();
    for (name, result) in names.iter().zip(bad) {
        assert_eq!(result["status"], "FAILED", "{name}");
    }
    let text = bad[0]["error"].as_str().unwrap();
    assert!(text.contains("\"__proto__\" cannot be the name of a type; begin with"), "{text}");
    // What an app calls so is a kind like any other.
    assert_eq!(last["status"], "COMPLETED");
    assert_eq!(listed(&office, "free_record").await[0]["kind"], "free_record");
    office.close().await;
}

pub(crate) const PUMP: &str = r#"
name = "pump_check"
create = ["crew"]
edit = ["crew"]
names = ["tag"]

[[field]]
key = "tag"
kind = "text"
max = 200
required = true

[[field]]
key = "pressure"
kind = "number"
min = 0

[[field]]
key = "checkedAt"
kind = "moment"
"#;

pub(crate) async fn define(office: &Office, text: &str) {
    let options =
        SchemaOptions { text: text.into(), step: SchemaStep::Apply, ..SchemaOptions::default() };
    office.node.schema(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_the_tenant_defined_is_written_and_read_by_apps() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    // One that came before anybody had described it stays what it is.
    let before = change("pump_checks", "old", "CREATE", &json!({ "tag": "P0" }), 1);
    sync(&office, "ann", &Json::Null, &[before]).await;
    define(&office, PUMP).await;
    let payload = json!({ "tag": "P1", "pressure": -3, "checkedAt": "2026-03-01T08:30:00Z" });
    let created = sync(
        &office,
        "ann",
        &Json::Null,
        &[
            change("pump_checks", "c1", "CREATE", &payload, 1),
            change("pump_checks", "c1", "UPDATE", &json!({ "pressure": 2 }), 1),
            change("pump_checks", "old", "UPDATE", &json!({ "tag": "P9" }), 1),
        ],
    )
    .await;
    for result in created["results"].as_array().unwrap() {
        assert_eq!(result["status"], "COMPLETED", "{created}");
    }
    let own = listed(&office, "pump_check").await;
    assert_eq!((own.len(), &own[0]["tag"], &own[0]["pressure"]), (1, &json!("P1"), &json!(2)));
    assert_eq!(listed(&office, "free_record").await[0]["payload"], json!({ "tag": "P9" }));
    // A device edits it, and the app reads it by the word that apps use for the type.
    let record = office
        .node
        .list(ListQuery { collection: "pump_check".into(), ..ListQuery::default() })
        .await
        .unwrap()
        .remove(0);
    let edits = Edits { assignments: vec!["pressure=4".into()], ..Edits::default() };
    office.node.edit(&record.id.to_string(), edits).await.unwrap();
    let access = fieldmesh::gateway::Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
    for types in [Json::Null, json!(["pump_checks"])] {
        let body = json!({ "deviceId": "bob", "entityTypes": types });
        let read = office.post("/api/sync/delta", &body).await;
        let mut found: Vec<Json> = read["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| json!([it["entityType"], it["entityId"], it["payload"]["pressure"]]))
            .collect();
        found.sort_by_key(Json::to_string);
        assert_eq!(
            json!(found),
            json!([["pump_checks", "c1", 4], ["pump_checks", "old", null]]),
            "{read}"
        );
    }
    let broken = office.gateway.violations(None, 10).await.unwrap();
    assert!(broken.is_empty(), "it was mended: {broken:?}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_of_the_tenants_own_is_listed_and_its_rights_hold() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    define(&office, &PUMP.replace("create = [\"crew\"]", "create = [\"manager\"]")).await;
    let bad = change("pump_check", "c1", "CREATE", &json!({ "pressure": -3 }), 1);
    let answer = sync(&office, "ann", &Json::Null, std::slice::from_ref(&bad)).await;
    assert_eq!(answer["results"][0]["status"], "FAILED", "operators may not create: {answer}");
    let body = json!({ "deviceId": "m", "changes": [bad] });
    let manager = office.caller(Role::Manager);
    let answer = office.ask_as(&manager, Method::Post, "/api/sync", &body).await.1;
    assert_eq!(answer["results"][0]["status"], "COMPLETED", "{answer}");
    let broken = office.gateway.violations(None, 10).await.unwrap();
    let fields: Vec<&str> = broken[0].faults.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["pressure", "tag"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_given_what_it_wrote_of_a_type_that_another_contract_has() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    // A patient of the clinic, which is no other app's business.
    let operation = json!({ "userId": "ann", "deviceId": "D", "operation": "CREATE",
        "resourceType": "patient", "resourceId": "p1", "data": { "name": "Rosa" },
        "createdAtClient": now() });
    let answer = office.post("/api/v1/sync/batch", &json!({ "operations": [operation] })).await;
    assert_eq!(answer["results"][0]["status"], "SYNCED", "{answer}");
    let made = json!({ "name": "Pump 3", "waits": [1, { "for": "oil" }] });
    let made = [change("patient", "x7", "CREATE", &made, 1)];
    let ann = sync(&office, "ann", &Json::Null, &made).await;
    assert_eq!(ann["results"][0]["status"], "COMPLETED", "{ann}");
    let edit = [change("patient", "x7", "UPDATE", &json!({ "name": "Pump 4" }), 1)];
    assert_eq!(sync(&office, "ann", &Json::Null, &edit).await["results"][0]["version"], 2);
    let read = sync(&office, "bob", &Json::Null, &[]).await["changes"].clone();
    assert_eq!(read.as_array().unwrap().len(), 1, "{read}");
    let told = (&read[0]["entityType"], &read[0]["entityId"], &read[0]["payload"]);
    let payload = json!({ "name": "Pump 4", "waits": [1, { "for": "oil" }] });
    assert_eq!(told, (&json!("patient"), &json!("x7"), &payload));
    // One that it named and wrote before stays where it is.
    let known = [change("patient", "p1", "UPDATE", &json!({ "phone": "5" }), 9)];
    let known = sync(&office, "ann", &Json::Null, &known).await;
    assert_eq!(known["results"][0]["status"], "COMPLETED", "{known}");
    let patients = listed(&office, "patient").await;
    assert_eq!((patients.len(), &patients[0]["phone"]), (1, &json!("5")));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_app_finds_the_records_of_a_collection_under_the_name_that_it_uses() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    define(&office, PUMP).await;
    for (device, name) in [("ann", "Pump_Checks"), ("bob", "pump_checks"), ("cam", "pump_check")] {
        let made = change(name, device, "CREATE", &json!({ "tag": "P1" }), 1);
        let answer = sync(&office, device, &Json::Null, &[made]).await;
        assert_eq!(answer["results"][0]["status"], "COMPLETED", "{answer}");
    }
    office.close().await;
    let office = Office::open(&home).await;
    for (device, name) in [
        ("ann", "Pump_Checks"),
        ("bob", "pump_checks"),
        ("cam", "pump_check"),
        // Who has never said how it calls them is told the name that the tenant gave.
        ("eve", "pump_check"),
    ] {
        let read = sync(&office, device, &Json::Null, &[]).await;
        let told: Vec<&str> = read["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["entityType"].as_str().unwrap())
            .collect();
        assert_eq!(told, [name; 3], "{device}");
    }
    // Whoever asks by a name is answered by it.
    let body = json!({ "deviceId": "eve", "entityTypes": ["pump_checks"] });
    let eve = office.worker("eve");
    let read = office.ask_as(&eve, Method::Post, "/api/sync/delta", &body).await.1;
    assert_eq!(read["changes"][0]["entityType"], "pump_checks", "{read}");
    office.close().await;
}
