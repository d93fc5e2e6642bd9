//! What a gateway tells people of what they sent: what waits, what failed, what is decided.

use fieldmesh::api::{Edits, ListQuery};
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::{Moment, Role};
use serde_json::{Value as Json, json};

use crate::Office;

const AT: &str = "2025-10-25T08:00:00.000Z";

/// What a member of the crew is answered; the request is taken.
async fn ask(office: &Office, caller: &Caller, method: Method, target: &str, body: &Json) -> Json {
    let (status, body) = office.ask_as(caller, method, target, body).await;
    assert!((200..300).contains(&status), "{target}: {status} {body}");
    body
}

fn changes(changes: &[Json]) -> Json {
    json!({ "deviceId": "phone", "deviceName": "Ann's phone", "changes": changes })
}

fn task(operation: &str, id: &str, payload: &Json) -> Json {
    json!({ "entityType": "task", "entityId": id, "operation": operation, "payload": payload,
        "clientVersion": 1, "timestamp": AT })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_is_told_of_its_queue_and_its_devices() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let (get, post) = (Method::Get, Method::Post);
    let rename = task("UPDATE", "t1", &json!({ "title": "Grease" }));
    let sent = ask(&office, &ann, post, "/api/sync", &changes(&[rename])).await;
    assert_eq!(sent["results"][0]["status"], "FAILED", "{sent}");
    let stats = ask(&office, &ann, get, "/api/sync/queue/stats", &Json::Null).await;
    assert_eq!((&stats["failed"], &stats["pending"]), (&json!(1), &json!(0)));
    // Nothing has changed, so it fails again; then somebody makes the task.
    let retry = async || ask(&office, &ann, post, "/api/sync/queue/retry", &Json::Null).await;
    assert_eq!(retry().await, json!({ "retried": 1, "succeeded": 0, "failed": 1 }));
    let make = task("CREATE", "t1", &json!({ "title": "Oil", "status": "OPEN" }));
    ask(&office, &bob, post, "/api/sync", &changes(&[make])).await;
    assert_eq!(retry().await, json!({ "retried": 1, "succeeded": 1, "failed": 0 }));
    let query = ListQuery { collection: "task".into(), ..ListQuery::default() };
    assert_eq!(office.node.list(query).await.unwrap()[0].fields["title"], "Grease");

    let status = ask(&office, &ann, get, "/api/sync/status", &Json::Null).await;
    assert_eq!((&status["userId"], &status["queue"]["failed"]), (&json!("ann"), &json!(0)));
    assert_eq!(status["unresolvedConflicts"], 0);
    let listed = ask(&office, &ann, get, "/api/sync/devices", &Json::Null).await;
    let devices = listed["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{listed}");
    assert_eq!((&devices[0]["deviceId"], &devices[0]["userId"]), (&json!("phone"), &json!("ann")));
    assert_eq!(
        (&devices[0]["deviceName"], &devices[0]["isActive"]),
        (&json!("Ann's phone"), &json!(true))
    );
    assert!(devices[0]["lastSyncAt"].is_string(), "{listed}");
    office.close().await;
}

/// A worker's operation on a patient.
fn operation(user: &str, kind: &str, id: &str, patient: &str, phone: &str) -> Json {
    let data = match kind {
        "CREATE" => json!({ "id": patient, "name": "Rosa", "phone": phone }),
        _ => json!({ "phone": phone }),
    };
    let mut operation = json!({ "id": id, "userId": user, "deviceId": "d", "operation": kind,
        "resourceType": "patient", "data": data, "createdAtClient": AT, "version": 1 });
    if kind != "CREATE" {
        operation["resourceId"] = patient.into();
    }
    operation
}

/// Queues an operation and processes it.
async fn send(office: &Office, caller: &Caller, operation: &Json) -> Json {
    let queued = ask(office, caller, Method::Post, "/api/v1/sync/queue", operation).await;
    let target = format!("/api/v1/sync/process/{}", queued["id"].as_str().unwrap());
    ask(office, caller, Method::Post, &target, &Json::Null).await
}

