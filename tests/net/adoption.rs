//! Work of a revoked device that was not known when it was revoked: kept, listed with what to do,
//! and counting again once an admin says so, in whatever order the crew hears of it.

use serde_json::Value as Json;

use crate::device::{Device, STEP_TIME_MAX, assert_in_step};
use crate::process::eventually;
use crate::site::Site;

#[test]
fn what_a_revoked_device_wrote_later_is_listed_with_what_to_do() {
    let site = Site::new();
    let [lead, hand, third] = site.crew(["lead", "hand", "third"]);
    let known = scene(&lead, &[&hand, &third]);
    let late = hand.entry("Alder 1", 1, 1);
    hand.meet(&third);
    assert_eq!(third.ids("field_entry").len(), 2);
    lead.ok(&["devices", "revoke", "hand", "--reason", "stolen in Odessa", "--yes"]);
    third.meet(&lead);
    // What does not count is compared last, by devices that stay together for a while.
    together(&lead, &third, || aside(&lead).len() == 1);

    for device in [&lead, &third] {
        assert_eq!(device.ids("field_entry"), std::slice::from_ref(&known), "{}", device.name);
        device.ok(&["status"]).says(&["quarantined", "1"]);
        let listed = aside(device);
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert_eq!(listed[0]["record"], late.as_str());
        let id = listed[0]["id"].as_str().unwrap();
        let words = ["stolen in odessa", "hand", "fieldmesh devices adopt"];
        device.ok(&["conflicts", "show", id]).says(&words);
        device.ok(&["conflicts", "--kind", "quarantine"]).says(&["quarantine", "hand"]);
    }
    // Whoever may not, is told who may; and it changes nothing.
    third.run(&["devices", "adopt", "hand"]).code(3).says(&["admin"]);
    assert_eq!(aside(&third).len(), 1);
    // The advice, as it is given.
    let batch = aside(&lead)[0]["batch"]["batch"].as_str().unwrap().to_owned();
    lead.ok(&["devices", "adopt", "hand", &batch[batch.len() - 8..]]);
    assert_eq!(lead.ids("field_entry").len(), 2);
    lead.run(&["devices", "adopt", "hand"]).code(4).says(&["hand"]);
    third.meet(&lead);
    assert_eq!((aside(&lead).len(), aside(&third).len()), (0, 0));
    assert_in_step(&[&lead, &third]);
}

#[test]
fn what_does_not_count_reaches_the_admin_where_all_only_ever_sync_with_a_relay() {
    let site = Site::new();
    let [lead, hand, third] = site.crew(["lead", "hand", "third"]);
    scene(&lead, &[&hand, &third]);
    hand.entry("Alder 1", 1, 1);
    hand.meet(&third);
    let (relay, address) = site.relay().of(&lead);
    lead.ok(&["devices", "revoke", "hand", "--yes"]);
    [&lead, &third, &third, &lead].into_iter().for_each(|device| drop(device.sync(&address)));
    assert_eq!(aside(&third).len(), 1);
    assert_eq!(aside(&lead).len(), 1, "whoever may let it count never hears of it");
    relay.stop();
}

#[test]
fn revocation_work_and_adoption_are_heard_in_every_order_and_all_show_the_same() {
    let site = Site::new();
    let [lead, hand, carrier] = site.crew(["lead", "hand", "carrier"]);
    let orders = ["wra", "rwa", "raw", "arw"];
    let listeners = orders.map(|order| site.device(order));
    let office = lead.daemon();
    for listener in &listeners {
        listener.join(&lead.invite("operator"));
    }
    office.stop();
    let crew: Vec<&Device> = [&hand, &carrier].into_iter().chain(&listeners).collect();
    scene(&lead, &crew);
    hand.entry("Alder 1", 1, 1);
    hand.entry("Alder 1", 2, 1);
    hand.meet(&carrier);
    // Each of the three sources knows one thing more than the crew.
    let work = snapshot(&site, &hand, "work");
    lead.ok(&["devices", "revoke", "hand", "--yes"]);
    let revoked = snapshot(&site, &lead, "revoked");
    lead.meet(&carrier);
    assert_eq!(aside(&lead).len(), 1);
    lead.ok(&["devices", "adopt", "hand"]);
    let adopted = snapshot(&site, &lead, "adopted");
    for (listener, order) in listeners.iter().zip(orders) {
        for source in order.chars() {
            let source = match source {
                'w' => &work,
                'r' => &revoked,
                _ => &adopted,
            };
            // Whom the listener has learned to refuse it cannot hear.
            let daemon = source.daemon();
            let address = daemon.address();
            listener.run(&["sync", "--no-mdns", "--timeout", "5", "--with", &address]);
            daemon.kill();
        }
        listener.meet(&lead);
        assert_eq!(aside(listener).len(), 0, "{order}");
    }
    let all: Vec<&Device> = [&lead].into_iter().chain(&listeners).collect();
    assert_in_step(&all);
    assert_eq!(lead.ids("field_entry").len(), 3);
}

