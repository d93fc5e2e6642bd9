//! What a relay knows of the devices of a tenant: by command, over HTTP and as figures.

use serde_json::{Value as Json, json};

use crate::crew;
use crate::process::{Relay, command, command_with_input};
use crate::users::http;

const PASSWORD: &str = "tumbleweed 7";
const FLEET: [&str; 3] = ["fleet", "--tenant", "permian-west"];

pub(crate) async fn add_person(data: &std::path::Path, email: &str, role: &str) {
    let words = ["user", "add", "--tenant", "permian-west", email, "--role", role];
    let words = [&words[..], &["--password-stdin"]].concat();
    let added = command_with_input(data, &words, &format!("{PASSWORD}\n")).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
}

/// The header with the token of a person, whose app calls its device `device`, and his id.
pub(crate) async fn log_in(relay: &Relay, email: &str, device: &str) -> (String, Json) {
    let body = json!({ "email": email, "password": PASSWORD }).to_string();
    let headers = format!("content-type: application/json\r\nx-device-id: {device}\r\n");
    let (status, session) = http(relay, "POST /auth/login", &headers, &body).await;
    assert_eq!(status, 200, "{session}");
    let token = session["accessToken"].as_str().unwrap();
    (format!("authorization: Bearer {token}\r\n"), session["user"]["id"].clone())
}

fn named<'a>(devices: &'a [Json], name: &str) -> &'a Json {
    let is_named = |device: &&Json| device["name"] == name || device["device"] == name;
    devices.iter().find(is_named).unwrap_or_else(|| panic!("{name} is not in {devices:?}"))
}

