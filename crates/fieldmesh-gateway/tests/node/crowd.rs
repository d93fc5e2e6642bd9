//! More people than can stand beside each other in a record edit one version of it: each of them is
//! told of a conflict, and nothing of theirs is lost.

use fieldmesh::api::{Edits, ListQuery};
use fieldmesh_dialect::Method;
use serde_json::{Value as Json, json};

use crate::Office;

/// Those who edit what they read first.
const PEOPLE: usize = 70;

async fn send(office: &Office, user: &str, operation: &str, payload: &Json) -> Json {
    // The same each time, as an app sends it whose answer was lost.
    let at = fieldmesh_model::Moment::from_millis(1_761_300_000_000);
    let change = json!({ "entityType": "widget", "entityId": "w", "operation": operation,
        "payload": payload, "clientVersion": 1, "timestamp": at });
    let body = json!({ "deviceId": user, "changes": [change] });
    office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await.1
}

async fn listed(office: &Office) -> Vec<Json> {
    office.get("/api/sync/conflicts").await["conflicts"].as_array().unwrap().clone()
}

async fn record(office: &Office) -> fieldmesh::api::Record {
    let query = ListQuery { collection: "free_record".into(), ..ListQuery::default() };
    office.node.list(query).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_of_a_crowd_wrote_is_listed_until_somebody_decides() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    send(&office, "ann", "CREATE", &json!({ "name": "Gate" })).await;
    send(&office, "ann", "UPDATE", &json!({ "name": "Door" })).await;
    let payload = |person: usize| {
        let mut payload = json!({ "name": format!("Name {person}") });
        payload[format!("note{person}")] = person.into();
        payload
    };
    for person in 0..PEOPLE {
        let told = send(&office, &format!("p{person}"), "UPDATE", &payload(person)).await;
        assert_eq!(told["results"][0]["status"], "CONFLICT", "{person}: {told}");
    }
    let names = |open: &[Json]| {
        let mut names: Vec<String> =
            open.iter().map(|it| it["clientData"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    let mut wanted: Vec<String> = (0..PEOPLE).map(|person| format!("Name {person}")).collect();
    wanted.sort_unstable();
    assert_eq!(names(&listed(&office).await), wanted);
    // What nobody else wrote is there, of the last of them too, and what was shown still is.
    let fields = record(&office).await.fields;
    assert_eq!(fields["payload"]["name"], "Door", "{fields:?}");
    assert_eq!(fields["payload"]["note69"], 69, "{fields:?}");
    // The answer was lost: the same once more.
    let again = send(&office, "p69", "UPDATE", &payload(69)).await;
    assert_eq!(again["results"][0]["status"], "CONFLICT", "{again}");
    assert_eq!(listed(&office).await.len(), PEOPLE);
    // Somebody at a device writes on; he has seen nothing of those whose values stand in no record.
    let id = record(&office).await.id.to_string();
    let assignments = vec!["payload.name=Lid".to_owned()];
    office.node.edit(&id, Edits { assignments, ..Edits::default() }).await.unwrap();
    let open = listed(&office).await;
    let last = open.iter().find(|it| it["clientData"]["name"] == "Name 69").unwrap();
    assert_eq!(last["serverData"]["name"], "Lid", "{last}");
    let body = json!({ "conflictId": last["id"], "resolution": "CLIENT_WINS" });
    let settled = office.post("/api/sync/conflicts/resolve", &body).await;
    assert_eq!(settled["entity"]["payload"]["name"], "Name 69", "{settled}");
    let again = send(&office, "p69", "UPDATE", &payload(69)).await;
    assert_eq!(again["results"][0]["status"], "COMPLETED", "{again}");
    // Another field can be edited all the same by who read the first version.
    let other = send(&office, "late", "UPDATE", &json!({ "size": 4 })).await;
    assert_eq!(other["results"][0]["status"], "COMPLETED", "{other}");
    assert_eq!(record(&office).await.fields["payload"]["size"], 4);
    office.close().await;
}
