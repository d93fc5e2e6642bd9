//! Killed with SIGKILL at any time: what was acknowledged is there afterwards, and syncs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::device::{Device, assert_in_step, minute_of_march};
use crate::process::eventually;
use crate::site::Site;

/// How long a process may take to do what it is to be killed in.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_command_killed_while_it_records_loses_no_id_that_it_printed() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let mut printed = BTreeSet::new();
    // One after the other, each killed a little later in its life than the one before.
    for round in 0..40 {
        let at = minute_of_march(round);
        let running = lead.start(&[
            "record",
            "field_entry",
            "wellId=Alder 1",
            "entryType=PRODUCTION",
            "oilVolume=1",
            "--at",
            &at,
        ]);
        let life = Duration::from_millis(u64::try_from(round).unwrap() * 2);
        std::thread::sleep(life);
        printed.extend(running.kill().words());
    }
    check(&lead, &printed);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_command_killed_while_it_records_many_loses_no_id_that_it_printed() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let mut printed = BTreeSet::new();
    for (round, count) in [1, 7, 40, 3, 90, 150].into_iter().enumerate() {
        let input = entries("Alder 1", round * 5_000, 5_000);
        let mut running = lead.start_with(&["record", "field_entry", "--from", "-"], Some(input));
        for _ in 0..count {
            printed.insert(running.line().trim().to_owned());
        }
        printed.extend(running.kill().words());
    }
    assert!(printed.len() >= 291);
    check(&lead, &printed);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_daemon_killed_while_many_record_through_it_loses_no_id_that_was_printed() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let mut printed = BTreeSet::new();
    for round in 0..4 {
        let daemon = lead.daemon();
        let mut writers: Vec<_> = (0..3)
            .map(|writer| {
                let input = entries("Alder 1", (round * 3 + writer) * 3_000, 3_000);
                lead.start_with(&["record", "field_entry", "--from", "-"], Some(input))
            })
            .collect();
        for writer in &mut writers {
            for _ in 0..=(round * 20) {
                printed.insert(writer.line().trim().to_owned());
            }
        }
        daemon.kill();
        for writer in writers {
            let outcome = writer.finish();
            assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
            printed.extend(outcome.words());
        }
    }
    check(&lead, &printed);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn whoever_is_killed_during_a_sync_comes_into_step_with_the_next_one() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    let file = site.file("entries.jsonl", entries("Alder 1", 0, 4_000));
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    let full = size(&lead.home);
    // The receiver first, at several points of the transfer, then the sender.
    for tenths in [0, 1, 3] {
        let daemon = lead.daemon();
        let before = size(&hand.home);
        let mut running = hand.start(&["sync", "--no-mdns", "--with", &daemon.address()]);
        eventually("a part of the entries arrives", BEGIN_TIME_MAX, || {
            let arrived = size(&hand.home).saturating_sub(before);
            (arrived > full * tenths / 40 || !running.is_alive()).then_some(())
        });
        running.kill();
        daemon.stop();
        hand.verify();
    }
    let daemon = lead.daemon();
    let before = size(&hand.home);
    let address = daemon.address();
    let mut running = hand.start(&["sync", "--no-mdns", "--timeout", "5", "--with", &address]);
    eventually("a part of the entries arrives", BEGIN_TIME_MAX, || {
        (size(&hand.home) > before || !running.is_alive()).then_some(())
    });
    daemon.kill();
    running.finish();
    lead.verify();
    hand.verify();
    hand.meet(&lead);
    assert_eq!(hand.ids("field_entry").len(), 4_000);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_relay_killed_while_it_receives_keeps_what_it_acknowledged_and_gets_the_rest() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let relay = site.relay();
    let (running, address) = relay.of(&lead);
    lead.sync(&address);
    let file = site.file("entries.jsonl", entries("Alder 1", 0, 3_000));
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    let before = size(&site.path("relay"));
    let mut sync = lead.start(&["sync", "--no-mdns", "--timeout", "5", "--with", &address]);
    eventually("a part of the entries arrives", BEGIN_TIME_MAX, || {
        (size(&site.path("relay")) > before || !sync.is_alive()).then_some(())
    });
    running.kill();
    sync.finish();
    let running = relay.start();
    lead.sync(&running.address());
    hand.sync(&running.address());
    running.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_device_killed_while_it_joins_joins_with_the_same_invitation_after_all() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    let daemon = lead.daemon();
    for round in 0..12 {
        let hand = site.device(&format!("hand{round}"));
        let invitation = lead.invite("operator");
        let running = hand.start(&["join", &invitation]);
        std::thread::sleep(Duration::from_millis(round * 12));
        running.kill();
        // Either it is a member already, or it becomes one in the same folder.
        let status = hand.run(&["status"]);
        if status.code != Some(0) {
            // There is no home, or it says that it is not whole.
            assert!(matches!(status.code, Some(4 | 7)), "{status:#?}");
            hand.join(&invitation);
        }
        hand.sync(&daemon.address());
        hand.verify();
    }
    daemon.stop();
}

#[test]
fn a_device_killed_while_it_founds_a_tenant_can_found_it_again() {
    let site = Site::new();
    for round in 0..12 {
        let lead = site.device(&format!("lead{round}"));
        let running = lead.start(&["tenant", "create", "Gulf Crew"]);
        std::thread::sleep(Duration::from_millis(round * 8));
        running.kill();
        let status = lead.run(&["status"]);
        if status.code != Some(0) {
            // There is no home, or it says that it is not whole.
            assert!(matches!(status.code, Some(4 | 7)), "{status:#?}");
            lead.found("Gulf Crew");
        }
        lead.well("Alder 1");
        lead.verify();
    }
}

/// Fails unless everything in `printed` exists and the home is sound.
#[track_caller]
fn check(device: &Device, printed: &BTreeSet<String>) {
    let found: BTreeSet<String> = device.ids("field_entry").into_iter().collect();
    let lost: Vec<&String> = printed.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), printed.len());
    device.verify();
}

/// JSON lines of production entries, a minute apart.
fn entries(well: &str, from: usize, count: usize) -> String {
    let entry = |minute| {
        let row = serde_json::json!({
            "wellId": well, "entryType": "PRODUCTION", "recordedAt": minute_of_spring(minute),
            "data": {"oilVolume": minute}, "notes": format!("entry {minute} of the well {well}"),
        });
        format!("{row}\n")
    };
    (from..from + count).map(entry).collect()
}

/// A minute that may lie beyond March.
fn minute_of_spring(minute: usize) -> String {
    let month = 1 + minute / (28 * 1_440);
    minute_of_march(minute % (28 * 1_440)).replacen("-03-", &format!("-{month:02}-"), 1)
}

/// Bytes of the log below a home or a relay's data.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) if entry.path().extension().is_some_and(|end| end == "log") => metadata.len(),
        _ => 0,
    });
    sizes.sum()
}
