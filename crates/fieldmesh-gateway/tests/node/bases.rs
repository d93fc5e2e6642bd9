//! What a device knew when it wrote.

use std::pin::pin;

use fieldmesh::api::{ConflictQuery, ConflictReport};
use fieldmesh_dialect::command::{Action, Base, Identity, Operation, Pull, Push};
use fieldmesh_dialect::outcome::Fate;
use fieldmesh_dialect::{
    Caller, Command, Dialect, Method, Name, Outcome, Request, Since, understand,
};
use fieldmesh_model::{Fields, Value};
use futures::StreamExt as _;
use serde_json::{Value as Json, json};

use crate::{Office, now};

fn on(office: &Office, user: &str) -> Caller {
    Caller { device: Some(format!("tablet of {user}")), ..office.worker(user) }
}

async fn push(office: &Office, caller: &Caller, operations: &[Json]) -> Json {
    let body = json!({ "clientTimestamp": now().as_millis(), "operations": operations });
    let (status, body) = office.ask_as(caller, Method::Post, "/api/sync/push", &body).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn pull(office: &Office, caller: &Caller) {
    let target = "/api/sync/pull?entityTypes=pets";
    assert_eq!(office.ask_as(caller, Method::Get, target, &Json::Null).await.0, 200);
}

fn update(id: &Json, data: &Json) -> Json {
    json!({ "operation": "update", "entityType": "pets", "entityId": id, "data": data })
}

/// A pet that both have read.
async fn pet(office: &Office, people: &[&Caller]) -> Json {
    let made = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "name": "Rex", "breed": "Pug", "species": "dog", "ownerId": 7 } });
    let id = push(office, people[0], &[made]).await["results"][0]["realId"].clone();
    for caller in people {
        pull(office, caller).await;
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_made_of_my_edit_is_not_overwritten_by_my_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    assert_eq!(push(&office, &ann, &[update(&id, &json!({ "name": "A" }))]).await["processed"], 1);
    pull(&office, &bob).await;
    assert_eq!(push(&office, &bob, &[update(&id, &json!({ "name": "B" }))]).await["processed"], 1);
    // Another field is in nobody's way, and shows nobody that she knows of the name.
    assert_eq!(push(&office, &ann, &[update(&id, &json!({ "sex": "F" }))]).await["processed"], 1);
    // Her own edit once more is no news.
    let again = push(&office, &ann, &[update(&id, &json!({ "name": "A" }))]).await;
    assert_eq!(again["processed"], 1, "{again}");
    let third = push(&office, &ann, &[update(&id, &json!({ "name": "C" }))]).await;
    assert_eq!(third["conflicts"], 1, "{third}");
    let query = fieldmesh::api::ListQuery {
        collection: "pet".into(),
        ..fieldmesh::api::ListQuery::default()
    };
    assert_eq!(office.node.list(query).await.unwrap()[0].fields["name"], "B");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edits_of_one_push_know_what_the_device_has_read() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    let theirs = json!({ "name": "B", "breed": "Beagle" });
    assert_eq!(push(&office, &bob, &[update(&id, &theirs)]).await["processed"], 1);
    pull(&office, &ann).await;
    let both = [update(&id, &json!({ "name": "C" })), update(&id, &json!({ "breed": "Boxer" }))];
    let pushed = push(&office, &ann, &both).await;
    assert_eq!(pushed["processed"], 2, "{pushed}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_an_exact_version_is_answered_again() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let caller = office.worker("ann");
    let operation = |action: Action, title: &str, base: Base| Operation {
        identity: Identity::Named(Name::Text("t".into())),
        action,
        collection: "task".into(),
        fields: Fields::from([("title".to_owned(), Value::Text(title.to_owned()))]),
        base,
        at: now(),
        key: None,
        references: Vec::new(),
    };
    let mut fates = Vec::new();
    let exactly = Base::Exactly(1);
    for operation in [
        operation(Action::Create, "Oil", Base::New),
        operation(Action::Update, "Grease", exactly),
        operation(Action::Update, "Grease", exactly),
        operation(Action::Update, "Paint", exactly),
    ] {
        let push = Push { operations: vec![operation], ..Push::default() };
        let (dialect, command) = (Some(Dialect::Asset), Command::Push(push));
        let outcome = office.gateway.execute(&caller, dialect, command, now()).await;
        let Outcome::Pushed(mut pushed) = outcome else { panic!("{outcome:?}") };
        fates.push(match pushed.fates.remove(0) {
            Fate::Stored(stored) => Some((stored.record.version, stored.again)),
            Fate::Rejected(_) => None,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(fates, [Some((1, false)), Some((2, false)), Some((2, true)), None]);
    office.close().await;
}

/// What stands beside each other in the records of pets, with what settled itself.
async fn competing(office: &Office) -> Vec<(String, Vec<Json>)> {
    let query = ConflictQuery { closed: true, ..ConflictQuery::default() };
    let inbox = office.node.conflicts(query).await.unwrap();
    let values = |it: &ConflictReport| it.values.iter().map(|it| it.value.clone()).collect();
    // The pets here lack what no app was made to send.
    let competing = inbox.iter().filter(|it| it.kind != "rule");
    competing.map(|it| (it.kind.clone(), values(it))).collect()
}

/// Reads what is new since a moment, as a client does that keeps it; gives the next one.
async fn pull_since(office: &Office, caller: &Caller, since: &Json) -> Json {
    let since = since.as_i64().unwrap_or(0);
    let target = format!("/api/sync/pull?entityTypes=pets&lastSyncTimestamp={since}");
    let (status, body) = office.ask_as(caller, Method::Get, &target, &Json::Null).await;
    assert_eq!(status, 200, "{body}");
    body["nextTimestamp"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_after_a_lost_answer_does_not_replace_what_came_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    let read = pull_since(&office, &ann, &Json::Null).await;
    let rename = |name: &str| [update(&id, &json!({ "name": name }))];
    assert_eq!(push(&office, &bob, &rename("B")).await["processed"], 1);
    pull_since(&office, &ann, &read).await;
    // Nobody refuses what may well have been written in knowledge of it.
    let pushed = push(&office, &ann, &rename("C")).await;
    assert_eq!(pushed["processed"], 1, "{pushed}");
    assert_eq!(competing(&office).await, [("parallel".into(), vec![json!("B"), json!("C")])]);
    let shown = office.get("/api/sync/pull?entityTypes=pets").await;
    assert!(shown.to_string().contains(r#""name":"C""#), "{shown}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_after_a_stream_that_nobody_heard_does_not_replace_what_was_sent_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    let dialect = Some(Dialect::Vet);
    let request = Request::new(Method::Get, "/api/sync/pull?entityTypes=pets", now());
    let Command::Pull(pull) = understand(&request, Some(&ann)).unwrap().command else { panic!() };
    let read = office.gateway.execute(&ann, dialect, Command::Pull(pull.clone()), now()).await;
    let Outcome::Page(read) = read else { panic!("{read:?}") };
    let pull = Pull { since: Since::Place(read.place), ..pull };
    let mut pages = pin!(office.gateway.follow(ann.clone(), dialect, pull));
    // Ann's phone has no signal; what is sent to it still fits the socket.
    let other = json!({ "operation": "create", "entityType": "pets", "tempId": "o",
        "data": { "name": "Tom", "breed": "Pug", "species": "dog", "ownerId": 7 } });
    for operation in [update(&id, &json!({ "name": "B" })), other] {
        assert_eq!(push(&office, &bob, &[operation]).await["processed"], 1);
        pages.next().await.unwrap();
    }
    let pushed = push(&office, &ann, &[update(&id, &json!({ "name": "C" }))]).await;
    assert_eq!(pushed["processed"], 1, "{pushed}");
    assert_eq!(competing(&office).await, [("parallel".into(), vec![json!("B"), json!("C")])]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_after_a_lost_answer_asks_about_the_edit_that_came_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    let read = pull_since(&office, &ann, &Json::Null).await;
    assert_eq!(push(&office, &bob, &[update(&id, &json!({ "name": "B" }))]).await["processed"], 1);
    pull_since(&office, &ann, &read).await;
    let delete = json!({ "operation": "delete", "entityType": "pets", "entityId": id });
    assert_eq!(push(&office, &ann, &[delete]).await["processed"], 1);
    let kinds: Vec<String> = competing(&office).await.into_iter().map(|it| it.0).collect();
    assert_eq!(kinds, ["deleted-and-edited"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_comes_next_is_known_to_have_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (ann, bob) = (on(&office, "ann"), on(&office, "bob"));
    let id = pet(&office, &[&ann, &bob]).await;
    let mut read = pull_since(&office, &ann, &Json::Null).await;
    for (caller, name) in [(&bob, "B"), (&ann, "C"), (&ann, "D"), (&bob, "E"), (&ann, "F")] {
        let pushed = push(&office, caller, &[update(&id, &json!({ "name": name }))]).await;
        assert_eq!(pushed["processed"], 1, "{pushed}");
        pull(&office, &bob).await;
        for _ in 0..2 {
            read = pull_since(&office, &ann, &read).await;
        }
    }
    assert_eq!(competing(&office).await, []);
    office.close().await;
}
