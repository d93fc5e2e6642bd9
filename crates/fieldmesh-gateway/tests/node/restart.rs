//! A process that ends between storing and answering: the request that comes again is answered as
//! the first one was.

use fieldmesh_dialect::Method;
use serde_json::{Value as Json, json};

use crate::{Office, entry, well};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_with_its_process_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let well = well(&office.node, 1).await;
    let pushes: Vec<(&str, Json)> = vec![
        ("/sync/push", json!({ "deviceId": "T1", "entries": [entry(&well, 0, 80.0)] })),
        (
            "/api/sync/push",
            json!({ "clientTimestamp": 1, "operations": [
                { "operation": "create", "entityType": "pets", "tempId": "p",
                  "data": { "ownerId": 7, "name": "Rex" } },
                { "operation": "create", "entityType": "appointments", "tempId": "q",
                  "data": { "petId": "p", "title": "Checkup" } },
            ]}),
        ),
        (
            "/api/v1/sync/batch",
            json!({ "operations": [{
            "userId": "ann", "deviceId": "d", "operation": "CREATE", "resourceType": "encounter",
            "data": { "patientId": "p", "diagnosis": "x" }, "version": 1,
            "createdAtClient": "2025-10-25T08:00:00.000Z" }]}),
        ),
        (
            "/field-data/sync",
            json!({ "tenantId": "acme", "events": [{
                "id": "a", "type": "PRODUCTION_LOGGED", "timestamp": "2025-10-25T09:30:00.000Z",
                "deviceId": "T1", "userId": "ann", "payload": { "wellId": well, "volume": 1.0 },
            }, {
                "id": "b", "type": "PRODUCTION_LOGGED", "timestamp": "2025-10-25T09:30:00.000Z",
                "deviceId": "T1", "userId": "ann", "payload": { "wellId": well, "volume": 2.0 },
            }]}),
        ),
    ];
    let mut first = Vec::new();
    for (target, body) in &pushes {
        first.push(office.post(target, body).await);
    }
    office.close().await;

    let office = Office::open(&home).await;
    let mut second = Vec::new();
    for (target, body) in &pushes {
        second.push(office.post(target, body).await);
    }
    assert_eq!(second[0]["results"][0]["entryId"], first[0]["results"][0]["entryId"]);
    assert_eq!(second[0]["results"][0]["status"], "DUPLICATE");
    for index in 0..2 {
        let real = |answers: &[Json]| answers[1]["results"][index]["realId"].clone();
        assert!(!real(&first).is_null());
        assert_eq!(real(&second), real(&first));
    }
    assert_eq!(second[2]["results"][0]["status"], "SYNCED");
    assert_eq!(second[2]["results"][0]["result"], first[2]["results"][0]["result"]);
    assert_eq!(second[3], first[3]);
    assert_eq!(second[3]["conflicts"].as_array().unwrap().len(), 1);
    let verified = office.node.verify().await.unwrap();
    assert!(verified.clean, "{verified:?}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_holds_when_the_process_or_the_view_was_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let task = |n: usize, title: &str| {
        json!({
            "entityType": "task", "entityId": format!("t{n}"), "operation": "CREATE",
            "payload": { "title": title }, "timestamp": "2025-10-25T10:00:00.000Z",
        })
    };
    let sync = |token: Json, changes: Vec<Json>| json!({ "deviceId": "d", "syncToken": token, "changes": changes });
    let changes = (0..5).map(|n| task(n, "x")).collect();
    let first = office.post("/api/sync", &sync(Json::Null, changes)).await;
    let token = first["syncToken"].clone();
    let other = json!({ "deviceId": "e", "changes": [task(9, "other")] });
    office.post("/api/sync", &other).await;
    office.close().await;
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();

    let office = Office::open(&home).await;
    let heard = office.post("/api/sync", &sync(token, Vec::new())).await;
    let ids: Vec<&Json> =
        heard["changes"].as_array().unwrap().iter().map(|change| &change["entityId"]).collect();
    assert_eq!(ids, [&json!("t9")]);
    // The names hold as well: what is there already is no second record.
    let again = office.post("/api/sync", &sync(Json::Null, vec![task(2, "x")])).await;
    assert_eq!(again["results"][0]["status"], "COMPLETED");
    let all = office.ask(Method::Post, "/api/sync/delta", &json!({ "deviceId": "f" })).await;
    assert_eq!(all["changes"].as_array().unwrap().len(), 6);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_edit_stands_beside_what_others_wrote_and_can_still_win() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let change = |operation: &str, payload: Json, version: u64| {
        json!({ "deviceId": "d", "changes": [{
            "entityType": "task", "entityId": "t1", "operation": operation, "payload": payload,
            "clientVersion": version, "timestamp": "2025-10-25T10:00:00.000Z",
        }]})
    };
    let made = json!({ "title": "Oil", "status": "OPEN" });
    office.post("/api/sync", &change("CREATE", made, 1)).await;
    let mut theirs = change("UPDATE", json!({ "title": "Grease" }), 1);
    theirs["deviceId"] = "e".into();
    office.post("/api/sync", &theirs).await;
    let stale = change("UPDATE", json!({ "title": "Clean", "status": "DONE" }), 1);
    let conflict = office.post("/api/sync", &stale).await["conflicts"][0].clone();
    assert_eq!(office.post("/api/sync", &stale).await["conflicts"][0]["id"], conflict["id"]);
    let shown = &office.node.list(tasks()).await.unwrap()[0];
    // What is in nobody's way counts at once; for the title the store goes on showing its own.
    assert_eq!(
        (&shown.fields["title"], &shown.fields["status"]),
        (&json!("Grease"), &json!("DONE"))
    );
    let history = office.node.history(&shown.id.to_string()).await.unwrap();
    assert!(history.iter().any(|it| it.fields.iter().any(|field| field.after == "Clean")));
    let resolve = json!({ "conflictId": conflict["id"], "resolution": "CLIENT_WINS" });
    let settled = office.post("/api/sync/conflicts/resolve", &resolve).await;
    assert_eq!(settled["entity"]["payload"]["title"], "Clean");
    assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    let verified = office.node.verify().await.unwrap();
    assert!(verified.clean, "{verified:?}");
    office.close().await;
}

