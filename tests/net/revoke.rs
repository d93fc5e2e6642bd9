//! A device is lost, and the crew goes on without it: what is kept, what waits, what is erased.

use std::time::Duration;

use crate::process::eventually;
use crate::site::Site;

#[test]
fn a_lost_device_is_shut_out_by_one_command_and_its_known_work_is_kept() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    hand.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    // Nobody revokes by accident.
    lead.run(&["devices", "revoke", "hand"]).code(2).says(&["--yes"]);
    let report = lead.json(&["devices", "revoke", "hand", "--reason", "lost in the mud", "--yes"]);
    assert_eq!((&report["name"], &report["kept"]), (&"hand".into(), &1.into()), "{report}");
    let devices = lead.ok(&["--json", "devices"]).lines();
    let gone = devices.iter().find(|device| device["name"] == "hand").unwrap();
    assert_eq!(gone["revoked"]["reason"], "lost in the mud", "{gone}");
    lead.ok(&["devices", "show", "hand"]).says(&["revoked", "lost in the mud"]);
    assert_eq!(lead.ids("field_entry").len(), 1);
    lead.run(&["devices", "revoke", "hand", "--yes"]).code(2).says(&["already"]);
}

#[test]
fn a_stolen_device_whose_daemon_runs_erases_itself_and_says_why() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let mut theirs = hand.daemon();
    lead.ok(&["devices", "revoke", "hand", "--reason", "stolen", "--wipe", "--yes"]);
    // Whether this comes into step or not, the stolen device learns of it.
    lead.run(&["sync", "--with", &theirs.address(), "--no-mdns", "--timeout", "10"]);
    eventually("the daemon ends", Duration::from_secs(30), || (!theirs.is_alive()).then_some(()));
    for name in ["profile", "identity", "store"] {
        assert!(!hand.home.join(name).exists(), "{name} is still there");
    }
    hand.run(&["list", "well"]).code(3).says(&["revoked", "stolen"]);
}

#[test]
fn a_list_says_which_entries_are_only_here() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    lead.ok(&["list", "well"]).says(&["only here"]);
    hand.meet(&lead);
    let entry = hand.entry("Alder 1", 0, 1);
    assert_eq!(hand.json(&["show", &entry])["safe"], "here");
    hand.meet(&lead);
    assert_eq!(hand.json(&["show", &entry])["safe"], "devices:1");
    assert_eq!(hand.json(&["status"])["places"]["here"], 0);
}
