//! What opens a home is changed, and its data key is: with the real program, killed on the way.
//!
//! Goal: nothing recorded is lost, the old secret opens nothing it should not, and every refusal
//! leaves the home as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::device::{Device, minute_of_march};
use crate::process::{eventually, skipped};
use crate::site::Site;

/// The class of what cannot be opened.
const LOCKED: Option<i32> = Some(7);
const USAGE: Option<i32> = Some(2);
/// How long a rekey of a small home may take.
const REKEY_TIME_MAX: Duration = Duration::from_secs(60);

fn with_passphrases(device: &Device, old: &'static str, new: &'static str) -> Device {
    device.with(move |mut command| {
        command.env("FIELDMESH_PASSPHRASE", old).env("FIELDMESH_NEW_PASSPHRASE", new);
        command
    })
}

#[test]
fn the_new_passphrase_opens_everything_and_the_old_one_nothing() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let new = "four words about rain";
    with_passphrases(&lead, "a long walk to the well", new).ok(&["passphrase", "change"]);
    let old = lead.run(&["list", "well"]);
    assert_eq!(old.code, LOCKED, "{}", old.stderr);
    assert!(old.stderr.contains("the passphrase is wrong"), "{}", old.stderr);
    let lead = with_passphrases(&lead, new, "");
    assert_eq!(lead.ids("well").len(), 1);

    // To a key file and back, and to the one in its usual place.
    let file = site.path("home.key");
    let name = file.to_str().unwrap();
    lead.ok(&["passphrase", "change", "--to-key-file", name]);
    assert_eq!(lead.run(&["list", "well"]).code, LOCKED);
    assert_eq!(lead.ok(&["--key-file", name, "export", "well"]).stdout.lines().count(), 1);
    lead.ok(&["--key-file", name, "passphrase", "change", "--to-usual-key-file"]);
    assert_eq!(lead.ids("well").len(), 1);
    let keys = site.path("config/fieldmesh/keys");
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    let lead = with_passphrases(&lead, "a long walk to the well", "a long walk to the well");
    lead.ok(&["passphrase", "change"]);
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 0, "the key file opens old copies");
    lead.verify();
}

#[test]
fn a_change_that_is_refused_leaves_the_home_as_it_was() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let before = fs::read(lead.home.join("profile")).unwrap();
    let wrong = with_passphrases(&lead, "a wrong one", "new").run(&["passphrase", "change"]);
    assert_eq!(wrong.code, LOCKED, "{}", wrong.stderr);
    let empty = with_passphrases(&lead, "a long walk to the well", "");
    let refused = empty.run(&["passphrase", "change"]);
    assert_eq!(refused.code, USAGE, "{}", refused.stderr);
    let unasked = lead.run(&["passphrase", "change"]);
    assert_eq!(unasked.code, USAGE, "{}", unasked.stderr);
    let daemon = lead.daemon();
    let new = with_passphrases(&lead, "a long walk to the well", "four words about rain");
    let held = new.run(&["passphrase", "change"]);
    assert_eq!(held.code, LOCKED);
    assert!(held.stderr.contains("fieldmesh stop"), "{}", held.stderr);
    daemon.stop();
    let open_to_others = site.file("open.key", [7; 32]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&open_to_others, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let shared = lead.run(&["passphrase", "change", "--to-key-file", &open_to_others]);
    assert_eq!(shared.code, LOCKED, "{}", shared.stderr);
    assert_eq!(fs::read(lead.home.join("profile")).unwrap(), before);
    lead.verify();
}

#[test]
fn the_keyring_opens_a_home_until_it_is_told_to_forget() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let silent = lead.with(|mut command| {
        command.env_remove("FIELDMESH_PASSPHRASE");
        command
    });
    assert_eq!(silent.run(&["list", "well"]).code, LOCKED);
    let remembered = lead.run(&["passphrase", "remember"]);
    if remembered.code != Some(0) {
        assert_eq!(remembered.code, LOCKED, "{}", remembered.stderr);
        assert!(remembered.stderr.contains("keyring"), "{}", remembered.stderr);
        return skipped(&format!("no keyring here: {}", remembered.stderr.trim()));
    }
    assert_eq!(silent.ids("well").len(), 1);
    // It changes nothing that only the passphrase may, and goes along with what that does.
    assert_eq!(silent.run(&["passphrase", "change"]).code, LOCKED);
    assert_eq!(silent.run(&["rekey"]).code, LOCKED);
    lead.ok(&["rekey"]);
    assert_eq!(silent.ids("well").len(), 1);
    silent.ok(&["passphrase", "forget"]);
    assert_eq!(silent.run(&["list", "well"]).code, LOCKED);
    lead.verify();
}

#[test]
fn after_a_rekey_an_old_profile_opens_nothing() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    lead.entry("Alder 1", 0, 1);
    let old = fs::read(lead.home.join("profile")).unwrap();
    let outcome = lead.ok(&["rekey"]);
    assert!(outcome.stderr.contains("new key"), "{}", outcome.stderr);
    lead.entry("Alder 1", 1, 2);
    lead.verify();
    hand.meet(&lead);
    assert_eq!(hand.ids("field_entry").len(), 2);
    // What is found by its value is found as before.
    let found = lead.ok(&["--json", "list", "field_entry", "--where", "wellId=Alder 1"]);
    assert_eq!(found.stdout.lines().count(), 2);
    assert!(lead.json(&["status"])["rekey"].is_null());

    let new = fs::read(lead.home.join("profile")).unwrap();
    fs::write(lead.home.join("profile"), &old).unwrap();
    let refused = lead.run(&["list", "well"]);
    assert_eq!(refused.code, LOCKED, "{}", refused.stderr);
    fs::write(lead.home.join("profile"), &new).unwrap();
    lead.ok(&["rekey"]);
    lead.verify();
}

#[test]
fn a_rekey_that_is_killed_goes_on_and_loses_nothing_that_was_printed() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let mut printed = BTreeSet::new();
    let entries: String = (0..600).map(entry).collect();
    let file = site.file("entries.jsonl", entries);
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    printed.extend(lead.ids("field_entry"));
    for round in 0..6_u64 {
        let daemon = lead.daemon();
        let minute = usize::try_from(round).unwrap();
        if lead.json(&["status"])["rekey"].is_null() {
            let rekey = lead.start(&["rekey"]);
            printed.insert(lead.entry("Alder 1", 40_000 + minute, 1));
            std::thread::sleep(Duration::from_millis(round * round * 5));
            daemon.kill();
            rekey.finish();
        } else {
            std::thread::sleep(Duration::from_millis(round * round * 5));
            daemon.kill();
        }
        lead.verify();
    }
    let daemon = lead.daemon();
    eventually("the rekey is done", REKEY_TIME_MAX, || {
        lead.json(&["status"])["rekey"].is_null().then_some(())
    });
    daemon.stop();
    assert_eq!(lead.ids("field_entry").into_iter().collect::<BTreeSet<_>>(), printed);
    assert_eq!(left_over(&lead.home), Vec::<String>::new());
    lead.verify();
}

fn entry(minute: usize) -> String {
    let at = minute_of_march(minute);
    let row = serde_json::json!({
        "wellId": "Alder 1", "entryType": "PRODUCTION", "recordedAt": at,
        "data": {"oilVolume": minute},
    });
    format!("{row}\n")
}

/// Files that a write left half done.
fn left_over(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".new") || name.ends_with(".old") {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            found.extend(left_over(&path));
        }
    }
    found
}
