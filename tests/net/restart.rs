//! Files lost or damaged between two starts: what can be rebuilt is, the rest is told.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::device::{Device, assert_in_step, minute_of_march};
use crate::site::Site;

#[test]
fn everything_is_back_after_the_view_is_deleted() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    lead.ok(&["edit", &entry, "oilVolume=6"]);
    hand.ok(&["edit", &entry, "oilVolume=7"]);
    hand.meet(&lead);
    for minute in 1..30 {
        hand.entry("Alder 1", minute, minute);
    }
    hand.meet(&lead);
    lead.entry("Alder 1", 500, 1);
    let shown = |device: &Device| {
        let conflicts = device.ok(&["--json", "conflicts"]).stdout;
        let history = device.ok(&["--json", "history", &entry]).stdout;
        let status = device.json(&["status"]);
        let state = (status["root"].clone(), status["batches"].clone(), status["unsealed"].clone());
        (device.export("well"), device.export("field_entry"), conflicts, history, state)
    };
    let before = shown(&lead);
    fs::remove_dir_all(lead.home.join("store/view")).unwrap();
    assert_eq!(shown(&lead), before);
    lead.verify();
    lead.ok(&["show", "Alder 1"]);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_damaged_view_is_put_aside_and_made_again() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    for minute in 0..20 {
        lead.entry("Alder 1", minute, minute);
    }
    let before = lead.export("field_entry");
    for name in ["store/view/db", "store/view/conf"] {
        let path = lead.home.join(name);
        let size = fs::metadata(&path).unwrap().len();
        fs::write(&path, vec![0x5a; usize::try_from(size).unwrap()]).unwrap();
        assert!(lead.export("field_entry") == before, "{name} was damaged");
        lead.verify();
    }
}

#[test]
fn a_log_gone_bad_is_told_costs_nothing_that_others_have_and_other_entries_are_still_there() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    for minute in 0..40 {
        lead.entry("Alder 1", minute, minute);
    }
    hand.meet(&lead);
    let (segment, size) = segments(&lead).pop().unwrap();
    // What is damaged is not the end of the log, which a power cut may tear.
    lead.entry("Alder 1", 900, 1);
    let all = lead.ids("field_entry").len();
    for offset in (FRAMES_START + 100..size).step_by(200) {
        flip(&segment, offset);
    }
    let report = lead.run(&["--json", "verify"]).code(7).json();
    assert_eq!(report["clean"], false);
    let faults = report["faults"].as_array().unwrap();
    assert!(!faults.is_empty(), "{report:#}");
    let name = segment.file_stem().unwrap().to_str().unwrap().trim_start_matches('0');
    assert!(faults[0].as_str().unwrap().contains(name), "{report:#}");
    // The view still shows what it has, and other entries are recorded beside it.
    assert!(lead.ids("field_entry").len() >= all - 1);
    lead.entry("Alder 1", 1_000, 1);
    // Made again from what is left, what was hit is missing, and that is said.
    fs::remove_dir_all(lead.home.join("store/view")).unwrap();
    lead.run(&["doctor"]).code(7).says(&["sync"]);
    hand.meet(&lead);
    assert_eq!(hand.export("field_entry"), lead.export("field_entry"));
    assert_eq!(hand.ids("field_entry").len(), all + 1);
    hand.verify();
}

#[test]
fn whichever_byte_of_the_log_flips_the_home_opens_and_misses_at_most_what_it_hit() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let entries: String = (0..20)
        .map(|minute| {
            let at = minute_of_march(minute);
            let data = serde_json::json!({"oilVolume": minute});
            let row = serde_json::json!({
                "wellId": "Alder 1", "entryType": "PRODUCTION", "recordedAt": at, "data": data,
            });
            format!("{row}\n")
        })
        .collect();
    lead.ok(&["record", "field_entry", "--from", &site.file("entries.jsonl", entries)]);
    let all = lead.ids("field_entry");
    let (segment, size) = segments(&lead).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    assert!(end > size / 2);
    let mut told = 0;
    for step in 0..40 {
        fs::write(&segment, &whole).unwrap();
        flip(&segment, end * step / 39);
        let verified = lead.run(&["--json", "verify"]);
        assert!(matches!(verified.code, Some(0 | 7)), "{verified:#?}");
        told += usize::from(verified.code == Some(7));
        fs::remove_dir_all(lead.home.join("store/view")).unwrap();
        let left = lead.run(&["export", "field_entry"]).ok();
        let left = left.lines().len();
        // One frame holds one change; a broken one may hide that of the well, so no names.
        assert!(left + 1 >= all.len(), "{left} of {} at {step}", all.len());
    }
    assert!(told >= 15, "only {told} of 40 flips were told");
    fs::write(&segment, &whole).unwrap();
    fs::remove_dir_all(lead.home.join("store/view")).unwrap();
    assert_eq!(lead.ids("field_entry"), all);
    // The disk is sound again: nothing is listed once somebody says that he knows what was.
    lead.ok(&["doctor", "--accept"]);
    lead.verify();
}

