//! Operations of which an app does not say when they were made, where the answer is lost and they
//! come again: each is answered as it was, and nothing is stored twice.

use fieldmesh::api::ListQuery;
use fieldmesh_dialect::{Caller, Method};
use serde_json::{Value as Json, json};

use crate::entity::{PUMP, define};
use crate::{Office, now};

const PULL: &str = "/api/sync/pull?entityTypes=pets";

fn tablet(office: &Office, user: &str) -> Caller {
    Caller { device: Some(format!("tablet of {user}")), ..office.worker(user) }
}

/// What an app is answered to operations; each request is made later than the one before.
async fn push(office: &Office, caller: &Caller, operations: &[Json]) -> Vec<Json> {
    static REQUESTS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let later = REQUESTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let at = now().plus_millis(later).as_millis();
    let body = json!({ "clientTimestamp": at, "operations": operations });
    let (status, body) = office.ask_as(caller, Method::Post, "/api/sync/push", &body).await;
    assert_eq!(status, 200, "{body}");
    body["results"].as_array().unwrap().clone()
}

async fn pull(office: &Office, caller: &Caller) {
    assert_eq!(office.ask_as(caller, Method::Get, PULL, &Json::Null).await.0, 200);
}

/// A pet called Rex, made by somebody.
async fn pet(office: &Office, caller: &Caller) -> Json {
    let made = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "name": "Rex", "species": "dog", "ownerId": 7 } });
    push(office, caller, &[made]).await[0]["realId"].clone()
}

fn rename(id: &Json, name: &str, more: &Json) -> Json {
    let mut operation = json!({ "operation": "update", "entityType": "pets", "entityId": id,
        "data": { "name": name } });
    operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operation
}

