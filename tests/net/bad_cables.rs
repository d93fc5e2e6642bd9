//! Networks as crews have them: slow, far away, lossy, and switched off in the middle.
//!
//! Method: the programs on hosts of their own (network namespaces) where the kernel spoils the
//! cable, or on this host with a detour that spoils it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::detour::Detour;
use crate::device::{Device, STEP_TIME_MAX, assert_in_step, minute_of_march, until_in_step};
use crate::lan::Lan;
use crate::process::eventually;
use crate::site::Site;

/// How long a device may take to notice that others are gone.
const VANISH_TIME_MAX: Duration = Duration::from_secs(90);
/// How long a satellite link is, one way.
const FAR: Duration = Duration::from_millis(300);
/// Digits in each entry that make a transfer long enough to be cut in the middle.
const NOISE_DIGITS: usize = 400;
/// The same for the slowest cable: some ten seconds of it, so that they count beside all else.
const SLOW_NOISE_DIGITS: usize = 150;

#[test]
fn a_link_of_64_kbit_brings_a_device_into_step_and_is_not_wasted() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    let Some(()) = lan.slow_down("b", 64) else { return };
    history_with(&lead, 900, SLOW_NOISE_DIGITS);
    let daemon = lead.daemon_with(&["--listen", "0.0.0.0:0"]);
    // Nobody tells where the other is: that is found by multicast, over the same cable.
    // The address of the invitation is not reachable here, so the result is partial at best.
    let report = hand.json(&["sync", "--timeout", "60"]);
    assert_ne!(report["result"], "failed", "{report}");
    let carried = lan.carried("b");
    daemon.stop();
    assert_in_step(&[&lead, &hand]);
    assert_eq!(hand.ids("field_entry").len(), 900);
    println!("{carried:?}, {report}");
    assert!(carried.waits > 0, "the cable was fast: {carried:?}");
    // Beside the entries: the handshake, multicast, and what slow start throws at the queue.
    let moved: u64 = report["peers"].as_array().unwrap().iter().map(moved).sum();
    assert!(carried.bytes < 2 * moved + 60_000, "{moved} bytes moved, {carried:?}");
}

#[test]
fn a_switch_that_goes_off_in_the_middle_of_a_transfer_costs_nothing_but_time() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    let Some(()) = lan.slow_down("b", 128) else { return };
    history_with(&lead, 2_000, NOISE_DIGITS);
    let first = lead.daemon_with(&["--listen", "0.0.0.0:0"]);
    let second = hand.daemon_with(&["--listen", "0.0.0.0:0"]);
    let total = batches(&lead);
    eventually("a part has arrived", STEP_TIME_MAX, || (batches(&hand) > 5).then_some(()));
    lan.switch_off();
    let arrived = batches(&hand);
    assert!(arrived < total, "the transfer was over");
    let ours = lead.entry("Alder 1", 40_000, 1);
    let theirs = hand.entry("Alder 1", 40_001, 1);
    eventually("both notice that they are alone", VANISH_TIME_MAX, || {
        let connected = |device: &Device| device.json(&["status"])["connected"] == 0;
        (connected(&lead) && connected(&hand)).then_some(())
    });
    lead.run(&["show", &theirs]).code(4);
    lan.switch_on();
    until_in_step(&[&lead, &hand]);
    let carried = lan.carried("b");
    hand.ok(&["show", &ours]);
    lead.ok(&["show", &theirs]);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
    println!("{arrived} of {total} batches before, {carried:?}");
    let entry_size = 60 + NOISE_DIGITS as u64 / 2;
    assert!(carried.bytes < 2_002 * entry_size + 200_000, "{carried:?}");
}

#[test]
fn a_far_and_lossy_link_of_the_kernel_brings_devices_into_step_and_keeps_them_there() {
    let Some(lan) = Lan::make() else { return };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (lead, hand) = (lan.device("a", &lead), lan.device("b", &hand));
    let delay = u32::try_from(FAR.as_millis()).unwrap();
    let Some(()) = lan.stretch("b", delay, 5) else { return };
    history(&lead, 500);
    let first = lead.daemon_with(&["--listen", "0.0.0.0:7843"]);
    let second = hand.daemon_with(&["--listen", "0.0.0.0:0"]);
    until_in_step(&[&lead, &hand]);
    keep_in_step(&lead, &hand);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
    assert!(lan.carried("b").drops > 0);
}

#[test]
fn a_far_and_lossy_way_brings_devices_into_step_and_keeps_them_there() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    history(&lead, 1_500);
    let first = lead.daemon();
    let detour = Detour::to(&first.address(), FAR, 5);
    let report = hand.sync(&detour.address());
    let (bytes, lost) = (detour.bytes(), detour.lost());
    println!("{bytes} bytes, {lost} datagrams lost, {report}");
    assert!(lost > 0, "the way was good");
    // Beside the entries and what is lost of them: the handshake, and acknowledgements.
    let moved = moved(&report["peers"][0]);
    assert!(bytes < moved * 3 / 2 + 40_000, "{moved} bytes moved, {bytes} sent");
    let relay = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &detour.address()];
    let second = hand.daemon_with(&relay);
    keep_in_step(&lead, &hand);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

/// Records on both sides of a link and waits each time until the other side shows it.
#[track_caller]
fn keep_in_step(lead: &Device, hand: &Device) {
    for round in 0..4 {
        let (from, to) = if round % 2 == 0 { (lead, hand) } else { (hand, lead) };
        let entry = from.entry("Alder 1", 40_000 + round, 1);
        eventually("the entry appears", STEP_TIME_MAX, || {
            (to.run(&["show", &entry]).code == Some(0)).then_some(())
        });
    }
    until_in_step(&[lead, hand]);
}

/// Records a well and so many entries of it.
fn history(device: &Device, count: usize) {
    history_with(device, count, 0);
}

/// As [`history`], with so many digits in each entry that cannot be packed into less than half.
fn history_with(device: &Device, count: usize, digits: usize) {
    device.well("Alder 1");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut digit = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        char::from_digit((seed >> 60) as u32, 16).unwrap()
    };
    let noise: Vec<String> = (0..count).map(|_| (0..digits).map(|_| digit()).collect()).collect();
    let row = |minute: usize| {
        let row = json!({
            "wellId": "Alder 1", "entryType": "PRODUCTION", "recordedAt": minute_of_march(minute),
            "data": {"oilVolume": minute % 97},
            "notes": format!("entry {minute} {}", noise[minute]),
        });
        format!("{row}\n")
    };
    let rows = (0..count).map(row).collect();
    device.start_with(&["record", "field_entry", "--from", "-"], Some(rows)).finish().ok();
    assert_eq!(device.ids("field_entry").len(), count);
}

/// The bytes that a conversation with a peer moved.
fn moved(peer: &Json) -> u64 {
    peer["bytesIn"].as_u64().unwrap() + peer["bytesOut"].as_u64().unwrap()
}

/// The number of batches that a device holds.
fn batches(device: &Device) -> u64 {
    device.json(&["status"])["batches"].as_u64().unwrap()
}