fn workers(office: &Office) -> [Caller; 2] {
    ["ann", "bob"].map(|user| Caller { role: Role::HealthWorker, ..office.worker(user) })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_is_told_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = workers(&office);
    let (get, post) = (Method::Get, Method::Post);
    let make = operation("ann", "CREATE", "o1", "p1", "1");
    ask(&office, &ann, post, "/api/v1/sync/queue", &make).await;
    let pending = async |device: &str| {
        let target = format!("/api/v1/sync/pending?userId=ann&deviceId={device}");
        ask(&office, &ann, get, &target, &Json::Null).await
    };
    let listed = pending("d").await;
    assert_eq!((&listed[0]["id"], &listed[0]["status"]), (&json!("o1"), &json!("PENDING")));
    assert_eq!(listed[0]["createdAtClient"], AT);
    assert_eq!(pending("other").await, json!([]));
    assert_eq!(send(&office, &ann, &make).await["status"], "SYNCED");
    assert_eq!(pending("d").await, json!([]));
    // Another one makes the same patient with other values.
    let again = send(&office, &bob, &operation("bob", "CREATE", "o2", "p1", "2")).await;
    assert_eq!(
        (&again["status"], &again["affectedFields"]),
        (&json!("CONFLICT"), &json!(["phone"]))
    );
    // Somebody at a device decides, and the operation hears of it.
    let query = ListQuery { collection: "patient".into(), ..ListQuery::default() };
    let patient = office.node.list(query).await.unwrap()[0].id.to_string();
    let assignments = vec!["phone=3".to_owned()];
    office.node.edit(&patient, Edits { assignments, ..Edits::default() }).await.unwrap();
    let decided = ask(&office, &bob, post, "/api/v1/sync/process/o2", &Json::Null).await;
    assert_eq!((&decided["status"], &decided["result"]["phone"]), (&json!("SYNCED"), &json!("3")));
    // What fails is told why, and can be tried again.
    let early = send(&office, &ann, &operation("ann", "UPDATE", "o3", "p2", "5")).await;
    assert_eq!((&early["status"], &early["error"]), (&json!("FAILED"), &json!("Record not found")));
    send(&office, &bob, &operation("bob", "CREATE", "o4", "p2", "4")).await;
    let retry = "/api/v1/sync/retry?userId=ann&deviceId=d";
    let retried = ask(&office, &ann, post, retry, &Json::Null).await;
    let outcome = (&retried["retried"], &retried["failed"]);
    assert_eq!(outcome, (&json!(1), &json!(0)), "{retried}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_settled_once_and_who_comes_later_is_not_told_that_he_won() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = workers(&office);
    send(&office, &ann, &operation("ann", "CREATE", "o1", "p1", "1")).await;
    send(&office, &bob, &operation("bob", "UPDATE", "o2", "p1", "2")).await;
    let stale = send(&office, &ann, &operation("ann", "UPDATE", "o3", "p1", "3")).await;
    assert_eq!(stale["status"], "CONFLICT", "{stale}");
    let settle = async |caller: &Caller, id: &str, resolution: &str| {
        let target = format!("/api/v1/sync/resolve/{id}?resolution={resolution}");
        office.ask_as(caller, Method::Patch, &target, &json!({ "emergency": "shock" })).await
    };
    for _ in 0..2 {
        // The answer got lost: the same once more is no contradiction.
        let (status, body) = settle(&ann, "o3", "SERVER_WINS").await;
        assert_eq!((status, &body["status"]), (200, &json!("SYNCED")), "{body}");
        assert_eq!(
            (&body["resolution"], &body["result"]["phone"]),
            (&json!("SERVER_WINS"), &json!("2"))
        );
    }
    assert_eq!(settle(&ann, "o3", "CLIENT_WINS").await.0, 409);
    // An operation that was never in conflict has nothing to settle.
    assert_eq!(settle(&ann, "o1", "CLIENT_WINS").await.0, 409);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asks_others_to_decide_is_on_their_list_with_who_asked_and_when() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let [ann, bob] = workers(&office);
    let admin = office.caller(Role::Admin);
    send(&office, &ann, &operation("ann", "CREATE", "o1", "p1", "1")).await;
    send(&office, &bob, &operation("bob", "UPDATE", "o2", "p1", "2")).await;
    let stale = send(&office, &ann, &operation("ann", "UPDATE", "o3", "p1", "3")).await;
    assert_eq!(stale["status"], "CONFLICT", "{stale}");
    let settle = async |office: &Office, caller: &Caller, resolution: &str, body: Json| {
        let target = format!("/api/v1/sync/resolve/o3?resolution={resolution}");
        ask(office, caller, Method::Patch, &target, &body).await
    };
    let list = async |office: &Office| {
        let listed = office.get("/api/v1/sync/conflicts").await["conflicts"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        listed[0].clone()
    };
    assert!(list(&office).await.get("reviewStatus").is_none());
    let mut moments = Vec::new();
    for (resolution, status) in [
        ("CLIENT_WINS", "AWAITING_APPROVAL"),
        ("CLIENT_WINS", "AWAITING_APPROVAL"),
        ("MANUAL", "MANUAL_REVIEW"),
    ] {
        let answer = settle(&office, &ann, resolution, Json::Null).await;
        let told = (&answer["status"], &answer["reviewStatus"]);
        assert_eq!(told, (&json!("CONFLICT"), &json!(status)), "{answer}");
        let listed = list(&office).await;
        let asked = (&listed["reviewStatus"], &listed["requestedBy"]);
        assert_eq!(asked, (&json!(status), &json!(ann.user)), "{listed}");
        moments.push(listed["requestedAt"].as_str().unwrap().parse::<Moment>().unwrap());
    }
    assert_eq!(moments[0], moments[1], "asked for once, however often it is said");
    office.close().await;
    // It is there after a restart, and an admin decides.
    let office = Office::open(&home).await;
    assert_eq!(list(&office).await["reviewStatus"], "MANUAL_REVIEW");
    let settled = settle(&office, &admin, "CLIENT_WINS", Json::Null).await;
    assert_eq!((&settled["status"], &settled["result"]["phone"]), (&json!("SYNCED"), &json!("3")));
    assert_eq!(office.get("/api/v1/sync/conflicts").await["conflicts"], json!([]));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_admin_gets_around_him_by_no_other_word() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ([ann, bob], admin) = (workers(&office), office.caller(Role::Admin));
    send(&office, &ann, &operation("ann", "CREATE", "o1", "p1", "1")).await;
    send(&office, &bob, &operation("bob", "UPDATE", "o2", "p1", "2")).await;
    send(&office, &ann, &operation("ann", "UPDATE", "o3", "p1", "3")).await;
    let patch = async |caller: &Caller, resolution: &str, body: &Json| {
        let target = format!("/api/v1/sync/resolve/o3?resolution={resolution}");
        ask(&office, caller, Method::Patch, &target, body).await
    };
    let data = json!({ "data": { "phone": "3" } });
    let urgent = json!({ "data": { "phone": "3" }, "emergency": "shock" });
    let waits = [
        ("CLIENT_WINS", &Json::Null, "AWAITING_APPROVAL"),
        ("MANUAL", &data, "MANUAL_REVIEW"),
        ("MANUAL", &urgent, "MANUAL_REVIEW"),
    ];
    for caller in [ann.clone(), Caller { role: Role::Operator, ..ann.clone() }] {
        for (resolution, body, review) in waits {
            let told = patch(&caller, resolution, body).await;
            let said = (&told["status"], &told["reviewStatus"], &told["resolvedBy"]);
            assert_eq!(said, (&json!("CONFLICT"), &json!(review), &Json::Null), "{told}");
        }
    }
    let query = ListQuery { collection: "patient".into(), ..ListQuery::default() };
    assert_eq!(office.node.list(query).await.unwrap()[0].fields["phone"], "2");
    let settled = patch(&admin, "MANUAL", &data).await;
    assert_eq!((&settled["status"], &settled["result"]["phone"]), (&json!("SYNCED"), &json!("3")));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_somebody_decided_without_an_admin_is_told_to_whoever_asks() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = workers(&office);
    send(&office, &ann, &operation("ann", "CREATE", "o1", "p1", "1")).await;
    send(&office, &bob, &operation("bob", "UPDATE", "o2", "p1", "2")).await;
    send(&office, &ann, &operation("ann", "UPDATE", "o3", "p1", "3")).await;
    let target = "/api/v1/sync/resolve/o3?resolution=CLIENT_WINS";
    let body = json!({ "emergency": "anaphylactic shock" });
    let patch = Method::Patch;
    let settled = ask(&office, &ann, patch, target, &body).await;
    assert_eq!((&settled["status"], &settled["result"]["phone"]), (&json!("SYNCED"), &json!("3")));
    let again = ask(&office, &office.caller(Role::Admin), patch, target, &Json::Null).await;
    for told in [settled, again] {
        assert_eq!(told["emergency"], "anaphylactic shock", "{told}");
        assert_eq!(told["resolvedBy"], json!(ann.user), "{told}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_an_old_list_does_not_replace_what_somebody_wrote_since() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let post = Method::Post;
    let of = |device: &str, change: Json| json!({ "deviceId": device, "changes": [change] });
    let title = |title: &str| task("UPDATE", "t1", &json!({ "title": title }));
    let make = task("CREATE", "t1", &json!({ "title": "Oil", "status": "OPEN" }));
    ask(&office, &ann, post, "/api/sync", &of("a", make)).await;
    ask(&office, &bob, post, "/api/sync", &of("b", title("Grease"))).await;
    let body = of("c", title("Clean"));
    let stale = ask(&office, &ann, post, "/api/sync", &body).await;
    let id = stale["conflicts"][0]["id"].clone();
    let query = || ListQuery { collection: "task".into(), ..ListQuery::default() };
    let task = office.node.list(query()).await.unwrap()[0].id.to_string();
    let assignments = vec!["title=Paint".to_owned()];
    office.node.edit(&task, Edits { assignments, ..Edits::default() }).await.unwrap();
    let settle = async |resolution: &str| {
        let body = json!({ "conflictId": id, "resolution": resolution });
        office.ask_as(&ann, post, "/api/sync/conflicts/resolve", &body).await.0
    };
    assert_eq!(settle("CLIENT_WINS").await, 409);
    assert_eq!(office.node.list(query()).await.unwrap()[0].fields["title"], "Paint");
    assert_eq!(settle("SERVER_WINS").await, 200);
    assert_eq!(settle("SERVER_WINS").await, 200);
    assert_eq!(settle("CLIENT_WINS").await, 409);
    assert_eq!(office.node.list(query()).await.unwrap()[0].fields["title"], "Paint");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gives_itself_no_rights() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ann = office.worker("ann");
    let user = json!({ "name": "Ann", "email": "ann@example.org", "role": "ADMIN" });
    let well = json!({ "name": "Mine", "apiNumber": "42-227-30009", "status": "ACTIVE" });
    for (kind, payload) in [("user", user), ("well", well)] {
        let change = json!({ "entityType": kind, "entityId": "x", "operation": "CREATE",
            "payload": payload, "clientVersion": 1, "timestamp": AT });
        let sent = ask(&office, &ann, Method::Post, "/api/sync", &changes(&[change])).await;
        assert_eq!(sent["results"][0]["status"], "FAILED", "{sent}");
        let query = ListQuery { collection: kind.into(), ..ListQuery::default() };
        let found = office.node.list(query).await.unwrap();
        assert!(found.iter().all(|record| record.fields["name"] != payload["name"]), "{found:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_is_shown_the_conflicts_of_the_contract_that_he_asks_over() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let admin = Caller { user: "chief".into(), ..office.caller(Role::Admin) };
    let [ann, bob] = workers(&office);
    send(&office, &ann, &operation("ann", "CREATE", "o1", "p1", "1")).await;
    send(&office, &bob, &operation("bob", "CREATE", "o2", "p1", "2")).await;
    let title = |title: &str| task("CREATE", "t1", &json!({ "title": title, "status": "OPEN" }));
    for (caller, name) in [(&ann, "Oil"), (&bob, "Grease")] {
        let body = json!({ "deviceId": caller.user, "changes": [title(name)] });
        ask(&office, caller, Method::Post, "/api/sync", &body).await;
    }
    for (target, key, kind) in [
        ("/api/v1/sync/conflicts", "resourceType", "patient"),
        ("/api/sync/conflicts", "entityType", "task"),
    ] {
        let listed = ask(&office, &admin, Method::Get, target, &Json::Null).await;
        let listed = listed["conflicts"].as_array().unwrap();
        let kinds: Vec<&Json> = listed.iter().map(|it| &it[key]).collect();
        assert_eq!(kinds, [kind], "{listed:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_again_is_told_the_version_that_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let sync = async |caller: &Caller, changes: &[Json]| {
        let body = json!({ "deviceId": caller.user, "changes": changes });
        let told = ask(&office, caller, Method::Post, "/api/sync", &body).await;
        let one = |it: &Json| json!([it["status"], it["version"]]);
        told["results"].as_array().unwrap().iter().map(one).collect::<Vec<Json>>()
    };
    let make = task("CREATE", "t1", &json!({ "title": "Oil", "status": "OPEN" }));
    let sent = [make, task("UPDATE", "t1", &json!({ "title": "Grease" }))];
    let first = sync(&ann, &sent).await;
    assert_eq!(first, [json!(["COMPLETED", 1]), json!(["COMPLETED", 2])]);
    let mut other = task("UPDATE", "t1", &json!({ "status": "DONE" }));
    other["clientVersion"] = 2.into();
    assert_eq!(sync(&bob, &[other]).await, [json!(["COMPLETED", 3])]);
    // Ann's answer was lost; what Bob wrote she has not read.
    assert_eq!(sync(&ann, &sent).await, first);
    let mut next = task("UPDATE", "t1", &json!({ "status": "LATE" }));
    next["clientVersion"] = 2.into();
    assert_eq!(sync(&ann, &[next]).await[0][0], "CONFLICT");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_again_after_its_conflict_was_put_together_opens_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let make = json!({ "title": "Oil", "status": "OPEN", "notes": "x" });
    for (resolution, id) in [("MERGE", "t1"), ("MANUAL", "t2")] {
        let of_ann = json!({ "title": "Grease", "status": "DONE" });
        for sent in [task("CREATE", id, &make), task("UPDATE", id, &of_ann)] {
            let told = ask(&office, &ann, Method::Post, "/api/sync", &changes(&[sent])).await;
            assert_eq!(told["results"][0]["status"], "COMPLETED", "{told}");
        }
        let of_bob = task("UPDATE", id, &json!({ "title": "Paint", "status": "BUSY" }));
        let mut of_bob = changes(&[of_bob]);
        of_bob["deviceId"] = "tablet".into();
        let told = ask(&office, &bob, Method::Post, "/api/sync", &of_bob).await;
        assert_eq!(told["results"][0]["status"], "CONFLICT", "{told}");
        // Of one field a third value, of the other that of his.
        let body = json!({ "conflictId": told["conflicts"][0]["id"], "resolution": resolution,
            "resolvedData": { "title": "Clean", "status": "BUSY" } });
        office.post("/api/sync/conflicts/resolve", &body).await;
        let again = ask(&office, &bob, Method::Post, "/api/sync", &of_bob).await;
        assert_eq!(again["results"][0]["status"], "COMPLETED", "{resolution}: {again}");
        assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_puts_on_top_of_a_later_version_is_not_what_was_decided_before() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    crate::entity::define(&office, crate::entity::PUMP).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let send = async |caller: &Caller, operation: &str, version: &Json, payload: Json| {
        let change = json!({ "entityType": "pump_check", "entityId": "a", "operation": operation,
            "payload": payload, "clientVersion": version, "timestamp": AT });
        ask(&office, caller, Method::Post, "/api/sync", &changes(&[change])).await["results"][0]
            .clone()
    };
    let first = json!(1);
    send(&ann, "CREATE", &first, json!({ "tag": "A", "pressure": 1 })).await;
    send(&ann, "UPDATE", &first, json!({ "tag": "A2" })).await;
    let edit = json!({ "tag": "B", "pressure": 2 });
    assert_eq!(send(&bob, "UPDATE", &first, edit.clone()).await["status"], "CONFLICT");
    let open = office.get("/api/sync/conflicts").await["conflicts"][0].clone();
    let body = json!({ "conflictId": open["id"], "resolution": "SERVER_WINS" });
    office.post("/api/sync/conflicts/resolve", &body).await;
    // The same edit that comes again is settled; put on top of what stands there it is another one.
    assert_eq!(send(&bob, "UPDATE", &first, edit.clone()).await["status"], "COMPLETED");
    let query = json!({ "deviceId": "fresh", "entityTypes": ["pump_check"] });
    let read = office.post("/api/sync/delta", &query).await;
    let version = read["changes"][0]["clientVersion"].clone();
    assert!(version.as_u64() > Some(1), "{read}");
    send(&ann, "UPDATE", &version, json!({ "tag": "A3" })).await;
    assert_eq!(send(&bob, "UPDATE", &version, edit).await["status"], "CONFLICT");
    assert_eq!(office.get("/api/sync/conflicts").await["conflicts"].as_array().unwrap().len(), 1);
    office.close().await;
}
