//! Homes that older programs made are opened: all records are there, and they go on.
//!
//! `fixtures/make-home` says what is in them and makes one with any program.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::device::{Device, assert_in_step};
use crate::site::Site;

/// The first program that had homes: view 1, profile `fmh1`, log 1, no facts but the first five.
const FIRST: &str = "1";
/// How large a fixture becomes at the most.
const SIZE_MAX: usize = 32 * 1024 * 1024;
const COLLECTIONS: [&str; 2] = ["well", "field_entry"];

/// Unpacks a fixture into a folder; gives the device and what its program exported.
fn unpacked(site: &Site, version: &str, folder: &str) -> (Device, [String; 2]) {
    let name = format!("tests/net/fixtures/home-{version}.tar.zst");
    let packed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let folder = site.path(folder);
    fs::create_dir(&folder).unwrap();
    let mut tar = Command::new("tar")
        .args(["--extract", "--directory"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = zstd::bulk::decompress(&packed, SIZE_MAX).unwrap();
    tar.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(tar.wait().unwrap().success());
    let exported = COLLECTIONS
        .map(|collection| fs::read_to_string(folder.join(format!("{collection}.jsonl"))).unwrap());
    (site.device("lead").at_home(folder.join("home")), exported)
}

fn exports(device: &Device) -> [String; 2] {
    COLLECTIONS.map(|collection| device.export(collection))
}

#[test]
fn a_home_of_the_first_program_has_all_its_records_and_goes_on() {
    let site = Site::new();
    let (lead, exported) = unpacked(&site, FIRST, "fixture");
    assert!(fs::read(lead.home.join("profile")).unwrap().starts_with(b"fmh1"));
    for _ in 0..2 {
        assert_eq!(exports(&lead), exported);
        lead.verify();
    }
    let entry = lead.entry("Birch 2", 7, 70);
    assert!(lead.ids("field_entry").contains(&entry));

    // It invites, and what it had sealed and what it had not travels.
    let daemon = lead.daemon();
    let hand = site.device("hand");
    hand.join(&lead.invite("manager"));
    hand.sync(&daemon.address());
    daemon.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_home_of_the_first_program_is_written_in_the_formats_of_today() {
    let site = Site::new();
    let (lead, before) = unpacked(&site, FIRST, "fixture");
    lead.ok(&["compact"]);
    lead.verify();
    assert_eq!(exports(&lead), before);
    // Profile `fmh2`, and one segment of several, with entries in blocks under another key.
    lead.ok(&["rekey"]);
    assert!(fs::read(lead.home.join("profile")).unwrap().starts_with(b"fmh2"));
    let segments = fs::read_dir(lead.home.join("store/log")).unwrap().map(|it| it.unwrap().path());
    let segment = fs::read(segments.min().unwrap()).unwrap();
    assert_eq!(segment[8..10], [0, 4]);
    lead.verify();
    assert_eq!(exports(&lead), before);
    // And through a backup.
    let backup = site.path("lead.backup");
    lead.ok(&["backup", backup.to_str().unwrap()]);
    let restored = lead.at_home(site.path("restored"));
    restored.ok(&["restore", backup.to_str().unwrap()]);
    restored.verify();
    assert_eq!(exports(&restored), before);
}

/// The view of an older version is removed, file by file, before the log makes it anew.
#[test]
fn a_home_whose_upgrade_was_killed_at_any_step_has_all_its_records() {
    let site = Site::new();
    for removed in 0.. {
        let (lead, exported) = unpacked(&site, FIRST, &format!("fixture-{removed}"));
        let view = lead.home.join("store/view");
        let mut files: Vec<_> = fs::read_dir(&view).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        if removed > files.len() {
            assert!(removed > 2, "a view has a few files");
            break;
        }
        for path in &files[..removed] {
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        if removed == files.len() {
            fs::remove_dir(&view).unwrap();
        }
        // A kill leaves no word of a close in order.
        fs::remove_file(lead.home.join("store/clean")).unwrap();
        assert_eq!(exports(&lead), exported, "{removed} removed");
        lead.verify();
    }
}