#[test]
fn two_admins_who_revoke_each_other_apart_agree_when_they_meet() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    let [first, second, third] = ["first", "second", "third"].map(|name| site.device(name));
    let office = lead.daemon();
    for (device, role) in [(&first, "admin"), (&second, "admin"), (&third, "operator")] {
        device.join(&lead.invite(role));
    }
    office.stop();
    scene(&lead, &[&first, &second, &third]);
    // An admin is outranked by whoever holds the authority of the tenant only.
    first.run(&["devices", "revoke", "second", "--yes"]).code(3);
    first.run(&["devices", "revoke", "lead", "--yes"]).code(3);
    lead.run(&["devices", "revoke", "lead", "--yes"]).code(2).says(&["another"]);
    // What an admin does that is revoked meanwhile, elsewhere, goes with it.
    first.ok(&["devices", "revoke", "third", "--yes"]);
    lead.ok(&["devices", "revoke", "first", "--reason", "gone rogue", "--yes"]);
    second.meet(&lead);
    // A device that is shut out tells the others nothing; that it was is what it hears.
    let office = second.daemon();
    first
        .run(&["sync", "--no-mdns", "--timeout", "10", "--with", &office.address()])
        .code(3)
        .says(&["gone rogue", "by the tenant's authority", "a new invitation"]);
    office.stop();
    first.ok(&["status"]).says(&["revoked"]);
    third.meet(&second);
    assert_eq!(third.json(&["status"])["state"], "ready");
    for device in [&lead, &second, &third] {
        let devices = device.ok(&["--json", "devices"]).lines();
        let gone: Vec<_> = devices.iter().filter(|it| !it["revoked"].is_null()).collect();
        assert_eq!(gone.len(), 1, "{}: {gone:#?}", device.name);
        assert_eq!(gone[0]["name"], "first");
    }
    assert_in_step(&[&lead, &second, &third]);
}

/// A well and an entry by the second, known to all.
fn scene(lead: &Device, others: &[&Device]) -> String {
    lead.well("Alder 1");
    others[0].meet(lead);
    let known = others[0].entry("Alder 1", 0, 1);
    others[0].meet(lead);
    others[1..].iter().for_each(|other| other.meet(lead));
    known
}

/// Has two daemons connected until something holds.
#[track_caller]
fn together(office: &Device, other: &Device, holds: impl Fn() -> bool) {
    let first = office.daemon();
    let to = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &first.address()];
    let second = other.daemon_with(&to);
    eventually("it is so on both", STEP_TIME_MAX, || holds().then_some(()));
    second.stop();
    first.stop();
}

/// What does not count on a device.
#[track_caller]
fn aside(device: &Device) -> Vec<Json> {
    device.ok(&["--json", "conflicts", "--kind", "quarantine"]).lines()
}

/// The device as it is at this time, to be met later.
fn snapshot(site: &Site, device: &Device, name: &str) -> Device {
    let copy = site.path(name);
    let done = std::process::Command::new("cp").arg("-a").arg(&device.home).arg(&copy).status();
    assert!(done.unwrap().success());
    device.at_home(copy)
}

#[test]
fn a_batch_is_discarded_on_one_device_and_adopted_on_all_from_the_inbox() {
    let site = Site::new();
    let [lead, hand, third] = site.crew(["lead", "hand", "third"]);
    scene(&lead, &[&hand, &third]);
    hand.entry("Alder 1", 1, 1);
    hand.meet(&third);
    lead.ok(&["devices", "revoke", "hand", "--yes"]);
    third.meet(&lead);
    together(&lead, &third, || aside(&lead).len() == 1);
    let id = aside(&lead)[0]["id"].as_str().unwrap().to_owned();
    let resolve = |device: &Device, how: &str| device.run(&["conflicts", "resolve", &id, how]);

    // Whoever may not, is told who may; and it changes nothing.
    resolve(&third, "--adopt").code(3).says(&["admin"]);
    resolve(&lead, "--discard").ok().says(&["discarded", "on this device alone", "--reopen"]);
    assert_eq!((aside(&lead).len(), aside(&third).len()), (0, 1));
    assert_eq!(lead.ok(&["--json", "conflicts", "--closed"]).lines().len(), 1);
    assert_eq!(lead.json(&["status"])["quarantined"], 0);
    let daemon = lead.daemon();
    resolve(&lead, "--reopen").ok().says(&["open"]);
    daemon.stop();
    assert_eq!(aside(&lead).len(), 1);
    resolve(&lead, "--adopt").ok().says(&["adopted", "every device"]);
    assert_eq!(lead.ids("field_entry").len(), 2);
    third.meet(&lead);
    assert_eq!((aside(&lead).len(), aside(&third).len()), (0, 0));
    assert_in_step(&[&lead, &third]);
    resolve(&lead, "--adopt").code(2).says(&["adopted"]);
}