/// Puts an operation into the journal that nobody processes.
async fn queue(relay: &Relay, token: &str, user: &Json, device: &str) {
    let body = json!({
        "id": format!("one of {device}"), "userId": user, "deviceId": device,
        "operation": "CREATE", "resourceType": "encounter",
        "data": { "patientId": "p1", "diagnosis": "Common cold" },
        "createdAtClient": "2026-03-01T08:00:00Z",
    });
    let headers = format!("{token}content-type: application/json\r\n");
    let (status, answer) =
        http(relay, "POST /api/v1/sync/queue", &headers, &body.to_string()).await;
    assert!((200..300).contains(&status), "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_devices_is_listed_and_outlives_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = ["--json", "tenant", "create", "Permian West", "--gateway"];
    let short = command(&data, &made).await.json()[0]["short"].as_str().unwrap().to_owned();
    add_person(&data, "ana@example.org", "manager").await;
    add_person(&data, "ben@example.org", "operator").await;
    let relay = Relay::start(&data).await;
    let invitation = relay.invite("permian-west", "admin").await;
    let truck = crew::join(folder.path(), "truck 7", &invitation).await;
    let spare = relay.invite("permian-west", "operator").await;
    let spare = crew::join(folder.path(), "spare", &spare).await;
    crew::record_well(&truck, "Alder 1").await;
    crew::sync(&truck, &relay.address()).await;
    let (ben, ben_id) = log_in(&relay, "ben@example.org", "T1").await;
    queue(&relay, &ben, &ben_id, "T1").await;

    let devices = relay.ask(&FLEET).await;
    let known = named(&devices, "truck 7");
    assert!(known["lastInStep"].is_string() && known["lastContact"].is_string(), "{known}");
    assert!(known["attempts"].as_u64() > Some(0) && known["failures"] == 0, "{known}");
    assert!(known["bytesIn"].as_u64() > Some(0) && known["delaySeconds"].is_u64(), "{known}");
    assert_eq!((&known["conflicts"], &known["version"]), (&json!(0), &Json::Null));
    // It was never heard since it joined: nothing is made up of it.
    let unheard = named(&devices, "spare");
    assert_eq!((&unheard["lastInStep"], &unheard["bytesIn"]), (&Json::Null, &Json::Null));
    assert_eq!((&unheard["unsent"], &unheard["attempts"]), (&Json::Null, &json!(0)));
    let app = named(&devices, "T1");
    assert_eq!((&app["kind"], &app["unsent"]), (&json!("app"), &json!(1)));
    assert_eq!(app["user"], "ben@example.org");
    assert_eq!(app["oldestUnsent"], "2026-03-01T08:00:00.000Z");
    assert!(app["bytesIn"].as_u64() > Some(100) && app["bytesOut"].is_u64(), "{app}");
    let waiting = relay.ask(&[&FLEET[..], &["--backlog"]].concat()).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert!(relay.ask(&[&FLEET[..], &["--silent", "1h"]].concat()).await.is_empty());
    assert_eq!(relay.measure("devices", &format!("{short}\",kind=\"device")).await, 1);

    // A manager sees the same, page by page; an operator nothing.
    let (ana, _) = log_in(&relay, "ana@example.org", "T2").await;
    let (status, page) = http(&relay, "GET /fleet?limit=1", &ana, "").await;
    assert_eq!((status, &page["hasMore"]), (200, &json!(true)), "{page}");
    let cursor = page["nextCursor"].as_str().unwrap();
    let (_, rest) = http(&relay, &format!("GET /fleet?cursor={cursor}"), &ana, "").await;
    let both = [page["devices"].as_array().unwrap(), rest["devices"].as_array().unwrap()];
    let ids = |devices: &[Json]| -> Vec<Json> {
        devices.iter().map(|device| device["device"].clone()).collect()
    };
    assert_eq!(ids(&both.map(Vec::as_slice).concat()), ids(&devices), "{rest}");
    assert_eq!(http(&relay, "GET /fleet", &ben, "").await.0, 403);
    let (status, told) = http(&relay, "GET /sync/analytics", &ana, "").await;
    assert_eq!((status, &told["devices"][0]["deviceId"]), (200, &json!("T1")), "{told}");
    let told = &told["devices"][0];
    assert_eq!((&told["attempts"], &told["successRate"]), (&json!(1), &json!(1.0)), "{told}");
    assert_eq!(told["bytesIn"], app["bytesIn"]);
    assert!(told["latencyMs"]["p50"].as_f64() >= Some(1.0), "{told}");

    truck.shutdown().await.unwrap();
    spare.shutdown().await.unwrap();
    let before = relay.ask(&FLEET).await;
    relay.stop().await;
    let relay = Relay::start(&data).await;
    // Also before anybody has asked for the tenant, and as it is shown without a relay.
    assert_eq!(relay.measure("devices", &format!("{short}\",kind=\"device")).await, 1);
    assert_eq!(relay.measure("backlog_operations", &short).await, 1);
    assert!(relay.measure("backlog_oldest_seconds", &short).await > 86_400);
    assert!(relay.measure("sync_delay_seconds_count", &short).await > 0);
    let after = relay.ask(&FLEET).await;
    for member in ["lastContact", "lastInStep", "attempts", "bytesIn", "bytesOut", "delaySeconds"] {
        let of = |devices: &[Json]| named(devices, "truck 7")[member].clone();
        assert_eq!(of(&before), of(&after), "{member}");
    }
    relay.stop().await;
    let closed = [&["--json"], &FLEET[..]].concat();
    assert_eq!(ids(&command(&data, &closed).await.json()), ids(&after));
    let shown = command(&data, &FLEET).await;
    assert!(shown.stdout.contains("last in step"), "{}", shown.stdout);
}

/// What the app of an asset register is answered to one change.
async fn change(relay: &Relay, (token, device): (&str, &str), change: &Json) -> Json {
    let body = json!({ "deviceId": device, "changes": [change] }).to_string();
    let headers = format!("{token}content-type: application/json\r\n");
    let (status, answer) = http(relay, "POST /api/sync", &headers, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn task(id: &str, operation: &str, title: &str) -> Json {
    json!({ "entityType": "task", "entityId": id, "operation": operation, "clientVersion": 1,
        "payload": { "title": title }, "timestamp": "2026-03-07T08:00:00.000Z" })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apps_do_that_somebody_should_look_at_and_how_long_conflicts_last_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = ["--json", "tenant", "create", "Permian West", "--gateway"];
    let short = command(&data, &made).await.json()[0]["short"].as_str().unwrap().to_owned();
    add_person(&data, "ana@example.org", "manager").await;
    add_person(&data, "ben@example.org", "manager").await;
    let relay = Relay::start_with(&data, &["--address-requests-a-second", "1000"]).await;
    let (ana, _) = log_in(&relay, "ana@example.org", "").await;
    let (ben, _) = log_in(&relay, "ben@example.org", "").await;

    // One tablet, two people, and what they disagree about.
    change(&relay, (&ana, "T1"), &task("t1", "CREATE", "Look at it")).await;
    change(&relay, (&ben, "T1"), &task("t1", "UPDATE", "Mend it")).await;
    let told = change(&relay, (&ana, "T1"), &task("t1", "UPDATE", "Paint it")).await;
    let conflict = &told["conflicts"][0]["id"];
    assert!(conflict.is_string(), "{told}");
    let body = json!({ "conflictId": conflict, "resolution": "SERVER_WINS" }).to_string();
    let headers = format!("{ana}content-type: application/json\r\n");
    for _ in 0..2 {
        let resolve = "POST /api/sync/conflicts/resolve";
        let (status, answer) = http(&relay, resolve, &headers, &body).await;
        assert!((200..300).contains(&status), "{answer}");
    }
    change(&relay, (&ana, "T1"), &task("t2", "CREATE", "Burn it")).await;
    change(&relay, (&ana, "T1"), &task("t2", "DELETE", "Burn it")).await;
    // T1 is the first device that she brings.
    for number in 2..=7 {
        let device = format!("T{number}");
        change(&relay, (&ana, &device), &task(&device, "CREATE", "Walk round it")).await;
    }
    for (name, count) in [
        ("devices_changed_hands_total", 2),
        ("many_new_devices_total", 2),
        ("deletions_total", 1),
        ("forbidden_operations_total", 0),
        // Asked for twice, and settled once.
        ("conflict_open_seconds_count", 1),
    ] {
        assert_eq!(relay.measure(name, &short).await, count, "{name}");
    }
    relay.stop().await;
}
