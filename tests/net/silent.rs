//! A peer that goes silent with the connection open: nobody else waits for it, nobody
//! counts on it, and it goes on when it is back.

use std::fmt::Write as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::device::{Daemon, STEP_TIME_MAX, assert_in_step, minute_of_march, until_in_step};
use crate::process::eventually;
use crate::site::Site;

/// More than what may be on its way to one peer.
const ENTRIES: usize = 3_000;

#[test]
fn a_peer_that_does_not_read_delays_no_other_and_is_not_counted_on() {
    let site = Site::new();
    let [lead, mute, hand] = site.crew(["lead", "mute", "hand"]);
    lead.well("Alder 1");
    [&mute, &hand].into_iter().for_each(|device| device.meet(&lead));
    let office = lead.daemon();
    let arguments = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &office.address()];
    let theirs = mute.daemon_with(&arguments);
    let first = lead.entry("Alder 1", 0, 1);
    eventually("they are connected", STEP_TIME_MAX, || {
        (mute.run(&["show", &first]).code == Some(0)).then_some(())
    });
    signal(&theirs, Signal::STOP);

    let file = site.file("entries.ndjson", entries(1));
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    hand.sync(&office.address());
    assert_eq!(hand.ids("field_entry").len(), ENTRIES + 1);
    // Nobody calls safe, or held by others, what the silent one has not acknowledged.
    let places = lead.json(&["status"])["places"].clone();
    assert_eq!(places["safe"], 0, "{places}");
    let last = lead.ids("field_entry").pop().unwrap();
    assert_eq!(lead.json(&["show", &last])["safe"], "devices:1");

    signal(&theirs, Signal::CONT);
    until_in_step(&[&lead, &mute]);
    theirs.stop();
    office.stop();
    assert_in_step(&[&lead, &mute, &hand]);
}

#[test]
fn a_device_that_sleeps_in_the_middle_of_a_sync_goes_on_when_it_wakes() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let file = site.file("entries.ndjson", entries(0));
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    let office = lead.daemon();
    let arguments = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &office.address()];
    let theirs = hand.daemon_with(&arguments);
    eventually("the sync has begun", STEP_TIME_MAX, || {
        (hand.json(&["status"])["batches"] != 0).then_some(())
    });
    signal(&theirs, Signal::STOP);
    // Whoever turns to the sleeping one is told in the time that he gave.
    let with = ["sync", "--no-mdns", "--timeout", "3", "--with", &theirs.address()];
    lead.run(&with).code(5).says(&[&theirs.address(), "3 s"]);
    signal(&theirs, Signal::CONT);
    until_in_step(&[&lead, &hand]);
    theirs.stop();
    office.stop();
    assert_in_step(&[&lead, &hand]);
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn entries(from: usize) -> String {
    let mut lines = String::new();
    for minute in from..from + ENTRIES {
        let at = minute_of_march(minute);
        let _ = writeln!(
            lines,
            r#"{{"wellId":"Alder 1","entryType":"PRODUCTION","recordedAt":"{at}","data":{{"oilVolume":{minute}}}}}"#
        );
    }
    lines
}

#[test]
fn a_command_whose_daemon_was_stopped_ends_and_names_the_process() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let office = lead.daemon();
    signal(&office, Signal::STOP);
    let pid = format!("process {}", office.pid());
    lead.run(&["list", "well"]).code(1).says(&[&pid, "kill -CONT"]);
    signal(&office, Signal::CONT);
    lead.ok(&["list", "well"]);
    office.stop();
}
