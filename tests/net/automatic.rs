//! A daemon that is left alone: it sees the relay go and come, syncs by itself and says why.

use std::time::Duration;

use serde_json::Value as Json;

use crate::device::{Device, STEP_TIME_MAX, until_in_step};
use crate::process::eventually;
use crate::site::Site;

/// How long a daemon may take to see that a relay is gone or back: one probe and its timeout, and
/// far more on a machine that is busy with other tests.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

fn connectivity(device: &Device) -> Json {
    device.json(&["status"])["connectivity"].clone()
}

#[track_caller]
fn until(device: &Device, what: &str, holds: impl Fn(&Json) -> bool) -> Json {
    eventually(what, NOTICED_WITHIN, || Some(connectivity(device)).filter(|state| holds(state)))
}

fn is_started_by_reconnect(state: &Json) -> bool {
    state["decision"]["cause"] == "reconnect" && state["decision"]["started"] == true
}

#[test]
fn a_daemon_whose_relay_went_and_came_back_syncs_by_itself_and_says_why() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    let daemon = lead.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address]);
    until(&lead, "the relay is seen and holds everything", |state| {
        state["online"] == true && state["pending"] == 0 && is_started_by_reconnect(state)
    });

    running.stop();
    until(&lead, "its end is seen", |state| state["online"] == false);
    let entry = lead.entry("Alder 1", 1, 1);
    let state = until(&lead, "the entry waits", |state| state["pending"] != 0);
    assert_eq!(state["grade"], "offline");

    let running = relay.start_at(&address);
    until(&lead, "the entry is with the relay", |state| {
        state["online"] == true
            && state["pending"] == 0
            && is_started_by_reconnect(state)
            && state["lastResult"]["success"] == true
    });
    hand.sync(&address);
    hand.ok(&["show", &entry]);
    let log = daemon.stop().stderr;
    for line in [
        "NetworkMonitor: Device is offline",
        "NetworkMonitor: [NetworkMonitor] Network connection restored",
        "[NetworkMonitor] wasOffline: true, syncOnReconnect: true, autoSyncEnabled: true",
        "[NetworkMonitor] Conditions met, triggering auto-sync",
        "SyncEngine: Connectivity restored. Auto-syncing...",
        "SyncEngine: \u{2705} Auto-sync complete",
        &format!("SyncEngine: Production logged locally: {entry}"),
    ] {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
    running.stop();
}

#[test]
fn nothing_travels_while_sync_is_paused_and_everything_once_it_is_resumed() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    let start = |device: &Device| {
        device.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address])
    };
    let (first, second) = (start(&lead), start(&hand));
    until_in_step(&[&lead, &hand]);
    lead.ok(&["sync", "--pause"]);
    eventually("its links end", STEP_TIME_MAX, || {
        (lead.json(&["status"])["connected"] == 0).then_some(())
    });
    let entry = lead.entry("Alder 1", 1, 1);
    let state = connectivity(&lead);
    assert_eq!(state["settings"]["paused"], true);
    // A pause outlives the daemon, and the network is watched all the same.
    first.stop();
    let first = start(&lead);
    until(&lead, "the relay is seen", |state| state["online"] == true);
    assert_eq!(lead.json(&["status"])["connected"], 0);
    assert_eq!(hand.run(&["show", &entry]).code, Some(4));
    lead.ok(&["sync", "--resume"]);
    eventually("the entry comes", STEP_TIME_MAX, || {
        (hand.run(&["show", &entry]).code == Some(0)).then_some(())
    });
    first.stop();
    second.stop();
    running.stop();
}

#[test]
fn an_alarm_crosses_a_satellite_link_on_which_everything_else_waits() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    lead.ok(&["sync", "--link", "127.0.0.1=satellite"]);
    let daemon = lead.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address]);
    let narrow = |state: &Json| {
        state["heldBack"][0]["class"] == "satellite"
            && state["heldBack"][0]["carries"] == serde_json::json!([])
            && state["lastResult"]["success"] == true
    };
    let routine = old_entry(&lead, 3);
    let state = until(&lead, "the routine entry waits", |state| {
        narrow(state) && state["heldBack"][0]["waiting"].as_u64() > Some(0)
    });
    let waiting = state["heldBack"][0]["waiting"].clone();

    let leak = ["wellId=Alder 1", "entryType=INSPECTION", "leaksDetected=true"];
    let leak = lead.record("field_entry", &leak);
    assert_eq!(lead.json(&["show", &leak])["fields"]["priority"], "CRITICAL");
    eventually("the relay has signed for the leak", NOTICED_WITHIN, || {
        (lead.json(&["show", &leak])["safe"] == "relay").then_some(())
    });
    hand.sync(&address);
    hand.ok(&["show", &leak]);
    assert_eq!(hand.run(&["show", &routine]).code, Some(4));
    until(&lead, "the link is narrow again", |state| {
        narrow(state) && state["heldBack"][0]["waiting"] == waiting
    });
    daemon.stop();
    running.stop();
}

