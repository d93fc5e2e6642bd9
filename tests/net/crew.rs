//! A crew's day without accidents: apart, together, in conflict, deleted, forwarded, live.

use crate::device::{STEP_TIME_MAX, assert_in_step, until_in_step};
use crate::process::eventually;
use crate::site::Site;

#[test]
fn two_devices_that_recorded_apart_show_the_same_after_one_sync() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    hand.meet(&lead);
    for minute in 0..10 {
        lead.entry("Alder 1", minute, 80 + minute);
        hand.entry("Alder 1", 100 + minute, 20 + minute);
    }
    let edited = lead.entry("Alder 1", 200, 5);
    hand.meet(&lead);
    lead.ok(&["edit", &edited, "oilVolume=6", "gasVolume=1"]);
    hand.ok(&["edit", &edited, "oilVolume=7", "waterVolume=2"]);
    hand.meet(&lead);

    assert_in_step(&[&lead, &hand]);
    assert_eq!(lead.ids("field_entry").len(), 21);
    let conflicts = lead.ok(&["--json", "conflicts"]).lines();
    assert_eq!(conflicts.len(), 1, "{conflicts:#?}");
    assert_eq!(conflicts[0]["record"], edited.as_str());
    assert_eq!(conflicts[0]["field"], "data.oilVolume");
    let mut values: Vec<_> = conflicts[0]["values"].as_array().unwrap().iter().collect();
    values.sort_by_key(|value| value["value"].as_f64().map(f64::to_bits));
    assert_eq!((&values[0]["value"], &values[1]["value"]), (&6.into(), &7.into()));
    let record = hand.json(&["show", &edited]);
    assert_eq!(record["fields"]["data"]["gasVolume"], 1, "{record}");
    assert_eq!(record["fields"]["data"]["waterVolume"], 2, "{record}");
}

#[test]
fn a_conflict_that_one_device_settles_is_gone_on_both() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entries: Vec<String> = (0..3).map(|minute| lead.entry("Alder 1", minute, 1)).collect();
    hand.meet(&lead);
    for entry in &entries {
        lead.ok(&["edit", entry, "oilVolume=6"]);
        hand.ok(&["edit", entry, "oilVolume=7"]);
    }
    hand.meet(&lead);
    let open = lead.ok(&["--json", "conflicts"]).lines();
    assert_eq!(open.len(), 3, "{open:#?}");
    let of = |entry: &String| {
        let found = open.iter().find(|conflict| conflict["record"] == entry.as_str()).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    hand.ok(&["conflicts", "resolve", &of(&entries[0]), "--take", "client"]);
    lead.ok(&["conflicts", "resolve", &of(&entries[1]), "--set", "oilVolume=9"]);
    hand.meet(&lead);
    assert_eq!(lead.ok(&["--json", "conflicts"]).lines().len(), 1);
    lead.ok(&["conflicts", "resolve", "--all", "--take", "latest", "--yes"]);
    hand.meet(&lead);

    assert_in_step(&[&lead, &hand]);
    assert_eq!(hand.ok(&["--json", "conflicts"]).lines(), Vec::<serde_json::Value>::new());
    let oil = |entry: &String| lead.json(&["show", entry])["fields"]["data"]["oilVolume"].clone();
    assert_eq!(entries.iter().map(oil).collect::<Vec<_>>(), [7, 9, 7]);
}

