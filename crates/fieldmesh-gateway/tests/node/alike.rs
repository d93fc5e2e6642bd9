//! Records that say the same: an app is told of what is there already, and devices ask the same.

use fieldmesh::api::{Choice, ConflictQuery, ListQuery, Resolution};
use fieldmesh_dialect::Method;
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::disputes::check;
use crate::entity::{PUMP, define};
use crate::live::{join, sync};
use crate::{Office, entry, now, well};

/// How many items about records that are alike devices show.
pub(crate) async fn asked(office: &Office) -> usize {
    let kind = Some("duplicate".to_owned());
    let query = ConflictQuery { kind, ..ConflictQuery::default() };
    office.node.conflicts(query).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_a_value_that_is_taken_is_stored_and_told_of_each_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let unique = |key: &str| format!("\n[[unique]]\nfields = [\"{key}\"]\nmessage = \"taken\"\n");
    define(&office, &format!("{PUMP}{}{}", unique("tag"), unique("pressure"))).await;
    let send = async |changes: &[Json]| {
        let body = json!({ "deviceId": "d", "changes": changes });
        let caller = office.caller(Role::Manager);
        office.ask_as(&caller, Method::Post, "/api/sync", &body).await.1
    };
    let create = |id: &str, tag: &str, pressure: i64| {
        check(id, "CREATE", &json!({ "tag": tag, "pressure": pressure }))
    };
    let first = send(&[create("a", "P1", 1), create("b", "P2", 2), create("c", "P3", 3)]).await;
    assert_eq!(first["conflicts"], json!([]), "{first}");
    // One shares a value with one that was there, the next with two others, the last with one of
    // its own request.
    let news =
        [create("d", "P1", 4), create("e", "P2", 3), create("f", "P9", 9), create("g", "P9", 7)];
    for _ in 0..2 {
        let told = send(&news).await;
        let status: Vec<&Json> =
            told["results"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
        assert_eq!(status, ["CONFLICT", "CONFLICT", "COMPLETED", "CONFLICT"], "{told}");
        let sides = |it: &Json| json!([it["entityId"], it["serverData"]["tag"]]);
        let conflicts = told["conflicts"].as_array().unwrap();
        let mut sides: Vec<Json> = conflicts.iter().map(sides).collect();
        sides.sort_by_key(Json::to_string);
        let wanted = [["d", "P1"], ["e", "P2"], ["e", "P3"], ["g", "P9"]];
        assert_eq!(sides, wanted.map(|it| json!(it)), "{told}");
    }
    let listed = office.get("/api/sync/conflicts?entityType=pump_check").await;
    let listed = listed["conflicts"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 4, "{listed:?}");
    let mut shared: Vec<Json> =
        listed.iter().map(|it| json!([it["entityId"], it["affectedFields"]])).collect();
    shared.sort_by_key(Json::to_string);
    let wanted = [("d", "tag"), ("e", "pressure"), ("e", "tag"), ("g", "tag")];
    assert_eq!(shared, wanted.map(|(id, key)| json!([id, [key]])), "{listed:?}");
    // Devices ask the same.
    assert_eq!(asked(&office).await, 4);
    for one in &listed {
        let body = json!({ "conflictId": one["id"], "resolution": "SERVER_WINS" });
        office.post("/api/sync/conflicts/resolve", &body).await;
    }
    let left = office.get("/api/sync/conflicts?entityType=pump_check").await;
    assert_eq!((&left["conflicts"], asked(&office).await), (&json!([]), 0));
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    assert_eq!(office.node.list(query).await.unwrap().len(), 4);
    office.close().await;
}

/// An entry of production over one contract and an event of the same over the other.
pub(crate) async fn produced_twice(office: &Office, well: &str, minute: usize) {
    let entry = entry(well, minute, 80.0);
    let at = entry["recordedAt"].clone();
    let body = json!({ "deviceId": "T1", "entries": [entry] });
    assert_eq!(office.post("/sync/push", &body).await["results"][0]["status"], "STORED");
    let event = json!({ "id": format!("event {minute}"), "type": "PRODUCTION_LOGGED",
        "timestamp": at, "deviceId": "D2", "userId": "ann",
        "payload": { "wellId": well, "recordedAt": at, "volume": 12.5, "unit": "barrels" } });
    let body = json!({ "tenantId": "acme", "events": [event] });
    let told = office.post("/field-data/sync", &body).await;
    // To the app it is stored: what another contract wrote is for a manager to compare.
    assert_eq!(told["syncedEventIds"], json!([format!("event {minute}")]), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_that_came_as_entry_and_as_event_is_on_the_list_of_managers() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let well = well(&office.node, 1).await;
    let list = async || {
        let listed = office.get("/field-data/conflicts").await;
        listed["conflicts"].as_array().unwrap().clone()
    };
    let resolve = async |id: &Json, resolution: &str| {
        let target = format!("/field-data/conflicts/{}/resolve", id.as_str().unwrap());
        let body = json!({ "resolution": resolution });
        let manager = office.caller(Role::Manager);
        office.ask_as(&manager, Method::Post, &target, &body).await
    };
    let query =
        |collection: &str| ListQuery { collection: collection.to_owned(), ..ListQuery::default() };
    let count = async || {
        let entries = office.node.list(query("field_entry")).await.unwrap().len();
        (entries, office.node.list(query("field_event")).await.unwrap().len())
    };
    for (minute, resolution, left) in
        [(0, "SERVER_WINS", (1, 0)), (1, "CLIENT_WINS", (1, 1)), (2, "MERGE", (2, 2))]
    {
        produced_twice(&office, &well, minute).await;
        let listed = list().await;
        assert_eq!((listed.len(), asked(&office).await), (1, 1), "{listed:?}");
        let one = &listed[0];
        assert_eq!(one["eventId"], format!("event {minute}"), "{one}");
        assert_eq!(one["reason"], "Production data already exists for this well and timestamp");
        assert_eq!(one["localData"]["payload"]["volume"], 12.5, "{one}");
        assert_eq!(one["serverData"]["data"]["oilVolume"], 80, "{one}");
        // Lists of other contracts have nothing of it, also for whoever sent it.
        let others = office.get("/api/sync/conflicts").await;
        assert_eq!(others["conflicts"], json!([]), "{others}");
        for _ in 0..2 {
            let (status, settled) = resolve(&one["conflictId"], resolution).await;
            assert_eq!(status, 200, "{settled}");
        }
        assert_eq!((list().await.len(), asked(&office).await), (0, 0), "{resolution}");
        assert_eq!(count().await, left, "{resolution}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_an_edit_made_alike_are_listed_and_both_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{unique}")).await;
    let send = async |change: Json| {
        let body = json!({ "deviceId": "d", "changes": [change] });
        let told = office.post("/api/sync", &body).await;
        assert_eq!(told["results"][0]["status"], "COMPLETED", "{told}");
    };
    for (id, tag) in [("a", "P1"), ("b", "P2")] {
        send(check(id, "CREATE", &json!({ "tag": tag }))).await;
    }
    send(check("b", "UPDATE", &json!({ "tag": "P1" }))).await;
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    let one = json!([listed[0]["entityId"], listed[0]["suggestedResolution"], listed[1]]);
    assert_eq!(one, json!(["b", "MANUAL", null]), "{listed}");
    let body = json!({ "conflictId": listed[0]["id"], "resolution": "MERGE" });
    office.post("/api/sync/conflicts/resolve", &body).await;
    assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    assert_eq!(asked(&office).await, 0);
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    assert_eq!(office.node.list(query).await.unwrap().len(), 2);
    office.close().await;
}

/// Two checks of one tag about which the office and a device decide contrary things.
async fn decided_contrary(office: &Office, home: &std::path::Path, choices: [Choice; 2]) {
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(office, &format!("{PUMP}{unique}")).await;
    for id in ["a", "b"] {
        for (operation, tag) in [("CREATE", id), ("UPDATE", "P1")] {
            let change = check(id, operation, &json!({ "tag": tag }));
            let body = json!({ "deviceId": "d", "changes": [change] });
            let told = office.post("/api/sync", &body).await;
            assert_eq!(told["results"][0]["status"], "COMPLETED", "{told}");
        }
    }
    let (device, address) = join(&office.node, home).await;
    for (node, choice) in [&office.node, &device].into_iter().zip(choices) {
        let item = node.conflicts(ConflictQuery::default()).await.unwrap().remove(0);
        node.resolve(&item.id, Resolution::Take(choice)).await.unwrap();
    }
    sync(&device, &address).await;
    device.shutdown().await.unwrap();
}

async fn is_settled_by_an_app(choices: [Choice; 2], resolution: &str, left: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    decided_contrary(&office, &folder.path().join("device"), choices).await;
    assert_eq!(asked(&office).await, 1);
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let one = &listed[0];
    let is_deleted = |key: &str| one[key] == true;
    assert!(is_deleted("clientDeleted") || is_deleted("serverDeleted"), "{one}");
    let of_client = one["entityId"].as_str().unwrap().to_owned();
    let body = json!({ "conflictId": one["id"], "resolution": resolution });
    let (status, settled) = office
        .ask_as(&office.caller(Role::Manager), Method::Post, "/api/sync/conflicts/resolve", &body)
        .await;
    assert_eq!(status, 200, "{settled}");
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    assert_eq!((&listed, asked(&office).await), (&json!([]), 0), "{resolution}");
    let query = json!({ "deviceId": "fresh", "entityTypes": ["pump_check"] });
    let read = office.post("/api/sync/delta", &query).await;
    let there = read["changes"].as_array().unwrap().iter().filter(|it| it["operation"] != "DELETE");
    let there: Vec<&str> = there.map(|it| it["entityId"].as_str().unwrap()).collect();
    assert_eq!(there.len(), left.len(), "{read}");
    let is_client = there.contains(&of_client.as_str());
    assert_eq!(is_client, left.contains(&"client"), "{resolution} of {one}: {read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_two_people_deleted_for_each_other_come_back_as_an_app_decides() {
    let label = |label: &str| Choice::Label(label.to_owned());
    for (resolution, left) in [
        ("CLIENT_WINS", &["client"][..]),
        ("SERVER_WINS", &["server"]),
        ("MERGE", &["client", "server"]),
    ] {
        is_settled_by_an_app([label("A"), label("B")], resolution, left).await;
        is_settled_by_an_app([Choice::Both, label("B")], resolution, left).await;
    }
}

/// Checks of one tag, each with a pressure of its own and made after the one before.
async fn checks(office: &Office, pressures: &[i64]) {
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(office, &format!("{PUMP}{unique}")).await;
    for pressure in pressures {
        let id = format!("c{pressure}");
        for (operation, tag) in [("CREATE", id.as_str()), ("UPDATE", "P1")] {
            let payload = json!({ "tag": tag, "pressure": pressure });
            let mut change = check(&id, operation, &payload);
            change["timestamp"] = json!(now().plus_millis(pressure - 60_000));
            let body = json!({ "deviceId": "d", "changes": [change] });
            let told = office.post("/api/sync", &body).await;
            assert_eq!(told["results"][0]["status"], "COMPLETED", "{told}");
        }
    }
}

/// Has each of several nodes keep a check and delete the others for it, in ignorance of the others.
async fn kept_apart(office: &Office, folder: &std::path::Path, kept: &[i64]) {
    let mut devices = Vec::new();
    for number in 1..kept.len() {
        devices.push(join(&office.node, &folder.join(format!("device {number}"))).await);
    }
    let nodes = [&office.node].into_iter().chain(devices.iter().map(|(device, _)| device));
    for (node, pressure) in nodes.zip(kept) {
        let kind = Some("duplicate".to_owned());
        let query = ConflictQuery { kind, ..ConflictQuery::default() };
        let item = node.conflicts(query).await.unwrap().remove(0);
        let mut records = item.duplicate.unwrap().records.into_iter();
        let place = records.position(|record| record.fields["pressure"] == *pressure).unwrap();
        let label = ["A", "B", "C"][place].to_owned();
        node.resolve(&item.id, Resolution::Take(Choice::Label(label))).await.unwrap();
    }
    for (device, address) in devices {
        sync(&device, &address).await;
        device.shutdown().await.unwrap();
    }
}

/// The only conflict of the list: its id and the pressures of both sides.
async fn told(office: &Office) -> (Json, [i64; 2]) {
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let of = |side: &str| listed[0][side]["pressure"].as_i64().unwrap();
    (listed[0]["id"].clone(), [of("clientData"), of("serverData")])
}

async fn settle(office: &Office, id: &Json, resolution: &str) {
    let body = json!({ "conflictId": id, "resolution": resolution });
    office.post("/api/sync/conflicts/resolve", &body).await;
}

/// The pressures of the checks that are there.
async fn left(office: &Office) -> Vec<Json> {
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    let there = office.node.list(query).await.unwrap().into_iter();
    let mut left: Vec<Json> =
        there.map(|mut check| check.fields.remove("pressure").unwrap()).collect();
    left.sort_by_key(Json::to_string);
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_are_deleted_an_app_is_told_of_the_two_that_people_kept() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    checks(&office, &[1, 2, 3]).await;
    // Nobody wants the newest one.
    kept_apart(&office, folder.path(), &[1, 2]).await;
    let (id, sides) = told(&office).await;
    assert_eq!(sides, [2, 1]);
    settle(&office, &id, "SERVER_WINS").await;
    assert_eq!((left(&office).await, asked(&office).await), (vec![json!(1)], 0));
    assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_three_people_kept_each_another_one_nothing_goes_that_nobody_was_shown() {
    for (first, second, stay) in [
        ("CLIENT_WINS", "CLIENT_WINS", &[3][..]),
        ("CLIENT_WINS", "SERVER_WINS", &[1]),
        ("SERVER_WINS", "CLIENT_WINS", &[2]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let office = Office::create(&folder.path().join("office")).await;
        checks(&office, &[1, 2, 3]).await;
        kept_apart(&office, folder.path(), &[1, 2, 3]).await;
        let (id, sides) = told(&office).await;
        assert_eq!(sides, [3, 2]);
        settle(&office, &id, first).await;
        // Of the one that was kept and of the third nobody has decided.
        let kept = if first == "CLIENT_WINS" { 3 } else { 2 };
        let (id, sides) = told(&office).await;
        assert_eq!(sides, [kept, 1]);
        assert_eq!(asked(&office).await, 1);
        settle(&office, &id, second).await;
        let stay: Vec<Json> = stay.iter().map(|it| json!(it)).collect();
        assert_eq!((left(&office).await, asked(&office).await), (stay, 0));
        assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
        office.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_that_are_there_each_two_are_told_before_any_of_them_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    checks(&office, &[1, 2, 3]).await;
    for sides in [[3, 2], [3, 1], [2, 1]] {
        let (id, told) = told(&office).await;
        assert_eq!(told, sides);
        settle(&office, &id, "MERGE").await;
    }
    assert_eq!((left(&office).await.len(), asked(&office).await), (3, 0));
    office.close().await;
}
