//! Conflicts that an app's person may not settle: what he writes is taken and ends none of them.

use fieldmesh::Node;
use fieldmesh::api::{ConflictQuery, ConflictReport, Edits, ListQuery, Resolution};
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

/// A device of the office that has everything, and where it reaches the office.
type Device = (Node, String);

/// Edits the only record of a collection.
async fn edit(node: &Node, collection: &str, assignments: &[&str]) {
    let query = ListQuery { collection: collection.into(), ..ListQuery::default() };
    let id = node.list(query).await.unwrap()[0].id.to_string();
    let assignments = assignments.iter().map(|it| (*it).to_owned()).collect();
    node.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
}

/// Has a device edit the only record of a collection in ignorance of what the office has since, and
/// bring that for the last time.
async fn edit_late(office: &Office, device: Device, collection: &str, assignments: &[&str]) {
    let (device, address) = device;
    edit(&device, collection, assignments).await;
    sync(&device, &address).await;
    device.shutdown().await.unwrap();
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
}

/// Has office and device edit the only record of a collection in ignorance of each other.
async fn edit_apart(office: &Office, device: Device, collection: &str, edits: [&[&str]; 2]) {
    edit(&office.node, collection, edits[0]).await;
    edit_late(office, device, collection, edits[1]).await;
}

/// What an asset app is answered to one change: what became of it, and the conflicts.
async fn change_as(office: &Office, user: &str, change: &Json) -> (Json, Json) {
    let body = json!({ "deviceId": user, "changes": [change] });
    let caller = office.worker(user);
    let answer = office.ask_as(&caller, Method::Post, "/api/sync", &body).await.1;
    (answer["results"][0].clone(), answer["conflicts"].clone())
}