#[test]
fn the_same_conflict_settled_differently_apart_is_a_conflict_again_and_loses_neither() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    lead.ok(&["edit", &entry, "oilVolume=6"]);
    hand.ok(&["edit", &entry, "oilVolume=7"]);
    hand.meet(&lead);
    for (device, value) in [(&lead, "oilVolume=60"), (&hand, "oilVolume=70")] {
        let open = device.ok(&["--json", "conflicts"]).lines();
        let id = open[0]["id"].as_str().unwrap();
        device.ok(&["conflicts", "resolve", id, "--set", value]);
    }
    hand.meet(&lead);
    let open = lead.ok(&["--json", "conflicts"]).lines();
    assert_eq!(open.len(), 1, "{open:#?}");
    let values = open[0]["values"].as_array().unwrap();
    let mut values: Vec<_> = values.iter().map(|side| side["value"].as_i64().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, [60, 70]);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn what_is_deleted_here_is_deleted_there_and_can_be_restored_there() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    lead.ok(&["delete", &entry]);
    hand.meet(&lead);
    assert!(hand.ids("field_entry").is_empty());
    assert_eq!(hand.ok(&["--json", "list", "field_entry", "--deleted"]).lines().len(), 1);
    hand.ok(&["restore-record", &entry]);
    hand.meet(&lead);
    assert_eq!(lead.ids("field_entry"), [entry.as_str()]);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn an_edit_of_what_somebody_deleted_meanwhile_is_not_lost() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    lead.ok(&["delete", &entry]);
    hand.ok(&["edit", &entry, "oilVolume=7"]);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
    let open = lead.ok(&["--json", "conflicts", "--kind", "deleted-and-edited"]).lines();
    assert_eq!(open.len(), 1, "{open:#?}");
    lead.ok(&["restore-record", &entry]);
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
    assert_eq!(hand.json(&["show", &entry])["fields"]["data"]["oilVolume"], 7);
    assert_eq!(hand.ok(&["--json", "conflicts"]).stdout, "");
}

#[test]
fn history_names_who_wrote_what_on_every_device_alike() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    hand.ok(&["edit", &entry, "oilVolume=2", "notes=checked twice"]);
    hand.meet(&lead);
    let history = lead.ok(&["--json", "history", &entry]);
    assert_eq!(history.stdout, hand.ok(&["--json", "history", &entry]).stdout);
    let revisions = history.lines();
    let devices: Vec<_> = revisions.iter().map(|one| one["deviceName"].clone()).collect();
    assert_eq!(devices, ["lead", "hand"], "{revisions:#?}");
    let change = &revisions[1]["fields"];
    let oil = change.as_array().unwrap().iter().find(|one| one["field"] == "data.oilVolume");
    assert_eq!((&oil.unwrap()["before"], &oil.unwrap()["after"]), (&1.into(), &2.into()));
}

#[test]
fn entries_reach_the_relay_through_another_device_while_their_author_is_off() {
    let site = Site::new();
    let [lead, hand, truck] = site.crew(["lead", "hand", "truck"]);
    lead.well("Alder 1");
    let (relay, address) = site.relay().of(&lead);
    hand.meet(&lead);
    let entries: Vec<String> = (0..20).map(|minute| hand.entry("Alder 1", minute, 1)).collect();
    truck.meet(&hand);
    truck.sync(&address);
    lead.sync(&address);
    assert_eq!(lead.ids("field_entry").len(), entries.len());
    hand.sync(&address);
    assert_in_step(&[&lead, &hand, &truck]);
    relay.stop();
}

#[test]
fn a_daemon_answers_every_command_on_its_home() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let mut daemon = lead.daemon();
    let well = lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    lead.ok(&["edit", &entry, "oilVolume=2"]);
    lead.ok(&["delete", &entry]);
    lead.ok(&["restore-record", &entry]);
    assert_eq!(lead.json(&["show", "Alder 1"])["id"], well.as_str());
    assert_eq!(lead.ok(&["--json", "history", &entry]).lines().len(), 4);
    assert_eq!(lead.ok(&["--json", "list", "field_entry"]).lines().len(), 1);
    assert_eq!(lead.ids("field_entry"), [entry.as_str()]);
    assert_eq!(lead.ok(&["--json", "devices"]).lines().len(), 1);
    assert_eq!(lead.ok(&["--json", "conflicts"]).stdout, "");
    lead.ok(&["peers"]);
    lead.verify();
    let rows = "name,apiNumber,status\nBeech 2,42-227-30002,ACTIVE\n";
    let file = site.file("wells.csv", rows);
    assert_eq!(lead.json(&["import", &file, "--collection", "well"])["imported"], 1);
    lead.run(&["record", "field_entry", "wellId=Nowhere", "entryType=PRODUCTION", "oilVolume=1"])
        .code(6)
        .says(&["wellId", "not found"]);
    lead.run(&["show", "nothing"]).code(4);
    lead.run(&["run"]).code(7).says(&["a daemon runs on this home already", "stop"]);
    assert!(daemon.is_alive());
    let exported = lead.export("field_entry");
    daemon.stop();
    assert_eq!(lead.export("field_entry"), exported);
}

