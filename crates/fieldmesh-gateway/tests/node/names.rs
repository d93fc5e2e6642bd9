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

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_uses_numbers_never_sees_its_records_under_other_ids() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let ids = async |caller: &Caller| {
        let target = "/api/sync/pull?entityTypes=pets";
        let (_, pulled) = office.ask_as(caller, Method::Get, target, &Json::Null).await;
        let changes = pulled["changes"].as_array().unwrap().iter();
        changes.map(|change| change["id"].clone()).collect::<Vec<_>>()
    };
    // The id of a person is a UUID, as the login gave it.
    let owner = "7f3c8a90-5b1d-4e27-9c66-0d2f4a81b3e5";
    let owned = |temporary: &str| {
        create("pets", temporary, &json!({ "ownerId": owner, "name": temporary }))
    };
    for device in [None, Some("A".to_owned())] {
        let ann = Caller { device, ..office.worker("ann") };
        let first = push(&office, &ann, vec![pet("p1", "Rex")]).await["results"][0].clone();
        assert!(first["realId"].is_number(), "{first}");
        let before = ids(&ann).await;
        let next = push(&office, &ann, vec![owned("p2")]).await["results"][0].clone();
        assert!(next["realId"].is_number(), "{next}");
        // Nor does one id that is none of its own bring it back to texts.
        let visit = json!({ "petId": owner, "title": "Checkup" });
        push(&office, &ann, vec![create("appointments", "v", &visit)]).await;
        let after = ids(&ann).await;
        assert!(before.iter().all(|id| id.is_number() && after.contains(id)), "{after:?}");
    }
    // Another app of hers has shown that it uses texts.
    let other = Caller { device: Some("B".to_owned()), ..office.worker("ann") };
    let uuid = "0b7e2d14-93c5-4f6a-8d21-5e9c7a3f6b08";
    push(&office, &other, vec![create("pets", "p3", &json!({ "id": uuid, "name": "Tom" }))]).await;
    let seen = ids(&other).await;
    assert!(!seen.is_empty() && seen.iter().all(Json::is_string), "{seen:?}");
    office.close().await;
}
