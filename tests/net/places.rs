//! Where a record is: only here, on other devices, or safe with a relay. What is called safe is
//! still there when the power fails, and nothing is called safe that is not.

use std::fs;
use std::path::Path;

use crate::device::{Device, assert_in_step};
use crate::site::Site;

#[test]
fn a_record_is_here_then_on_devices_then_safe_on_all_that_hold_it() {
    let site = Site::new();
    let [lead, hand, third] = site.crew(["lead", "hand", "third"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    third.meet(&lead);
    let entry = hand.entry("Alder 1", 0, 1);
    assert_eq!(place(&hand, &entry), "here");
    hand.ok(&["show", &entry]).says(&["only here"]);
    hand.meet(&lead);
    assert_eq!(
        (place(&hand, &entry), place(&lead, &entry)),
        ("devices:1".into(), "devices:1".into())
    );
    hand.meet(&third);
    assert_eq!(place(&hand, &entry), "devices:2");
    hand.ok(&["list", "field_entry"]).says(&["on 2 devices"]);
    assert_eq!(places(&hand), (0, 2, 0));

    let (relay, address) = site.relay().of(&lead);
    // Only whoever has heard it from the relay says so.
    lead.sync(&address);
    assert_eq!((place(&lead, &entry), place(&hand, &entry)), ("relay".into(), "devices:2".into()));
    hand.sync(&address);
    assert_eq!(place(&hand, &entry), "relay");
    assert_eq!(places(&hand), (0, 0, 2));
    // A record is where the least of its changes is.
    hand.ok(&["edit", &entry, "oilVolume=2"]);
    assert_eq!((place(&hand, &entry), places(&hand)), ("here".into(), (1, 0, 1)));
    hand.sync(&address);
    assert_eq!(place(&hand, &entry), "relay");
    relay.stop();
}

#[test]
fn a_device_carries_the_word_of_the_relay_to_one_that_never_met_it() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let entry = hand.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    assert_eq!(place(&hand, &entry), "devices:1");
    let (relay, address) = site.relay().of(&lead);
    lead.sync(&address);
    relay.stop();
    hand.meet(&lead);
    assert_eq!((place(&lead, &entry), place(&hand, &entry)), ("relay".into(), "relay".into()));
    assert_eq!(places(&hand), (0, 0, 2));
    // It is kept: a home that is opened anew, and one whose view is made anew, still say so.
    fs::remove_dir_all(hand.home.join("store/view")).unwrap();
    assert_eq!(place(&hand, &entry), "relay");
}

#[test]
fn what_was_called_safe_is_on_a_relay_that_was_killed_right_then() {
    let site = Site::new();
    let [lead, hand, fresh] = site.crew(["lead", "hand", "fresh"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (mut running, address) = relay.of(&lead);
    let mut told = Vec::new();
    for round in 0..4 {
        (0..5).for_each(|minute| told.push(hand.entry("Alder 1", 10 * round + minute, 1)));
        hand.sync(&address);
        running.kill();
        assert!(told.iter().all(|entry| place(&hand, entry) == "relay"), "round {round}");
        running = relay.start_at(&address);
    }
    // The device that knew of them is lost.
    fs::remove_dir_all(&hand.home).unwrap();
    fresh.sync(&address);
    told.sort();
    assert_eq!(fresh.ids("field_entry"), told);
    lead.sync(&address);
    assert_in_step(&[&lead, &fresh]);
    running.stop();
}

#[test]
fn a_relay_put_back_from_an_older_copy_makes_nobody_believe_what_it_has_lost() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    lead.sync(&address);
    running.stop();
    let (data, copy) = (site.path("relay"), site.path("relay-copy"));
    copy_folder(&data, &copy);

    let running = relay.start_at(&address);
    let entry = hand.entry("Alder 1", 0, 1);
    hand.sync(&address);
    lead.sync(&address);
    assert_eq!((place(&hand, &entry), place(&lead, &entry)), ("relay".into(), "relay".into()));
    running.stop();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    let running = relay.start_at(&address);
    // The well was in the copy, the entry was not. Whoever hears of it without giving the entry
    // back has to stop believing; a whole sync puts it right.
    let part = ["sync", "--no-mdns", "--with", &address, "--only", "well"];
    hand.ok(&part);
    assert_ne!(place(&hand, &entry), "relay");
    lead.sync(&address);
    assert_eq!(places(&lead), (0, 0, 2));
    running.kill();
    let running = relay.start_at(&address);
    let fresh = site.device("fresh");
    let office = lead.daemon();
    fresh.join(&lead.invite("operator"));
    office.stop();
    lead.sync(&address);
    fresh.sync(&address);
    assert_eq!(fresh.ids("field_entry"), [entry]);
    running.stop();
}

/// Where one record is.
#[track_caller]
fn place(device: &Device, record: &str) -> String {
    device.json(&["show", record])["safe"].as_str().unwrap().to_owned()
}

/// How many records are only here, on other devices, and safe.
#[track_caller]
fn places(device: &Device) -> (u64, u64, u64) {
    let status = device.json(&["status"]);
    let count = |name: &str| status["places"][name].as_u64().unwrap();
    (count("here"), count("onDevices"), count("safe"))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
