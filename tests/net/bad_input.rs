//! What people get wrong: each has its exit code, a message that helps, and loses nothing.

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, SystemTime};

use crate::device::{Device, assert_in_step};
use crate::process::eventually;
use crate::site::Site;
use crate::small_disk::SmallDisk;

/// One thing to get wrong: the command, its exit code, and words that have to be said.
type Mistake = (&'static [&'static str], i32, &'static [&'static str]);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    (&["record", "pumps", "name=Beech"], 4, &["no collection \"pumps\"", "well, user, field_entry"]),
    (&["list", "pumps"], 4, &["no collection \"pumps\"", "well, user, field_entry"]),
    (&["export", "pumps"], 4, &["no collection \"pumps\""]),
    (&["schema", "show", "pumps"], 4, &["no collection \"pumps\"", "well, user, field_entry"]),
    (&["schema", "check", "no-such.toml"], 4, &["no-such.toml"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolumme=5"], 6,
     &["oilVolumme", "did you mean oilVolume"]),
    (&["list", "well", "--where", "nme=x"], 6, &["nme", "name"]),
    (&["list", "field_entry", "--where", "oilVolume>lots"], 6, &["lots", "a number"]),
    (&["list", "well", "--cursor", "00ff"], 2, &["no cursor", "last page"]),
    (&["list", "well", "--sort", "nme"], 6, &["nme", "name"]),
    (&["list", "well", "--author", "nobody"], 4, &["person", "nobody"]),
    (&["approve", "Alder 1", "--yes"], 2, &["well records count without approval", "approve = "]),
    (&["approve", "Nowhere", "--yes"], 4, &["Nowhere"]),
    (&["approve", "Alder 1", "Alder 1", "--expect", "3b"], 2, &["--expect is for one record"]),
    (&["edit", "--all", "well", "status=LOST"], 6, &["cannot be changed", "none was"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=lots"], 6,
     &["data.oilVolume", "must be a number"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=INSPECTION", "leaksDetected=maybe"], 6,
     &["data.leaksDetected"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PAINTING", "oilVolume=1"], 6,
     &["entryType", "PRODUCTION, INSPECTION", "MAINTENANCE"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=-5", "runtime=25"], 6,
     &["data.oilVolume: Oil volume cannot be negative", "data.runtime: Runtime must be between 0 and 24 hours"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=5", "latitude=91", "longitude=0"], 6,
     &["latitude"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=NaN"], 6,
     &["data.oilVolume"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1e999"], 6,
     &["data.oilVolume"]),
    (&["record", "field_entry", "wellId=Nowhere", "entryType=PRODUCTION", "oilVolume=5"], 6,
     &["wellId", "not found"]),
    (&["record", "field_entry", "entryType=PRODUCTION", "oilVolume=5"], 6, &["wellId", "required"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=5",
       "recordedAt=2026-02-31T00:00:00Z"], 6, &["recordedAt", "2026-03-01T08:30:00Z"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=5", "--at", "2026-02-31"], 2,
     &["--at", "2026-02-31", "yesterday 17:00"]),
    (&["record", "field_entry", "wellId=Alder 1", "entryType=INSPECTION", "nextInspectionDate=31.12.2026"], 6,
     &["data.nextInspectionDate"]),
    (&["list", "field_entry", "--since", "last week"], 2, &["--since", "last week"]),
    (&["record", "well", "name=Beech 2", "apiNumber=42-227-30001", "status=ACTIVE"], 6, &["API number", "in use"]),
    (&["record", "well", "name=Beech 2", "apiNumber=12345", "status=ACTIVE"], 6, &["apiNumber"]),
    (&["record", "well"], 2, &["FIELD=VALUE"]),
    (&["record", "well", "Beech 2"], 6, &["Beech 2", "="]),
    (&["edit", "Alder 1", "nme=x"], 6, &["nme", "name"]),
    (&["edit", "nothing", "name=x"], 4, &["nothing"]),
    (&["show", "nothing"], 4, &["nothing"]),
    (&["delete", "nothing"], 4, &["nothing"]),
    (&["history", "nothing"], 4, &["nothing"]),
    (&["devices", "show", "nobody"], 4, &["nobody"]),
    (&["devices", "revoke", "nobody", "--yes"], 4, &["nobody"]),
    (&["devices", "adopt", "nobody"], 4, &["nobody"]),
    (&["relay", "add", "https://relay.example.org"], 2, &["is no address", "relay.example.org"]),
    (&["relay", "add", "192.0.2.7:0"], 2, &["leads to nobody"]),
    (&["relay", "add", "192.0.2.7", "--no-check"], 2, &["--device"]),
    (&["relay", "add", "192.0.2.7", "--no-check", "--device", "nobody"], 4, &["device", "nobody"]),
    (&["relay", "add", "192.0.2.7", "--no-check", "--device", "lead"], 2, &["lead is no relay", "admin"]),
    (&["relay", "remove", "192.0.2.7"], 4, &["address of a relay", "192.0.2.7:7843"]),
    (&["sync", "--only", "welles"], 4, &["welles", "field_entry"]),
    (&["sync", "--only", "well@2026-13"], 2, &["well@2026-13", "2026-03"]),
    (&["conflicts", "show", "nothing"], 4, &["nothing"]),
    (&["conflicts", "resolve", "nothing", "--take", "A"], 4, &["nothing"]),
    (&["conflicts", "resolve", "nothing", "--take", "1"], 2, &["client, server, latest"]),
    (&["notices", "--seen", "nothing"], 4, &["nothing"]),
    (&["invite", "--role", "boss"], 2, &["boss"]),
    (&["invite", "--valid", "24"], 2, &["90m"]),
    (&["import", "absent.csv", "--collection", "well"], 4, &["absent.csv"]),
    (&["import", "wells.csv"], 2, &["--collection"]),
    (&["import", ".", "--collection", "well"], 2, &["folder"]),
    (&["import", "wells.csv", "--collection", "pumps"], 4, &["no collection \"pumps\""]),
    (&["import", "wells.csv", "--map", "absent.toml"], 4, &["absent.toml"]),
    (&["import", "wells.csv", "--map", "wells.csv"], 6, &["mapping"]),
    (&["import", "noise.bin", "--collection", "well"], 6, &["csv", "JSON"]),
    (&["import", "short.gz", "--collection", "well"], 6, &["gz"]),
    (&["import", "empty.csv", "--collection", "well"], 6, &["empty"]),
    (&["sync", "--no-mdns", "--with", "foo bar:99"], 5, &["foo bar:99", "192.0.2.7:7843"]),
    (&["sync", "--no-mdns", "--timeout", "soon"], 2, &["seconds"]),
    (&["run", "--listen", "somewhere"], 2, &["--listen"]),
    (&["tenant", "create", "Another"], 2, &["already holds a home", "--home"]),
    (&["backup", "wells.csv"], 2, &["wells.csv", "exists already"]),
    (&["backup", "nowhere/file"], 1, &["nowhere", "no such file"]),
    (&["backup", "more", "--since", "wells.csv"], 7, &["wells.csv", "no backup"]),
    (&["backup", "--check", "noise.bin"], 7, &["noise.bin", "no backup"]),
    (&["restore", "wells.csv"], 2, &["already holds a home", "--home"]),
    (&["purge", "Alder 1"], 2, &["cannot be taken back", "--yes"]),
    (&["purge", "nothing", "--yes"], 4, &["nothing"]),
    (&["purge", "--yes"], 2, &["<ID>"]),
    (&["record", "field_entry", "--critical"], 2, &["--critical"]),
];

#[test]
fn every_mistake_is_explained_with_its_exit_code_and_changes_nothing() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    lead.entry("Alder 1", 0, 5);
    files_for_mistakes(&site);
    let before = state(&lead);
    let mut faults = Vec::new();
    for (command, code, words) in MISTAKES {
        let outcome = lead.run(command);
        let told = format!("{}{}", outcome.stdout, outcome.stderr).to_lowercase();
        let unsaid: Vec<_> =
            words.iter().filter(|word| !told.contains(&word.to_lowercase())).collect();
        if outcome.code != Some(*code) || !unsaid.is_empty() {
            faults.push(format!("{command:?}: expected {code}, unsaid {unsaid:?}: {outcome:#?}"));
        }
        // A sync that failed gives its report all the same.
        if told.contains("panicked") || (*code != 5 && !outcome.stdout.is_empty()) {
            faults.push(format!("{command:?} printed a result: {outcome:#?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(state(&lead), before);
    lead.verify();
}

#[test]
fn mistakes_through_a_daemon_are_told_as_without_one() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    files_for_mistakes(&site);
    let alone: Vec<_> = MISTAKES.iter().map(|(command, ..)| lead.run(command)).collect();
    let daemon = lead.daemon();
    for (alone, (command, ..)) in alone.iter().zip(MISTAKES) {
        let served = lead.run(command);
        assert_eq!((&served.stderr, served.code), (&alone.stderr, alone.code), "{command:?}");
    }
    daemon.stop();
    lead.verify();
}

#[test]
fn a_csv_with_broken_rows_imports_the_others_and_names_every_refused_one() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    let rows = "name,apiNumber,status\n\
                Alder 1,42-227-30001,ACTIVE\n\
                Beech 2,42-227-30002\n\
                Cedar 3,42-227-30003,ASLEEP\n\
                \"Dogwood 4,42-227-30004,ACTIVE\n";
    let file = site.file("wells.csv", rows);
    let outcome = lead.run(&["--json", "import", &file, "--collection", "well"]).code(6);
    let report = outcome.json();
    assert_eq!((&report["rows"], &report["imported"]), (&4.into(), &1.into()), "{outcome:#?}");
    assert_eq!(report["refused"], 3);
    let refused = lead.run(&["import", &file, "--collection", "well"]).code(6);
    for words in ["row 2", "row 3", "status", "row 4"] {
        assert!(refused.stderr.to_lowercase().contains(words), "{words}: {refused:#?}");
    }
    assert_eq!(lead.ids("well").len(), 1);
    lead.verify();
}

#[test]
fn an_invitation_serves_once_and_only_in_time_and_nothing_else_is_taken_for_one() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    let daemon = lead.daemon();
    let invitation = lead.invite("operator");
    let first = site.device("first");
    first.join(&invitation);
    let second = site.device("second");
    second.run(&["join", &invitation]).code(3).says(&["used", "invit"]);
    let brief = lead.json(&["invite", "--valid", "1s"])["invitation"].as_str().unwrap().to_owned();
    let issued = SystemTime::now();
    eventually("the invitation expires", Duration::from_secs(30), || {
        (issued.elapsed().unwrap() > Duration::from_secs(1)).then_some(())
    });
    second.run(&["join", &brief]).code(3).says(&["expired", "invit"]);
    for garbage in ["", "hello", "fieldmesh1", "fieldmesh1aaaaaaaaaaaaaaaa"] {
        second.run(&["join", garbage]).code(3).says(&["invitation"]);
    }
    let (start, end) = invitation.split_at(40);
    let swapped = if end.starts_with('a') { 'b' } else { 'a' };
    let typo = format!("{start}{swapped}{}", &end[1..]);
    second.run(&["join", &typo]).code(3).says(&["damaged", "copy it again"]);
    assert!(!second.home.exists(), "a refused join left a home behind");
    first.run(&["join", &invitation]).code(2).says(&["already holds a home"]);
    // The refusals used up nothing of the next invitation.
    let next = lead.invite("operator");
    let pasted = format!("  {}\n {}\n", &next[..50], &next[50..]);
    second.start_with(&["join", "-"], Some(pasted)).finish().ok();
    assert_eq!(lead.ok(&["--json", "devices"]).lines().len(), 3);
    daemon.stop();
}

#[test]
fn an_invitation_is_of_no_use_at_a_device_of_another_tenant() {
    let site = Site::new();
    let (ours, theirs) = (site.device("ours"), site.device("theirs"));
    ours.found("Gulf Crew");
    theirs.found("Basin Crew");
    let daemon = ours.daemon();
    let address = daemon.address();
    let invitation = ours.invite("operator");
    daemon.stop();
    // The other tenant's device listens where the invitation points to.
    let daemon = theirs.daemon_with(&["--no-mdns", "--listen", &address]);
    let stranger = site.device("stranger");
    let outcome = stranger.run(&["join", &invitation]);
    assert!(matches!(outcome.code, Some(3 | 5)), "{outcome:#?}");
    outcome.says(&["invit"]);
    assert!(!stranger.home.exists());
    assert_eq!(theirs.ok(&["--json", "devices"]).lines().len(), 1);
    daemon.stop();
}

#[test]
fn a_peer_of_another_tenant_gets_nothing_and_gives_nothing() {
    let site = Site::new();
    let (ours, theirs) = (site.device("ours"), site.device("theirs"));
    for (device, tenant) in [(&ours, "Gulf Crew"), (&theirs, "Basin Crew")] {
        device.found(tenant);
        device.well("Alder 1");
    }
    let before = (ours.export("well"), theirs.export("well"));
    let daemon = theirs.daemon();
    let sync = ["sync", "--no-mdns", "--timeout", "10", "--with", &daemon.address()];
    let outcome = ours.run(&sync);
    // Whoever proves to be a stranger is a matter of trust, not of the network.
    assert!(matches!(outcome.code, Some(3 | 5)), "{outcome:#?}");
    outcome.says(&["tenant"]);
    assert_eq!(theirs.ok(&["--json", "peers"]).stdout, "");
    daemon.stop();
    assert_eq!((ours.export("well"), theirs.export("well")), before);
}

#[test]
fn without_a_network_a_sync_says_whom_it_tried_and_a_join_who_has_to_serve() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    // A port on which nobody answers, held so that nobody takes it meanwhile.
    let silence = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = silence.local_addr().unwrap().to_string();
    let entry = lead.well("Alder 1");
    lead.run(&["sync", "--no-mdns", "--timeout", "2", "--with", &nobody]).code(5).says(&[&nobody]);
    lead.run(&["sync", "--no-mdns", "--with", "relay.invalid"]).code(5).says(&["relay.invalid"]);
    assert_eq!(lead.ids("well"), [entry]);
    let daemon = lead.daemon();
    let invitation = lead.invite("operator");
    daemon.stop();
    let outsider = site.device("outsider");
    outsider.run(&["join", &invitation]).code(5).says(&["nobody serves this invitation", "invite"]);
    assert!(!outsider.home.exists(), "a join that reached nobody left a home behind");
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_device_that_knows_nobody_is_told_how_to_name_somebody() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.run(&["sync", "--no-mdns"]).code(5).says(&["nobody to sync with", "--with"]);
}

#[test]
fn a_home_that_a_process_holds_is_not_opened_by_a_second_one() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    let daemon = lead.daemon();
    let before = state(&lead);
    // Without the same runtime folder the second process cannot find the daemon's socket.
    let elsewhere = site.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let blind = lead.with(move |mut command| {
        command.env("XDG_RUNTIME_DIR", &elsewhere);
        command
    });
    let pid = daemon.pid().to_string();
    blind.run(&["list", "well"]).code(7).says(&["in use by another process", &pid, "stop it"]);
    assert_eq!(state(&lead), before);
    daemon.stop();
    blind.ok(&["list", "well"]);
}

#[test]
fn a_wrong_or_missing_passphrase_opens_nothing_and_harms_nothing() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    let said = |passphrase: &'static str| {
        lead.with(move |mut command| {
            command.env("FIELDMESH_PASSPHRASE", passphrase);
            command
        })
    };
    said("another walk").run(&["list", "well"]).code(7).says(&["passphrase", "wrong"]);
    said("").run(&["list", "well"]).code(7).says(&["locked", "FIELDMESH_PASSPHRASE"]);
    said("another walk").run(&["record", "well", "name=B"]).code(7);
    lead.run(&["--key-file", "absent.key", "list", "well"]).code(7).says(&["passphrase"]);
    assert_eq!(lead.ids("well").len(), 1);
    lead.verify();
}

#[test]
fn a_home_without_passphrase_needs_its_key_file_and_names_it() {
    let site = Site::new();
    let lead = site.device("lead").with(|mut command| {
        command.env_remove("FIELDMESH_PASSPHRASE");
        command
    });
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    let config = site.path("config");
    let away = site.path("away");
    fs::rename(&config, &away).unwrap();
    lead.run(&["list", "well"]).code(7).says(&["key file", "config"]);
    lead.run(&["--key-file", "absent.key", "list", "well"]).code(7).says(&["absent.key"]);
    fs::rename(&away, &config).unwrap();
    assert_eq!(lead.ids("well").len(), 1);
}

#[test]
fn a_command_where_no_home_is_says_how_to_make_one() {
    let site = Site::new();
    let nobody = site.device("nobody");
    for command in [&["list", "well"][..], &["sync"], &["run"], &["status"], &["verify"]] {
        nobody.run(command).code(4).says(&["no fieldmesh home", "tenant create", "join"]);
    }
    nobody.ok(&["stop"]).says(&["No daemon runs"]);
    assert!(!nobody.home.exists());
}

#[test]
fn what_a_role_may_not_do_is_refused_and_says_who_may() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    let hand = site.device("hand");
    let daemon = lead.daemon();
    hand.join(&lead.invite("operator"));
    hand.sync(&daemon.address());
    let theirs = lead.entry("Alder 1", 0, 1);
    hand.sync(&daemon.address());
    hand.run(&["record", "well", "name=B", "apiNumber=42-227-30002", "status=ACTIVE"])
        .code(3)
        .says(&["operator", "admin"]);
    hand.run(&["edit", "Alder 1", "status=PLUGGED"]).code(3).says(&["operator"]);
    hand.run(&["edit", &theirs, "oilVolume=9"]).code(3).says(&["operator"]);
    hand.run(&["invite"]).code(3).says(&["invite"]);
    daemon.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_keeps_what_was_acknowledged() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("disk"), "128m") else { return };
    let lead = site.device("lead").at_home(disk.path("lead"));
    lead.found("Gulf Crew");
    lead.well("Alder 1");
    let mut recorded = vec![lead.entry("Alder 1", 0, 1)];
    disk.fill();
    let refusal = (1..10_000).find_map(|minute| {
        let at = crate::device::minute_of_march(minute);
        let notes = format!("notes={}", "windy ".repeat(1_000));
        let outcome = lead.run(&[
            "record",
            "field_entry",
            "wellId=Alder 1",
            "entryType=PRODUCTION",
            "oilVolume=1",
            "--at",
            &at,
            &notes,
        ]);
        match outcome.code {
            Some(0) => {
                recorded.push(outcome.stdout.trim().to_owned());
                None
            }
            _ => Some(outcome),
        }
    });
    refusal.unwrap().code(7).says(&["disk", "free some space"]);
    // The reserve is gone by now: not a byte is free, and reading works all the same.
    disk.fill();
    assert_eq!(lead.ids("field_entry").len(), recorded.len());
    disk.empty();
    recorded.sort();
    let mut found = lead.ids("field_entry");
    found.sort();
    assert_eq!(found, recorded);
    lead.verify();
    lead.entry("Alder 1", 20_000, 1);
}

#[test]
fn a_disk_that_fills_up_under_a_daemon_loses_nothing_and_it_goes_on_once_there_is_room() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("disk"), "128m") else { return };
    let [lead, full] = site.crew(["lead", "full"]);
    let status =
        std::process::Command::new("mv").arg(&full.home).arg(disk.folder()).status().unwrap();
    assert!(status.success());
    let full = full.at_home(disk.path("full"));
    lead.well("Alder 1");
    full.meet(&lead);
    let notes = "windy ".repeat(1_000);
    let rows: String = (0..300)
        .map(|minute| {
            let at = crate::device::minute_of_march(minute);
            let data = serde_json::json!({"oilVolume": minute});
            let row = serde_json::json!({
                "wellId": "Alder 1", "entryType": "PRODUCTION", "recordedAt": at, "data": data,
                "notes": format!("{minute} {notes}"),
            });
            format!("{row}\n")
        })
        .collect();
    let file = site.file("entries.jsonl", rows);
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    let mut daemon = full.daemon();
    disk.fill();
    let outcome = full.run(&["record", "field_entry", "--from", &file]);
    outcome.code(7).says(&["disk", "free some space"]);
    disk.fill();
    full.ok(&["list", "field_entry"]);
    assert!(daemon.is_alive());
    disk.empty();
    full.entry("Alder 1", 20_000, 1);
    lead.sync(&daemon.address());
    daemon.stop();
    full.meet(&lead);
    full.verify();
    lead.verify();
}

