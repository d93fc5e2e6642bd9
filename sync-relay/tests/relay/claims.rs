//! How tenants that were made elsewhere take a running relay in.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use fieldmesh::api::{Class, RelayOptions, RelayState};
use fieldmesh_identity::Claim;
use fieldmesh_net::Endpoint;

use crate::crew;
use crate::process::{Relay, command};

async fn claim(relay: &Relay, arguments: &[&str]) -> (String, String) {
    let made = relay.ask(&[&["claim"], arguments].concat()).await.remove(0);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("claim"), text("id"))
}

async fn states(relay: &Relay) -> Vec<String> {
    let listed = relay.ask(&["claim", "--list"]).await;
    listed.iter().map(|claim| claim["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_claimed_serves_the_tenant_at_once_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let relay = Relay::start(&data).await;
    let office = crew::found(folder.path(), "office").await;
    let (text, _) = claim(&relay, &[]).await;
    assert_eq!(states(&relay).await, ["open"]);
    let taken = office.claim_relay(&text).await.unwrap();
    assert_eq!(taken[0].address, relay.address());
    assert_eq!(taken[0].state, RelayState::Untried);
    assert_eq!(states(&relay).await, ["used"]);
    // Who looks whether the relay answers at an address fails in nothing.
    let again = RelayOptions { address: relay.address(), ..RelayOptions::default() };
    assert!(office.add_relay(again).await.is_err());
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    let fleet = relay.ask(&["fleet", "--tenant", "office-made"]).await;
    let known =
        fleet.iter().find(|one| one["attempts"] == 1).unwrap_or_else(|| panic!("{fleet:?}"));
    assert_eq!(known["failures"], 0, "{known}");
    let hand = crew::invite(&office, fieldmesh::Role::Operator).await;
    let hand = crew::join(folder.path(), "hand", &hand).await;
    crew::sync(&hand, &relay.address()).await;
    assert_eq!(crew::export(&hand, "well").await, crew::export(&office, "well").await);
    assert_eq!(hand.relay_addresses().await.unwrap()[0].device, taken[0].device);

    // Whoever has not heard the answer tries again, also at a relay that was killed since.
    let address = relay.address();
    relay.kill().await;
    let relay = Relay::start_at(&data, &["--quic", &address, "--http", "127.0.0.1:0"]).await;
    assert_eq!(office.claim_relay(&text).await.unwrap()[0].device, taken[0].device);
    assert_eq!(relay.ask(&["tenant", "list"]).await.len(), 1);
    // Another tenant is told, and nothing of it is left.
    let stranger = crew::found(folder.path(), "stranger").await;
    let refused = stranger.claim_relay(&text).await.unwrap_err().problem();
    assert_eq!(refused.class, Class::Refused);
    assert!(refused.detail.contains("used already"), "{refused:?}");
    assert_eq!(relay.ask(&["tenant", "list"]).await.len(), 1);
    let devices = stranger.devices().await.unwrap();
    assert_eq!(devices.len(), 1, "{devices:?}");

    let log = relay.stop().await;
    let spelled = spelled(&text);
    assert!(!spelled.iter().any(|secret| holds(log.as_bytes(), secret)), "it is in the log");
    for file in files(&data) {
        let bytes = fs::read(&file).unwrap();
        assert!(!spelled.iter().any(|secret| holds(&bytes, secret)), "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_homes_of_a_tenant_one_is_served_as_are_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create = async |name| command(&data, &["--json", "tenant", "create", name]).await.json();
    let short = create("Gulf Crew").await.remove(0)["short"].as_str().unwrap().to_owned();
    create("Permian West").await;
    copy(&data.join("tenants").join(&short), &data.join("tenants/new-1"));
    let relay = Relay::start(&data).await;
    assert_eq!(relay.ready["tenants"], 2);
    let (status, reason) = relay.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("new-1") && reason.contains("and so does"), "{reason}");
    for (tenant, name) in [("gulf-crew", "one"), ("permian-west", "two")] {
        let invitation = relay.invite(tenant, "admin").await;
        crew::join(folder.path(), name, &invitation).await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_home_is_damaged_or_whose_name_is_taken_is_not_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let relay = Relay::start(&data).await;
    let office = crew::found(folder.path(), "office").await;
    let (text, _) = claim(&relay, &[]).await;
    office.claim_relay(&text).await.unwrap();
    let listed = relay.ask(&["claim", "--list"]).await.remove(0);
    assert_eq!(listed["tenantName"], "Office Made");
    // Another one of the same name.
    let stranger = crew::found(folder.path(), "stranger").await;
    let (other, _) = claim(&relay, &[]).await;
    let refused = stranger.claim_relay(&other).await.unwrap_err().problem();
    assert!(refused.detail.contains("called like this one"), "{refused:?}");
    assert_eq!(stranger.devices().await.unwrap().len(), 1);
    assert!(states(&relay).await.contains(&"open".to_owned()));
    relay.stop().await;

    let home = data.join("tenants").join(office.tenant().tenant.short());
    // So that a relay without any tenant runs.
    command(&data, &["tenant", "create", "Permian West"]).await;
    for name in ["identity", "identity.copy"] {
        fs::write(home.join(name), "not an identity").unwrap();
    }
    let relay = Relay::start(&data).await;
    let homes = fs::read_dir(data.join("tenants")).unwrap().count();
    let (text, _) = claim(&relay, &[]).await;
    let refused = office.claim_relay(&text).await.unwrap_err().problem();
    assert!(refused.detail.contains("its log says why"), "{refused:?}");
    assert_eq!(fs::read_dir(data.join("tenants")).unwrap().count(), homes);
    assert_eq!(office.devices().await.unwrap().len(), 2, "no second relay");
    let log = relay.stop().await;
    assert!(log.contains("is in the way"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_dial_and_say_nothing_keep_nobody_else_out() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    let office = crew::found(folder.path(), "office").await;
    let (text, _) = claim(&relay, &[]).await;
    let claim: Claim = text.parse().unwrap();
    let silent = Endpoint::bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut lines = Vec::new();
    for _ in 0..9 {
        // Those that are too many are let go at once, so that not every line comes about.
        lines.extend(silent.claim(relay.address().parse().unwrap(), &claim).await);
    }
    assert!(lines.len() >= 2);
    office.claim_relay(&text).await.unwrap();
    silent.close().await;
    relay.stop().await;
}

/// The ways in which the secret of a claim can be spelled.
fn spelled(text: &str) -> Vec<Vec<u8>> {
    let claim: Claim = text.parse().unwrap();
    let secret = claim.secret.expose();
    let hex = HEXLOWER.encode(secret);
    // Behind the key of 32 bytes: what the text of the claim says of the secret and nothing else.
    let inside = BASE32_NOPAD.encode(&secret[3..13]).to_lowercase();
    assert!(text.contains(&inside), "the secret is elsewhere in a claim");
    let base32 = BASE32_NOPAD.encode(&secret[..15]);
    let texts = [hex.to_uppercase(), hex, inside.to_uppercase(), inside];
    let texts = texts.into_iter().chain([base32.to_lowercase(), base32]);
    texts.map(String::into_bytes).chain([secret.to_vec()]).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_revoked_listed_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let idle = command(&data, &["claim"]).await;
    assert_eq!(idle.code, Some(1));
    assert!(idle.stderr.contains("sync-relay run"), "{}", idle.stderr);
    let relay = Relay::start(&data).await;
    let office = crew::found(folder.path(), "office").await;
    let (text, id) = claim(&relay, &["--valid", "2h"]).await;
    let (other, _) = claim(&relay, &[]).await;
    relay.ask(&["claim", "--revoke", &id]).await;
    let unknown = command(&data, &["claim", "--revoke", &id]).await;
    assert_eq!(unknown.code, Some(4));
    assert_eq!(states(&relay).await, ["open"]);
    let revoked = office.claim_relay(&text).await.unwrap_err().problem();
    assert!(revoked.detail.contains("no such claim"), "{revoked:?}");
    // A flood from one address is turned away for a minute, whatever it says.
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(office.claim_relay(&text).await.unwrap_err().problem().detail);
    }
    assert!(answers.last().unwrap().contains("asked too often"), "{answers:?}");
    let busy = office.claim_relay(&other).await.unwrap_err().problem();
    assert!(busy.detail.contains("asked too often"), "{busy:?}");
    assert_eq!(states(&relay).await, ["open"]);
    assert!(relay.ask(&["tenant", "list"]).await.is_empty());
    assert!(office.devices().await.unwrap().len() == 1, "nobody was taken in");
    relay.stop().await;
    // What was made is there also while no relay runs.
    let listed = command(&data, &["--json", "claim", "--list"]).await.json();
    assert_eq!(listed[0]["state"], "open");
}
