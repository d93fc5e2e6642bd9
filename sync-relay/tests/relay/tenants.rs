//! Devices of several tenants at one relay.

use fieldmesh::api::{InviteOptions, SyncResult};
use fieldmesh_model::Role;

use crate::crew;
use crate::process::{Relay, command, command_with_input};

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_meet_only_at_the_relay_end_equal_and_tenants_never_meet() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    let mut crews = Vec::new();
    for (name, slug, well) in
        [("Gulf Crew", "gulf-crew", "Alder 1"), ("Permian West", "permian-west", "Birch 7")]
    {
        let made = relay.ask(&["tenant", "create", name]).await.remove(0);
        assert_eq!(made["slug"], slug);
        let devices = folder.path().join(slug);
        let lead = crew::join(&devices, "lead", &relay.invite(slug, "admin").await).await;
        let hand = crew::join(&devices, "hand", &relay.invite(slug, "operator").await).await;
        crew::record_well(&lead, well).await;
        crew::sync(&lead, &relay.address()).await;
        crew::sync(&hand, &relay.address()).await;
        crews.push((lead, hand, well, made["short"].as_str().unwrap().to_owned()));
    }
    for (lead, hand, well, _) in &crews {
        crew::record_entries(lead, well, 1, 5).await;
        crew::record_entries(hand, well, 2, 7).await;
        crew::sync(lead, &relay.address()).await;
        crew::sync(hand, &relay.address()).await;
        crew::sync(lead, &relay.address()).await;
    }
    for (lead, hand, well, short) in &crews {
        crew::assert_equal(&[lead, hand], 12).await;
        let wells = crew::export(hand, "well").await;
        assert!(wells.lines().count() == 1 && wells.contains(well), "{wells}");
        let stored = lead.status().await.unwrap().batches;
        assert_eq!(relay.measure("batches_stored", short).await, stored);
        assert!(relay.measure("received_bytes_total", short).await > 0);
        let devices = relay.ask(&["device", "list", "--tenant", short]).await;
        assert_eq!(devices.len(), 3, "{devices:?}");
    }
    let (_, metrics) = relay.get("/metrics").await;
    assert!(!metrics.to_lowercase().contains("gulf") && !metrics.contains("lead"), "{metrics}");
    let log = relay.stop().await;
    for secret in ["Gulf", "Permian", "Alder", "Birch", "lead", "hand"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_tenant_that_is_not_served_gets_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    relay.ask(&["tenant", "create", "Gulf Crew"]).await;
    let stranger = crew::found(folder.path(), "stranger").await;
    let report = crew::try_sync(&stranger, &relay.address()).await;
    assert_eq!(report.result, SyncResult::Failed, "{report:?}");
    assert_eq!(relay.get("/healthz").await, (200, "ok\n".into()));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_joined_forwards_but_cannot_invite() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let office = crew::found(folder.path(), "office").await;
    let wrong = crew::invite(&office, Role::Operator).await;
    let refused = command(&data, &["tenant", "join", &wrong]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("invite --role relay"), "{}", refused.stderr);
    let invitation = crew::invite(&office, Role::Relay).await;
    let joining = ["--json", "tenant", "join", "-"];
    let joined = command_with_input(&data, &joining, &invitation).await.json().remove(0);
    let again = command(&data, &["tenant", "join", &invitation]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("already"), "{}", again.stderr);

    let hand = crew::invite(&office, Role::Operator).await;
    let hand = crew::join(folder.path(), "hand", &hand).await;
    let relay = Relay::start(&data).await;
    crew::record_well(&office, "Cedar 3").await;
    crew::record_entries(&office, "Cedar 3", 1, 4).await;
    // It dials the device that invited it.
    relay.measured("connections", joined["short"].as_str().unwrap(), |count| count == 1).await;
    crew::sync_with_connected(&office).await;
    office.shutdown().await.unwrap();
    crew::sync(&hand, &relay.address()).await;
    crew::assert_equal(&[&hand], 4).await;

    let refused = command(&data, &["invite", "--tenant", "office-made"]).await;
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("invite from office"), "{}", refused.stderr);
    let unknown = command(&data, &["device", "list", "--tenant", "nobody"]).await;
    assert_eq!(unknown.code, Some(4));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admins_device_learns_that_the_relay_which_made_the_tenant_invites() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    relay.ask(&["tenant", "create", "Gulf Crew", "--device", "cloud"]).await;
    let admin = relay.invite("gulf-crew", "admin").await;
    let lead = crew::join(folder.path(), "lead", &admin).await;
    let valid = std::time::Duration::from_secs(600);
    let options = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
    let refused = lead.invite(options).await.unwrap_err().problem().detail;
    assert!(refused.contains("invite from the relay cloud"), "{refused}");
    lead.shutdown().await.unwrap();
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_joined_while_the_relay_runs_is_served_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    let office = crew::found(folder.path(), "office").await;
    let invitation = crew::invite(&office, Role::Relay).await;
    let joined = relay.ask(&["tenant", "join", &invitation, "--device", "cloud"]).await.remove(0);
    assert_eq!((&joined["deviceName"], &joined["canInvite"]), (&"cloud".into(), &false.into()));
    crew::record_well(&office, "Cedar 3").await;
    let short = joined["short"].as_str().unwrap();
    relay.measured("connections", short, |count| count == 1).await;
    crew::sync_with_connected(&office).await;
    relay.measured("batches_stored", short, |count| count == 1).await;
    let used = command(&relay.data, &["tenant", "join", "fieldmesh1nonsense"]).await;
    assert_eq!(used.code, Some(3), "{}", used.stderr);
    assert_eq!(relay.ask(&["tenant", "list"]).await.len(), 1);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_is_shut_out_by_the_relay_that_holds_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&folder.path().join("data")).await;
    relay.ask(&["tenant", "create", "Gulf Crew"]).await;
    let hand =
        crew::join(folder.path(), "hand", &relay.invite("gulf-crew", "operator").await).await;
    crew::sync(&hand, &relay.address()).await;
    let revoke = ["device", "revoke", "hand", "--tenant", "gulf-crew", "--reason", "lost"];
    let asked = command(&relay.data, &revoke).await;
    assert_eq!(asked.code, Some(2), "{}", asked.stderr);
    assert!(asked.stderr.contains("shut out for good"), "{}", asked.stderr);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    let report = relay.ask(&[&revoke[..], &["--yes"]].concat()).await.remove(0);
    assert_eq!((&report["name"], &report["wipe"]), (&"hand".into(), &false.into()));
    let report = crew::try_sync(&hand, &relay.address()).await;
    assert!(report.revoked, "{report:?}");
    assert!(report.notes.join(" ").contains("(lost) by the tenant's authority"), "{report:?}");
    let again = command(&relay.data, &[&revoke[..], &["--yes"]].concat()).await;
    assert!(again.stderr.contains("revoked already"), "{}", again.stderr);
    let stranger = ["device", "revoke", "nobody", "--tenant", "gulf-crew", "--yes"];
    assert_eq!(command(&relay.data, &stranger).await.code, Some(4));
    hand.shutdown().await.unwrap();
    relay.stop().await;
}
