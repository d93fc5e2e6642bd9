//! The acceptance checks of the requirements that an HTTP client can make, over all dialects.
//!
//! Goal: the commands say enough for one executor to keep what the contracts promise, whoever asks.
//! Method: whole conversations of clients with an executor; the numbers are those of the checks. They
//! are played with the small one in memory here and with the real one by `fieldmesh-gateway`.

use std::collections::BTreeSet;

use fieldmesh_dialect::{Caller, Dialects, FeedId, Method, Name, Request, understand};
use fieldmesh_model::{Fields, Moment, Role, Value};
use serde_json::{Value as Json, json};

use crate::documented::assert_documented;
use crate::executor::Executor;

pub(crate) const WELL: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// A client and the tenant it talks to.
pub(crate) struct World {
    pub(crate) executor: Box<dyn Executor>,
    pub(crate) caller: Caller,
}

impl World {
    pub(crate) fn new(role: Role) -> Self {
        let caller = Caller {
            tenant: "acme".to_owned(),
            tenant_aliases: BTreeSet::new(),
            user: "ann".to_owned(),
            aliases: BTreeSet::new(),
            role,
            practices: [1].into(),
            device: None,
            dialects: Dialects::all(),
            feed: FeedId(*b"acme/one"),
        };
        let mut world = Self { executor: crate::begin("ann"), caller };
        world.put("well", WELL.into(), &[("status", "ACTIVE".into())]);
        world
    }

    pub(crate) fn put(&mut self, collection: &str, name: Name, fields: &[(&str, Value)]) {
        let fields: Fields =
            fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        self.executor.put(collection, name, fields);
    }

    /// The status and the body of an answer.
    fn ask(&mut self, method: Method, target: &str, body: &Json) -> (u16, Json) {
        let at: Moment = "2025-10-25T15:00:00.000Z".parse().unwrap();
        let mut request = Request::new(method, target, at);
        if !body.is_null() {
            request = request.with_body(body.to_string());
        }
        let response = match understand(&request, Some(&self.caller)) {
            Err(response) => response,
            Ok(ask) => {
                let (dialect, command) = (ask.dialect, ask.command.clone());
                let outcome = self.executor.execute(&self.caller, dialect, command);
                ask.answer(outcome)
            }
        };
        assert_documented(&request, &response);
        let body = serde_json::from_slice(&response.body).unwrap_or(Json::Null);
        (response.status, body)
    }

    fn post(&mut self, target: &str, body: &Json) -> Json {
        let (status, body) = self.ask(Method::Post, target, body);
        assert!((200..300).contains(&status), "{target}: {status} {body}");
        body
    }

    fn get(&mut self, target: &str) -> Json {
        let (status, body) = self.ask(Method::Get, target, &Json::Null);
        assert_eq!(status, 200, "{target}: {body}");
        body
    }
}

fn entry(oil: f64) -> Json {
    json!({
        "wellId": WELL, "entryType": "PRODUCTION", "recordedAt": "2025-10-25T09:30:00.000Z",
        "data": { "oilVolume": oil, "gasVolume": 375.8, "waterVolume": 28.4, "runtime": 24 },
    })
}

#[test]
fn checks_2_and_3_a_pushed_entry_is_counted_and_the_device_has_nothing_waiting() {
    let mut world = World::new(Role::Operator);
    let push = json!({ "deviceId": "FIELD_TABLET_001", "entries": [entry(82.3)] });
    let pushed = world.post("/sync/push", &push);
    assert_eq!((&pushed["succeeded"], &pushed["failed"]), (&json!(1), &json!(0)));
    assert_eq!((&pushed["conflicts"], &pushed["errors"]), (&json!([]), &json!([])));
    let status = world.get("/sync/status?deviceId=FIELD_TABLET_001");
    assert_eq!(status["lastSyncAt"], pushed["syncedAt"]);
    assert_eq!(status["pendingEntries"], 0);
    assert_eq!(world.get("/sync/status?deviceId=other")["pendingEntries"], 1);
    // The same batch again leaves one entry and reports no failure; other data is a conflict.
    let again = world.post("/sync/push", &push);
    assert_eq!(again["results"][0]["status"], "DUPLICATE");
    let other = json!({ "deviceId": "FIELD_TABLET_001", "entries": [entry(90.0)] });
    let conflict = world.post("/sync/push", &other);
    assert_eq!(conflict["conflicts"][0]["resolution"], "SERVER_WINS");
    assert_eq!(conflict["succeeded"], 1);
    assert_eq!(world.executor.count("field_entry"), 1);
}