#[test]
fn what_is_recorded_on_one_connected_device_appears_on_the_other_within_seconds() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let first = lead.daemon();
    let second =
        hand.daemon_with(&["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &first.address()]);
    until_in_step(&[&lead, &hand]);
    for (author, reader, minute) in [(&lead, &hand, 1), (&hand, &lead, 2), (&lead, &hand, 3)] {
        let entry = author.entry("Alder 1", minute, minute);
        eventually("the other device shows the entry", STEP_TIME_MAX, || {
            (reader.run(&["show", &entry]).code == Some(0)).then_some(())
        });
    }
    until_in_step(&[&lead, &hand]);
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn commands_at_once_on_one_home_wait_for_each_other_and_lose_nothing() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let lead = lead.clone();
            let entry = move |step| lead.entry("Alder 1", writer * 100 + step, step);
            std::thread::spawn(move || (0..3).map(entry).collect::<Vec<String>>())
        })
        .collect();
    let mut written: Vec<String> =
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    written.sort();
    let mut found = lead.ids("field_entry");
    found.sort();
    assert_eq!(found, written);
    lead.verify();
}

#[test]
fn a_record_is_found_by_its_name_whatever_characters_are_in_it() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let names = ["A/B 1%20?x#y&z=1", "Brønn ñ \u{1f6e2} 油井", "../..", "trailing %", "\"quoted\""];
    let ids: Vec<String> = (0..names.len())
        .map(|index| {
            let (name, api) =
                (format!("name={}", names[index]), format!("apiNumber=42-227-3000{index}"));
            lead.record("well", &[&name, &api, "status=ACTIVE"])
        })
        .collect();
    let check = || {
        for (name, id) in names.iter().zip(&ids) {
            assert_eq!(lead.json(&["show", name])["id"], id.as_str(), "{name}");
            let filter = format!("name={name}");
            let found = lead.ok(&["--json", "list", "well", "--where", &filter]).lines();
            assert_eq!(found.len(), 1, "{name}");
            lead.ok(&["history", name]);
            lead.ok(&["edit", name, "lease=North & South"]);
        }
    };
    check();
    let daemon = lead.daemon();
    check();
    daemon.stop();
    lead.verify();
}

#[test]
fn a_home_may_have_a_long_path_with_spaces_and_still_be_served() {
    let site = Site::new();
    let folder = site.path(&format!("crew's homes \u{e9}/{}", "deep ".repeat(30)));
    std::fs::create_dir_all(&folder).unwrap();
    let lead = site.device("lead").at_home(folder.join("home of lead"));
    lead.found("Gulf Crew");
    let mut daemon = lead.daemon();
    lead.well("Alder 1");
    let relative = lead.with(move |mut command| {
        command.current_dir(&folder);
        command
    });
    assert_eq!(relative.at_home("home of lead").ids("well").len(), 1);
    assert!(daemon.is_alive());
    daemon.stop();
}

#[test]
fn a_reader_that_stops_reading_ends_an_export_without_complaint() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let rows: String = (0..3_000)
        .map(|minute| {
            let at = crate::device::minute_of_march(minute);
            let data = serde_json::json!({"oilVolume": minute});
            let row = serde_json::json!({
                "wellId": "Alder 1", "entryType": "PRODUCTION", "recordedAt": at, "data": data,
            });
            format!("{row}\n")
        })
        .collect();
    lead.ok(&["import", &site.file("entries.jsonl", rows), "--collection", "field_entry"]);
    let mut running = lead.start(&["export", "field_entry"]);
    running.line();
    let outcome = running.stop_reading();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{}", outcome.title);
    lead.verify();
}
