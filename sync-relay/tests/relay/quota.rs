//! A tenant that takes all the disk that it is granted.

use std::path::{Path, PathBuf};

use fieldmesh::api::SyncResult;
use fieldmesh::{Node, RunOptions};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::crew;
use crate::process::{PATIENCE, Relay, command, command_with_input};
use crate::users::http;

const PASSWORD: &str = "tumbleweed 7";
const JSON: &str = "content-type: application/json\r\naccept: application/json\r\n";

struct Scene {
    folder: tempfile::TempDir,
    data: PathBuf,
    config: PathBuf,
    short: String,
}

impl Scene {
    /// A gateway for one tenant, in which Ana may log in.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, config) = (folder.path().join("data"), folder.path().join("relay.toml"));
        let made = ["--json", "tenant", "create", "Permian West", "--gateway"];
        let short = command(&data, &made).await.json()[0]["short"].as_str().unwrap().to_owned();
        let add = ["user", "add", "--tenant", "permian-west", "ana@example.org"];
        let add = [&add[..], &["--role", "manager", "--password-stdin"]].concat();
        let added = command_with_input(&data, &add, &format!("{PASSWORD}\n")).await;
        assert_eq!(added.code, Some(0), "{}", added.stderr);
        Self { folder, data, config, short }
    }

    /// Grants the tenant so much.
    fn grant(&self, size: &str) {
        let text = format!(
            "address_requests_a_second = 1000\n[tenants.permian-west]\nstored_bytes_max = '{size}'\n"
        );
        std::fs::write(&self.config, text).unwrap();
    }

    async fn start(&self) -> Relay {
        Relay::start_with(&self.data, &["--config", self.config.to_str().unwrap()]).await
    }

    /// A file of the tenant that is larger than what it is granted first.
    fn filler(&self) -> PathBuf {
        self.data.join("tenants").join(&self.short).join("filler")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The header with the token of Ana, and her id.
type Session = (String, Json);

/// Logs Ana in.
async fn log_in(relay: &Relay) -> Session {
    let body = json!({ "email": "ana@example.org", "password": PASSWORD }).to_string();
    let headers = "content-type: application/json\r\n";
    let (status, session) = http(relay, "POST /auth/login", headers, &body).await;
    assert_eq!(status, 200, "{session}");
    let token = session["accessToken"].as_str().unwrap();
    (format!("authorization: Bearer {token}\r\n"), session["user"]["id"].clone())
}

/// What each dialect, and an upload, answer who writes; the same each time.
async fn write_in_each(relay: &Relay, (token, user): &Session, well: &Json) -> Vec<(u16, Json)> {
    let at = "2026-03-07T08:00:00.000Z";
    let entry = json!({ "wellId": well, "entryType": "PRODUCTION", "recordedAt": at,
        "data": { "oilVolume": 82.3 } });
    let event = json!({ "id": "e1", "type": "NOTES_ADDED", "timestamp": at, "deviceId": "T1",
        "userId": user, "payload": { "wellId": well, "text": "valve leaks" } });
    let change = json!({ "entityType": "task", "operation": "CREATE", "entityId": "t1",
        "payload": { "title": "Look at it" }, "clientVersion": 1, "timestamp": at });
    let pet = json!({ "operation": "create", "entityType": "pets", "tempId": "p",
        "data": { "ownerId": 7, "name": "Rex" } });
    let encounter = json!({ "userId": user, "deviceId": "T1", "operation": "CREATE",
        "resourceType": "encounter", "version": 1, "createdAtClient": at,
        "data": { "patientId": "p", "diagnosis": "x" } });
    let asks = [
        ("POST /sync/push", json!({ "deviceId": "T1", "entries": [entry] })),
        ("POST /field-data/sync", json!({ "tenantId": "permian-west", "events": [event] })),
        ("POST /api/sync", json!({ "deviceId": "T1", "changes": [change] })),
        ("POST /api/sync/push", json!({ "clientTimestamp": 1, "operations": [pet] })),
        ("POST /api/v1/sync/batch", json!({ "operations": [encounter] })),
    ];
    let photo = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\
                 content-type: image/jpeg\r\n\r\nsome image\r\n--b--\r\n";
    let mut answers = Vec::new();
    for (request, body) in asks {
        let headers = format!("{token}{JSON}");
        answers.push(http(relay, request, &headers, &body.to_string()).await);
    }
    let headers = format!("{token}content-type: multipart/form-data; boundary=b\r\n");
    answers.push(http(relay, "POST /upload", &headers, photo).await);
    answers
}

/// What asks for no room: reading with a device, an exchange without changes, and a revocation.
fn reads() -> [(&'static str, String); 4] {
    let nothing = json!({ "deviceId": "T2", "changes": [] }).to_string();
    [
        ("GET /sync/pull", String::new()),
        ("GET /sync/pull?deviceId=T2", String::new()),
        ("POST /api/sync", nothing),
        ("DELETE /api/sync/devices/T2", String::new()),
    ]
}

/// What `fieldmesh peers` says of the relay where it is not in step.
async fn why_not(node: &Node) -> Option<(String, String)> {
    let mut peers = node.peers().await.unwrap().into_iter();
    peers.find_map(|peer| Some((peer.state, peer.error?)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_runs_beside_a_full_relay_says_what_it_waits_for() {
    let scene = Scene::new().await;
    scene.grant("4 MiB");
    let relay = scene.start().await;
    let invitation = relay.invite("permian-west", "admin").await;
    let truck = crew::join(scene.path(), "truck", &invitation).await;
    std::fs::write(scene.filler(), vec![0; 5 << 20]).unwrap();
    scene.grant("5 MiB");
    relay.hang_up().await;
    crew::record_well(&truck, "Alder 1").await;
    let listen = Some(([127, 0, 0, 1], 0).into());
    truck.run(RunOptions { listen, mdns: false, ..RunOptions::default() }).await.unwrap();
    let refused = async {
        loop {
            match why_not(&truck).await {
                Some((_, words)) => return words,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let words = timeout(PATIENCE, refused).await.unwrap();
    assert!(words.contains("the quota of the tenant there is used up"), "{words}");
    // The relay is there, whatever it takes.
    let online = async {
        while !truck.is_online() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, online).await.unwrap();
    std::fs::remove_file(scene.filler()).unwrap();
    scene.grant("64 MiB");
    relay.hang_up().await;
    crew::sync(&truck, &relay.address()).await;
    assert_eq!(why_not(&truck).await, None);
    truck.shutdown().await.unwrap();
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_at_its_quota_is_read_and_takes_nothing_until_it_is_granted_more() {
    let scene = Scene::new().await;
    scene.grant("64 MiB");
    let relay = scene.start().await;
    let invitations =
        [relay.invite("permian-west", "admin").await, relay.invite("permian-west", "admin").await];
    let office = crew::join(scene.path(), "office", &invitations[0]).await;
    let truck = crew::join(scene.path(), "truck", &invitations[1]).await;
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    crew::sync(&truck, &relay.address()).await;
    crew::record_entries(&office, "Alder 1", 1, 1).await;
    crew::sync(&office, &relay.address()).await;
    relay.stop().await;

    scene.grant("4 MiB");
    std::fs::write(scene.filler(), vec![0; 5 << 20]).unwrap();
    let relay = scene.start().await;
    let session = log_in(&relay).await;
    crew::record_entries(&truck, "Alder 1", 2, 2).await;
    for (request, body) in reads() {
        let headers = format!("{}{JSON}", session.0);
        let (status, answer) = http(&relay, request, &headers, &body).await;
        assert!((200..300).contains(&status), "{request}: {status} {answer}");
    }
    let wells = crew::export(&office, "well").await;
    let well = serde_json::from_str::<Json>(&wells).unwrap()["id"].clone();
    for (status, answer) in write_in_each(&relay, &session, &well).await {
        assert_eq!(status, 507, "{answer}");
        assert!(answer.to_string().contains("keep this and send it again"), "{answer}");
    }
    let refused = crew::try_sync(&truck, &relay.address()).await;
    assert_ne!(refused.result, SyncResult::Ok);
    let told = refused.peers[0].error.clone().unwrap();
    assert!(told.contains("the quota of the tenant there is used up"), "{told}");
    let truck = crew::reopen(scene.path(), "truck", truck).await;
    assert_eq!(why_not(&truck).await, Some(("refused".to_owned(), told.clone())));
    // Who has nothing new is served as ever, and the relay is well.
    crew::sync(&office, &relay.address()).await;
    assert!(relay.measure("quota_refusals_total", &scene.short).await > 0);
    assert_eq!(relay.measure("stored_bytes_max", &scene.short).await, 4 << 20);
    assert_eq!(relay.measure("append_failures_total", &scene.short).await, 0);
    let (status, health) = relay.get("/healthz").await;
    assert!(status == 200 && health.contains("quota is used up"), "{status} {health}");
    let listed = relay.ask(&["tenant", "list"]).await.remove(0);
    assert_eq!((&listed["quotaUsedUp"], &listed["fault"]), (&json!(true), &Json::Null));

    // A setting that makes no sense changes nothing; one that grants more lets everything go on.
    scene.grant("a lot");
    relay.hang_up().await;
    assert_eq!(write_in_each(&relay, &session, &well).await[0].0, 507);
    scene.grant("64 MiB");
    relay.hang_up().await;
    let going_on =
        async { while crew::try_sync(&truck, &relay.address()).await.result != SyncResult::Ok {} };
    timeout(PATIENCE, going_on).await.unwrap();
    for (status, answer) in write_in_each(&relay, &session, &well).await {
        assert!((200..300).contains(&status), "{status} {answer}");
    }
    crew::sync(&office, &relay.address()).await;
    crew::sync(&truck, &relay.address()).await;
    assert_eq!(why_not(&truck).await, None);
    crew::assert_equal(&[&office, &truck], 4).await;
    let log = relay.stop().await;
    assert!(log.contains("write it like 20 GiB"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_something_unsent_still_gets_what_others_stored_before() {
    let scene = Scene::new().await;
    scene.grant("64 MiB");
    let relay = scene.start().await;
    let invitations =
        [relay.invite("permian-west", "admin").await, relay.invite("permian-west", "admin").await];
    let office = crew::join(scene.path(), "office", &invitations[0]).await;
    let truck = crew::join(scene.path(), "truck", &invitations[1]).await;
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    crew::sync(&truck, &relay.address()).await;
    crew::record_entries(&office, "Alder 1", 1, 500).await;
    crew::sync(&office, &relay.address()).await;
    relay.stop().await;

    scene.grant("4 MiB");
    std::fs::write(scene.filler(), vec![0; 5 << 20]).unwrap();
    let relay = scene.start().await;
    crew::record_entries(&truck, "Alder 1", 2, 3).await;
    // What others stored comes in the very conversation that is refused, and the device is told.
    let refused = crew::try_sync(&truck, &relay.address()).await;
    assert_ne!(refused.result, SyncResult::Ok);
    let told = refused.peers[0].error.clone().unwrap();
    assert!(told.contains("quota of the tenant") && told.contains("Nothing is lost"), "{told}");
    assert_eq!(crew::export(&truck, "field_entry").await.lines().count(), 503);

    // Space that is freed is noticed as soon as the store was made smaller.
    std::fs::remove_file(scene.filler()).unwrap();
    relay.ask(&["compact", "--tenant", "permian-west"]).await;
    crew::sync(&truck, &relay.address()).await;
    crew::sync(&office, &relay.address()).await;
    crew::assert_equal(&[&office, &truck], 503).await;
    relay.stop().await;
}