#[test]
fn check_11_production_is_logged_once_and_an_event_is_no_conflict_with_itself() {
    let mut world = World::new(Role::Operator);
    let event = |id: &str, volume: f64| {
        json!({
            "id": id, "type": "PRODUCTION_LOGGED", "timestamp": "2025-10-25T09:30:00.000Z",
            "deviceId": "T1", "userId": "ann", "payload": { "wellId": WELL, "volume": volume },
        })
    };
    let device = json!({ "deviceId": "T1" });
    let batch =
        |events: Vec<Json>| json!({ "tenantId": "acme", "events": events, "deviceInfo": device });
    let first = world.post("/field-data/sync", &batch(vec![event("a", 1.0)]));
    assert_eq!(first["syncedEventIds"], json!(["a"]));
    let both = batch(vec![event("a", 1.0), event("b", 2.0)]);
    let second = world.post("/field-data/sync", &both);
    assert_eq!(second["syncedEventIds"], json!(["a"]));
    let reason = "Production data already exists for this well and timestamp";
    assert_eq!(second["conflicts"][0]["reason"], reason);
    assert_eq!(second["conflicts"][0]["existingData"]["id"], "a");
    // The next batch brings it again: the same conflict, until a manager has settled it.
    let third = world.post("/field-data/sync", &both);
    assert_eq!(third["conflicts"], second["conflicts"]);
    world.caller.role = Role::Manager;
    let id = second["conflicts"][0]["conflictId"].as_str().unwrap().to_owned();
    let id: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/field-data/conflicts/{id}/resolve");
    world.post(&path, &json!({ "resolution": "SERVER_WINS" }));
    let settled = world.post("/field-data/sync", &both);
    assert_eq!(settled["syncedEventIds"], json!(["a", "b"]));
}

#[test]
fn a_queue_of_events_gets_on_though_its_first_part_stays_in_conflict() {
    let mut world = World::new(Role::Operator);
    let event = |n: usize| {
        json!({
            "id": n.to_string(), "type": "NOTES_ADDED", "timestamp": "2025-10-25T09:30:00.000Z",
            "payload": { "text": "x" },
        })
    };
    let mut queue: BTreeSet<usize> = (0..2_500).collect();
    for _ in 0..3 {
        let events: Vec<Json> = queue.iter().map(|n| event(*n)).collect();
        let answer =
            world.post("/field-data/sync", &json!({ "tenantId": "acme", "events": events }));
        for id in answer["syncedEventIds"].as_array().unwrap() {
            queue.remove(&id.as_str().unwrap().parse().unwrap());
        }
    }
    assert!(queue.is_empty());
    assert_eq!(world.executor.count("field_event"), 2_500);
}

#[test]
fn check_12_the_same_field_is_a_conflict_and_different_fields_merge() {
    let mut world = World::new(Role::Member);
    world.put("task", "t1".into(), &[("title", "Oil".into()), ("status", "OPEN".into())]);
    world.put("task", "t1".into(), &[("title", "Grease".into()), ("status", "OPEN".into())]);
    let sync = |payload: Json| {
        json!({ "deviceId": "d", "changes": [{
            "entityType": "task", "entityId": "t1", "operation": "UPDATE", "payload": payload,
            "clientVersion": 1, "timestamp": "2025-10-25T10:00:00.000Z",
        }]})
    };
    let conflict = world.post("/api/sync", &sync(json!({ "title": "Clean" })));
    let found = &conflict["conflicts"][0];
    assert_eq!((&found["clientVersion"], &found["serverVersion"]), (&json!(1), &json!(2)));
    assert_eq!(found["serverData"]["title"], "Grease");
    assert_eq!(found["clientData"]["title"], "Clean");
    assert!(found["suggestedResolution"].is_string());
    let merged = world.post("/api/sync", &sync(json!({ "status": "DONE" })));
    assert_eq!(merged["conflicts"], json!([]));
    assert_eq!(world.executor.fields("task", "t1")["title"], "Grease".into());
    assert_eq!(world.executor.fields("task", "t1")["status"], "DONE".into());
    // With its token the client hears of what others do, and nothing of what it did itself.
    world.put("task", "t2".into(), &[("title", "New".into())]);
    let token = merged["syncToken"].clone();
    let next = json!({ "deviceId": "d", "syncToken": token, "changes": [] });
    let heard = world.post("/api/sync", &next);
    let ids: Vec<&Json> =
        heard["changes"].as_array().unwrap().iter().map(|change| &change["entityId"]).collect();
    assert_eq!(ids, [&json!("t2")]);
    let quiet = json!({ "deviceId": "d", "syncToken": heard["syncToken"], "changes": [] });
    assert_eq!(world.post("/api/sync", &quiet)["changes"], json!([]));
}

