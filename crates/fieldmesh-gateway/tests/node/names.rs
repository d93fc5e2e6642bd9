//! Names that a device gives for the time being.

use fieldmesh::api::ListQuery;
use fieldmesh_dialect::{Caller, Method};
use serde_json::{Value as Json, json};

use crate::Office;

fn create(kind: &str, temporary: &str, data: &Json) -> Json {
    json!({ "operation": "create", "entityType": kind, "tempId": temporary, "data": data })
}

fn pet(temporary: &str, name: &str) -> Json {
    create("pets", temporary, &json!({ "ownerId": 7, "name": name }))
}

async fn push(office: &Office, caller: &Caller, operations: Vec<Json>) -> Json {
    let body = json!({ "clientTimestamp": 1, "operations": operations });
    let (status, body) = office.ask_as(caller, Method::Post, "/api/sync/push", &body).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn names(office: &Office) -> Vec<Json> {
    let query = ListQuery { collection: "pet".into(), ..ListQuery::default() };
    let listed = office.node.list(query).await.unwrap();
    let mut names: Vec<Json> = listed.iter().map(|pet| pet.fields["name"].clone()).collect();
    names.sort_by_key(Json::to_string);
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pet_of_the_second_tablet_is_not_taken_for_one_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    for (device, name) in [("A", "Rex"), ("B", "Tom")] {
        let caller = Caller { device: Some(device.to_owned()), ..office.worker("ann") };
        push(&office, &caller, vec![pet("1", name)]).await;
        push(&office, &caller, vec![pet("1", name)]).await;
    }
    assert_eq!(names(&office).await, ["Rex", "Tom"]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pet_under_a_name_that_was_used_is_not_dropped_silently() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let caller = office.worker("ann");
    push(&office, &caller, vec![pet("1", "Rex")]).await;
    let answer = push(&office, &caller, vec![pet("1", "Tom")]).await;
    assert_eq!(answer["conflicts"], 1, "{answer}");
    assert_eq!(names(&office).await, ["Rex"]);
    office.close().await;
}
