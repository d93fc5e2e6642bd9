//! How tenants that were made elsewhere take a running relay in.

use fieldmesh::api::{Class, RelayState};

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
    crew::record_well(&office, "Alder 1").await;
    crew::sync(&office, &relay.address()).await;
    let hand = crew::invite(&office, fieldmesh::Role::Operator).await;
    let hand = crew::join(folder.path(), "hand", &hand).await;
    crew::sync(&hand, &relay.address()).await;
    assert_eq!(crew::export(&hand, "well").await, crew::export(&office, "well").await);
    assert_eq!(hand.relay_addresses().await.unwrap()[0].device, taken[0].device);

    // Whoever has not heard the answer tries again, also at a relay that was killed since.
    let address = relay.address();
    relay.kill().await;
    let relay = Relay::start_with(&data, &["--quic", &address]).await;
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
    assert!(!log.contains(&text[20..40]), "the claim is in the log");
    for file in std::fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        let secret = text.as_bytes();
        assert!(!bytes.windows(20).any(|part| part == &secret[20..40]));
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
