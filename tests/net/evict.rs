//! A device with a small disk lets old months go; the relay and the others keep them.

use serde_json::Value as Json;

use crate::device::{Device, STEP_TIME_MAX, assert_in_step};
use crate::process::eventually;
use crate::site::Site;
use crate::small_disk::SmallDisk;

const WINTER: usize = 600;

#[test]
fn a_device_that_lets_old_months_go_gets_smaller_and_has_them_back_when_it_wants() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let (relay, address) = site.relay().of(&lead);
    lead.well("Alder 1");
    let old = winter(&site, &lead);
    let spring = entry_of(&lead, "2026-03-07T08:00:00Z");
    lead.sync(&address);
    hand.sync(&address);
    let edited = &old[old.len() / 2];
    hand.ok(&["edit", edited, "notes=seen by another"]);
    let held = evict(&hand, &["--before", "2026-03", "--dry-run"]);
    assert_eq!(held["records"], 0, "an edit that is only here keeps its month: {held}");
    hand.sync(&address);
    lead.sync(&address);
    let expected = lead.export("field_entry");

    // Nobody is there to be asked.
    hand.run(&["evict", "--before", "2026-03"]).code(2).says(&["--yes"]);
    let daemon = hand.daemon();
    let before = size(&hand);
    let report = evict(&hand, &["--before", "2026-03", "--yes"]);
    assert_eq!((&report["records"], &report["kept"]["since"]), (&WINTER.into(), &"2026-03".into()));
    let after = size(&hand);
    assert!(after * 2 < before, "{before} bytes before, {after} after: {report}");
    hand.run(&["show", edited]).code(4).says(&["let go", "--back-to 2026-01"]);
    assert_eq!(hand.ids("field_entry"), std::slice::from_ref(&spring));
    hand.ok(&["list", "field_entry"]).says(&["since 2026-03"]);
    hand.ok(&["status"]).says(&["holds", "field_entry", "since 2026-03"]);
    hand.ok(&["verify"]).says(&["clean", "600 records from before 2026-03 let go"]);
    fetches_nothing(&hand, &address);
    daemon.stop();
    fetches_nothing(&hand, &address);
    hand.verify();
    // What others go on doing to what is gone does not come here.
    lead.ok(&["edit", edited, "notes=seen once more"]);
    lead.sync(&address);
    fetches_nothing(&hand, &address);
    assert_eq!(lead.ids("field_entry").len(), WINTER + 1);
    assert_ne!(lead.export("field_entry"), expected);

    hand.ok(&["evict", "--back-to", "2026-01"]);
    hand.sync(&address);
    assert_in_step(&[&lead, &hand]);
    assert_eq!(hand.export("field_entry"), lead.export("field_entry"));
    hand.verify();
    lead.verify();
    hand.ok(&["evict", "--auto", "1"]).says(&["by itself"]);
    hand.ok(&["status"]).says(&["lets go"]);
    let daemon = hand.daemon();
    eventually("what is old goes by itself", STEP_TIME_MAX, || {
        (hand.ids("field_entry") == std::slice::from_ref(&spring)).then_some(())
    });
    daemon.stop();
    hand.verify();
    relay.stop();
}

#[test]
fn a_disk_that_is_too_full_to_record_is_emptied_by_letting_old_months_go() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("disk"), "128m") else { return };
    let [lead] = site.crew(["lead"]);
    let full = site.device("full").at_home(disk.path("full"));
    let (relay, address) = site.relay().of(&lead);
    let daemon = lead.daemon();
    full.join(&lead.invite("manager"));
    daemon.stop();
    lead.well("Alder 1");
    winter(&site, &lead);
    let spring = entry_of(&lead, "2026-03-07T08:00:00Z");
    lead.sync(&address);
    for _ in 0..2 {
        full.sync(&address);
    }
    disk.fill();
    let entry = ["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"];
    full.run(&entry).code(7).says(&["mib free", "fieldmesh evict"]);
    let outcome = full.ok(&["--json", "evict", "--before", "2026-03", "--yes"]);
    let report = outcome.lines().pop().unwrap();
    assert_eq!(report["records"], WINTER, "{report}");
    // What is meant to go is no loss, and nobody is to look for a cause.
    assert!(!outcome.stderr.contains("put back"), "{}", outcome.stderr);
    assert_eq!(full.ids("field_entry"), [spring]);
    full.ok(&["evict", "--auto", "2"]);
    full.ok(&["evict", "--back-to", "2026-01"]);
    disk.empty();
    full.sync(&address);
    assert_in_step(&[&lead, &full]);
    full.verify();
    relay.stop();
}

/// What the command reports behind its progress.
#[track_caller]
fn evict(device: &Device, arguments: &[&str]) -> Json {
    let outcome = device.ok(&[&["--json", "evict"], arguments].concat());
    outcome.lines().pop().unwrap()
}

/// Imports entries of January and gives their ids.
fn winter(site: &Site, device: &Device) -> Vec<String> {
    let well = device.ids("well").remove(0);
    let mut rows = String::from("wellId,entryType,recordedAt,oilVolume,notes\n");
    for number in 0..WINTER {
        let (day, hour) = (1 + number / 24, number % 24);
        let noise: String = (0..40).map(|it| format!("{:x}", (number + 7) * (it + 131))).collect();
        rows += &format!("{well},PRODUCTION,2026-01-{day:02}T{hour:02}:00:00Z,{number},{noise}\n");
    }
    let file = site.file("winter.csv", rows);
    device.ok(&["import", &file, "--collection", "field_entry"]);
    device.ids("field_entry")
}

fn entry_of(device: &Device, at: &str) -> String {
    let entry = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1", "--at", at];
    device.record("field_entry", &entry)
}

#[track_caller]
fn fetches_nothing(device: &Device, address: &str) {
    let report = device.sync(address);
    assert_eq!(report["peers"][0]["received"], 0, "{report}");
}

/// The bytes of a home's log.
fn size(device: &Device) -> u64 {
    device.json(&["status"])["disk"]["log"].as_u64().unwrap()
}