#[test]
fn check_13_pages_lose_and_repeat_nothing_while_others_write() {
    let mut world = World::new(Role::Member);
    for n in 0..250 {
        world.put("asset", Name::Text(format!("a{n}")), &[("name", "x".into())]);
    }
    let mut sizes = Vec::new();
    let mut seen = BTreeSet::new();
    let mut body = json!({ "deviceId": "d", "entityTypes": ["asset"], "pageSize": 100 });
    for round in 0.. {
        let page = world.post("/api/sync/delta", &body);
        let changes = page["changes"].as_array().unwrap();
        sizes.push(changes.len());
        for change in changes {
            assert!(seen.insert(change["entityId"].as_str().unwrap().to_owned()));
        }
        if page["hasMore"] == false {
            assert!(page.get("nextPageToken").is_none());
            break;
        }
        world.put("task", Name::Text(format!("t{round}")), &[("title", "x".into())]);
        body = json!({ "deviceId": "d", "pageSize": 100, "pageToken": page["nextPageToken"] });
    }
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn checks_15_and_16_an_appointment_is_made_once_with_the_owner_of_its_pet() {
    let mut world = World::new(Role::Practitioner);
    world.put("pet", Name::Number(123), &[("ownerId", Value::Int(77))]);
    let push = |pet: i64| {
        json!({ "clientTimestamp": 1_761_400_000_000_i64, "operations": [{
            "operation": "create", "entityType": "appointments", "tempId": "temp_appt_12345",
            "data": { "title": "Checkup", "type": "checkup", "date": "2025-11-01T10:00:00.000Z",
                      "durationMinutes": 30, "petId": pet, "practitionerId": 5, "practiceId": 1 },
        }]})
    };
    let unknown = world.post("/api/sync/push", &push(404));
    assert_eq!(unknown["results"][0]["success"], false);
    let made = world.post("/api/sync/push", &push(123));
    let result = &made["results"][0];
    assert_eq!((&result["success"], &result["tempId"]), (&json!(true), &json!("temp_appt_12345")));
    assert!(result["realId"].is_i64());
    let again = world.post("/api/sync/push", &push(123));
    assert_eq!(again["results"][0]["realId"], result["realId"]);
    assert_eq!(world.executor.count("appointment"), 1);
    let pulled = world.get("/api/sync/pull?entityTypes=appointments");
    let data = &pulled["changes"][0]["data"];
    assert_eq!((&data["clientId"], &data["durationMinutes"]), (&json!(77), &json!("30")));
    assert_eq!(data["id"], result["realId"]);
    // An appointment for a pet that the same push makes, under its temporary id.
    let both = json!({ "clientTimestamp": 1, "operations": [
        { "operation": "create", "entityType": "pets", "tempId": "p", "data": { "ownerId": 5 } },
        { "operation": "create", "entityType": "appointments", "tempId": "q",
          "data": { "petId": "p" } }]});
    assert_eq!(world.post("/api/sync/push", &both)["processed"], 2);
}

#[test]
fn check_17_only_a_field_that_both_changed_is_affected() {
    let mut world = World::new(Role::Practitioner);
    let before = [("title", Value::from("a")), ("type", Value::from("x"))];
    world.put("appointment", Name::Number(9), &before);
    let written = world.get("/api/sync/pull")["timestamp"].as_i64().unwrap();
    world.put("appointment", Name::Number(9), &[("title", "b".into()), ("type", "x".into())]);
    let push = |data: Json| {
        json!({ "clientTimestamp": written, "operations": [{
            "operation": "update", "entityType": "appointments", "entityId": 9, "data": data }]})
    };
    let both = world.post("/api/sync/push", &push(json!({ "title": "c", "type": "x" })));
    assert_eq!(both["results"][0]["conflictData"]["affectedFields"], json!(["title"]));
    assert_eq!((&both["success"], &both["conflicts"]), (&json!(true), &json!(1)));
    let other = world.post("/api/sync/push", &push(json!({ "type": "y" })));
    assert_eq!(other["results"][0]["success"], true);
    assert_eq!(world.executor.fields("appointment", "9")["title"], "b".into());
}

#[test]
fn check_18_a_millisecond_that_is_larger_than_a_page_is_delivered() {
    let mut world = World::new(Role::Practitioner);
    let put = |world: &mut World, from: i64, to: i64| {
        for n in from..to {
            world.put("pet", Name::Number(n), &[("name", "x".into())]);
        }
    };
    put(&mut world, 0, 60);
    world.executor.set_pace(0);
    put(&mut world, 60, 310);
    world.executor.set_pace(1);
    put(&mut world, 310, 400);
    let mut seen = BTreeSet::new();
    let mut since = 0;
    loop {
        let target = format!("/api/sync/pull?entityTypes=pets&lastSyncTimestamp={since}");
        let page = world.get(&target);
        for change in page["changes"].as_array().unwrap() {
            seen.insert(change["id"].as_i64().unwrap());
        }
        since = page["nextTimestamp"].as_i64().unwrap();
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(seen, (0..400).collect());
}

#[test]
fn checks_19_and_20_an_operation_goes_its_way_through_the_journal() {
    let mut world = World::new(Role::Admin);
    world.put("patient", "p1".into(), &[("phone", "1".into())]);
    world.put("patient", "p1".into(), &[("phone", "2".into())]);
    let operation = |phone: &str, version: u64| {
        json!({
            "userId": "ann", "deviceId": "d", "operation": "UPDATE", "resourceType": "patient",
            "resourceId": "p1", "data": { "phone": phone }, "version": version,
            "createdAtClient": "2025-10-25T08:00:00.000Z",
        })
    };
    let queued = world.post("/api/v1/sync/queue", &operation("3", 2));
    assert_eq!(queued["status"], "PENDING");
    let path = format!("/api/v1/sync/process/{}", queued["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(world.post(&path, &Json::Null)["status"], "SYNCED");
    }
    assert_eq!(world.post("/api/v1/sync/queue", &operation("3", 2))["id"], queued["id"]);
    let stale = world.post("/api/v1/sync/queue", &operation("4", 1));
    let id = stale["id"].as_str().unwrap().to_owned();
    let conflict = world.post(&format!("/api/v1/sync/process/{id}"), &Json::Null);
    assert_eq!(conflict["status"], "CONFLICT");
    let options = json!(["CLIENT_WINS", "SERVER_WINS", "MANUAL"]);
    assert_eq!(conflict["resolutionOptions"], options);
    let target = format!("/api/v1/sync/resolve/{id}?resolution=SERVER_WINS");
    let (status, resolved) = world.ask(Method::Patch, &target, &Json::Null);
    assert_eq!((status, &resolved["status"]), (200, &json!("SYNCED")));
    assert_eq!(resolved["result"]["phone"], "3");
    let stats = world.get("/api/v1/sync/stats");
    assert_eq!((&stats["total"], &stats["syncRate"]), (&json!(2), &json!("100.00%")));
    let batch = json!({ "operations": [operation("5", 4), { "id": "bad" }] });
    let results = world.post("/api/v1/sync/batch", &batch)["results"].clone();
    assert_eq!(
        (&results[0]["status"], &results[1]["status"]),
        (&json!("SYNCED"), &json!("FAILED"))
    );
}