/// An entry of a month that no link class calls recent.
fn old_entry(device: &Device, month: usize) -> String {
    entry_at(device, &["--at", &format!("2025-{month:02}-07T08:00:00Z")])
}

fn entry_at(device: &Device, at: &[&str]) -> String {
    let entry = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"];
    device.record("field_entry", &[&entry[..], at].concat())
}

#[track_caller]
fn until_shown(device: &Device, record: &str) {
    eventually("the record arrives", STEP_TIME_MAX, || {
        (device.run(&["show", record]).code == Some(0)).then_some(())
    });
}

fn is_in_part(state: &Json) -> bool {
    let link = &state["heldBack"][0];
    link["class"] == "metered" && link["waiting"] == state["pending"]
}

#[test]
fn over_a_metered_link_new_entries_go_by_themselves_and_old_ones_when_it_costs_nothing_again() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    hand.sync(&address);
    let ours = old_entry(&lead, 3);
    let theirs = old_entry(&hand, 4);
    hand.sync(&address);
    lead.ok(&["sync", "--link", "127.0.0.1=metered"]);
    let daemon = lead.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address]);
    let fresh = entry_at(&lead, &[]);
    let state = until(&lead, "only what is old waits", |state| {
        is_in_part(state) && state["pending"] == 1 && state["lastResult"]["success"] == true
    });
    assert!(state["heldBack"][0]["carries"].as_array().is_some_and(|parts| parts.len() == 1));
    let peers = lead.ok(&["--json", "peers"]).lines();
    assert!(peers.iter().any(|peer| peer["state"] == "in-part"), "{peers:?}");
    // What others record goes the same way.
    hand.sync(&address);
    hand.ok(&["show", &fresh]);
    assert_eq!(hand.run(&["show", &ours]).code, Some(4));
    let reply = entry_at(&hand, &[]);
    hand.sync(&address);
    until_shown(&lead, &reply);
    assert_eq!(lead.run(&["show", &theirs]).code, Some(4));

    lead.ok(&["sync", "--link", "127.0.0.1=unmetered"]);
    until_shown(&lead, &theirs);
    until(&lead, "nothing waits", |state| {
        state["heldBack"] == serde_json::json!([]) && state["pending"] == 0
    });
    hand.sync(&address);
    hand.ok(&["show", &ours]);
    let log = daemon.stop().stderr;
    assert!(log.contains("SyncPush: 1 batches wait for an unmetered link"), "{log}");
    running.stop();
}

#[test]
fn who_asks_for_a_sync_gets_everything_over_a_link_of_any_class() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    let theirs = old_entry(&hand, 4);
    hand.sync(&address);
    let [first, second] = [1, 2].map(|month| old_entry(&lead, month));
    lead.ok(&["sync", "--link", "127.0.0.1=satellite"]);
    let daemon = lead.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &address]);
    let narrow = |state: &Json| {
        state["heldBack"][0]["class"] == "satellite" && state["lastResult"]["success"] == true
    };
    let state = until(&lead, "the link carries no records", narrow);
    assert_eq!(state["heldBack"][0]["carries"], serde_json::json!([]));
    assert_eq!(lead.run(&["show", &theirs]).code, Some(4));
    lead.sync(&address);
    lead.ok(&["show", &theirs]);
    hand.sync(&address);
    hand.ok(&["show", &first]);
    hand.ok(&["show", &second]);
    // Afterwards the link is narrow again, and `sync --now` lifts that as well.
    let state = until(&lead, "the link is narrow again", narrow);
    assert_eq!(state["heldBack"][0]["waiting"], 0);
    let third = old_entry(&lead, 5);
    until(&lead, "the entry waits", |state| {
        narrow(state) && state["pending"] == 1 && state["syncing"] == false
    });
    let answer = lead.json(&["sync", "--now"]);
    assert_eq!(answer["success"], true, "{answer}");
    hand.sync(&address);
    hand.ok(&["show", &third]);
    daemon.stop();
    running.stop();
}
