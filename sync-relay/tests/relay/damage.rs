//! What a relay says of damage on its disk: its real files with a flipped byte.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::crew;
use crate::process::{Relay, command, command_with_input};

/// Changes one byte of a file.
fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], offset).unwrap();
}

/// The largest segment of a tenant's log, and its size.
fn segment(data: &Path, short: &str) -> (PathBuf, u64) {
    let folder = data.join("tenants").join(short).join("store/log");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sized = files.map(|entry| (entry.path(), entry.metadata().unwrap().len()));
    sized.max_by_key(|(_, size)| *size).unwrap()
}

/// What a relay says that knows of damage and serves all the same.
async fn tells_damage(relay: &Relay, short: &str) {
    relay.measured("damaged", short, |count| count > 0).await;
    assert_eq!(relay.measure("store_up", short).await, 1);
    let (status, told) = relay.get("/healthz").await;
    let word = format!("sync-relay verify --tenant {short}");
    assert!(status == 200 && told.starts_with("ok\n") && told.contains(&word), "{status} {told}");
    let listed = command(&relay.data, &["tenant", "list"]).await;
    assert!(listed.stdout.contains(&format!("damaged: {word}")), "{}", listed.stdout);
    assert!(relay.ask(&["tenant", "list"]).await[0]["damaged"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_the_log_is_told_until_a_device_has_healed_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = command(&data, &["--json", "tenant", "create", "Permian West"]).await;
    let short = made.json()[0]["short"].as_str().unwrap().to_owned();
    let relay = Relay::start(&data).await;
    let truck = crew::join(folder.path(), "truck 7", &relay.invite(&short, "admin").await).await;
    crew::record_well(&truck, "Alder 1").await;
    crew::record_entries(&truck, "Alder 1", 1, 40).await;
    crew::sync(&truck, &relay.address()).await;
    assert_eq!(relay.measure("damaged", &short).await, 0);
    assert_eq!(relay.get("/healthz").await, (200, "ok\n".into()));
    relay.stop().await;

    let (path, size) = segment(&data, &short);
    flip(&path, size * 3 / 4);
    let relay = Relay::start(&data).await;
    let checked = command(&data, &["verify", "--tenant", &short]).await;
    assert_eq!(checked.code, Some(7), "{}{}", checked.stdout, checked.stderr);
    tells_damage(&relay, &short).await;
    // What is known outlives the relay.
    relay.stop().await;
    let relay = Relay::start(&data).await;
    tells_damage(&relay, &short).await;
    crew::sync(&truck, &relay.address()).await;
    relay.measured("damaged", &short, |count| count == 0).await;
    assert_eq!(relay.get("/healthz").await, (200, "ok\n".into()));
    truck.shutdown().await.unwrap();
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_of_people_is_told_before_anybody_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = ["--json", "tenant", "create", "Permian West", "--gateway"];
    let short = command(&data, &made).await.json()[0]["short"].as_str().unwrap().to_owned();
    let person = ["user", "add", "--tenant", &short, "ana@example.org", "--role", "manager"];
    let person = [&person[..], &["--password-stdin"]].concat();
    assert_eq!(command_with_input(&data, &person, "tumbleweed 7\n").await.code, Some(0));
    let people = data.join("accounts").join(&short);
    flip(&people, people.metadata().unwrap().len() / 2);
    let relay = Relay::start(&data).await;
    tells_damage(&relay, &short).await;
    relay.stop().await;
}
