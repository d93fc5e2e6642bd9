//! Several hosts on one network: discovery, lost peers, pulled cables, changed addresses.

use std::time::Duration;

use serde_json::Value as Json;

use crate::device::{Daemon, Device, STEP_TIME_MAX, assert_in_step, until_in_step};
use crate::lan::Lan;
use crate::process::eventually;
use crate::site::Site;

/// How long a peer that was killed may be shown as if it were there.
const VANISH_TIME_MAX: Duration = Duration::from_secs(90);

/// The states of a peer that can be talked to.
const THERE: [&str; 4] = ["in-step", "syncing", "connected", "nearby"];

#[test]
fn two_daemons_find_each_other_by_multicast_exchange_and_see_each_other_go() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    lead.well("Alder 1");
    lead.entry("Alder 1", 0, 1);
    let first = looking_around(&lead);
    let second = looking_around(&hand);
    until_in_step(&[&lead, &hand]);
    let entry = hand.entry("Alder 1", 1, 1);
    until_shown(&lead, &entry);
    until_in_step(&[&lead, &hand]);
    eventually("the peer is shown as in step", STEP_TIME_MAX, || {
        (peer(&lead)?["state"] == "in-step").then_some(())
    });

    second.kill();
    eventually("the killed peer is no longer shown as there", VANISH_TIME_MAX, || {
        let peers = lead.ok(&["--json", "peers"]).lines();
        let is_there = |peer: &Json| THERE.iter().any(|state| peer["state"] == *state);
        (!peers.iter().any(is_there)).then_some(())
    });
    let while_apart = lead.entry("Alder 1", 2, 1);
    let second = looking_around(&hand);
    until_shown(&hand, &while_apart);
    until_in_step(&[&lead, &hand]);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn two_commands_that_say_sync_at_once_find_each_other() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    let other = lead.start(&["--json", "sync"]);
    let report = hand.json(&["sync"]);
    assert_ne!(report["result"], "failed", "{report}");
    other.finish().ok();
    assert_eq!(hand.ids("field_entry"), [entry]);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn devices_come_back_to_a_relay_that_was_cut_off_and_are_in_step_again() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let relay = site.relay();
    let daemon = lead.daemon();
    relay.join(&lead.invite("relay"));
    daemon.stop();
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    let running = lan.relay("c", &relay).start_at("0.0.0.0:7843");
    lead.well("Alder 1");
    let first = by_relay(&lead);
    let second = by_relay(&hand);
    until_in_step(&[&lead, &hand]);

    lan.unplug("c");
    let ours: Vec<String> = (0..5).map(|minute| lead.entry("Alder 1", minute, 1)).collect();
    let theirs: Vec<String> = (10..15).map(|minute| hand.entry("Alder 1", minute, 1)).collect();
    eventually("the devices notice that the relay is gone", VANISH_TIME_MAX, || {
        let connected = |device: &Device| device.json(&["status"])["connected"] == 0;
        (connected(&lead) && connected(&hand)).then_some(())
    });
    lead.run(&["show", &theirs[0]]).code(4);
    lan.plug("c");
    until_shown(&lead, &theirs[4]);
    until_shown(&hand, &ours[4]);
    until_in_step(&[&lead, &hand]);
    second.stop();
    first.stop();
    running.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_device_that_gets_another_address_stays_connected() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    lead.well("Alder 1");
    let first = lead.daemon_with(&["--listen", "0.0.0.0:7843", "--no-mdns"]);
    let relay = ["--listen", "0.0.0.0:0", "--no-mdns", "--relay", "10.77.0.1:7843"];
    let second = hand.daemon_with(&relay);
    until_in_step(&[&lead, &hand]);
    lan.readdress("b", "10.77.0.2", "10.77.0.22");
    let entry = hand.entry("Alder 1", 1, 1);
    until_shown(&lead, &entry);
    let entry = lead.entry("Alder 1", 2, 1);
    until_shown(&hand, &entry);
    until_in_step(&[&lead, &hand]);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

/// Starts a daemon that announces itself and looks for others.
fn looking_around(device: &Device) -> Daemon {
    device.daemon_with(&["--listen", "0.0.0.0:0"])
}

/// Starts a daemon that knows the relay on the third host and nobody else.
fn by_relay(device: &Device) -> Daemon {
    device.daemon_with(&["--listen", "0.0.0.0:0", "--no-mdns", "--relay", "10.77.0.3:7843"])
}

#[track_caller]
fn until_shown(device: &Device, entry: &str) {
    eventually("the entry appears", STEP_TIME_MAX, || {
        (device.run(&["show", entry]).code == Some(0)).then_some(())
    });
}

/// The only other device, as `device` reaches it.
fn peer(device: &Device) -> Option<Json> {
    let peers = device.ok(&["--json", "peers"]).lines();
    peers.into_iter().find(|peer| !peer["device"].is_null())
}