fn tasks() -> fieldmesh::api::ListQuery {
    fieldmesh::api::ListQuery { collection: "task".into(), ..fieldmesh::api::ListQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_knows_outlives_a_log_that_was_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    let well = well(&office.node, 1).await;
    let mut last = Json::Null;
    for minute in 0..150 {
        let entries = [entry(&well, minute, 80.0)];
        last = office.post("/sync/push", &json!({ "deviceId": "T1", "entries": entries })).await;
        office.get("/sync/entries?deviceId=T1").await;
    }
    let compacted = office.node.compact(|_| {}).await.unwrap();
    assert!(compacted.dropped > 40, "{compacted:?}");
    office.close().await;
    std::fs::remove_dir_all(home.join("store").join("view")).unwrap();

    let office = Office::open(&home).await;
    let status = office.get("/sync/status?deviceId=T1").await;
    assert_eq!(status["pendingEntries"], 0);
    assert!(status["lastSyncAt"].as_str() >= last["syncedAt"].as_str(), "{status}");
    let entries = [entry(&well, 149, 80.0)];
    let again = office.post("/sync/push", &json!({ "deviceId": "T1", "entries": entries })).await;
    assert_eq!(
        again["results"],
        json!([{
            "index": 0, "entryId": last["results"][0]["entryId"], "status": "DUPLICATE",
        }])
    );
    let violations = office.gateway.violations(None, 10).await.unwrap();
    assert_eq!(violations, []);
    let odd = json!({ "deviceId": "T1", "entries": [{
        "wellId": well, "entryType": "PRODUCTION", "recordedAt": "2025-10-25T09:30:00.000Z",
        "data": { "oilVolume": 1.0, "runtime": 25 }, "latitude": 31.9,
    }]});
    assert_eq!(office.post("/sync/push", &odd).await["succeeded"], 1);
    let violations = office.gateway.violations(None, 10).await.unwrap();
    assert_eq!(violations.len(), 1, "{violations:?}");
    office.close().await;
}

/// Takes back what was noted under keys that begin so, as if the process had ended before.
fn forget_notes(office: &Office, prefixes: &[&[u8]]) {
    let access = fieldmesh::gateway::Access::new(&office.node);
    let mut write = access.write().unwrap();
    for prefix in prefixes {
        for (key, _) in access.notes(prefix, None, 1_000).unwrap() {
            write.note(key, None);
        }
    }
    write.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_for_a_pet_whose_name_was_lost_with_the_process_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let pet = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "ownerId": 7, "name": "Rex" } });
    let visit = json!({ "operation": "create", "entityType": "appointments", "tempId": "q",
        "data": { "petId": "p", "title": "Checkup" } });
    let push = |operations: &[&Json]| json!({ "clientTimestamp": 1, "operations": operations });
    office.post("/api/sync/push", &push(&[&pet])).await;
    forget_notes(&office, &[b"temporary/"]);
    let again = office.post("/api/sync/push", &push(&[&pet, &visit])).await;
    assert_eq!(again["processed"], 2, "{again}");
    // The name holds from here on.
    let later = office.post("/api/sync/push", &push(&[&visit])).await;
    assert_eq!(later["processed"], 1, "{later}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_events_that_say_the_same_are_listed_though_the_process_ended_before() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let event = |id: &str, volume: f64| {
        json!({
            "id": id, "type": "PRODUCTION_LOGGED", "timestamp": "2025-10-25T09:30:00.000Z",
            "deviceId": "T1", "userId": "ann", "payload": { "wellId": "w", "volume": volume },
        })
    };
    let body = json!({ "tenantId": "acme", "events": [event("a", 1.0), event("b", 2.0)] });
    let first = office.post("/field-data/sync", &body).await;
    forget_notes(&office, &[b"conflict", b"violation/"]);
    assert_eq!(office.gateway.violations(None, 10).await.unwrap(), []);
    let second = office.post("/field-data/sync", &body).await;
    assert_eq!(second, first);
    assert_eq!(second["conflicts"].as_array().unwrap().len(), 1);
    assert_eq!(office.gateway.violations(None, 10).await.unwrap().len(), 2);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_end_is_refused_and_not_believed() {
    use fieldmesh_dialect::command::Pull;
    use fieldmesh_dialect::{Command, Outcome, Refusal, Since};

    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let caller = office.worker("ann");
    let pull = Pull {
        device: None,
        since: Since::Now,
        wanted: Vec::new(),
        practice: None,
        records_max: None,
        each_max: None,
        by_time: false,
        is_whole: false,
    };
    let (dialect, at) = (Some(fieldmesh_dialect::Dialect::Asset), crate::now());
    let here = office.gateway.execute(&caller, dialect, Command::Pull(pull.clone()), at).await;
    let Outcome::Page(here) = here else { panic!("{here:?}") };
    for (place, is_known) in [(here.place, true), (here.place + 1, false)] {
        let pull = Pull { since: Since::Place(place), ..pull.clone() };
        let outcome = office.gateway.execute(&caller, dialect, Command::Pull(pull), at).await;
        let is_refused = matches!(outcome, Outcome::Refused(Refusal::Invalid { .. }));
        assert_eq!(is_refused, !is_known, "{outcome:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_that_were_decided_by_writing_do_not_slow_down_who_lists_next() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let change = |number: usize, operation: &str, title: &str, version: u64| {
        json!({
            "entityType": "task", "entityId": format!("t{number}"), "operation": operation,
            "payload": { "title": title, "status": "OPEN" }, "clientVersion": version,
            "timestamp": "2025-10-25T10:00:00.000Z",
        })
    };
    let all = |operation: &str, title: &str, version: u64| {
        let changes: Vec<Json> =
            (0..80).map(|number| change(number, operation, title, version)).collect();
        json!({ "deviceId": "d", "changes": changes })
    };
    office.post("/api/sync", &all("CREATE", "Oil", 1)).await;
    let mut theirs = all("UPDATE", "Grease", 1);
    theirs["deviceId"] = "e".into();
    office.post("/api/sync", &theirs).await;
    let open = async || {
        let body = office.get("/api/sync/conflicts").await;
        body["conflicts"].as_array().unwrap().len()
    };
    office.post("/api/sync", &all("UPDATE", "Clean", 1)).await;
    assert!(open().await > 0);
    let noted = |office: &Office| {
        let access = fieldmesh::gateway::Access::new(&office.node);
        access.notes(b"conflict-open/", None, 1_000).unwrap().len()
    };
    assert_eq!(noted(&office), 80);
    // Somebody who knows both titles writes a third.
    for task in office.node.list(tasks()).await.unwrap() {
        let assignments = vec!["title=Paint".to_owned()];
        let edits = fieldmesh::api::Edits { assignments, ..fieldmesh::api::Edits::default() };
        office.node.edit(&task.id.to_string(), edits).await.unwrap();
    }
    assert_eq!(open().await, 0);
    assert_eq!(noted(&office), 0);
    office.close().await;
}
