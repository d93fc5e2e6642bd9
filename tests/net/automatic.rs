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
