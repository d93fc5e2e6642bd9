//! Conflicts in the tenant's own collections, which apps of several contracts share: each is listed
//! over the contract over which it came, where that has a list.

use fieldmesh_dialect::{Caller, Method};
use fieldmesh_model::Role;
use serde_json::{Value as Json, json};

use crate::entity::{PUMP, define};
use crate::{Office, now};

fn leader(office: &Office, role: Role) -> Caller {
    Caller { user: "lea".to_owned(), ..office.caller(role) }
}

/// The conflicts that somebody is given who took part in none.
async fn listed(office: &Office, target: &str) -> Vec<Json> {
    let (status, body) =
        office.ask_as(&leader(office, Role::Admin), Method::Get, target, &Json::Null).await;
    assert_eq!(status, 200, "{body}");
    body["conflicts"].as_array().unwrap().clone()
}

async fn lists(office: &Office) -> [usize; 3] {
    [
        listed(office, "/api/sync/conflicts").await.len(),
        listed(office, "/api/sync/conflicts?entityType=pump_check").await.len(),
        listed(office, "/api/v1/sync/conflicts").await.len(),
    ]
}

async fn made_over_asset(office: &Office, user: &str, operation: &str, tag: &str) -> Json {
    let change = json!({ "entityType": "pump_check", "entityId": "a", "operation": operation,
        "payload": { "tag": tag }, "clientVersion": 1, "timestamp": now() });
    let body = json!({ "deviceId": user, "changes": [change] });
    office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await.1["results"][0]
        ["status"]
        .clone()
}

async fn made_over_health(office: &Office, user: &str, operation: &str, tag: &str) -> Json {
    let mut sent = json!({ "userId": user, "deviceId": user, "operation": operation,
        "resourceType": "pump_check", "data": { "id": "h", "tag": tag }, "version": 1,
        "createdAtClient": now() });
    if operation != "CREATE" {
        sent["resourceId"] = "h".into();
    }
    let body = json!({ "operations": [sent] });
    let caller = Caller { role: Role::HealthWorker, ..office.worker(user) };
    let answer = office.ask_as(&caller, Method::Post, "/api/v1/sync/batch", &body).await.1;
    answer["results"][0]["status"].clone()
}

async fn made_over_vet(office: &Office, user: &str, kind: &str, id: &Json, tag: &str) -> Json {
    let operation = json!({ "operation": kind, "entityType": "pump_check", "entityId": id,
        "version": 1, "data": { "tag": tag } });
    let body = json!({ "clientTimestamp": now().as_millis(), "operations": [operation] });
    let caller = Caller { device: Some(user.to_owned()), ..office.worker(user) };
    office.ask_as(&caller, Method::Post, "/api/sync/push", &body).await.1["results"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_a_collection_of_the_tenant_is_listed_over_the_contract_it_came_over() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    define(&office, PUMP).await;
    for (user, operation, tag, status) in [
        ("ann", "CREATE", "P1", "SYNCED"),
        ("ann", "UPDATE", "P2", "SYNCED"),
        ("bob", "UPDATE", "P3", "CONFLICT"),
    ] {
        assert_eq!(made_over_health(&office, user, operation, tag).await, status, "{operation}");
    }
    assert_eq!(lists(&office).await, [0, 0, 1]);
    for (user, operation, tag, status) in [
        ("ann", "CREATE", "P1", "COMPLETED"),
        ("ann", "UPDATE", "P2", "COMPLETED"),
        ("bob", "UPDATE", "P3", "CONFLICT"),
    ] {
        assert_eq!(made_over_asset(&office, user, operation, tag).await, status, "{operation}");
    }
    assert_eq!(lists(&office).await, [1, 1, 1]);
    // Apps of this contract have no list, so all others show it.
    let made = made_over_vet(&office, "ann", "create", &json!("t1"), "P1").await;
    let id = made["realId"].clone();
    let told = made_over_vet(&office, "ann", "update", &id, "P2").await;
    assert_eq!(told["success"], true, "{told}");
    let told = made_over_vet(&office, "bob", "update", &id, "P3").await;
    assert_eq!(told["conflict"], true, "{told}");
    assert_eq!(lists(&office).await, [2, 2, 2]);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clinics_conflict_is_shown_to_those_whom_the_clinics_list_is_not_for() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    define(&office, PUMP).await;
    for (user, operation, tag) in
        [("ann", "CREATE", "P1"), ("ann", "UPDATE", "P2"), ("bob", "UPDATE", "P3")]
    {
        made_over_health(&office, user, operation, tag).await;
    }
    let manager = leader(&office, Role::Manager);
    for caller in [&manager, &office.worker("bob")] {
        let asked = office.ask_as(caller, Method::Get, "/api/sync/conflicts", &Json::Null).await;
        assert_eq!(asked.1["conflicts"].as_array().unwrap().len(), 1, "{asked:?}");
        // It is as much a clinic's as there.
        let id = &asked.1["conflicts"][0]["id"];
        let body = json!({ "conflictId": id, "resolution": "CLIENT_WINS" });
        let told = office.ask_as(caller, Method::Post, "/api/sync/conflicts/resolve", &body).await;
        assert_eq!(told.0, 403, "{told:?}");
    }
    assert_eq!(lists(&office).await, [0, 0, 1]);
    office.close().await;
}