#[test]
fn a_flipped_byte_is_healed_by_the_next_sync() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    for minute in 0..40 {
        lead.entry("Alder 1", minute, minute);
    }
    hand.meet(&lead);
    let whole = lead.export("field_entry");
    let (segment, size) = segments(&hand).into_iter().max_by_key(|(_, size)| *size).unwrap();
    flip(&segment, size - 200);
    fs::remove_dir_all(hand.home.join("store/view")).unwrap();
    let (ours, theirs) = (lead.ids("field_entry"), hand.ids("field_entry"));
    assert!(theirs.len() <= ours.len());
    hand.meet(&lead);
    assert!(hand.export("field_entry") == whole);
}

#[test]
fn a_backup_that_lacks_something_is_no_success_and_the_home_made_of_it_says_so() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    for minute in 0..10 {
        lead.entry("Alder 1", minute, minute);
    }
    let (segment, size) = segments(&lead).pop().unwrap();
    // What is damaged is not the end of the log, which a power cut may tear.
    lead.entry("Alder 1", 900, 1);
    for offset in (FRAMES_START + 100..size).step_by(200) {
        flip(&segment, offset);
    }
    let file = site.path("lead.backup");
    let file = file.to_str().unwrap();
    let written = lead.run(&["backup", file]).code(7).says(&["could not be read"]);
    assert!(!written.stdout.contains("found whole"), "{}", written.stdout);
    lead.run(&["backup", "--check", file]).code(7).says(&["could not be read"]);
    let restored = lead.at_home(site.path("restored"));
    let made = restored.run(&["restore", file]).code(7);
    made.says(&["could not be read", "not in this home"]);
    restored.run(&["doctor"]).code(7).says(&["when this home was backed up"]);
}

#[test]
fn a_torn_tail_costs_nothing_that_was_acknowledged() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    for minute in 0..10 {
        lead.entry("Alder 1", minute, minute);
    }
    let before = lead.export("field_entry");
    for garbage in [&[0x00; 7][..], &[0xff; 300], b"half a frame"] {
        let (segment, _) = segments(&lead).pop().unwrap();
        OpenOptions::new().append(true).open(&segment).unwrap().write_all(garbage).unwrap();
        assert!(lead.export("field_entry") == before);
    }
    lead.entry("Alder 1", 100, 1);
    assert_eq!(lead.ids("field_entry").len(), 11);
    hand.meet(&lead);
    assert_eq!(hand.export("field_entry"), lead.export("field_entry"));
}

#[test]
fn a_tail_torn_through_the_last_entry_costs_only_that_one() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    for minute in 0..10 {
        lead.entry("Alder 1", minute, minute);
    }
    let (segment, size) = segments(&lead).pop().unwrap();
    assert!(size > 200, "{size}");
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(size - 20).unwrap();
    drop(file);
    assert!(lead.ids("field_entry").len() >= 9);
    lead.entry("Alder 1", 100, 1);
    // What is shown of it can be handed to nobody, which is said until it is given up.
    lead.run(&["doctor"]).code(7).says(&["lost"]);
    lead.ok(&["doctor", "--accept"]);
    hand.meet(&lead);
    assert_eq!(hand.export("field_entry"), lead.export("field_entry"));
    assert!(hand.ids("field_entry").len() >= 10);
}

#[test]
fn a_home_put_back_from_an_older_copy_does_not_fork_and_gets_its_entries_back() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    let copy = site.path("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&lead.home).arg(&copy).status();
    assert!(copied.unwrap().success());
    for minute in 1..6 {
        lead.entry("Alder 1", minute, minute);
    }
    hand.meet(&lead);
    fs::remove_dir_all(&lead.home).unwrap();
    fs::rename(&copy, &lead.home).unwrap();
    // It does not know so far that it is behind itself.
    for minute in 10..13 {
        lead.entry("Alder 1", minute, minute);
    }
    hand.meet(&lead);
    hand.meet(&lead);
    lead.entry("Alder 1", 20, 1);
    hand.meet(&lead);
    assert_eq!(hand.ids("field_entry").len(), 10);
    assert_in_step(&[&lead, &hand]);
}

/// Where frames begin in a segment that is written frame by frame.
const FRAMES_START: u64 = 4_176;

/// The files of a home's log in order, with their sizes.
fn segments(device: &Device) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(device.home.join("store/log")).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"))
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

/// Changes one byte of a file.
fn flip(path: &PathBuf, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], offset).unwrap();
}