async fn names(office: &Office) -> Vec<Json> {
    let query = ListQuery { collection: "pet".into(), ..ListQuery::default() };
    let pets = office.node.list(query).await.unwrap();
    pets.into_iter().map(|mut pet| pet.fields.remove("name").unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_come_again_leave_what_somebody_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let id = pet(&office, &ann).await;
    // With the version that its author read, with none, and with numbers of the app.
    let queues = [
        [json!({ "version": 1 }), json!({ "version": 1 })],
        [json!({}), json!({})],
        [json!({ "id": 1 }), json!({ "id": 2 })],
    ];
    for (round, queue) in queues.into_iter().enumerate() {
        let ann = tablet(&office, &format!("ann {round}"));
        let [first, second] = queue;
        let sent = [rename(&id, "Max", &first), rename(&id, "Tom", &second)];
        let told = push(&office, &ann, &sent).await;
        assert!(told.iter().all(|it| it["success"] == true), "{round}: {told:?}");
        let edit = rename(&id, "Bob", &json!({ "version": 99 }));
        assert_eq!(push(&office, &bob, &[edit]).await[0]["success"], true);
        for again in [&sent[..], &sent[1..]] {
            let told = push(&office, &ann, again).await;
            assert!(told.iter().all(|it| it["success"] == true), "{round}: {told:?}");
            assert_eq!(names(&office).await, ["Bob"], "{round}");
        }
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_puts_back_what_he_had_before_is_not_taken_for_one_who_asks_again() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ann = tablet(&office, "ann");
    let id = pet(&office, &ann).await;
    let edit = |name: &str| rename(&id, name, &json!({ "version": 1 }));
    for name in ["Max", "Tom", "Max", "Tom"] {
        assert_eq!(push(&office, &ann, &[edit(name)]).await[0]["success"], true);
        assert_eq!(names(&office).await, [name]);
    }
    let both = [edit("Max"), edit("Tom"), edit("Max")];
    for _ in 0..2 {
        let told = push(&office, &ann, &both).await;
        assert!(told.iter().all(|it| it["success"] == true), "{told:?}");
        assert_eq!(names(&office).await, ["Max"]);
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_any_name_is_stored_once_however_often_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ann = tablet(&office, "ann");
    let of = |number: Option<u64>| {
        let mut made = json!({ "operation": "create", "entityType": "pets",
            "data": { "name": "Rex", "species": "dog", "ownerId": 7 } });
        if let Some(number) = number {
            made["id"] = number.into();
        }
        [made]
    };
    let first = push(&office, &ann, &of(None)).await;
    assert_eq!(push(&office, &ann, &of(None)).await, first);
    assert_eq!(names(&office).await.len(), 1);
    // Where the app tells them apart itself, each is one.
    for number in [1, 2] {
        let made = push(&office, &ann, &of(Some(number))).await;
        assert_eq!(push(&office, &ann, &of(Some(number))).await, made);
    }
    assert_eq!(names(&office).await.len(), 3);
    // Who has read what is there means another one.
    pull(&office, &ann).await;
    let next = push(&office, &ann, &of(None)).await;
    assert_ne!(next[0]["realId"], first[0]["realId"]);
    assert_eq!(names(&office).await.len(), 4);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_conflict_that_comes_again_does_not_win_by_that() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let id = pet(&office, &ann).await;
    pull(&office, &bob).await;
    assert_eq!(push(&office, &ann, &[rename(&id, "Max", &json!({}))]).await[0]["success"], true);
    let edit = [rename(&id, "Bob", &json!({}))];
    let first = push(&office, &bob, &edit).await;
    assert_eq!(first[0]["conflict"], true, "{first:?}");
    for _ in 0..2 {
        assert_eq!(push(&office, &bob, &edit).await, first);
        assert_eq!(names(&office).await, ["Max"]);
    }
    // Who says that he made it behind what he was told of has decided.
    let later = json!({ "timestamp": now().plus_millis(60_000).as_millis() });
    let told = push(&office, &bob, &[rename(&id, "Bob", &later)]).await;
    assert_eq!((&told[0]["success"], names(&office).await), (&json!(true), vec![json!("Bob")]));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_again_once_its_conflict_is_settled_makes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    define(&office, PUMP).await;
    let (ann, bob) = (tablet(&office, "ann"), tablet(&office, "bob"));
    let check = |operation: &str, id: &Json, tag: &str| {
        json!({ "operation": operation, "entityType": "pump_check", "entityId": id, "version": 1,
            "data": { "tag": tag } })
    };
    let made = push(&office, &ann, &[check("create", &json!("t"), "P1")]).await;
    let id = &made[0]["realId"];
    let told = push(&office, &ann, &[check("update", id, "P2")]).await;
    assert_eq!(told[0]["success"], true, "{told:?}");
    let edit = [check("update", id, "P3")];
    assert_eq!(push(&office, &bob, &edit).await[0]["conflict"], true);
    let listed = office.get("/api/sync/conflicts").await["conflicts"].clone();
    let body = json!({ "conflictId": listed[0]["id"], "resolution": "SERVER_WINS" });
    office.post("/api/sync/conflicts/resolve", &body).await;
    for _ in 0..2 {
        let told = push(&office, &bob, &edit).await;
        assert_eq!(told[0]["success"], true, "{told:?}");
        assert_eq!(office.get("/api/sync/conflicts").await["conflicts"], json!([]));
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_listed_once_however_often_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ann = tablet(&office, "ann");
    let edit = [rename(&json!("nobody"), "Max", &json!({}))];
    for _ in 0..2 {
        assert_eq!(push(&office, &ann, &edit).await[0]["success"], false);
        let listed = office.get("/rejected").await;
        assert_eq!(listed["rejected"].as_array().unwrap().len(), 1, "{listed}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_come_again_are_answered_with_the_versions_that_they_made() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let change = |operation: &str, title: &str, version: u64| {
        json!({ "entityType": "task", "entityId": "t", "operation": operation,
            "payload": { "title": title }, "clientVersion": version })
    };
    let sync = async |user: &str, changes: &[Json]| {
        let body = json!({ "deviceId": user, "changes": changes });
        let caller = office.worker(user);
        office.ask_as(&caller, Method::Post, "/api/sync", &body).await.1["results"].clone()
    };
    sync("ann", &[change("CREATE", "Oil", 1)]).await;
    let edits = [change("UPDATE", "Grease", 1), change("UPDATE", "Paint", 1)];
    let first = sync("ann", &edits).await;
    assert_eq!((&first[0]["version"], &first[1]["version"]), (&json!(2), &json!(3)), "{first}");
    let other = sync("bob", &[change("UPDATE", "Clean", 3)]).await;
    assert_eq!(other[0]["version"], 4, "{other}");
    assert_eq!(sync("ann", &edits).await, first);
    let query = ListQuery { collection: "task".into(), ..ListQuery::default() };
    assert_eq!(office.node.list(query).await.unwrap()[0].fields["title"], "Clean");
    office.close().await;
}
