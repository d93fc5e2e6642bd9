//! A queue of edits that one device made while it was offline. Its client names the version that it
//! read last with each of them, and hears of nobody's changes but those of others.

use fieldmesh_dialect::{Caller, Method};
use serde_json::{Value as Json, json};

use crate::{Office, now};

/// A phone with the asset app.
struct Phone<'a> {
    office: &'a Office,
    caller: Caller,
    token: Json,
}

impl<'a> Phone<'a> {
    fn of(office: &'a Office, user: &str) -> Self {
        Self { office, caller: office.worker(user), token: Json::Null }
    }

    /// Sends changes and takes the answer.
    async fn sync(&mut self, changes: &[Json]) -> Json {
        let device = format!("phone of {}", self.caller.user);
        self.sync_as(&device, changes).await
    }

    async fn sync_as(&mut self, device: &str, changes: &[Json]) -> Json {
        let body = json!({ "deviceId": device, "syncToken": self.token, "changes": changes });
        let answer = self.office.ask_as(&self.caller, Method::Post, "/api/sync", &body).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        self.token = answer.1["syncToken"].clone();
        answer.1
    }
}

/// A change of the task, `millis` after it was made.
fn change(operation: &str, payload: &Json, version: u64, millis: i64) -> Json {
    json!({
        "entityType": "task", "entityId": "t", "operation": operation, "payload": payload,
        "clientVersion": version, "timestamp": now().plus_millis(millis - 60_000),
    })
}

async fn titles(office: &Office) -> Vec<Json> {
    let query = fieldmesh::api::ListQuery {
        collection: "task".into(),
        ..fieldmesh::api::ListQuery::default()
    };
    let list = office.node.list(query).await.unwrap();
    list.iter().map(|record| record.fields["title"].clone()).collect()
}

