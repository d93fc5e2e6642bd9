//! Who changed a record last, and whether it arrived as it was sent.

use fieldmesh::api::{Edits, ListQuery};
use fieldmesh_dialect::Method;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::Office;

async fn sync(office: &Office, user: &str, changes: &Json) -> Json {
    let body = json!({ "deviceId": user, "changes": changes });
    let (status, answer) =
        office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn task(operation: &str, payload: &Json, at: &str) -> Json {
    json!([{ "entityType": "task", "entityId": "t1", "operation": operation, "payload": payload,
        "clientVersion": 1, "timestamp": at }])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_told_who_changed_a_record_last_and_whether_all_of_it_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let made = json!({ "title": "Oil", "status": "OPEN", "n": 1, "waits": ["x"] });
    let (first, second) = ("2025-10-25T08:00:00.000Z", "2025-10-25T09:00:00.000Z");
    sync(&office, "ann", &task("CREATE", &made, first)).await;
    let read = async |office: &Office| sync(office, "cam", &json!([])).await["changes"][0].clone();
    let change = read(&office).await;
    assert_eq!(
        (&change["lastModifiedBy"], &change["lastModifiedAt"]),
        (&json!("ann"), &json!(first))
    );
    let edit = json!({ "title": "Grease" });
    sync(&office, "bob", &task("UPDATE", &edit, second)).await;
    let change = read(&office).await;
    let told = (&change["lastModifiedBy"], &change["lastModifiedAt"]);
    assert_eq!(told, (&json!("bob"), &json!(second)));
    // Its members are sorted, and it has neither fractions nor odd letters.
    let canonical = r#"{"n":1,"status":"OPEN","title":"Grease","waits":["x"]}"#;
    let sum = data_encoding::HEXLOWER.encode(&Sha256::digest(canonical));
    assert_eq!(change["checksum"], json!(sum), "{change}");
    // On a device it was whose device it is.
    let query = ListQuery { collection: "task".into(), ..ListQuery::default() };
    let id = office.node.list(query).await.unwrap()[0].id.to_string();
    let edits = Edits { assignments: vec!["title=Paint".into()], ..Edits::default() };
    office.node.edit(&id, edits).await.unwrap();
    let owner = fieldmesh::gateway::Access::new(&office.node).owner().unwrap().user.to_string();
    let change = read(&office).await;
    assert_eq!(
        (&change["payload"]["title"], &change["lastModifiedBy"]),
        (&json!("Paint"), &json!(owner))
    );
    assert_ne!(change["checksum"], json!(sum));
    office.close().await;
}
