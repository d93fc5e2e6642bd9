//! The documented clients of the five sources, with their habits, on a bad network.
//!
//! Each does what its documentation shows and no more: two look at the status of an answer, three
//! read whatever comes as JSON. Requests and answers get lost, and servers refuse. In the end
//! nothing that was pending is lost, stored twice or stuck, and no token or cursor was erased.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_dialect::{Method, Name, Refusal, Request, Route, understand};
use fieldmesh_model::{Moment, Role};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::CASES;
use crate::conversations::{WELL, World};
use crate::documented::assert_documented;

/// What happens to one exchange.
#[derive(Debug, Clone)]
enum Weather {
    Fine,
    RequestLost,
    AnswerLost,
    Refused(Refusal),
}

fn weather() -> impl Strategy<Value = Vec<Weather>> {
    let refusals = prop_oneof![
        Just(Refusal::Forbidden { why: "Not now".to_owned() }),
        Just(Refusal::TooLarge { bytes_max: 1 }),
        Just(Refusal::TooHeavy),
        Just(Refusal::TooMany { retry_after: 3 }),
        Just(Refusal::Unauthenticated),
        Just(Refusal::Failed),
        Just(Refusal::Unavailable { retry_after: 3 }),
    ];
    let one = prop_oneof![
        Just(Weather::Fine),
        Just(Weather::RequestLost),
        Just(Weather::AnswerLost),
        refusals.prop_map(Weather::Refused),
    ];
    prop::collection::vec(one, 0..24)
}

/// More rounds than there is bad weather.
const ROUNDS: usize = 40;

/// A client's side of the network.
struct Network {
    world: World,
    weather: VecDeque<Weather>,
}

impl Network {
    fn new(role: Role, weather: Vec<Weather>) -> Self {
        Self { world: World::new(role), weather: weather.into() }
    }

    /// What `fetch` of a browser gives: status and body, or a failure.
    fn fetch(&mut self, method: Method, target: &str, body: &Json) -> Result<(u16, Vec<u8>), ()> {
        let weather = self.weather.pop_front().unwrap_or(Weather::Fine);
        let at: Moment = "2025-10-25T15:00:00.000Z".parse().unwrap();
        let mut request = Request::new(method, target, at).with_header("Accept", "*/*");
        if !body.is_null() {
            request =
                request.with_header("Content-Type", "application/json").with_body(body.to_string());
        }
        let response = match &weather {
            Weather::RequestLost => return Err(()),
            Weather::Refused(refusal) => Route::find(&request).unwrap().refuse(&request, refusal),
            Weather::Fine | Weather::AnswerLost => {
                match understand(&request, Some(&self.world.caller)) {
                    Err(response) => response,
                    Ok(ask) => {
                        let (dialect, command) = (ask.dialect, ask.command.clone());
                        let world = &mut self.world;
                        ask.answer(world.executor.execute(&world.caller, dialect, command))
                    }
                }
            }
        };
        if !matches!(weather, Weather::Refused(_)) {
            assert_documented(&request, &response);
        }
        match weather {
            Weather::AnswerLost => Err(()),
            _ => Ok((response.status, response.body)),
        }
    }

