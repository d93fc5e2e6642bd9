//! Devices and relays that hold a part: what one lacks comes from another, and nobody gets more
//! than he asked for.

use serde_json::Value as Json;

use crate::device::{Device, STEP_TIME_MAX, assert_in_step};
use crate::process::eventually;
use crate::site::Site;

#[test]
fn what_one_relay_lacks_arrives_through_the_other() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (first, here) = site.relay().of(&lead);
    let (second, there) = site.relay_named("second").of(&lead);
    lead.well("Alder 1");
    let winter = entry_of(&lead, "2026-01-07T08:00:00Z");
    let spring = entry_of(&lead, "2026-03-07T08:00:00Z");
    part(&lead, &here, &["well", "field_entry@2026-03"]);
    part(&lead, &there, &["field_entry"]);

    hand.sync(&here);
    assert_eq!((hand.ids("well").len(), hand.ids("field_entry")), (1, vec![spring.clone()]));
    hand.sync(&there);
    assert_eq!(hand.ids("field_entry"), sorted([winter, spring]));
    assert_in_step(&[&lead, &hand]);
    // The relays were no bridge to each other until a device that holds both parts meets them.
    hand.sync(&here);
    hand.sync(&there);
    for address in [&here, &there] {
        let report = lead.sync(address);
        assert_eq!(moved(&report), (0, 0), "{report}");
    }
    first.stop();
    second.stop();
}

#[test]
fn a_daemon_that_exchanges_a_part_holds_nothing_else_and_says_what_it_keeps_to_itself() {
    let site = Site::new();
    let [lead, hand, third] = site.crew(["lead", "hand", "third"]);
    lead.well("Alder 1");
    entry_of(&lead, "2026-01-07T08:00:00Z");
    let theirs = lead.daemon();
    let arguments = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &theirs.address()];
    let only = ["--only", "well", "--only", "field_entry@2026-03"];
    let ours = hand.daemon_with(&[&arguments[..], &only].concat());
    until_shown(&hand, "Alder 1");
    // What is pushed while both are connected is held to the same part.
    entry_of(&lead, "2026-02-07T08:00:00Z");
    let spring = entry_of(&lead, "2026-03-07T08:00:00Z");
    let well = ["name=Beech 2", "apiNumber=42-227-30002", "status=ACTIVE"];
    lead.record("well", &well);
    until_shown(&hand, &spring);
    until_shown(&hand, "Beech 2");
    hand.sync(&theirs.address());
    assert_eq!(hand.ids("field_entry"), std::slice::from_ref(&spring));
    let status = hand.json(&["status"]);
    assert_eq!(status["batches"], 3, "{status:#}");
    assert_eq!(status["only"], serde_json::json!(["well", "field_entry@2026-03"]));

    // Work outside of the part is kept, stays here, and that is told.
    let own = entry_of(&hand, "2026-01-09T08:00:00Z");
    hand.sync(&theirs.address());
    assert_eq!(hand.json(&["status"])["notSent"], 1);
    assert_eq!(hand.json(&["show", &own])["safe"], "here");
    lead.run(&["show", &own]).code(4);
    // Nobody can be led to believe that a whole exchange takes place.
    let with = ["sync", "--no-mdns", "--only", "*", "--with", &theirs.address()];
    hand.run(&with).code(2).says(&["field_entry@2026-03", "--only"]);

    // Whoever asks the partial one gets what it exchanges, no more.
    third.sync(&ours.address());
    assert_eq!((third.ids("well").len(), third.ids("field_entry")), (2, vec![spring]));
    ours.stop();
    // Without the option everything is exchanged again.
    hand.sync(&theirs.address());
    third.sync(&theirs.address());
    theirs.stop();
    assert_in_step(&[&lead, &hand, &third]);
    assert_eq!(lead.ids("field_entry").len(), 4);
}

#[test]
fn two_parts_that_have_nothing_in_common_meet_without_harm() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    entry_of(&lead, "2026-01-07T08:00:00Z");
    let entries = ["--listen", "127.0.0.1:0", "--no-mdns", "--only", "field_entry"];
    let theirs = lead.daemon_with(&entries);
    let report = part(&hand, &theirs.address(), &["well"]);
    assert_eq!(moved(&report), (0, 0), "{report}");
    assert_eq!(hand.json(&["status"])["batches"], 0);
    part(&hand, &theirs.address(), &["*@2026-02"]);
    assert_eq!(hand.json(&["status"])["batches"], 0);
    hand.sync(&theirs.address());
    assert_eq!((hand.ids("well").len(), hand.ids("field_entry").len()), (0, 1));
    theirs.stop();
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

/// Comes into step with one address about a part.
#[track_caller]
fn part(device: &Device, address: &str, only: &[&str]) -> Json {
    let mut arguments = vec!["sync", "--no-mdns", "--timeout", "60", "--with", address];
    only.iter().for_each(|region| arguments.extend(["--only", region]));
    let report = device.json(&arguments);
    assert_eq!(report["result"], "ok", "{report}");
    report
}

/// How many batches were received and sent.
#[track_caller]
fn moved(report: &Json) -> (u64, u64) {
    let peer = &report["peers"][0];
    let count = |name| peer[name].as_u64().unwrap_or_else(|| panic!("no {name}: {report}"));
    (count("received"), count("sent"))
}

fn entry_of(device: &Device, at: &str) -> String {
    let entry = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1", "--at", at];
    device.record("field_entry", &entry)
}

#[track_caller]
fn until_shown(device: &Device, record: &str) {
    eventually("the record arrives", STEP_TIME_MAX, || {
        (device.run(&["show", record]).code == Some(0)).then_some(())
    });
}

fn sorted<const N: usize>(mut ids: [String; N]) -> [String; N] {
    ids.sort();
    ids
}
