//! What one person keeps from others.

use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::Office;
use crate::entity::{PUMP, define};

const PUSH: &str = "/api/sync/push";

fn pet(operation: &str, name: &str) -> Json {
    let data = json!({ "ownerId": 7, "name": name, "practiceId": 1 });
    json!({ "clientTimestamp": 1, "operations": [
        { "operation": operation, "entityType": "pets", "tempId": "p", "data": data },
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pet_of_another_practice_is_changed_by_nobody_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ours = Caller { role: Role::Practitioner, ..office.worker("ann") };
    let made = office.ask_as(&ours, Method::Post, PUSH, &pet("create", "Rex")).await.1;
    let id = made["results"][0]["realId"].clone();
    let theirs = Caller { practices: [2].into(), ..ours.clone() };
    let theirs = Caller { user: "bob".to_owned(), ..theirs };
    for operation in ["update", "delete"] {
        let body = json!({ "clientTimestamp": 2, "operations": [{
            "operation": operation, "entityType": "pets", "entityId": id, "version": 1,
            "data": { "name": "Tom" },
        }]});
        let answer = office.ask_as(&theirs, Method::Post, PUSH, &body).await.1;
        assert_eq!(answer["failed"], 1, "{answer}");
    }
    let again = office.ask_as(&ours, Method::Post, PUSH, &pet("create", "Rex")).await.1;
    assert_eq!(again["processed"], 1, "{again}");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_practice_reads_his_own_pets_only() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let staff = Caller { role: Role::Practitioner, ..office.worker("ann") };
    office.ask_as(&staff, Method::Post, PUSH, &pet("create", "Rex")).await;
    let mut seen = Vec::new();
    for user in ["7", "8", "7"] {
        let client = Caller { role: Role::Client, ..office.worker(user) };
        let target = "/api/sync/pull?since=0&entityTypes=pets";
        let (status, body) = office.ask_as(&client, Method::Get, target, &Json::Null).await;
        assert_eq!(status, 200, "{body}");
        seen.push(body.to_string().contains("Rex"));
    }
    assert_eq!(seen, [true, false, true]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_what_another_practice_has_is_not_shown_what_that_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let more = "\n[[field]]\nkey = \"practiceId\"\nkind = \"integer\"\n\
        [[field]]\nkey = \"secret\"\nkind = \"text\"\nmax = 200\n\
        [[unique]]\nfields = [\"tag\", \"pressure\"]\nmessage = \"tag is taken\"\n";
    define(&office, &format!("{PUMP}{more}")).await;
    let mut told = Vec::new();
    for (user, practice) in [("ann", 2), ("bob", 1)] {
        let caller = Caller { practices: [practice].into(), ..office.worker(user) };
        let data = json!({ "tag": "P1", "pressure": 7, "practiceId": practice,
            "secret": format!("of {user}") });
        let body = json!({ "clientTimestamp": 1, "operations": [{ "operation": "create",
            "entityType": "pump_check", "tempId": user, "practiceId": practice, "data": data }] });
        let answer = office.ask_as(&caller, Method::Post, PUSH, &body).await.1;
        told.push(answer["results"][0].clone());
        let target = "/api/sync/conflicts";
        let listed = office.ask_as(&caller, Method::Get, target, &Json::Null).await.1;
        let count = listed["conflicts"].as_array().unwrap().len();
        assert_eq!((count, listed.to_string().contains("of ann")), (told.len() - 1, false));
    }
    assert_eq!(told[0]["success"], true, "{}", told[0]);
    let conflict = &told[1]["conflictData"];
    assert_eq!(conflict["localData"]["secret"], "of bob", "{}", told[1]);
    assert!(!told[1].to_string().contains("of ann"), "{}", told[1]);
    office.close().await;
}