#[test]
fn a_device_whose_disk_is_full_still_hands_its_entries_to_others() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("disk"), "128m") else { return };
    let [lead] = site.crew(["lead"]);
    let full = site.device("full").at_home(disk.path("full"));
    let daemon = lead.daemon();
    full.join(&lead.invite("manager"));
    lead.well("Alder 1");
    full.sync(&daemon.address());
    let entries: Vec<String> = (0..5).map(|minute| full.entry("Alder 1", minute, 1)).collect();
    disk.fill();
    let sync = ["sync", "--no-mdns", "--timeout", "20", "--with", &daemon.address()];
    let outcome = full.run(&sync);
    assert_eq!(lead.ids("field_entry"), entries, "{outcome:#?}");
    daemon.stop();
}

#[test]
fn a_device_whose_disk_is_full_says_so_in_a_sync_and_comes_into_step_once_there_is_room() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("disk"), "128m") else { return };
    let [lead] = site.crew(["lead"]);
    let full = site.device("full").at_home(disk.path("full"));
    let daemon = lead.daemon();
    full.join(&lead.invite("manager"));
    lead.well("Alder 1");
    full.sync(&daemon.address());
    let rows: String = (0..2_000)
        .map(|minute| {
            let row = serde_json::json!({
                "wellId": "Alder 1", "entryType": "PRODUCTION",
                "recordedAt": crate::device::minute_of_march(minute),
                "data": {"oilVolume": minute}, "notes": noise(minute),
            });
            format!("{row}\n")
        })
        .collect();
    let file = site.file("entries.jsonl", rows);
    lead.ok(&["import", &file, "--collection", "field_entry"]);
    disk.fill();
    let sync = ["sync", "--no-mdns", "--timeout", "20", "--with", &daemon.address()];
    let outcome = full.run(&sync);
    assert!(matches!(outcome.code, Some(5 | 7)), "{outcome:#?}");
    outcome.says(&["disk", "free some space"]);
    disk.empty();
    full.sync(&daemon.address());
    daemon.stop();
    assert_in_step(&[&lead, &full]);
}

/// The files that [`MISTAKES`] name.
fn files_for_mistakes(site: &Site) {
    site.file("wells.csv", "name,apiNumber,status\nBeech 2,42-227-30002,ACTIVE\n");
    site.file("noise.bin", (0..4_096_u32).map(|n| ((n * n) >> 3) as u8).collect::<Vec<_>>());
    site.file("short.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
    site.file("empty.csv", "");
}

/// Some 400 characters that no compression makes small.
fn noise(seed: usize) -> String {
    let mut state = seed as u64 + 1;
    (0..25)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            format!("{:016x}", state ^ state >> 29)
        })
        .collect()
}

/// Everything that a mistake must not change.
fn state(device: &Device) -> (String, String, String) {
    let records = device.json(&["status"])["records"].to_string();
    (device.export("well"), device.export("field_entry"), records)
}
