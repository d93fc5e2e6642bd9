//! Entries of wells over a real store: what was pushed comes back whole, to whom it is meant for, and
//! says whose it is.

use fieldmesh::api::{Edits, ListQuery};
use fieldmesh::gateway::Access;
use fieldmesh_dialect::{Caller, Method, Request, understand};
use fieldmesh_model::{Moment, Role};
use serde_json::{Value as Json, json};

use crate::{Office, entry, now, well};

/// Pushes as `caller`; the request as a whole is taken.
async fn push(office: &Office, caller: &Caller, body: &Json) -> Json {
    let (status, body) = office.ask_as(caller, Method::Post, "/sync/push", body).await;
    assert_eq!(status, 200, "{body}");
    body
}

fn of_tablet(entries: &[Json]) -> Json {
    json!({ "deviceId": "T1", "entries": entries })
}

/// Waits until what was written at the office itself can be read.
async fn settle(office: &Office) {
    let access = Access::new(&office.node);
    tokio::task::spawn_blocking(move || access.settle()).await.unwrap().unwrap();
}

/// The ids in a list of wells or entries.
fn ids(list: &Json) -> Vec<String> {
    let one = |it: &Json| it["id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_comes_back_as_it_was_pushed_with_its_author_and_its_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let sent = json!({
        "wellId": well(&office.node, 1).await, "entryType": "INSPECTION",
        "recordedAt": "2025-10-25T09:30:00.000Z", "latitude": 31.8, "longitude": -102.3,
        "photos": ["/upload/ab"], "notes": "calm",
        "data": {
            "equipmentStatus": "DEGRADED", "leaksDetected": true,
            "correctiveActions": ["tighten", "paint"], "own": { "list": [{ "a": 1 }] },
        },
    });
    let began = now();
    let pushed =
        push(&office, &office.worker("bob"), &of_tablet(std::slice::from_ref(&sent))).await;
    let listed = office.get("/sync/entries").await["entries"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let entry = &listed[0];
    for (key, value) in sent.as_object().unwrap() {
        assert_eq!(&entry[key], value, "{key} of {entry}");
    }
    assert_eq!((&entry["createdBy"], &entry["deviceId"]), (&json!("bob"), &json!("T1")));
    let moment = |of: &Json, key: &str| of[key].as_str().unwrap().parse::<Moment>().unwrap();
    let arrived = moment(entry, "syncedAt");
    assert!(began <= arrived && arrived <= moment(&pushed, "syncedAt"), "{entry} of {pushed}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_of_the_person_of_the_token_whoever_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let at = "2025-10-25T09:30:00.000Z";
    let event = |id: &str, kind: &str, payload: Json| {
        json!({ "id": id, "type": kind, "timestamp": at, "deviceId": "T1", "userId": "carl",
            "payload": payload })
    };
    let inspection = json!({ "wellId": well, "equipmentId": "pump", "inspectionType": "SAFETY",
        "status": "PASS", "notes": "dry", "inspectedAt": at });
    let events = [
        event("a", "PRODUCTION_LOGGED", json!({ "wellId": well, "volume": 12.5 })),
        event("b", "EQUIPMENT_INSPECTED", inspection.clone()),
    ];
    let body = json!({ "tenantId": "acme", "events": events });
    let bob = office.worker("bob");
    let (_, answer) = office.ask_as(&bob, Method::Post, "/field-data/sync", &body).await;
    assert_eq!(answer["syncedEventIds"], json!(["a", "b"]), "{answer}");
    let query = ListQuery { collection: "field_event".into(), ..ListQuery::default() };
    let listed = office.node.list(query).await.unwrap();
    assert_eq!(listed.len(), 2);
    for record in listed {
        let access = Access::new(&office.node);
        let held = tokio::task::spawn_blocking(move || access.held(record.id)).await.unwrap();
        assert_eq!(held.unwrap().unwrap().made_for.as_deref(), Some("bob"));
        let payload = &record.fields["payload"];
        if record.fields["type"] == "PRODUCTION_LOGGED" {
            let expected = json!({ "wellId": well, "volume": 12.5, "unit": "barrels",
                "recordedAt": at });
            assert_eq!(payload, &expected);
        } else {
            assert_eq!(payload, &inspection);
        }
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_that_is_no_longer_active_leaves_the_pull() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (stays, goes) = (well(&office.node, 1).await, well(&office.node, 2).await);
    let first = office.get("/sync/pull").await;
    assert_eq!(ids(&first["wells"]), [stays.clone(), goes.clone()]);
    let assignments = vec!["status=PLUGGED".to_owned()];
    let edits = Edits { assignments, ..Edits::default() };
    office.node.edit(&goes, edits).await.unwrap();
    settle(&office).await;
    assert_eq!(ids(&office.get("/sync/pull").await["wells"]), [stays]);
    let since = first["lastSyncTimestamp"].as_str().unwrap();
    let news = office.get(&format!("/sync/pull?lastSync={since}")).await;
    assert_eq!((&news["wells"], &news["removedWellIds"]), (&json!([]), &json!([goes])));
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_long_ago_and_arrives_late_is_pulled_by_who_has_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let wells = [well(&office.node, 1).await, well(&office.node, 2).await];
    let ann = office.worker("ann");
    let first = push(&office, &ann, &of_tablet(&[entry(&wells[0], 5, 1.0)])).await;
    let read = office.get("/sync/pull?include=entries").await;
    let since = read["lastSyncTimestamp"].as_str().unwrap();
    let mut late = entry(&wells[1], 0, 2.0);
    late["recordedAt"] = "2020-01-01T00:00:00.000Z".into();
    let second = push(&office, &ann, &of_tablet(&[late])).await;
    let id = |pushed: &Json| pushed["results"][0]["entryId"].as_str().unwrap().to_owned();
    let news = office.get(&format!("/sync/pull?include=entries&lastSync={since}")).await;
    assert_eq!(ids(&news["entries"]), [id(&second)]);
    // By pages, and by what is asked for.
    let both = [id(&first), id(&second)];
    let page = office.get("/sync/entries?limit=1").await;
    assert_eq!((ids(&page["entries"]), &page["hasMore"]), (vec![both[0].clone()], &json!(true)));
    let cursor = page["nextCursor"].as_str().unwrap();
    let page = office.get(&format!("/sync/entries?limit=1&cursor={cursor}")).await;
    assert_eq!((ids(&page["entries"]), &page["hasMore"]), (vec![both[1].clone()], &json!(false)));
    for (question, expected) in [
        (format!("wellId={}", wells[1]), vec![both[1].clone()]),
        ("to=2021-01-01T00:00:00Z".to_owned(), vec![both[1].clone()]),
        ("from=2021-01-01T00:00:00Z".to_owned(), vec![both[0].clone()]),
        ("entryType=INSPECTION".to_owned(), Vec::new()),
    ] {
        let found = office.get(&format!("/sync/pull?include=entries&{question}")).await;
        assert_eq!(ids(&found["entries"]), expected, "{question}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pushes_chooses_what_becomes_of_conflicts() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let ann = office.worker("ann");
    let null = Json::Null;
    for (minute, said, told, oil, water) in [
        (0, null.clone(), "SERVER_WINS", json!(1), null.clone()),
        (1, json!("SERVER_WINS"), "SERVER_WINS", json!(1), null.clone()),
        (2, json!("CLIENT_WINS"), "CLIENT_WINS", json!(2), json!(3)),
        (3, json!("MERGE"), "MERGED", json!(1), json!(3)),
    ] {
        let mut sent = entry(&well, minute, 1.0);
        let first = push(&office, &ann, &of_tablet(std::slice::from_ref(&sent))).await;
        sent["data"] = json!({ "oilVolume": 2.0, "waterVolume": 3.0 });
        let mut body = of_tablet(&[sent]);
        body["conflictResolution"] = said;
        let second = push(&office, &ann, &body).await;
        assert_eq!(second["conflicts"][0]["resolution"], told, "{second}");
        assert_eq!((&second["succeeded"], &second["failed"]), (&json!(1), &json!(0)));
        let id = &first["results"][0]["entryId"];
        let listed = office.get("/sync/entries").await["entries"].clone();
        let entry = listed.as_array().unwrap().iter().find(|it| &it["id"] == id).unwrap().clone();
        let data = &entry["data"];
        assert_eq!((&data["oilVolume"], &data["waterVolume"]), (&oil, &water), "{told}");
        assert_eq!(data["gasVolume"], 375.8, "what is not mentioned stays");
    }
    office.close().await;
}

/// What `caller` is answered who changes the notes of an entry that was at `version`.
async fn patch(office: &Office, caller: &Caller, id: &str, version: u64) -> (u16, Json) {
    let request = Request::new(Method::Patch, &format!("/sync/entries/{id}"), now())
        .with_header("if-match", &format!("\"{version}\""))
        .with_body(json!({ "notes": format!("seen by {}", caller.user) }).to_string());
    let ask = understand(&request, Some(caller)).unwrap();
    let command = ask.command.clone();
    let outcome = office.gateway.execute(caller, ask.dialect, command, now()).await;
    let response = ask.answer(outcome);
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_edited_by_its_author_and_managers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let [ann, bob] = ["ann", "bob"].map(|user| office.worker(user));
    let lena = Caller { user: "lena".to_owned(), ..office.caller(Role::Manager) };
    let pushed = push(&office, &ann, &of_tablet(&[entry(&well, 0, 1.0)])).await;
    let id = pushed["results"][0]["entryId"].as_str().unwrap();
    let (status, body) = patch(&office, &bob, id, 1).await;
    assert_eq!(status, 403, "{body}");
    let (status, body) = patch(&office, &ann, id, 1).await;
    assert_eq!((status, &body["version"], &body["notes"]), (200, &json!(2), &json!("seen by ann")));
    assert_eq!(body["data"]["oilVolume"], 1, "the rest stays: {body}");
    let (status, body) = patch(&office, &lena, id, 1).await;
    assert_eq!(status, 409, "{body}");
    let (status, body) = patch(&office, &lena, id, 2).await;
    assert_eq!((status, &body["notes"]), (200, &json!("seen by lena")));
    assert_eq!(body["createdBy"], "ann");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_page_by_page_and_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    for name in ["Ann", "Bob", "Cam", "Dee", "Eve"] {
        let assignments = vec![
            format!("name={name}"),
            format!("email={name}@example.org"),
            "role=OPERATOR".to_owned(),
        ];
        let new = fieldmesh::api::NewRecord {
            collection: "user".into(),
            assignments,
            ..fieldmesh::api::NewRecord::default()
        };
        office.node.record(new).await.unwrap();
    }
    let (mut names, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = office.get(&format!("/sync/pull?include=users&limit=2{cursor}")).await;
        let users = page["users"].as_array().unwrap();
        pages.push(users.len());
        names.extend(users.iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        if page["hasMore"] == false {
            break;
        }
        cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap());
    }
    assert_eq!(names, ["Ann", "Bob", "Cam", "Dee", "Eve"]);
    assert_eq!(pages, [2, 2, 1]);
    // Who knows no pages is given all at once.
    assert_eq!(office.get("/sync/pull").await["users"].as_array().unwrap().len(), 5);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_contradicts_an_edited_one_is_a_conflict_each_time_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let well = well(&office.node, 1).await;
    let (ben, mia) = (office.worker("ben"), office.caller(Role::Manager));
    let sent = |oil: f64, notes: &str| {
        let mut entry = entry(&well, 0, oil);
        entry["notes"] = notes.into();
        of_tablet(&[entry])
    };
    let stored = push(&office, &ben, &sent(1.0, "a")).await;
    assert_eq!(stored["results"][0]["status"], "STORED", "{stored}");
    let target = format!("/sync/entries/{}", stored["results"][0]["entryId"].as_str().unwrap());
    let body = json!({ "data": { "oilVolume": 41 } });
    assert_eq!(office.ask_as(&mia, Method::Patch, &target, &body).await.0, 200);
    for _ in 0..3 {
        let told = push(&office, &ben, &sent(51.0, "z")).await;
        let said = (&told["results"][0]["status"], &told["conflicts"][0]["resolution"]);
        assert_eq!(said, (&json!("CONFLICT"), &json!("SERVER_WINS")), "{told}");
        assert_eq!(told["conflicts"].as_array().unwrap().len(), 1, "{told}");
        // What the store had is what everybody sees, also where nobody else had changed it.
        let entry = office.get("/sync/entries").await["entries"][0].clone();
        let shown = (&entry["data"]["oilVolume"], &entry["notes"]);
        assert_eq!(shown, (&json!(41), &json!("a")), "{entry}");
    }
    // Whoever lets it win later has all of it.
    let listed = office.get("/api/sync/conflicts?entityType=field_entry").await;
    let open = listed["conflicts"].as_array().unwrap();
    assert_eq!(open.len(), 1, "{listed}");
    let body = json!({ "conflictId": open[0]["id"], "resolution": "CLIENT_WINS" });
    office.post("/api/sync/conflicts/resolve", &body).await;
    let entry = office.get("/sync/entries").await["entries"][0].clone();
    let shown = (&entry["data"]["oilVolume"], &entry["notes"]);
    assert_eq!(shown, (&json!(51), &json!("z")), "{entry}");
    office.close().await;
}

/// What the first entry of a push came to: its status and how its conflict was settled.
fn came_to(answer: &Json) -> (&Json, &Json) {
    (&answer["results"][0]["status"], &answer["conflicts"][0]["resolution"])
}

async fn oil(office: &Office) -> Json {
    office.get("/sync/entries").await["entries"][0]["data"]["oilVolume"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_comes_again_to_win_wins_although_it_came_without_the_word_before() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (well, ann) = (well(&office.node, 1).await, office.worker("ann"));
    push(&office, &ann, &of_tablet(&[entry(&well, 0, 80.0)])).await;
    let mut other = of_tablet(&[entry(&well, 0, 90.0)]);
    let told = push(&office, &ann, &other).await;
    assert_eq!(came_to(&told), (&json!("CONFLICT"), &json!("SERVER_WINS")), "{told}");
    other["conflictResolution"] = "CLIENT_WINS".into();
    let told = push(&office, &ann, &other).await;
    assert_eq!(came_to(&told), (&json!("CONFLICT"), &json!("CLIENT_WINS")), "{told}");
    assert_eq!(oil(&office).await, 90);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_was_lost_is_told_once_more_how_its_conflict_was_settled() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (well, ann) = (well(&office.node, 1).await, office.worker("ann"));
    let cases =
        [("CLIENT_WINS", "CLIENT_WINS"), ("SERVER_WINS", "SERVER_WINS"), ("MERGE", "MERGED")];
    for (minute, (word, answered)) in cases.into_iter().enumerate() {
        push(&office, &ann, &of_tablet(&[entry(&well, minute, 80.0)])).await;
        let mut other = of_tablet(&[entry(&well, minute, 90.0)]);
        other["conflictResolution"] = word.into();
        let first = push(&office, &ann, &other).await;
        assert_eq!(came_to(&first), (&json!("CONFLICT"), &json!(answered)), "{first}");
        let again = push(&office, &ann, &other).await;
        for key in ["succeeded", "failed", "conflicts", "errors", "results"] {
            assert_eq!(first[key], again[key], "{word}: {first} and {again}");
        }
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_comes_again_with_another_word_is_told_how_its_conflict_was_settled() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let (well, ann) = (well(&office.node, 1).await, office.worker("ann"));
    push(&office, &ann, &of_tablet(&[entry(&well, 0, 80.0)])).await;
    let mut other = of_tablet(&[entry(&well, 0, 90.0)]);
    for word in ["SERVER_WINS", "CLIENT_WINS"] {
        other["conflictResolution"] = word.into();
        let told = push(&office, &ann, &other).await;
        assert_eq!(came_to(&told), (&json!("CONFLICT"), &json!("SERVER_WINS")), "{told}");
        assert_eq!(oil(&office).await, 80);
    }
    office.close().await;
}
