//! Which of several records that are alike stay, as somebody decides over an app: what he said is
//! done to what he was shown, or refused.

use fieldmesh::api::{Choice, ConflictQuery, Edits, ListQuery, Resolution};
use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::Office;
use crate::alike::{asked, produced_twice};
use crate::disputes::check;
use crate::entity::{PUMP, define};

/// An office with a collection of its own in which a tag is wanted once.
async fn office_of_pumps(folder: &std::path::Path) -> Office {
    let office = Office::create(&folder.join("office")).await;
    let unique = "\n[[unique]]\nfields = [\"tag\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{unique}")).await;
    office
}

async fn send(office: &Office, change: Json) -> Json {
    let body = json!({ "deviceId": "d", "changes": [change] });
    office.post("/api/sync", &body).await["results"][0]["status"].clone()
}

/// Checks whose tags an edit makes the same.
async fn made_alike(office: &Office, ids: &[&str]) {
    for id in ids {
        assert_eq!(send(office, check(id, "CREATE", &json!({ "tag": id }))).await, "COMPLETED");
    }
    for id in ids {
        assert_eq!(send(office, check(id, "UPDATE", &json!({ "tag": "P1" }))).await, "COMPLETED");
    }
}

async fn listed(office: &Office) -> Vec<Json> {
    let listed = office.get("/api/sync/conflicts").await;
    listed["conflicts"].as_array().unwrap().clone()
}

async fn resolve(office: &Office, caller: &Caller, body: &Json) -> (u16, Json) {
    office.ask_as(caller, Method::Post, "/api/sync/conflicts/resolve", body).await
}

/// The tags of all checks.
async fn tags(office: &Office) -> Vec<String> {
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    let found = office.node.list(query).await.unwrap();
    let tag = |fields: &serde_json::Map<String, Json>| fields["tag"].as_str().unwrap().to_owned();
    let mut tags: Vec<String> = found.iter().map(|it| tag(&it.fields)).collect();
    tags.sort_unstable();
    tags
}