    /// `await response.json()` without a look at the status.
    fn json(&mut self, method: Method, target: &str, body: &Json) -> Result<Json, ()> {
        let (_, body) = self.fetch(method, target, body)?;
        serde_json::from_slice(&body).map_err(|_| ())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn wellpulse_marks_the_first_of_its_entries_as_synced(weather in weather()) {
        let mut network = Network::new(Role::Operator, weather);
        let entry = |minute: usize| json!({
            "wellId": WELL, "entryType": "PRODUCTION", "data": { "oilVolume": minute },
            "recordedAt": format!("2025-10-25T09:{minute:02}:00.000Z"),
        });
        let mut pending: Vec<Json> = (0..12).map(entry).collect();
        for _ in 0..ROUNDS {
            let chunk: Vec<Json> = pending.iter().take(5).cloned().collect();
            let body = json!({ "deviceId": "T1", "entries": chunk });
            if let Ok((200, answer)) = network.fetch(Method::Post, "/sync/push", &body) {
                let answer: Json = serde_json::from_slice(&answer).unwrap();
                let succeeded = usize::try_from(answer["succeeded"].as_u64().unwrap()).unwrap();
                pending.drain(..succeeded);
            }
        }
        prop_assert!(pending.is_empty());
        prop_assert_eq!(network.world.executor.count("field_entry"), 12);
    }

    #[test]
    fn batch_marks_the_ids_that_are_listed(weather in weather()) {
        let mut network = Network::new(Role::Operator, weather);
        let mut unsynced: BTreeSet<String> = (0..12).map(|n| n.to_string()).collect();
        for _ in 0..ROUNDS {
            let event = |id: &String| json!({
                "id": id, "type": "NOTES_ADDED", "timestamp": "2025-10-25T09:30:00.000Z",
                "deviceId": "T1", "userId": "ann", "payload": { "wellId": WELL, "text": id },
            });
            let events: Vec<Json> = unsynced.iter().map(event).collect();
            let body = json!({ "tenantId": "acme", "events": events });
            let answer = network.fetch(Method::Post, "/field-data/sync", &body);
            if let Ok((200..300, answer)) = answer {
                let answer: Json = serde_json::from_slice(&answer).unwrap();
                for id in answer["syncedEventIds"].as_array().unwrap() {
                    unsynced.remove(id.as_str().unwrap());
                }
            }
        }
        prop_assert!(unsynced.is_empty());
        prop_assert_eq!(network.world.executor.count("field_event"), 12);
    }

    #[test]
    fn asset_reads_every_body_and_then_keeps_its_token(weather in weather()) {
        let mut network = Network::new(Role::Member, weather);
        let change = |n: usize| json!({
            "entityType": "task", "entityId": format!("t{n}"), "operation": "CREATE",
            "payload": { "title": n }, "clientVersion": 1,
            "timestamp": "2025-10-25T09:30:00.000Z",
        });
        let mut queue: Vec<Json> = (0..6).map(change).collect();
        let mut token = Json::Null;
        let mut heard = BTreeMap::new();
        for round in 0..ROUNDS {
            let name = Name::Text(format!("a{round}"));
            network.world.put("asset", name, &[("name", "x".into())]);
            let body = json!({ "deviceId": "d", "syncToken": token, "changes": queue });
            if let Ok(answer) = network.json(Method::Post, "/api/sync", &body) {
                for change in answer["changes"].as_array().into_iter().flatten() {
                    let id = change["entityId"].as_str().unwrap_or_default().to_owned();
                    *heard.entry(id).or_insert(0) += 1;
                }
                queue.clear();
                let next = answer["syncToken"].clone();
                prop_assert!(next.is_string(), "the token is erased by {answer}");
                token = next;
            }
        }
        prop_assert_eq!(network.world.executor.count("task"), 6);
        let assets = heard.keys().filter(|id| id.starts_with('a')).count();
        prop_assert_eq!(assets, ROUNDS);
    }

    #[test]
    fn vet_replaces_its_ids_and_loops_while_there_is_more(weather in weather()) {
        let mut network = Network::new(Role::Practitioner, weather);
        network.world.put("pet", Name::Number(5), &[("ownerId", 77_i64.into())]);
        let mut queue: BTreeMap<u64, Json> = (0..6).map(|n| (n, json!({
            "id": n, "operation": "create", "entityType": "appointments",
            "tempId": format!("temp_{n}"), "timestamp": 1_761_399_000_000_i64,
            "data": { "title": "x", "petId": 5 },
        }))).collect();
        let mut real = BTreeSet::new();
        let (mut since, mut pulled) = (json!(0), BTreeSet::new());
        for _ in 0..ROUNDS {
            let operations: Vec<&Json> = queue.values().collect();
            let body = json!({ "operations": operations, "clientTimestamp": 1 });
            if let Ok(answer) = network.json(Method::Post, "/api/sync/push", &body) {
                for result in answer["results"].as_array().into_iter().flatten() {
                    if result["success"] == true {
                        queue.remove(&result["operationId"].as_u64().unwrap());
                        real.insert(result["realId"].to_string());
                    }
                }
            }
            let target = format!("/api/sync/pull?lastSyncTimestamp={since}&entityTypes=appointments");
            if let Ok(answer) = network.json(Method::Get, &target, &Json::Null) {
                for change in answer["changes"].as_array().into_iter().flatten() {
                    pulled.insert(change["id"].to_string());
                }
                let next = answer.get("nextTimestamp").or(answer.get("timestamp")).cloned();
                since = next.unwrap_or(Json::Null);
                prop_assert!(since.is_i64(), "the cursor is erased by {answer}");
            }
        }
        prop_assert!(queue.is_empty());
        prop_assert_eq!(real.len(), 6);
        prop_assert_eq!(network.world.executor.count("appointment"), 6);
        prop_assert_eq!(pulled, real);
    }

    #[test]
    fn health_queues_and_processes_each_operation(weather in weather()) {
        let mut network = Network::new(Role::HealthWorker, weather);
        let mut pending: Vec<Json> = (0..6).map(|n| json!({
            "userId": "ann", "deviceId": "d", "operation": "CREATE", "resourceType": "encounter",
            "data": { "patientId": "p", "diagnosis": n }, "version": 1,
            "createdAtClient": "2025-10-25T08:00:00.000Z",
        })).collect();
        for _ in 0..ROUNDS {
            pending.retain(|operation| sync_one(&mut network, operation) != Ok(true));
        }
        prop_assert!(pending.is_empty());
        prop_assert_eq!(network.world.executor.count("encounter"), 6);
    }
}

/// One operation of the health client: whether it leaves the queue.
fn sync_one(network: &mut Network, operation: &Json) -> Result<bool, ()> {
    let queued = network.json(Method::Post, "/api/v1/sync/queue", operation)?;
    let id = queued["id"].as_str().unwrap_or("undefined");
    let path = format!("/api/v1/sync/process/{id}");
    let answer = network.json(Method::Post, &path, &Json::Null)?;
    Ok(answer["status"] == "SYNCED")
}
