//! What apps sent and could not be stored, as the operator finds it.

use serde_json::{Value as Json, json};

use crate::process::{Relay, command};
use crate::users::http;

const REJECTED: [&str; 3] = ["rejected", "--tenant", "permian-west"];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_what_could_not_be_stored_with_and_without_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(
        command(&data, &["tenant", "create", "Permian West", "--gateway"]).await.code,
        Some(0)
    );
    crate::fleet::add_person(&data, "ana@example.org", "admin").await;
    let relay = Relay::start(&data).await;
    let (ana, id) = crate::fleet::log_in(&relay, "ana@example.org", "T1").await;
    let change = |name: &str, at: &str| {
        json!({ "entityType": "widget", "entityId": name, "operation": "CREATE",
            "payload": { "size": 3 }, "clientVersion": 1, "timestamp": at })
    };
    let bad = change("b", "bad");
    let body = json!({ "deviceId": "T1", "changes": [change("a", "2026-03-01T08:00:00Z"), bad] });
    let headers = format!("{ana}content-type: application/json\r\n");
    let (status, answer) = http(&relay, "POST /api/sync", &headers, &body.to_string()).await;
    assert_eq!((status, &answer["results"][0]["status"]), (200, &json!("COMPLETED")), "{answer}");
    let (_, page) = http(&relay, "GET /rejected", &ana, "").await;
    assert_eq!((&page["rejected"][0]["content"], &page["rejected"][0]["userId"]), (&bad, &id));
    let told = relay.ask(&REJECTED).await;
    relay.stop().await;
    let closed = command(&data, &[&["--json"], &REJECTED[..]].concat()).await.json();
    assert_eq!(told, closed);
    let text: Json =
        serde_json::from_str(told[0]["what"]["part"]["text"].as_str().unwrap()).unwrap();
    assert_eq!((told.len(), &text, &told[0]["device"]), (1, &bad, &json!("T1")));
    let shown = command(&data, &REJECTED).await;
    assert!(shown.stdout.contains("part of a request"), "{}", shown.stdout);
}