async fn edit_on_device(office: &Office, tag: &str, assignment: &str) {
    let query = ListQuery { collection: "pump_check".into(), ..ListQuery::default() };
    let found = office.node.list(query).await.unwrap();
    let one = found.iter().rev().find(|it| it.fields["tag"] == tag).unwrap();
    let edits = Edits { assignments: vec![assignment.to_owned()], ..Edits::default() };
    office.node.edit(&one.id.to_string(), edits).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_writes_of_one_of_two_that_are_alike_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let office = office_of_pumps(folder.path()).await;
    made_alike(&office, &["a", "b"]).await;
    let manager = office.caller(Role::Manager);
    let id = listed(&office).await[0]["id"].clone();
    let body = json!({ "conflictId": id, "resolution": "MANUAL", "resolvedData": { "tag": "P9" } });
    for _ in 0..2 {
        let (status, settled) = resolve(&office, &manager, &body).await;
        assert_eq!(
            (status, &settled["entity"]["payload"]["tag"]),
            (200, &json!("P9")),
            "{settled}"
        );
    }
    assert_eq!(tags(&office).await, ["P1", "P9"]);
    assert_eq!((listed(&office).await.len(), asked(&office).await), (0, 0));
    made_alike(&office, &["c"]).await;
    assert_eq!((listed(&office).await.len(), asked(&office).await), (1, 1));
    // Where they stay alike both are meant.
    let id = listed(&office).await[0]["id"].clone();
    let data = json!({ "tag": "P1", "pressure": 7 });
    let body = json!({ "conflictId": id, "resolution": "MERGE", "resolvedData": data });
    let (status, settled) = resolve(&office, &manager, &body).await;
    assert_eq!((status, &settled["entity"]["payload"]["pressure"]), (200, &json!(7)), "{settled}");
    assert_eq!((listed(&office).await.len(), asked(&office).await), (0, 0));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_that_are_alike_each_two_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let office = office_of_pumps(folder.path()).await;
    made_alike(&office, &["a", "b", "c"]).await;
    let manager = office.caller(Role::Manager);
    let mut told = Vec::new();
    for left in (0..3).rev() {
        let open = listed(&office).await;
        assert_eq!((open.len(), asked(&office).await), (1, 1), "{open:?}");
        let body = json!({ "conflictId": open[0]["id"], "resolution": "MERGE" });
        for _ in 0..2 {
            assert_eq!(resolve(&office, &manager, &body).await.0, 200);
        }
        assert_eq!(listed(&office).await.len(), usize::from(left > 0));
        told.push(open[0]["id"].to_string());
    }
    told.dedup();
    assert_eq!((told.len(), asked(&office).await, tags(&office).await.len()), (3, 0, 3));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_deletes_what_was_edited_since_he_was_shown_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = office_of_pumps(folder.path()).await;
    made_alike(&office, &["a", "b"]).await;
    let manager = office.caller(Role::Manager);
    let shown = listed(&office).await[0]["id"].clone();
    edit_on_device(&office, "P1", "pressure=7").await;
    let body = |id: &Json| json!({ "conflictId": id, "resolution": "SERVER_WINS" });
    assert_eq!(resolve(&office, &manager, &body(&shown)).await.0, 409);
    // Both are there, and devices still ask.
    assert_eq!(asked(&office).await, 1);
    let shown = listed(&office).await[0]["id"].clone();
    assert_eq!(resolve(&office, &manager, &body(&shown)).await.0, 200);
    assert_eq!((tags(&office).await.len(), asked(&office).await), (1, 0));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_the_event_to_keep_names_one_of_the_two() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    let well = crate::well(&office.node, 1).await;
    produced_twice(&office, &well, 0).await;
    produced_twice(&office, &well, 1).await;
    let query =
        |collection: &str| ListQuery { collection: collection.into(), ..ListQuery::default() };
    let manager = office.caller(Role::Manager);
    let listed = office.get("/field-data/conflicts").await["conflicts"].clone();
    let listed = listed.as_array().unwrap().clone();
    let one = listed.iter().find(|it| it["eventId"] == "event 0").unwrap();
    let target = format!("/field-data/conflicts/{}/resolve", one["conflictId"].as_str().unwrap());
    let keep = async |id: &Json| {
        let body = json!({ "resolution": "MANUAL", "keepEventId": id });
        office.ask_as(&manager, Method::Post, &target, &body).await
    };
    for other in ["event 1", "nobody's"] {
        assert_eq!(keep(&json!(other)).await.0, 400, "{other}");
    }
    assert_eq!((listed.len(), asked(&office).await), (2, 2));
    let entries = office.node.list(query("field_entry")).await.unwrap();
    let shown = one["serverData"].to_string();
    let mut entries = entries.iter();
    let entry = entries.find(|it| shown.contains(it.fields["recordedAt"].as_str().unwrap()));
    let entry = entry.unwrap();
    let (status, settled) = keep(&json!(entry.id.to_string())).await;
    assert_eq!(status, 200, "{settled}");
    assert_eq!(office.node.list(query("field_entry")).await.unwrap().len(), 2);
    assert_eq!(asked(&office).await, 1);
    let left = office.get("/field-data/conflicts").await["conflicts"].clone();
    assert_eq!((&left[0]["eventId"], &left[1]), (&json!("event 1"), &Json::Null), "{left}");
    office.close().await;
}

/// A check that an app was told of as a conflict when it made it.
async fn taken(office: &Office) -> Json {
    assert_eq!(send(office, check("a", "CREATE", &json!({ "tag": "P1" }))).await, "COMPLETED");
    assert_eq!(send(office, check("b", "CREATE", &json!({ "tag": "P1" }))).await, "CONFLICT");
    let open = listed(office).await;
    assert_eq!(open.len(), 1, "{open:?}");
    open[0]["id"].clone()
}

/// Whether a conflict is on no list and deletes nothing any more.
async fn is_over(office: &Office, id: &Json) {
    assert_eq!((listed(office).await.len(), asked(office).await), (0, 0));
    let body = json!({ "conflictId": id, "resolution": "SERVER_WINS" });
    assert_eq!(resolve(office, &office.caller(Role::Manager), &body).await.0, 409);
    assert_eq!(tags(office).await.len(), 2);
    let again = check("b", "CREATE", &json!({ "tag": "P1" }));
    assert_eq!(send(office, again).await, "COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_both_on_a_device_has_decided_for_apps_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let office = office_of_pumps(folder.path()).await;
    let id = taken(&office).await;
    let item = office.node.conflicts(ConflictQuery::default()).await.unwrap().remove(0);
    office.node.resolve(&item.id, Resolution::Take(Choice::Both)).await.unwrap();
    is_over(&office, &id).await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edit_told_apart_is_in_no_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let office = office_of_pumps(folder.path()).await;
    let id = taken(&office).await;
    edit_on_device(&office, "P1", "tag=P2").await;
    assert_eq!((listed(&office).await.len(), asked(&office).await), (0, 0));
    let body = json!({ "conflictId": id, "resolution": "SERVER_WINS" });
    assert_eq!(resolve(&office, &office.caller(Role::Manager), &body).await.0, 409);
    assert_eq!(tags(&office).await, ["P1", "P2"]);
    office.close().await;
}
