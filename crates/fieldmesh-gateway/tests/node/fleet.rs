//! What a gateway tells of the devices of apps: also of those that only put operations aside.

use fieldmesh_dialect::Method;
use serde_json::json;

use crate::Office;

/// Puts an operation into the journal, made in this minute of a day; gives its id.
async fn queue(office: &Office, user: &str, device: &str, minute: u32) -> String {
    let operation = json!({
        "userId": user, "deviceId": device, "operation": "CREATE", "resourceType": "encounter",
        "data": { "patientId": "p1", "diagnosis": format!("number {minute}") },
        "createdAtClient": format!("2026-03-01T08:{minute:02}:00Z"),
    });
    let caller = office.worker(user);
    let (status, answer) =
        office.ask_as(&caller, Method::Post, "/api/v1/sync/queue", &operation).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    answer["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_by_device_and_in_all_also_by_who_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let office = Office::create(&home).await;
    assert_eq!(office.gateway.waiting().await.unwrap().operations, 0);
    queue(&office, "ann", "T1", 7).await;
    let first = queue(&office, "ann", "T1", 3).await;
    queue(&office, "ben", "T2", 5).await;
    office.close().await;

    let office = Office::open(&home).await;
    let waiting = office.gateway.waiting().await.unwrap();
    // Of one user it is the first that came.
    assert_eq!(waiting.operations, 3);
    assert_eq!(waiting.oldest.unwrap().to_string(), "2026-03-01T08:05:00.000Z");
    let devices = office.gateway.app_devices().await.unwrap();
    let told = devices.iter().map(|it| (it.user.as_str(), it.device.as_str(), it.waiting));
    assert_eq!(told.collect::<Vec<_>>(), [("ann", "T1", 2), ("ben", "T2", 1)]);
    assert_eq!(devices[0].oldest.unwrap().to_string(), "2026-03-01T08:03:00.000Z");

    let path = format!("/api/v1/sync/process/{first}");
    office.ask(Method::Post, &path, &serde_json::Value::Null).await;
    let devices = office.gateway.app_devices().await.unwrap();
    assert_eq!(devices[0].waiting, 1);
    assert_eq!(office.gateway.waiting().await.unwrap().operations, 2);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_listed_as_its_app_describes_it_until_it_is_unregistered() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::create(&folder.path().join("home")).await;
    let batch = json!({
        "tenantId": "acme", "events": [],
        "deviceInfo": { "deviceId": "T1", "platform": "android", "appVersion": "2.1" },
    });
    office.ask(Method::Post, "/field-data/sync", &batch).await;
    let devices = office.gateway.app_devices().await.unwrap();
    let [device] = devices.as_slice() else { panic!("{devices:?}") };
    let told = (device.platform.as_deref(), device.app_version.as_deref(), device.active);
    assert_eq!(told, (Some("android"), Some("2.1"), true));
    assert!(device.synced_at.is_some());
    office.ask(Method::Delete, "/api/sync/devices/T1", &serde_json::Value::Null).await;
    assert!(!office.gateway.app_devices().await.unwrap()[0].active);
    let unregistered = office.gateway.waiting().await.unwrap().unregistered;
    assert!(unregistered.contains("T1"), "{unregistered:?}");
    office.close().await;
}
