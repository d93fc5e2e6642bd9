//! An app that kept its place since before apps were given the tenant's own collections: it is given
//! what they held by then, once, however it keeps its place.

use std::collections::BTreeSet;

use fieldmesh_dialect::command::Pull;
use fieldmesh_dialect::{Command, Cursor, Dialect, Method, Outcome, Request, Since, understand};
use serde_json::{Value as Json, json};

use crate::entity::{PUMP, define};
use crate::{Office, now};

/// More than one list of them holds.
const COUNT: usize = 205;

/// What the feed gave out last, to apps that are given none of the tenant's own collections.
async fn place(office: &Office) -> (u64, fieldmesh_model::Moment) {
    let caller = office.worker("ann");
    let request = Request::new(Method::Get, "/sync/live", now());
    let ask = understand(&request, Some(&caller)).unwrap();
    let Command::Follow(pull) = ask.command else { panic!("{:?}", ask.command) };
    let pull = Command::Pull(Pull { since: Since::Now, ..pull });
    let outcome = office.gateway.execute(&caller, Some(Dialect::Wellpulse), pull, now()).await;
    let Outcome::Page(page) = outcome else { panic!("{outcome:?}") };
    (page.place, page.at)
}

async fn make(office: &Office, names: impl Iterator<Item = usize>) {
    let make = |name: usize| {
        json!({ "userId": "ann", "deviceId": "D", "operation": "CREATE",
            "resourceType": "pump_check", "resourceId": format!("c{name}"),
            "data": { "tag": "P" }, "createdAtClient": now() })
    };
    let operations: Vec<Json> = names.map(make).collect();
    for operations in operations.chunks(50) {
        let body = json!({ "operations": operations });
        let answer = office.post("/api/v1/sync/batch", &body).await;
        assert_eq!(answer["results"][0]["status"], "SYNCED", "{answer}");
    }
}

/// Takes the names of checks in, each of which has not come before.
fn take(seen: &mut BTreeSet<String>, changes: &Json, name: &str) {
    for change in changes.as_array().unwrap() {
        assert!(seen.insert(change[name].as_str().unwrap().to_owned()), "twice: {change}");
    }
}

async fn sync(office: &Office, token: &Json) -> Json {
    let body = json!({ "deviceId": "bob", "syncToken": token, "changes": [] });
    let bob = office.worker("bob");
    let (status, answer) = office.ask_as(&bob, Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_given_the_records_of_a_collection_that_it_has_read_past() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    define(&office, PUMP).await;
    make(&office, 0..COUNT).await;
    let (place, at) = place(&office).await;
    let feed = office.gateway.feed();
    let token = Cursor { feed, place, question: String::new() }.to_text();
    let bob = office.worker("bob");

    let first = sync(&office, &json!(token)).await;
    let mut seen = BTreeSet::new();
    take(&mut seen, &first["changes"], "entityId");
    assert_eq!(seen.len(), COUNT);
    let mut happened = first["changes"].as_array().unwrap().iter().map(|it| &it["operation"]);
    assert!(happened.all(|it| it == "CREATE"), "it has none of them: {first}");
    let next = sync(&office, &first["syncToken"]).await;
    assert_eq!(next["changes"], json!([]));
    let status = office.ask_as(&bob, Method::Get, "/api/sync/status", &Json::Null).await.1;
    assert_eq!(status["backlog"], 0, "{status}");
    let edit = json!({ "userId": "ann", "deviceId": "D", "operation": "UPDATE", "version": 1,
        "resourceType": "pump_check", "resourceId": "c3", "data": { "tag": "Q" },
        "createdAtClient": now() });
    office.post("/api/v1/sync/batch", &json!({ "operations": [edit] })).await;
    make(&office, COUNT..COUNT + 2).await;
    let last = sync(&office, &next["syncToken"]).await["changes"].clone();
    let told: Vec<_> = last.as_array().unwrap().iter().map(|it| &it["entityId"]).collect();
    assert_eq!(told, ["c3", "c205", "c206"]);

    // By time, page by page, and so does who goes on behind pages.
    let (mut seen, mut since) = (BTreeSet::new(), at.as_millis());
    loop {
        let target = format!("/api/sync/pull?lastSyncTimestamp={since}");
        let (status, page) = office.ask_as(&bob, Method::Get, &target, &Json::Null).await;
        assert_eq!(status, 200, "{page}");
        take(&mut seen, &page["changes"], "id");
        since = page["nextTimestamp"].as_i64().unwrap();
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), COUNT + 2);
    for since in [json!(at), Json::Null] {
        let (mut seen, mut token) = (BTreeSet::new(), Json::Null);
        loop {
            let mut body = json!({ "deviceId": "cam", "pageSize": 30, "pageToken": token });
            if token.is_null() {
                body["lastSyncTimestamp"] = since.clone();
            }
            let page = office.ask_as(&bob, Method::Post, "/api/sync/delta", &body).await.1;
            take(&mut seen, &page["changes"], "entityId");
            token = page["nextPageToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(seen.len(), COUNT + 2);
    }
    office.close().await;
}
