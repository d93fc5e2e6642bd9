//! Tenants that a relay serves no more.

use std::path::PathBuf;

use fieldmesh::api::SyncResult;
use serde_json::json;

use crate::crew;
use crate::process::{Relay, command, command_with_input};
use crate::users::http;

const PASSWORD: &str = "tumbleweed 7";
const REMOVE: [&str; 3] = ["tenant", "remove", "permian-west"];

async fn status_of_login(relay: &Relay) -> u16 {
    let body = json!({ "email": "ana@example.org", "password": PASSWORD }).to_string();
    let headers = "content-type: application/json\r\nx-tenant-subdomain: permian-west\r\n";
    http(relay, "POST /auth/login", headers, &body).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_removed_while_the_relay_runs_and_is_put_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = ["--json", "tenant", "create", "Permian West", "--gateway"];
    let short = command(&data, &create).await.json()[0]["short"].as_str().unwrap().to_owned();
    command(&data, &["tenant", "create", "Gulf Crew"]).await;
    let add = ["user", "add", "--tenant", "permian-west", "ana@example.org", "--password-stdin"];
    let added = command_with_input(&data, &add, &format!("{PASSWORD}\n")).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let relay = Relay::start(&data).await;
    let invitation = relay.invite("permian-west", "admin").await;
    let office = crew::join(folder.path(), "office", &invitation).await;
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    crew::record_entries(&office, "Alder 1", 1, 2).await;

    let asked = command(&data, &REMOVE).await;
    assert_eq!(asked.code, Some(2));
    assert!(asked.stderr.contains("nothing was done so far. Permian West"), "{}", asked.stderr);
    assert!(asked.stderr.contains("nobody can be invited"), "{}", asked.stderr);
    let refused = command(&data, &[&REMOVE[..], &["--erase", "--yes"]].concat()).await;
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("only here"), "{}", refused.stderr);
    assert_eq!(status_of_login(&relay).await, 200);
    let removed = relay.ask(&[&REMOVE[..], &["--yes"]].concat()).await.remove(0);
    let aside = PathBuf::from(removed["folder"].as_str().unwrap());
    assert_eq!(aside, data.join(format!("removed/{short}-1")));

    assert_eq!(relay.ask(&["tenant", "list"]).await.len(), 1);
    assert_eq!(status_of_login(&relay).await, 404);
    let refused = crew::try_sync(&office, &relay.address()).await;
    assert_ne!(refused.result, SyncResult::Ok);
    let told = refused.peers[0].error.clone().unwrap();
    assert!(told.contains("does not serve this tenant"), "{told}");
    assert_eq!(command(&data, &REMOVE).await.code, Some(4));
    relay.kill().await;
    // Another one of the same name, which goes for good without a relay that runs.
    let again = command(&data, &create).await.json().remove(0)["short"].clone();
    assert_ne!(again, short.as_str());
    let gone = [&["--json"], &REMOVE[..], &["--erase", "--force", "--yes"]].concat();
    assert!(command(&data, &gone).await.json()[0]["folder"].is_null());
    assert!(!data.join("tenants").join(again.as_str().unwrap()).exists());

    std::fs::rename(aside.join("tenant"), data.join("tenants").join(&short)).unwrap();
    std::fs::rename(aside.join("accounts"), data.join("accounts").join(&short)).unwrap();
    let relay = Relay::start(&data).await;
    assert_eq!(relay.get("/healthz").await.0, 200);
    assert_eq!(status_of_login(&relay).await, 200);
    crew::sync(&office, &relay.address()).await;
    let invitation = relay.invite("permian-west", "operator").await;
    let hand = crew::join(folder.path(), "hand", &invitation).await;
    crew::sync(&hand, &relay.address()).await;
    crew::assert_equal(&[&office, &hand], 2).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_was_removed_is_taken_in_again_by_a_new_claim() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let relay = Relay::start(&data).await;
    let office = crew::found(folder.path(), "office").await;
    let claim = async || {
        let made = relay.ask(&["claim"]).await.remove(0);
        office.claim_relay(made["claim"].as_str().unwrap()).await
    };
    claim().await.unwrap();
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    // Nobody knows whether the office will have let go what is here.
    let erase = ["tenant", "remove", "office-made", "--erase", "--yes"];
    let refused = command(&data, &erase).await;
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("records that its devices let go"), "{}", refused.stderr);
    let removed = command(&data, &[&erase[..], &["--force"]].concat()).await;
    assert!(removed.stdout.contains("nobody should say `fieldmesh evict`"), "{}", removed.stdout);
    assert_eq!(std::fs::read_dir(data.join("tenants")).unwrap().count(), 0);
    office.remove_relay(&relay.address()).await.unwrap();
    claim().await.unwrap();
    crew::sync(&office, &relay.address()).await;
    let listed = relay.ask(&["tenant", "list"]).await;
    assert!(listed.len() == 1 && listed[0]["batches"].as_u64() > Some(0), "{listed:?}");
    relay.stop().await;
}
