//! Whatever is sent, there is an answer.
//!
//! Goal: no request and no outcome ends in a panic, every refusal has a status that the contracts
//! know, and limits hold. Method: requests of arbitrary bytes, and of JSON made of the names that
//! the contracts know with values they do not, sent to every endpoint by every kind of caller.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::collections::BTreeSet;

use fieldmesh_dialect::{
    Caller, Command, Dialects, FeedId, Method, Outcome, Request, endpoints, understand,
};
use fieldmesh_model::{Moment, Role};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Names that the contracts know.
const NAMES: &[&str] = &[
    "deviceId",
    "entries",
    "wellId",
    "entryType",
    "data",
    "recordedAt",
    "notes",
    "photos",
    "id",
    "conflictResolution",
    "tenantId",
    "tenant_id",
    "events",
    "type",
    "event_type",
    "payload",
    "timestamp",
    "deviceInfo",
    "device_info",
    "userId",
    "changes",
    "entityType",
    "entityId",
    "operation",
    "clientVersion",
    "syncToken",
    "entityTypes",
    "pageSize",
    "pageToken",
    "lastSyncTimestamp",
    "operations",
    "tempId",
    "practiceId",
    "clientTimestamp",
    "version",
    "resourceType",
    "resourceId",
    "createdAtClient",
    "conflictId",
    "resolution",
    "resolvedData",
    "ids",
    "operationIds",
    "entityIds",
    "email",
    "password",
    "refreshToken",
    "oilVolume",
    "volume",
    "petId",
    "date",
    "durationMinutes",
    "keepEventId",
    "emergency",
    "",
];

