//! What devices sent and nobody could store: their apps take it for done, so a person has to find it.

use fieldmesh_dialect::Method;
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::{Office, now};

fn change(id: &str, operation: &str, payload: &Json, at: &Json) -> Json {
    json!({
        "entityType": "task", "entityId": id, "operation": operation, "payload": payload,
        "clientVersion": 1, "timestamp": at,
    })
}

fn task(title: &str) -> Json {
    json!({ "title": title, "status": "OPEN", "priority": "NORMAL" })
}

async fn sync(office: &Office, user: &str, changes: &[Json]) -> Json {
    let body = json!({ "deviceId": format!("phone of {user}"), "changes": changes });
    let (status, body) =
        office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn failed(office: &Office, user: &str) -> Json {
    let target = "/api/sync/queue/stats";
    office.ask_as(&office.worker(user), Method::Get, target, &Json::Null).await.1["failed"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_in_form_or_failed_is_counted_and_read_by_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let time = json!(now());
    let bad = change("b", "CREATE", &task("Bad"), &json!("bad"));
    let unknown = change("nobody", "UPDATE", &json!({ "title": "Lost" }), &time);
    let queue = [change("a", "CREATE", &task("Good"), &time), bad.clone(), unknown];
    for _ in 0..2 {
        sync(&office, "ann", &queue).await;
        assert_eq!(failed(&office, "ann").await, 2, "once each, though they came again");
    }
    assert_eq!(failed(&office, "bob").await, 0);
    let page = office.get("/rejected").await;
    assert_eq!((&page["dropped"], &page["hasMore"]), (&json!(0), &json!(false)));
    let [part, operation] = &page["rejected"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!(part["content"], bad);
    assert!(part["reason"].as_str().unwrap().starts_with("timestamp: timestamp must be a time"));
    for one in [part, operation] {
        assert_eq!(
            json!([one["userId"], one["deviceId"], one["contract"]]),
            json!(["ann", "phone of ann", "asset"]),
        );
        assert!(one["receivedAt"].is_string(), "{one}");
    }
    assert_eq!(
        json!([operation["operation"], operation["type"], operation["entityId"]]),
        json!(["UPDATE", "task", "nobody"]),
    );
    assert_eq!(
        json!([operation["content"], operation["reason"]]),
        json!([{ "title": "Lost" }, "Record not found"]),
    );
    // Page by page it is the same.
    let first = office.get("/rejected?limit=1").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = office.get(&format!("/rejected?limit=1&cursor={cursor}")).await;
    assert_eq!((&first["rejected"][0], &second["rejected"][0]), (part, operation));
    assert_eq!(second["nextCursor"], Json::Null);
    let manager = office.caller(Role::Manager);
    assert_eq!(office.ask_as(&manager, Method::Get, "/rejected", &Json::Null).await.0, 403);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_make_room_for_newer_ones_and_stay_counted() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let time = json!(now());
    let mut queue = vec![change("a", "CREATE", &task("Good"), &time)];
    queue.extend((0..1_002).map(|n| change(&n.to_string(), "CREATE", &task("Bad"), &json!("bad"))));
    sync(&office, "ann", &queue).await;
    let page = office.get("/rejected?limit=1000").await;
    let listed = page["rejected"].as_array().unwrap();
    assert_eq!(
        (listed.len(), &page["dropped"], &page["hasMore"]),
        (1_000, &json!(2), &json!(false))
    );
    assert_eq!(listed[0]["content"]["entityId"], "2", "the oldest went");
    assert_eq!(failed(&office, "ann").await, 1_002);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_of_nonsense_that_comes_again_is_written_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let mut queue = vec![change("a", "CREATE", &task("Good"), &json!(now()))];
    queue.extend((0..1_500).map(|n| change(&n.to_string(), "CREATE", &task("Bad"), &json!("bad"))));
    for _ in 0..2 {
        let answer = sync(&office, "ann", &queue).await;
        let results = answer["results"].as_array().unwrap();
        let failed_now = results.iter().filter(|result| result["status"] == "FAILED").count();
        assert_eq!(failed_now, 1_500, "none of them is done");
        assert_eq!(failed(&office, "ann").await, 1_500);
        let page = office.get("/rejected?limit=1000").await;
        assert_eq!(page["dropped"], 500);
        assert_eq!(page["rejected"][0]["content"]["entityId"], "500", "the last ones stay");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_tried_again_is_of_the_device_that_sent_it() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let at = |millis: i64| json!(now().plus_millis(millis - 60_000));
    let edit = |title: &str, millis| change("t", "UPDATE", &json!({ "title": title }), &at(millis));
    // It came before the record itself did.
    sync(&office, "ann", &[edit("B", 1)]).await;
    sync(&office, "bob", &[change("t", "CREATE", &task("A"), &at(0))]).await;
    let ann = office.worker("ann");
    let retried = office.ask_as(&ann, Method::Post, "/api/sync/queue/retry", &json!({})).await.1;
    assert_eq!(retried, json!({ "retried": 1, "succeeded": 1, "failed": 0 }));
    assert_eq!(failed(&office, "ann").await, 0);
    // Her phone knows what it wrote, so its next edit contradicts nobody.
    let next = sync(&office, "ann", &[edit("C", 2)]).await;
    assert_eq!(next["conflicts"], json!([]), "{next}");
    office.close().await;
}

/// Everything that is listed, read page by page, and the number and the size of the pages.
async fn all(office: &Office) -> (Vec<Json>, Vec<usize>) {
    let (mut rejected, mut sizes) = (Vec::new(), Vec::new());
    let mut target = "/rejected?limit=1000".to_owned();
    loop {
        let mut page = office.get(&target).await;
        sizes.push(page.to_string().len());
        rejected.append(page["rejected"].as_array_mut().unwrap());
        let Some(cursor) = page["nextCursor"].as_str() else { return (rejected, sizes) };
        target = format!("/rejected?limit=1000&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_sends_nonsense_does_not_push_out_what_another_person_lost() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let time = json!(now());
    let good = |id: &str| change(id, "CREATE", &task("Good"), &time);
    let bad = |id: &str| change(id, "CREATE", &task("Bad"), &json!("bad"));
    sync(&office, "bob", &[good("b"), bad("inspection")]).await;
    for from in [0, 900] {
        let mut nonsense = vec![good("a")];
        nonsense.extend((from..from + 900).map(|n: i32| bad(&n.to_string())));
        sync(&office, "ann", &nonsense).await;
    }
    let (parts, _) = all(&office).await;
    let of_bob = parts.iter().find(|part| part["userId"] == "bob");
    assert_eq!(of_bob.map(|part| &part["content"]), Some(&bad("inspection")));
    assert_eq!(parts.len(), 1_001);
    assert_eq!(office.get("/rejected?limit=1").await["dropped"], 800);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_long_parts_is_read_in_pages_that_can_be_held() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let long = |n: usize| change(&n.to_string(), "CREATE", &task(&"x".repeat(60_000)), &json!(n));
    let mut queue = vec![change("a", "CREATE", &task("Good"), &json!(now()))];
    queue.extend((0..40).map(long));
    sync(&office, "ann", &queue).await;
    let (parts, sizes) = all(&office).await;
    let ids: Vec<&str> =
        parts.iter().map(|part| part["content"]["entityId"].as_str().unwrap()).collect();
    assert_eq!(ids, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(sizes.iter().all(|size| *size < 1_200_000), "{sizes:?}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_list_is_told_so_instead_of_being_the_end_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let time = json!(now());
    let bad = change("b", "CREATE", &task("Bad"), &json!("bad"));
    sync(&office, "ann", &[change("a", "CREATE", &task("Good"), &time), bad]).await;
    let admin = office.caller(Role::Admin);
    for cursor in ["ab", "a", "AB", "656e7472"] {
        let target = format!("/rejected?cursor={cursor}");
        let (status, body) = office.ask_as(&admin, Method::Get, &target, &Json::Null).await;
        assert_eq!(status, 400, "{cursor}: {body}");
    }
    let (_, body) = office.ask_as(&admin, Method::Get, "/rejected?cursor=ab", &Json::Null).await;
    assert_eq!(body["errors"][0]["message"], "cursor is none of this endpoint");
    office.close().await;
}

/// What is listed after `body` was sent to `target` twice, of the answer to the first time.
async fn listed_after(office: &Office, target: &str, body: &Json) -> Vec<Json> {
    for _ in 0..2 {
        let answer = office.ask_as(&office.worker("ann"), Method::Post, target, body).await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    all(office).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_in_no_form_that_a_push_brought_is_found_by_its_practice() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let pet = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "name": "Rex", "species": "dog", "ownerId": 7 } });
    let bad = json!({ "operation": "create", "entityType": "appointments", "tempId": "x",
        "data": { "petId": "p", "date": "some day" } });
    let foreign = json!({ "operation": "create", "entityType": "pets", "tempId": "y",
        "userId": "bob", "data": { "name": "Tom" } });
    let body = json!({ "clientTimestamp": 1, "operations": [pet, bad, foreign] });
    let listed = listed_after(&office, "/api/sync/push", &body).await;
    let told = |part: &Json| json!([part["contract"], part["userId"], part["content"]]);
    let told: Vec<Json> = listed.iter().map(told).collect();
    assert_eq!(told, [json!(["vet", "ann", bad]), json!(["vet", "ann", foreign])]);
    let reasons: Vec<&Json> = listed.iter().map(|part| &part["reason"]).collect();
    assert_eq!(
        reasons,
        ["data.date: date must be a date", "userId: userId does not match the token"]
    );
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_no_form_that_a_batch_brought_is_found_by_its_crew() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let bad =
        json!({ "id": "e1", "type": "ODOR_NOTED", "timestamp": "bad", "payload": { "x": 1 } });
    let body = json!({ "tenantId": "acme", "events": [bad],
        "deviceInfo": { "deviceId": "T1" } });
    let listed = listed_after(&office, "/field-data/sync", &body).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        json!([listed[0]["contract"], listed[0]["deviceId"], listed[0]["content"]]),
        json!(["batch", "T1", bad]),
    );
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_in_no_form_that_a_health_worker_sent_is_found_by_the_clinic() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let operation = |id: &str, user: &str, at: Json| {
        json!({ "id": id, "userId": user, "deviceId": "D", "operation": "CREATE",
            "resourceType": "patient", "resourceId": id, "data": { "name": "A" },
            "createdAtClient": at })
    };
    let (bad, foreign) = (operation("a", "ann", json!("bad")), operation("b", "bob", json!(now())));
    let body = json!({ "operations": [bad, foreign, operation("c", "ann", json!(now()))] });
    let listed = listed_after(&office, "/api/v1/sync/batch", &body).await;
    let told = |part: &Json| json!([part["contract"], part["deviceId"], part["content"]]);
    let told: Vec<Json> = listed.iter().map(told).collect();
    assert_eq!(told, [json!(["health", "D", bad]), json!(["health", "D", foreign])]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_too_large_is_found_with_its_name_and_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let long = "x".repeat(600_000);
    let large = change("essay", "CREATE", &task(&long), &json!(now()));
    for _ in 0..2 {
        sync(&office, "ann", std::slice::from_ref(&large)).await;
    }
    let operation = json!({ "userId": "ann", "deviceId": "D", "operation": "CREATE",
        "resourceType": "patient", "resourceId": "dossier", "data": { "name": long },
        "createdAtClient": now() });
    let body = json!({ "operations": [operation] });
    let listed = listed_after(&office, "/api/v1/sync/batch", &body).await;
    let told = |part: &Json| json!([part["contract"], part["deviceId"], part["reason"]]);
    let why = "this operation is larger than a record may be (256 KiB)";
    let told: Vec<Json> = listed.iter().map(told).collect();
    assert_eq!(told, [json!(["asset", "phone of ann", why]), json!(["health", "D", why])]);
    for (part, name) in listed.iter().zip(["essay", "dossier"]) {
        let content = part["content"].as_str().unwrap();
        assert!(content.contains(name) && content.len() <= 64 << 10, "{name}");
    }
    office.close().await;
}
