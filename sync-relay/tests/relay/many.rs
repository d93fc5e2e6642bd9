//! More tenants than are open at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fieldmesh::{Node, TenantOptions};
use tokio::task::JoinSet;

use crate::crew;
use crate::process::{PATIENCE, Relay};

/// How many tenants a relay opens at once.
const OPENING_MAX: usize = 4;
/// How many tenants a test makes; `FIELDMESH_TENANTS` says otherwise.
const TENANTS: usize = 60;
/// How many of them may be open.
const OPEN_MAX: usize = 4;
/// How many have devices.
const CREWS: usize = 6;

/// Makes homes of tenants whose authority is the relay; gives the ends of their ids.
async fn found(data: &Path, count: usize) -> Vec<String> {
    let key = data.join("relay.key");
    let mut names = Vec::new();
    let mut making = JoinSet::new();
    for number in 0..count {
        let (home, key) = (data.join(format!("tenants/t{number}")), key.clone());
        let make = async move {
            let options =
                TenantOptions { name: format!("Crew {number}"), ..TenantOptions::default() };
            let builder = Node::builder(home).key_file(key).forward_only();
            let (node, tenant) = builder.create_tenant(options).await.unwrap();
            node.shutdown().await.unwrap();
            tenant.tenant.short()
        };
        // The first one makes the key that the others use.
        if number == 0 || making.len() >= 4 {
            names.extend(making.join_next().await.map(Result::unwrap));
        }
        match number {
            0 => names.push(make.await),
            _ => drop(making.spawn(make)),
        }
    }
    names.extend(making.join_all().await);
    names
}

fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// How many tenants are open, and the metrics that say so.
async fn open_now(relay: &Relay) -> (usize, String) {
    let (_, metrics) = relay.get("/metrics").await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("sync_relay_tenants_open "));
    (open.unwrap().parse().unwrap(), metrics)
}

/// The most tenants that are open until all were looked at; those that are closed say what they
/// hold.
async fn most_open(relay: &Relay) -> usize {
    let is_known = |tenant: &serde_json::Value| tenant["batches"].is_u64();
    let looked = async {
        let mut most = 0;
        while !relay.ask(&["tenant", "list"]).await.iter().all(is_known) {
            for _ in 0..10 {
                most = most.max(open_now(relay).await.0);
            }
        }
        most
    };
    tokio::time::timeout(PATIENCE * 5, looked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn crews_of_more_tenants_than_may_be_open_all_hand_over_their_work() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("tenants")).unwrap();
    let count = std::env::var("FIELDMESH_TENANTS").map_or(TENANTS, |count| count.parse().unwrap());
    let names = found(&data, count).await;
    fs::set_permissions(data.join("relay.key"), fs::Permissions::from_mode(0o600)).unwrap();

    let open_max = OPEN_MAX.to_string();
    let relay = Relay::start_with(&data, &["--open-tenants-max", &open_max]).await;
    assert_eq!(relay.ready["tenants"], count);
    assert!(most_open(&relay).await <= OPEN_MAX + OPENING_MAX + 1);
    let mut crews = Vec::new();
    for number in 0..CREWS {
        let slug = format!("crew-{number}");
        let devices = folder.path().join(&slug);
        let lead = crew::join(&devices, "lead", &relay.invite(&slug, "admin").await).await;
        let hand = crew::join(&devices, "hand", &relay.invite(&slug, "operator").await).await;
        crew::record_well(&lead, "Alder 1").await;
        crew::sync(&lead, &relay.address()).await;
        let received = relay.measure("received_bytes_total", &names_of(&lead)).await;
        assert!(received > 0);
        crews.push((lead, hand, received));
    }
    // By now the tenants of the first crews were closed for those of the others.
    for (lead, hand, received) in &crews {
        crew::record_entries(lead, "Alder 1", 1, 3).await;
        crew::sync(lead, &relay.address()).await;
        crew::sync(hand, &relay.address()).await;
        crew::assert_equal(&[lead, hand], 3).await;
        let stored = lead.status().await.unwrap().batches;
        let tenant = names_of(lead);
        assert_eq!(relay.measure("batches_stored", &tenant).await, stored);
        assert!(relay.measure("received_bytes_total", &tenant).await > *received);
    }
    let list = relay.ask(&["tenant", "list"]).await;
    assert_eq!(list.len(), count);
    let (open, metrics) = open_now(&relay).await;
    assert!(open <= OPEN_MAX, "{metrics}");
    assert_eq!(relay.get("/healthz").await, (200, "ok\n".into()));
    eprintln!("{count} tenants, {OPEN_MAX} open: {} MB", anonymous_bytes(relay.pid()) / 1_000_000);
    assert!(names.iter().all(|name| metrics.contains(name.as_str())));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_tenant_that_cannot_be_opened_is_told_of_and_keeps_nobody_else_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("tenants")).unwrap();
    let names = found(&data, 3).await;
    break_store(&data, 1);
    let relay = Relay::start_with(&data, &["--open-tenants-max", "1"]).await;
    let broken = async {
        loop {
            let (status, reason) = relay.get("/healthz").await;
            if status == 503 {
                break reason;
            }
        }
    };
    let reason = tokio::time::timeout(PATIENCE, broken).await.unwrap();
    assert!(names.iter().filter(|name| reason.contains(name.as_str())).count() == 1, "{reason}");
    let devices = folder.path().join("devices");
    let lead = crew::join(&devices, "lead", &relay.invite("crew-2", "admin").await).await;
    crew::record_well(&lead, "Alder 1").await;
    crew::sync(&lead, &relay.address()).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_but_one_tenant_cannot_be_opened_and_that_one_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("tenants")).unwrap();
    found(&data, 5).await;
    // Whichever the relay opens first, it is most likely one of these.
    (0..4).for_each(|number| break_store(&data, number));
    let relay = Relay::start_with(&data, &["--open-tenants-max", "1"]).await;
    let devices = folder.path().join("devices");
    let lead = crew::join(&devices, "lead", &relay.invite("crew-4", "admin").await).await;
    crew::sync(&lead, &relay.address()).await;
    relay.stop().await;
}

/// Puts a file where the folder of a tenant's store should be.
fn break_store(data: &Path, number: usize) {
    let store = data.join(format!("tenants/t{number}/store"));
    fs::remove_dir_all(&store).unwrap();
    fs::write(&store, "no folder").unwrap();
}

fn names_of(node: &Node) -> String {
    node.tenant().tenant.short()
}
