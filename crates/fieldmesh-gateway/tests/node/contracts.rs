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
    sent_over_asset(office, user, "a", operation, tag).await
}

async fn sent_over_asset(
    office: &Office,
    user: &str,
    id: &str,
    operation: &str,
    tag: &str,
) -> Json {
    let change = json!({ "entityType": "pump_check", "entityId": id, "operation": operation,
        "payload": { "tag": tag }, "clientVersion": 1, "timestamp": now() });
    let body = json!({ "deviceId": user, "changes": [change] });
    office.ask_as(&office.worker(user), Method::Post, "/api/sync", &body).await.1["results"][0]
        ["status"]
        .clone()
}

async fn made_over_health(office: &Office, user: &str, operation: &str, tag: &str) -> Json {
    let mut sent = json!({ "userId": user, "deviceId": user, "operation": operation,
        "resourceType": "pump_check", "data": { "tag": tag }, "version": 1,
        "createdAtClient": now() });
    match operation {
        "CREATE" => sent["data"]["id"] = "h".into(),
        _ => sent["resourceId"] = "h".into(),
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

/// Whether somebody who is no admin lets the client of the only conflict over the asset contract win.
async fn lets_client_win(office: &Office) -> u16 {
    let id = &listed(office, "/api/sync/conflicts").await[0]["id"];
    let body = json!({ "conflictId": id, "resolution": "CLIENT_WINS" });
    let manager = leader(office, Role::Manager);
    office.ask_as(&manager, Method::Post, "/api/sync/conflicts/resolve", &body).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_comes_over_two_contracts_is_listed_over_both_and_stays_a_clinics() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    define(&office, PUMP).await;
    for (user, operation, tag) in
        [("ann", "CREATE", "P1"), ("ann", "UPDATE", "P2"), ("bob", "UPDATE", "P3")]
    {
        made_over_health(&office, user, operation, tag).await;
    }
    assert_eq!(lists(&office).await, [0, 0, 1]);
    // He sends the same with another app of his.
    for _ in 0..2 {
        let told = sent_over_asset(&office, "bob", "h", "UPDATE", "P3").await;
        assert_eq!(told, "CONFLICT");
        assert_eq!(lists(&office).await, [1, 1, 1]);
    }
    assert_eq!(lets_client_win(&office).await, 403);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_becomes_a_clinics_as_soon_as_it_comes_over_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("office")).await;
    define(&office, PUMP).await;
    for (user, operation, tag) in
        [("ann", "CREATE", "P1"), ("ann", "UPDATE", "P2"), ("bob", "UPDATE", "P3")]
    {
        sent_over_asset(&office, user, "h", operation, tag).await;
    }
    assert_eq!(lists(&office).await, [1, 1, 0]);
    assert_eq!(made_over_health(&office, "bob", "UPDATE", "P3").await, "CONFLICT");
    assert_eq!(lists(&office).await, [1, 1, 1]);
    assert_eq!(lets_client_win(&office).await, 403);
    office.close().await;
}