fn task() -> Json {
    json!({ "title": "A", "status": "OPEN", "priority": "NORMAL" })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_wrote_itself_is_no_conflict_for_its_next_edit() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let mut ann = Phone::of(&office, "ann");
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    let queue = [
        change("UPDATE", &json!({ "title": "B" }), 1, 1),
        change("UPDATE", &json!({ "title": "C" }), 1, 2),
    ];
    let answer = ann.sync(&queue).await;
    assert_eq!(answer["conflicts"], json!([]), "{answer}");
    assert_eq!(answer["results"][1]["version"], 3);
    // The answer was lost, and the same queue comes again: nothing is written twice.
    let again = ann.sync(&queue).await;
    assert_eq!(again["conflicts"], json!([]), "{again}");
    assert_eq!(again["results"][1]["version"], 3);
    // The next day, by a client that reads no versions of its own changes.
    let next = ann.sync(&[change("UPDATE", &json!({ "title": "D" }), 1, 3)]).await;
    assert_eq!(next["conflicts"], json!([]), "{next}");
    assert_eq!(titles(&office).await, ["D"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_wrote_in_between_is_a_conflict_still() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (mut ann, mut bob) = (Phone::of(&office, "ann"), Phone::of(&office, "bob"));
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    ann.sync(&[change("UPDATE", &json!({ "title": "B" }), 1, 1)]).await;
    bob.sync(&[]).await;
    bob.sync(&[change("UPDATE", &json!({ "title": "Bob" }), 2, 2)]).await;
    let stale = ann.sync(&[change("UPDATE", &json!({ "title": "C" }), 1, 3)]).await;
    assert_eq!(stale["conflicts"][0]["serverData"]["title"], "Bob", "{stale}");
    assert_eq!(titles(&office).await, ["Bob"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_and_a_deletion_of_one_queue_delete() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let mut ann = Phone::of(&office, "ann");
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    let queue =
        [change("UPDATE", &json!({ "title": "B" }), 1, 1), change("DELETE", &json!({}), 1, 2)];
    for _ in 0..2 {
        let answer = ann.sync(&queue).await;
        assert_eq!(answer["conflicts"], json!([]), "{answer}");
        assert_eq!(titles(&office).await, [] as [Json; 0]);
    }
    let open = office.node.conflicts(fieldmesh::api::ConflictQuery::default()).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_deletes_asks_about_what_somebody_else_wrote_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (mut ann, mut bob) = (Phone::of(&office, "ann"), Phone::of(&office, "bob"));
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    bob.sync(&[]).await;
    bob.sync(&[change("UPDATE", &json!({ "priority": "HIGH" }), 1, 1)]).await;
    let queue =
        [change("UPDATE", &json!({ "title": "B" }), 1, 2), change("DELETE", &json!({}), 1, 3)];
    let answer = ann.sync(&queue).await;
    let statuses = [0, 1].map(|index| &answer["results"][index]["status"]);
    assert_eq!(statuses, ["COMPLETED", "CONFLICT"], "{answer}");
    // Until somebody decides, everybody sees what she would have deleted.
    assert_eq!(titles(&office).await, ["B"]);
    let listed = office.get("/api/sync/conflicts").await;
    assert_eq!(listed["conflicts"][0]["id"], answer["conflicts"][0]["id"], "{listed}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_call_their_devices_the_same_replace_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (mut ann, mut bob) = (Phone::of(&office, "ann"), Phone::of(&office, "bob"));
    ann.sync_as("web", &[change("CREATE", &task(), 1, 0)]).await;
    bob.sync_as("web", &[]).await;
    ann.sync_as("web", &[change("UPDATE", &json!({ "title": "B" }), 1, 1)]).await;
    let stale = bob.sync_as("web", &[change("UPDATE", &json!({ "title": "C" }), 1, 2)]).await;
    assert_eq!(stale["conflicts"][0]["serverData"]["title"], "B", "{stale}");
    assert_eq!(titles(&office).await, ["B"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_person_that_say_no_name_replace_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ann = office.worker("ann");
    let push = async |operation: Json| {
        let body = json!({ "clientTimestamp": now().as_millis(), "operations": [operation] });
        let (status, body) = office.ask_as(&ann, Method::Post, "/api/sync/push", &body).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let made = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "name": "Rex", "species": "dog", "ownerId": 7 } });
    let id = push(made).await["results"][0]["realId"].clone();
    let edit = |name: &str| {
        json!({ "operation": "update", "entityType": "pets", "entityId": id,
            "data": { "name": name }, "version": 1, "clientVersion": 1, "baseVersion": 1 })
    };
    assert_eq!(push(edit("B")).await["conflicts"], 0);
    let stale = push(edit("C")).await;
    assert_eq!(stale["conflicts"], 1, "{stale}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_meant_once_more_is_written_though_the_clock_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (mut ann, mut bob) = (Phone::of(&office, "ann"), Phone::of(&office, "bob"));
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    let mut edit = change("UPDATE", &json!({ "title": "B" }), 1, 1);
    ann.sync(&[edit.clone()]).await;
    bob.sync(&[]).await;
    bob.sync(&[change("UPDATE", &json!({ "title": "A" }), 2, 2)]).await;
    ann.sync(&[]).await;
    edit["clientVersion"] = 3.into();
    let meant = ann.sync(&[edit]).await;
    assert_eq!(meant["results"][0]["version"], 4, "{meant}");
    assert_eq!(titles(&office).await, ["B"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_edit_of_a_fast_clock_that_comes_again_does_not_replace_the_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let mut ann = Phone::of(&office, "ann");
    ann.sync(&[change("CREATE", &task(), 1, 0)]).await;
    let ahead = 3_600_000;
    let older = change("UPDATE", &json!({ "title": "B" }), 1, ahead);
    ann.sync(std::slice::from_ref(&older)).await;
    ann.sync(&[change("UPDATE", &json!({ "title": "C" }), 1, ahead + 1)]).await;
    let again = ann.sync(&[older]).await;
    assert_eq!(again["conflicts"], json!([]), "{again}");
    assert_eq!(titles(&office).await, ["C"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edits_without_versions_that_come_again_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let caller = Caller { device: Some("tablet".into()), ..office.worker("ann") };
    let push = async |operations: Json| {
        let body = json!({ "clientTimestamp": now().as_millis(), "operations": operations });
        let (status, body) = office.ask_as(&caller, Method::Post, "/api/sync/push", &body).await;
        assert_eq!((status, &body["conflicts"]), (200, &json!(0)), "{body}");
        body["results"][0]["realId"].clone()
    };
    let made = json!({ "name": "Rex", "species": "dog", "ownerId": 7 });
    let create = json!([{ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": made, "timestamp": 1_761_399_000_000_i64 }]);
    let id = push(create).await;
    let edit = |name: &str, at: i64| {
        json!({ "operation": "update", "entityType": "pets", "entityId": id,
            "data": { "name": name }, "timestamp": at })
    };
    let queue = json!([edit("B", 1_761_399_000_001), edit("C", 1_761_399_000_002)]);
    let shown = async || {
        let target = "/api/sync/pull?entityTypes=pets";
        let (_, pulled) = office.ask_as(&caller, Method::Get, target, &Json::Null).await;
        let change = &pulled["changes"][0];
        (change["data"]["name"].clone(), change["version"].clone())
    };
    for _ in 0..2 {
        push(queue.clone()).await;
        assert_eq!(shown().await, (json!("C"), json!(3)));
    }
    // A client whose clock stands still means each of its edits.
    let late = 1_761_399_000_003;
    push(json!([edit("D", late), edit("E", late), edit("D", late)])).await;
    assert_eq!(shown().await.0, "D");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_named_are_processed_together_and_one_that_is_unknown_stops_none() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    for (id, operation, data) in [
        ("o1", "CREATE", json!({ "id": "p1", "name": "Rosa" })),
        ("o2", "UPDATE", json!({ "phone": "5" })),
    ] {
        let mut queued = json!({ "id": id, "userId": "ann", "deviceId": "d",
            "operation": operation, "resourceType": "patient", "data": data, "version": 1,
            "createdAtClient": "2025-10-25T08:00:00.000Z" });
        if operation == "UPDATE" {
            queued["resourceId"] = "p1".into();
        }
        assert_eq!(office.post("/api/v1/sync/queue", &queued).await["status"], "PENDING");
    }
    let ids = json!({ "ids": ["o1", "nobody's", "o2"] });
    for _ in 0..2 {
        let told = office.post("/api/v1/sync/process", &ids).await;
        let one = |it: &Json| json!([it["status"], it["result"]["phone"]]);
        let told: Vec<Json> = told["results"].as_array().unwrap().iter().map(one).collect();
        assert_eq!(told[1], json!(["FAILED", null]), "{told:?}");
        assert_eq!(told[2], json!(["SYNCED", "5"]), "{told:?}");
        assert_eq!(told[0][0], "SYNCED", "{told:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_kept_are_dropped_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = crate::well(&office.node, 1).await;
    let invalidate = async || {
        let told = office.post("/api/sync/cache/invalidate", &json!({})).await;
        told["invalidated"].as_u64().unwrap()
    };
    let first = office.get("/sync/pull").await;
    assert_eq!(first["wells"][0]["id"], json!(well));
    assert_eq!((invalidate().await, invalidate().await), (1, 0));
    assert_eq!(office.get("/sync/pull").await["wells"], first["wells"]);
    office.close().await;
}