/// Ann's encounter, of which two devices tell the diagnosis differently.
async fn dispute(office: &Office, folder: &std::path::Path) {
    let device = join(&office.node, &folder.join("device")).await;
    let made = json!({ "diagnosis": "cold", "notes": "x" });
    let made = send(office, &worker(office, "ann"), "CREATE", &made).await;
    assert_eq!(made["status"], "SYNCED", "{made}");
    sync(&device.0, &device.1).await;
    edit_apart(office, device, "encounter", [&["diagnosis=flu"], &["diagnosis=malaria"]]).await;
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
    let device = join(&office.node, &folder.path().join("device")).await;
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
    sync(&device.0, &device.1).await;
    edit_apart(&office, device, "field_entry", [&["oilVolume=82"], &["oilVolume=83"]]).await;
    assert_eq!(disputed(&office).await[0].values.len(), 2);
    assert_eq!(push("bob", 90.0).await, "CONFLICT");
    assert_eq!(disputed(&office).await[0].values.len(), 3);
    // Nor when it comes again.
    assert_eq!(push("bob", 90.0).await, "CONFLICT");
    assert_eq!(disputed(&office).await[0].values.len(), 3);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_competes_in_a_record_is_listed_though_what_was_beside_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let bob = worker(&office, "bob");
    write_twice(&office, [json!({ "diagnosis": "cold" }), json!({ "diagnosis": "flu" })]).await;
    sync(&device.0, &device.1).await;
    let entry = send_stale(&office, &bob, &json!({ "diagnosis": "malaria" })).await;
    assert_eq!(entry["status"], "CONFLICT", "{entry}");
    // A device that has not heard of it replaces the other side.
    edit_late(&office, device, "encounter", &["diagnosis=typhus"]).await;
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
pub(crate) fn check(id: &str, operation: &str, payload: &Json) -> Json {
    json!({ "entityType": "pump_check", "entityId": id, "operation": operation,
        "payload": payload, "clientVersion": 1, "timestamp": now().plus_millis(-60_000) })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_says_what_is_there_decides_nothing_about_what_is_alike() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{unique}")).await;
    let sync = async |user: &str, change: Json| change_as(&office, user, &change).await.0;
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

/// Ann's encounter, as she makes it and as she edits it.
async fn write_twice(office: &Office, [made, edited]: [Json; 2]) {
    let ann = worker(office, "ann");
    send(office, &ann, "CREATE", &made).await;
    send(office, &ann, "UPDATE", &edited).await;
}

/// What a worker sends of the encounter, who read its first version.
async fn send_stale(office: &Office, caller: &Caller, data: &Json) -> Json {
    let operation = json!({ "userId": caller.user, "deviceId": "d", "operation": "UPDATE",
        "resourceType": "encounter", "resourceId": "e1", "version": 1, "data": data,
        "createdAtClient": now() });
    let body = json!({ "operations": [operation] });
    office.ask_as(caller, Method::Post, "/api/v1/sync/batch", &body).await.1["results"][0].clone()
}

async fn listed(office: &Office) -> Vec<Json> {
    office.get("/api/v1/sync/conflicts").await["conflicts"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_meets_two_conflicts_is_told_of_both_and_one_answer_settles_both() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    dispute(&office, folder.path()).await;
    let (bob, admin) = (worker(&office, "bob"), office.caller(Role::Admin));
    let rest = json!({ "prescription": "rest" });
    assert_eq!(send(&office, &admin, "UPDATE", &rest).await["status"], "SYNCED");
    let edit = json!({ "diagnosis": "typhus", "prescription": "pills", "notes": "y" });
    let taken = send_stale(&office, &bob, &edit).await;
    let process = format!("/api/v1/sync/process/{}", taken["id"].as_str().unwrap());
    for told in [taken.clone(), office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1] {
        assert_eq!(told["status"], "CONFLICT", "{told}");
        assert_eq!(told["affectedFields"], json!(["prescription", "diagnosis"]), "{told}");
        let sides = (&told["localData"]["diagnosis"], &told["localData"]["prescription"]);
        assert_eq!(sides, (&json!("typhus"), &json!("pills")), "{told}");
        assert_eq!(told["serverData"]["prescription"], "rest", "{told}");
    }
    assert_eq!(encounter(&office).await["prescription"], "rest");
    // Beside what the devices told differently.
    assert_eq!(listed(&office).await.len(), 3);
    // What he asks an admin for he asks for both.
    let target = format!("/api/v1/sync/resolve/{}", taken["id"].as_str().unwrap());
    let target = format!("{target}?resolution=CLIENT_WINS");
    let asked = office.ask_as(&bob, Method::Patch, &target, &Json::Null).await.1;
    assert_eq!(asked["reviewStatus"], "AWAITING_APPROVAL", "{asked}");
    let listed_for_bob = listed(&office).await.into_iter().filter(|it| it["requestedBy"] == "bob");
    assert_eq!(listed_for_bob.count(), 2);
    for _ in 0..2 {
        let settled = office.ask(Method::Patch, &target, &Json::Null).await;
        assert_eq!(settled["status"], "SYNCED", "{settled}");
    }
    let after = encounter(&office).await;
    let after = (&after["diagnosis"], &after["prescription"], &after["notes"]);
    assert_eq!(after, (&json!("typhus"), &json!("pills"), &json!("y")));
    assert_eq!((listed(&office).await.len(), disputed(&office).await.len()), (0, 0));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_in_conflict_until_each_field_that_competes_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let bob = worker(&office, "bob");
    let made = json!({ "diagnosis": "cold", "prescription": "x" });
    write_twice(&office, [made, json!({ "diagnosis": "flu", "prescription": "z" })]).await;
    sync(&device.0, &device.1).await;
    let taken =
        send_stale(&office, &bob, &json!({ "diagnosis": "malaria", "prescription": "y" })).await;
    assert_eq!(taken["affectedFields"], json!(["diagnosis", "prescription"]), "{taken}");
    // A device that has not heard of it replaces one of the values.
    edit_late(&office, device, "encounter", &["diagnosis=typhus"]).await;
    let entry = taken["id"].as_str().unwrap();
    let target = format!("/api/v1/sync/resolve/{entry}?resolution=CLIENT_WINS");
    // Nobody has shown anybody what he would replace.
    let admin = office.caller(Role::Admin);
    assert_eq!(office.ask_as(&admin, Method::Patch, &target, &Json::Null).await.0, 409);
    let process = format!("/api/v1/sync/process/{entry}");
    let told = office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1;
    assert_eq!(told["status"], "CONFLICT", "{told}");
    assert_eq!(told["affectedFields"], json!(["diagnosis", "prescription"]), "{told}");
    assert_eq!(told["serverData"]["diagnosis"], "typhus", "{told}");
    let settled = office.ask(Method::Patch, &target, &Json::Null).await;
    assert_eq!(settled["status"], "SYNCED", "{settled}");
    let after = encounter(&office).await;
    assert_eq!((&after["diagnosis"], &after["prescription"]), (&json!("malaria"), &json!("y")));
    assert_eq!((listed(&office).await.len(), disputed(&office).await.len()), (0, 0));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_again_is_no_success_while_its_value_competes() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let at = now().plus_millis(-60_000);
    let change = |operation: &str, name: &str| {
        json!({ "entityType": "widget", "entityId": "w", "operation": operation,
            "payload": { "name": name }, "clientVersion": 1, "timestamp": at })
    };
    let send = async |user: &str, change: &Json| {
        let (result, conflicts) = change_as(&office, user, change).await;
        (result["status"].clone(), conflicts)
    };
    assert_eq!(send("ann", &change("CREATE", "Gate")).await.0, "COMPLETED");
    assert_eq!(send("ann", &change("UPDATE", "Door")).await.0, "COMPLETED");
    sync(&device.0, &device.1).await;
    let stale = change("UPDATE", "Hatch");
    assert_eq!(send("bob", &stale).await.0, "CONFLICT");
    // A device that has not heard of it replaces the other side; the answer to Bob was lost.
    edit_late(&office, device, "free_record", &["payload.name=Lid"]).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let (status, conflicts) = send("bob", &stale).await;
        assert_eq!(status, "CONFLICT");
        assert_eq!(conflicts[0]["serverData"]["name"], "Lid", "{conflicts}");
        told.push(conflicts[0]["id"].clone());
    }
    assert_eq!(told[0], told[1]);
    let open = office.get("/api/sync/conflicts").await["conflicts"].clone();
    assert_eq!((open.as_array().unwrap().len(), &open[0]["id"]), (1, &told[0]), "{open}");
    let body = json!({ "conflictId": told[0], "resolution": "SERVER_WINS" });
    office.post("/api/sync/conflicts/resolve", &body).await;
    assert_eq!(send("bob", &stale).await, (json!("COMPLETED"), json!([])));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_again_decides_no_more_than_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let resolve = "edit = [\"crew\"]\nresolve = [\"author\", \"manager\"]";
    let schema = PUMP.replace("edit = [\"crew\"]", resolve);
    define(&office, &schema.replace("min = 0", "min = 0\npolicy = \"review\"")).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let send = async |user: &str, change: &Json| {
        change_as(&office, user, change).await.0["status"].clone()
    };
    let made = json!({ "tag": "P1", "pressure": 1 });
    assert_eq!(send("ann", &check("c", "CREATE", &made)).await, "COMPLETED");
    sync(&device.0, &device.1).await;
    edit_apart(&office, device, "pump_check", [&["pressure=2"], &["pressure=3"]]).await;
    assert_eq!(disputed(&office).await[0].values.len(), 2);
    let mut edit = check("c", "UPDATE", &json!({ "pressure": 4 }));
    edit["clientVersion"] = 9.into();
    // The first answer was lost.
    for _ in 0..2 {
        assert_eq!(send("bob", &edit).await, "CONFLICT");
        assert_eq!(disputed(&office).await[0].values.len(), 3);
    }
    // A later one of whoever wrote one of the values decides, as the tenant has said.
    edit["timestamp"] = json!(now());
    assert_eq!(send("bob", &edit).await, "COMPLETED");
    assert_eq!(disputed(&office).await, []);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_two_conflicts_that_comes_again_makes_no_third() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let field = |key: &str| {
        format!("\n[[field]]\nkey = \"{key}\"\nkind = \"text\"\nmax = 9\npolicy = \"review\"\n")
    };
    let schema = PUMP.replace("edit = [\"crew\"]", "edit = [\"crew\"]\nresolve = [\"manager\"]");
    define(&office, &format!("{schema}{}{}", field("state"), field("place"))).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let send = async |user: &str, change: &Json| {
        let (result, conflicts) = change_as(&office, user, change).await;
        (result["status"].clone(), conflicts)
    };
    let made = json!({ "tag": "P1", "state": "A", "place": "A", "pressure": 1 });
    assert_eq!(send("ann", &check("c", "CREATE", &made)).await.0, "COMPLETED");
    sync(&device.0, &device.1).await;
    let edits: [&[&str]; 2] = [&["state=B"], &["state=C", "place=C", "pressure=5"]];
    edit_apart(&office, device, "pump_check", edits).await;
    let edit = check("c", "UPDATE", &json!({ "state": "D", "place": "D", "pressure": 9 }));
    let listed = async || office.get("/api/sync/conflicts").await["conflicts"].clone();
    let (status, told) = send("bob", &edit).await;
    assert_eq!((&status, told.as_array().unwrap().len()), (&json!("CONFLICT"), 2), "{told}");
    let open = listed().await;
    for _ in 0..3 {
        assert_eq!(send("bob", &edit).await, (json!("CONFLICT"), told.clone()));
        assert_eq!(listed().await, open);
    }
    // As long as one of them is open he is told of that one.
    for (number, conflict) in told.as_array().unwrap().iter().enumerate() {
        let left = told.as_array().unwrap()[number..].to_vec();
        assert_eq!(send("bob", &edit).await, (json!("CONFLICT"), json!(left)));
        let body = json!({ "conflictId": conflict["id"], "resolution": "SERVER_WINS" });
        office.post("/api/sync/conflicts/resolve", &body).await;
    }
    assert_eq!(send("bob", &edit).await, (json!("COMPLETED"), json!([])));
    assert_eq!((listed().await, disputed(&office).await), (json!([]), vec![]));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_on_a_device_what_is_shown_has_decided_for_apps_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let bob = worker(&office, "bob");
    write_twice(&office, [json!({ "diagnosis": "cold" }), json!({ "diagnosis": "flu" })]).await;
    let taken = send_stale(&office, &bob, &json!({ "diagnosis": "malaria" })).await;
    assert_eq!((&taken["status"], listed(&office).await.len()), (&json!("CONFLICT"), 1));
    let found = disputed(&office).await.remove(0);
    let keep = Resolution::Set(vec!["diagnosis=flu".to_owned()]);
    office.node.resolve(&found.id, keep).await.unwrap();
    assert_eq!((listed(&office).await.len(), disputed(&office).await.len()), (0, 0));
    let process = format!("/api/v1/sync/process/{}", taken["id"].as_str().unwrap());
    let told = office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1;
    let told = (&told["status"], &told["result"]["diagnosis"]);
    assert_eq!(told, (&json!("SYNCED"), &json!("flu")));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_of_others_let_nobody_win_in_a_clinic_who_may_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let bob = worker(&office, "bob");
    write_twice(&office, [json!({ "diagnosis": "cold" }), json!({ "diagnosis": "flu" })]).await;
    let taken = send_stale(&office, &bob, &json!({ "diagnosis": "malaria" })).await;
    let open = listed(&office).await;
    let manager = office.caller(Role::Manager);
    for caller in [&bob, &manager] {
        for id in [&taken["id"], &open[0]["id"]] {
            for word in ["CLIENT_WINS", "MERGE", "MANUAL"] {
                let mut body = json!({ "conflictId": id, "resolution": word });
                if word != "CLIENT_WINS" {
                    body["resolvedData"] = json!({ "diagnosis": "malaria" });
                }
                let target = "/api/sync/conflicts/resolve";
                let status = office.ask_as(caller, Method::Post, target, &body).await.0;
                assert_eq!(status, 403, "{} {word}", caller.user);
            }
        }
    }
    let target = format!("/field-data/conflicts/{}/resolve", open[0]["id"].as_str().unwrap());
    let body = json!({ "resolution": "CLIENT_WINS" });
    assert_eq!(office.ask_as(&manager, Method::Post, &target, &body).await.0, 403);
    assert_eq!(encounter(&office).await["diagnosis"], "flu");
    assert_eq!(listed(&office).await.len(), 1);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asked_for_waits_on_though_the_other_side_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let device = join(&office.node, &folder.path().join("device")).await;
    let bob = worker(&office, "bob");
    write_twice(&office, [json!({ "diagnosis": "cold" }), json!({ "diagnosis": "flu" })]).await;
    sync(&device.0, &device.1).await;
    let taken = send_stale(&office, &bob, &json!({ "diagnosis": "malaria" })).await;
    let entry = taken["id"].as_str().unwrap();
    let target = format!("/api/v1/sync/resolve/{entry}?resolution=CLIENT_WINS");
    let asked = office.ask_as(&bob, Method::Patch, &target, &Json::Null).await.1;
    assert_eq!(asked["reviewStatus"], "AWAITING_APPROVAL", "{asked}");
    edit_late(&office, device, "encounter", &["diagnosis=typhus"]).await;
    let waits = async || {
        let open = listed(&office).await;
        assert_eq!((open.len(), &open[0]["requestedBy"]), (1, &json!("bob")), "{open:?}");
        assert_eq!(open[0]["serverData"]["diagnosis"], "typhus", "{open:?}");
    };
    waits().await;
    // He is told of it as of another conflict, and it waits in that one.
    let process = format!("/api/v1/sync/process/{entry}");
    let told = office.ask_as(&bob, Method::Post, &process, &Json::Null).await.1;
    assert_eq!(told["status"], "CONFLICT", "{told}");
    waits().await;
    office.close().await;
}
