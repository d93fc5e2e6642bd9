//! How large a page may be: whoever can go on behind it is not given everything at once.

use std::collections::BTreeSet;

use fieldmesh_dialect::{Caller, Command, Method, Outcome, Request, understand};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::{Office, now};

/// How much text each record has, and how many there are: more than one page holds.
const TEXT: usize = 200_000;
const RECORDS: usize = 60;
/// The most bytes of fields of a page, and what stands around them.
const PAGE_SIZE_MAX: usize = (8 << 20) + TEXT + RECORDS * 1_000;

/// An office with records that are large together.
async fn office(folder: &tempfile::TempDir) -> Office {
    let office = Office::create(&folder.path().join("home")).await;
    let change = |n: usize| {
        json!({
            "entityType": "task", "entityId": format!("task {n}"), "operation": "CREATE",
            "payload": { "title": format!("{n}"), "description": "x".repeat(TEXT) },
            "timestamp": now(),
        })
    };
    let changes: Vec<Json> = (0..RECORDS).map(change).collect();
    let body = json!({ "deviceId": "laptop", "changes": changes });
    let answer = office.post("/api/sync", &body).await;
    let results = answer["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["status"] == "COMPLETED"), "{results:?}");
    office
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_come_on_several_pages_and_every_one_comes_once() {
    let folder = tempfile::tempdir().unwrap();
    let office = office(&folder).await;
    let (mut ids, mut pages) = (Vec::new(), 0);
    let mut body = json!({ "deviceId": "phone", "entityTypes": ["task"], "pageSize": 1_000 });
    loop {
        let page = office.post("/api/sync/delta", &body).await;
        assert!(page.to_string().len() < PAGE_SIZE_MAX);
        pages += 1;
        for change in page["changes"].as_array().unwrap() {
            ids.push(change["entityId"].as_str().unwrap().to_owned());
        }
        if page["hasMore"] == false {
            break;
        }
        body["pageToken"] = page["nextPageToken"].clone();
    }
    assert_eq!(ids, (0..RECORDS).map(|n| format!("task {n}")).collect::<Vec<_>>());
    assert_eq!(pages, 2);
    // Whoever sends and reads in one request goes on by his token.
    let (mut read, mut body) = (0, json!({ "deviceId": "phone", "changes": [] }));
    for _ in 0..2 {
        let answer = office.post("/api/sync", &body).await;
        assert!(answer.to_string().len() < PAGE_SIZE_MAX);
        read += answer["changes"].as_array().unwrap().len();
        body["syncToken"] = answer["syncToken"].clone();
    }
    assert_eq!(read, RECORDS);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_can_go_on_nowhere_is_given_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = office(&folder).await;
    let caller = office.caller(Role::Admin);
    let body = json!({ "deviceId": "phone", "entityTypes": ["task"], "pageSize": 1_000 });
    let request = Request::new(Method::Post, "/api/sync/delta", now()).with_body(body.to_string());
    let ask = understand(&request, Some(&caller)).unwrap();
    let Command::Pull(mut pull) = ask.command else { panic!("{:?}", ask.command) };
    pull.is_whole = true;
    let outcome = office.gateway.execute(&caller, ask.dialect, Command::Pull(pull), now()).await;
    let Outcome::Page(page) = outcome else { panic!("{outcome:?}") };
    assert_eq!((page.items.len(), page.more), (RECORDS, false));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_conflicts_are_listed_on_several_pages_and_every_one_comes_once() {
    const CONFLICTS: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let at = now();
    let send = async |user: &str, operation: &str, text: String| {
        let change = |n: usize| {
            json!({
                "entityType": "task", "entityId": format!("task {n}"), "operation": operation,
                "payload": { "title": format!("{n}"), "description": text }, "clientVersion": 1,
                "timestamp": at,
            })
        };
        let changes: Vec<Json> = (0..CONFLICTS).map(change).collect();
        let body = json!({ "deviceId": user, "changes": changes });
        let caller = Caller { user: user.to_owned(), ..office.caller(Role::Admin) };
        let answer = office.ask_as(&caller, Method::Post, "/api/sync", &body).await.1;
        answer["results"][CONFLICTS - 1]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(send("ann", "CREATE", "A".to_owned()).await, "COMPLETED");
    assert_eq!(send("ann", "UPDATE", "b".repeat(TEXT)).await, "COMPLETED");
    assert_eq!(send("bob", "UPDATE", "c".repeat(TEXT)).await, "CONFLICT");
    let (mut ids, mut pages, mut after) = (BTreeSet::new(), 0, String::new());
    loop {
        let page = office.get(&format!("/api/sync/conflicts{after}")).await;
        assert!(page.to_string().len() < PAGE_SIZE_MAX + TEXT);
        pages += 1;
        for conflict in page["conflicts"].as_array().unwrap() {
            assert!(ids.insert(conflict["id"].as_str().unwrap().to_owned()), "{}", conflict["id"]);
        }
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        after = format!("?cursor={cursor}");
    }
    assert_eq!((ids.len(), pages), (CONFLICTS, 2));
    office.close().await;
}