/// Words that the contracts know, and some that nobody expects.
const WORDS: &[&str] = &[
    "PRODUCTION",
    "INSPECTION",
    "CREATE",
    "update",
    "delete",
    "appointments",
    "pets",
    "patient",
    "asset",
    "PRODUCTION_LOGGED",
    "EQUIPMENT_INSPECTED",
    "CLIENT_WINS",
    "MANUAL",
    "acme",
    "2025-10-25T09:30:00Z",
    "9999-12-31T23:59:59.999Z",
    "-9999-01-01T00:00:00Z",
    "e1",
    "",
    "\u{0}",
    "\u{202e}",
    "AWFjbWUvb25lAAAAAAAAABQ",
    "../..",
    "{}",
];

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        proptest::sample::select(WORDS).prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let member = (proptest::sample::select(NAMES), inner.clone());
        prop_oneof![
            1 => prop::collection::vec(inner, 0..6).prop_map(Json::from),
            3 => prop::collection::vec(member, 0..10).prop_map(|members| {
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        6 => any_json().prop_map(|json| json.to_string().into_bytes()),
    ]
}

fn any_query() -> impl Strategy<Value = String> {
    let names = &[
        "deviceId",
        "lastSync",
        "cursor",
        "limit",
        "include",
        "wellId",
        "from",
        "to",
        "userId",
        "lastSyncTimestamp",
        "practiceId",
        "entityTypes",
        "resolution",
        "entityType",
    ];
    let values = prop_oneof![
        proptest::sample::select(WORDS).prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        "[%a-zA-Z0-9,+=:-]{0,20}",
    ];
    let pair = (proptest::sample::select(&names[..]), values);
    prop::collection::vec(pair, 0..5).prop_map(|pairs| {
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    })
}

fn caller(role: Role) -> Caller {
    Caller {
        tenant: "acme".to_owned(),
        tenant_aliases: BTreeSet::new(),
        user: "e1".to_owned(),
        aliases: BTreeSet::new(),
        role,
        practices: [1].into(),
        device: None,
        dialects: Dialects::all(),
        feed: FeedId(*b"acme/one"),
    }
}

/// One outcome of every kind.
fn outcomes() -> Vec<Outcome> {
    let at = "2025-10-25T15:00:00.000Z";
    let kinds = [
        json!({"refused": "failed"}),
        json!({"healthy": {"at": at, "version": "1"}}),
        json!({"pushed": {"at": at, "fates": []}}),
        json!({"pushed": {"at": at, "fates": ["deferred", {"rejected": "noRecord"}, "deferred"]}}),
        json!({"page": {"place": 1, "until": at, "at": at}}),
        json!({"reading": {"unread": "neverReads"}}),
        json!({"entries": [null]}),
        json!({"entries": []}),
        json!({"retried": {"synced": 1, "failed": 1, "conflicts": 1}}),
        json!({"tally": {"pending": 0, "synced": 0, "failed": 0, "conflicts": 0}}),
        json!({"devices": []}),
        json!("done"),
        json!({"conflicts": {"conflicts": []}}),
        json!({"resolved": {"id": "c", "resolution": "MERGE"}}),
        json!({"traffic": []}),
    ];
    kinds.into_iter().map(|kind| serde_json::from_value(kind).unwrap()).collect()
}

fn play(request: &Request, caller: Option<&Caller>) {
    match understand(request, caller) {
        Err(response) => {
            let is_known = [400, 401, 403, 404, 405, 413, 415].contains(&response.status);
            assert!(is_known, "{} for {request:?}", response.status);
        }
        Ok(ask) => {
            serde_json::to_string(&ask.command).unwrap();
            for outcome in outcomes() {
                assert!((200..=507).contains(&ask.answer(outcome).status));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_request_has_an_answer(
        index in 0..endpoints().count(),
        query in any_query(),
        body in any_body(),
        role in proptest::sample::select(&Role::ALL[..]),
        is_known in prop::bool::weighted(0.95),
    ) {
        let endpoint = endpoints().nth(index).unwrap();
        let target = format!("{}?{query}", endpoint.path);
        let kind = if role == Role::Client { "image/png" } else { "application/json" };
        let request = Request::new(endpoint.method, &target, Moment::from_millis(1_761_400_000_000))
            .with_header("Content-Type", kind)
            .with_body(body);
        let caller = caller(role);
        play(&request, is_known.then_some(&caller));
    }

    #[test]
    fn every_path_has_an_answer(path in "[/a-z%.{}0-9]{0,40}", method in "[A-Z]{0,7}") {
        let request = Request::new(Method::named(&method), &path, Moment::ZERO);
        play(&request, Some(&caller(Role::Admin)));
    }

    #[test]
    fn whatever_follows_a_true_beginning_has_an_answer(json in any_json(), index in 0..6_usize) {
        let (path, body) = [
            ("/sync/push", json!({"deviceId": "T1", "entries": [json]})),
            ("/field-data/sync", json!({"tenantId": "acme", "events": [json]})),
            ("/api/sync", json!({"deviceId": "T1", "changes": [json]})),
            ("/api/sync/push", json!({"operations": [json], "clientTimestamp": 1})),
            ("/api/v1/sync/batch", json!({"operations": [json]})),
            ("/api/v1/sync/queue", json),
        ].into_iter().nth(index).unwrap();
        let request = Request::new(Method::Post, path, Moment::ZERO)
            .with_header("Content-Type", "application/json")
            .with_body(body.to_string());
        play(&request, Some(&caller(Role::Operator)));
    }
}

fn post(path: &str, body: &Json) -> Request {
    Request::new(Method::Post, path, Moment::ZERO).with_body(body.to_string())
}

#[test]
fn a_push_of_1001_entries_is_refused_and_one_of_1000_is_not() {
    let entry = json!({
        "wellId": "w1", "entryType": "PRODUCTION", "recordedAt": "2025-10-25T09:30:00Z", "data": {}
    });
    let body = |count| json!({ "deviceId": "T1", "entries": vec![entry.clone(); count] });
    let caller = caller(Role::Operator);
    let refused = understand(&post("/sync/push", &body(1_001)), Some(&caller)).unwrap_err();
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("at most 1000 entries"));
    assert!(understand(&post("/sync/push", &body(1_000)), Some(&caller)).is_ok());
}

#[test]
fn a_queue_of_events_longer_than_the_cap_is_taken_as_far_as_it_goes() {
    let event = |n: usize| {
        json!({ "id": n.to_string(), "type": "NOTES_ADDED", "payload": {},
                "timestamp": "2025-10-25T09:30:00Z" })
    };
    let events: Vec<Json> = (0..1_500).map(event).collect();
    let caller = caller(Role::Operator);
    let request = post("/field-data/sync", &json!({ "tenantId": "acme", "events": events }));
    let ask = understand(&request, Some(&caller)).unwrap();
    let Command::Push(push) = &ask.command else { panic!("{:?}", ask.command) };
    assert_eq!((push.operations.len(), push.stores_max), (1_500, Some(1_000)));
    let order: Vec<String> =
        push.operations.iter().map(|one| format!("{:?}", one.identity)).collect();
    assert!(order[0].contains("\"0\"") && order[1_499].contains("\"1499\""));
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let caller = caller(Role::Operator);
    let body = vec![b'['; fieldmesh_dialect::BODY_MAX + 1];
    let request = Request::new(Method::Post, "/sync/push", Moment::ZERO).with_body(body);
    assert_eq!(understand(&request, Some(&caller)).unwrap_err().status, 413);
}

#[test]
fn json_that_is_too_deep_is_malformed_and_nothing_worse() {
    let caller = caller(Role::Operator);
    let body = "[".repeat(100_000);
    let request = Request::new(Method::Post, "/sync/push", Moment::ZERO).with_body(body);
    assert_eq!(understand(&request, Some(&caller)).unwrap_err().status, 400);
}

#[test]
fn a_body_of_millions_of_tiny_values_is_refused_before_they_fill_the_memory() {
    let caller = caller(Role::Client);
    for (path, list) in [
        ("/field-data/sync", "events"),
        ("/api/sync", "changes"),
        ("/api/sync/push", "operations"),
        ("/api/v1/sync/batch", "operations"),
    ] {
        for (element, count) in [("0", 6_000_000), (r#"{"a":0}"#, 1_000_000)] {
            let body =
                format!(r#"{{"{list}":[{element}{}]}}"#, format!(",{element}").repeat(count));
            let request = Request::new(Method::Post, path, Moment::ZERO).with_body(body);
            let refused = understand(&request, Some(&caller)).unwrap_err();
            assert_eq!(refused.status, 413, "{path} {element}");
            let text = String::from_utf8_lossy(&refused.body).into_owned();
            assert!(text.contains("Body holds too many values"), "{text}");
        }
    }
}

#[test]
fn a_list_of_more_elements_than_any_queue_has_is_refused_and_not_answered_one_by_one() {
    let caller = caller(Role::Operator);
    for (path, list) in
        [("/field-data/sync", "events"), ("/api/sync", "changes"), ("/api/sync/push", "operations")]
    {
        let mut body = json!({ "deviceId": "T1", "tenantId": "acme" });
        body[list] = vec![0; 200_001].into();
        let refused = understand(&post(path, &body), Some(&caller)).unwrap_err();
        assert_eq!(refused.status, 400, "{path}");
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(text.contains(&format!("{list} can have at most 200000 elements")), "{text}");
    }
}

#[test]
fn a_queue_of_a_hundred_thousand_events_is_taken_in_part() {
    let event = |n: usize| {
        json!({
            "id": format!("67e55044-10b1-426f-9247-{n:012x}"), "type": "PRODUCTION_LOGGED",
            "payload": { "wellId": "67e55044-10b1-426f-9247-bb680e5fe0c8", "volume": 120.5,
                         "unit": "barrels", "recordedAt": "2025-10-25T09:30:00Z" },
            "timestamp": "2025-10-25T09:30:00Z", "deviceId": "TABLET-7",
            "userId": "67e55044-10b1-426f-9247-000000000001", "syncAttempts": 3,
        })
    };
    let events: Vec<Json> = (0..100_000).map(event).collect();
    let caller = caller(Role::Operator);
    let body = json!({ "tenantId": "acme", "events": events });
    let ask = understand(&post("/field-data/sync", &body), Some(&caller)).unwrap();
    let Command::Push(push) = &ask.command else { panic!("{:?}", ask.command) };
    let stored = json!({ "rejected": { "forbidden": { "why": "Not yours" } } });
    let all = push.operations.len() + push.refused.len();
    assert_eq!((all, push.stores_max), (100_000, Some(1_000)));
    let pushed =
        json!({ "at": "2025-10-25T15:00:00.000Z", "fates": vec![stored; push.operations.len()] });
    let outcome = serde_json::from_value(json!({ "pushed": pushed })).unwrap();
    let answer: Json = serde_json::from_slice(&ask.answer(outcome).body).unwrap();
    // None of them counts as stored, though not every one is named.
    assert_eq!(answer["syncedEventIds"], json!([]));
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), errors[1_000].as_str()),
        (1_001, Some("99000 more events were not stored"))
    );
}

#[test]
fn only_a_client_that_knows_no_paging_is_given_everything_at_once() {
    let caller = caller(Role::Operator);
    let is_whole = |target: &str| {
        let request = Request::new(Method::Get, target, Moment::ZERO);
        match understand(&request, Some(&caller)).unwrap().command {
            Command::Pull(pull) => pull.is_whole,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_whole("/sync/pull"));
    for target in ["/sync/pull?limit=10", "/sync/entries", "/api/sync/pull?lastSyncTimestamp=0"] {
        assert!(!is_whole(target), "{target}");
    }
}
