//! Real files into a home, and from there to other devices.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use crate::device::{Device, assert_in_step};
use crate::process::{eventually, skipped};
use crate::site::Site;

/// The environment variable that names the whole file, for those who have it.
const WHOLE_FILE: &str = "FIELDMESH_GOM_CSV";

/// The mapping that the project offers for such files.
const MAPPING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gom-production.toml");

const HEADER: &str = "apiNumber,completion,lease,areaBlock,field,operator,month,daysOnProduction,\
                      product,wellStatus,oilBbl,gasMcf,waterBbl\n";

#[test]
fn a_file_with_a_mapping_becomes_wells_and_entries_once_and_the_counts_add_up() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let mut rows = production(40, 6);
    // A repeat of a row, a row that says something else of the same month, and two broken ones.
    let first = rows.lines().nth(1).unwrap().to_owned();
    let other = first.replace(",11,", ",12,");
    assert_ne!(first, other);
    writeln!(rows, "{first}\n{other}").unwrap();
    rows.push_str("177194003103,S01,G01,WD   31,WD030,ACME,2011-13,31,O,08,10,10,10\n");
    rows.push_str("177194003103,S01,G01,WD   31,WD030,ACME,2011-02,28,O,99,10,10,10\n");
    let file = site.file("production.csv", &rows);
    let dry = lead.run(&["--json", "import", &file, "--map", MAPPING, "--dry-run"]).code(6);
    assert_eq!(count(&dry.json(), "imported"), 240);
    assert!(lead.ids("field_entry").is_empty());

    let outcome = lead.run(&["--json", "import", &file, "--map", MAPPING]).code(6);
    let report = outcome.json();
    assert_eq!(counts(&report), (240, 1, 3, 244), "{report}");
    let refused: Vec<Json> =
        outcome.lines().into_iter().filter(|line| line["progress"] == "refused").collect();
    let numbers: Vec<_> = refused.iter().map(|line| line["row"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [242, 243, 244], "{refused:#?}");
    assert!(refused.iter().all(|line| !line["faults"][0]["message"].as_str().unwrap().is_empty()));
    assert_eq!(lead.ids("well").len(), 40);
    assert_eq!(lead.ids("field_entry").len(), 240);

    let before = (lead.export("well"), lead.export("field_entry"));
    let again = lead.run(&["--json", "import", &file, "--map", MAPPING]).code(6).json();
    assert_eq!(counts(&again), (0, 241, 3, 244), "{again}");
    assert!((lead.export("well"), lead.export("field_entry")) == before);

    let (relay, address) = site.relay().of(&lead);
    lead.sync(&address);
    hand.sync(&address);
    relay.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn two_devices_that_import_the_same_file_apart_keep_both_and_a_further_import_adds_nothing() {
    let site = Site::new();
    let lead = site.device("lead");
    lead.found("Gulf Crew");
    let other = site.device("other");
    let daemon = lead.daemon();
    other.join(&lead.invite("admin"));
    daemon.stop();
    let file = site.file("production.csv", production(10, 3));
    for device in [&lead, &other] {
        let report = device.json(&["import", &file, "--map", MAPPING]);
        assert_eq!(counts(&report), (30, 0, 0, 30), "{}: {report}", device.name);
    }
    other.meet(&lead);
    assert_in_step(&[&lead, &other]);
    // Ids belong to whoever makes a record, so each device has its own wells and entries; wells with
    // one API number count once, and somebody is asked about them.
    assert_eq!((lead.ids("well").len(), lead.ids("field_entry").len()), (10, 60));
    let asked = lead.ok(&["--json", "conflicts", "--kind", "duplicate"]).lines();
    assert_eq!(asked.len(), 10, "{asked:?}");
    let report = lead.json(&["import", &file, "--map", MAPPING]);
    assert_eq!(counts(&report), (0, 30, 0, 30), "{report}");
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let file = site.file("production.csv", production(300, 12));
    for entries in [1, 300, 900] {
        let mut running = lead.start(&["import", &file, "--map", MAPPING]);
        eventually("the import has begun", Duration::from_secs(60), || {
            let log = log_size(&lead.home.join("store/log"));
            (log > entries * 400 || !running.is_alive()).then_some(())
        });
        running.kill();
        lead.verify();
    }
    let kept = lead.ids("field_entry").len() as u64;
    let report = lead.json(&["import", &file, "--map", MAPPING]);
    assert_eq!(counts(&report), (3_600 - kept, kept, 0, 3_600), "{report}");
    assert_eq!((lead.ids("well").len(), lead.ids("field_entry").len()), (300, 3_600));
    let whole = site.device("whole");
    whole.found("Another Crew");
    whole.ok(&["import", &file, "--map", MAPPING]);
    assert_eq!(contents(&lead), contents(&whole));
    hand.meet(&lead);
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn an_import_through_a_daemon_reports_as_one_without_and_reaches_a_connected_device() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let mut rows = production(20, 12);
    rows.push_str("177194003103,S01,G01,WD   31,WD030,ACME,2011-02,many,O,08,10,10,10\n");
    let file = site.file("production.csv", rows);
    let first = lead.daemon();
    let second = hand.daemon();
    let outcome = lead.run(&["--json", "import", &file, "--map", MAPPING]).code(6);
    assert_eq!(counts(&outcome.json()), (240, 0, 1, 241), "{outcome:#?}");
    let refused = outcome.lines().into_iter().filter(|line| line["progress"] == "refused").count();
    assert_eq!(refused, 1);
    hand.sync(&first.address());
    second.stop();
    first.stop();
    assert_in_step(&[&lead, &hand]);
}

#[test]
fn what_is_exported_can_be_imported_elsewhere() {
    let site = Site::new();
    let (lead, other) = (site.device("lead"), site.device("other"));
    lead.found("Gulf Crew");
    other.found("Basin Crew");
    let file = site.file("production.csv", production(5, 2));
    lead.ok(&["import", &file, "--map", MAPPING]);
    let wells = lead.ok(&["export", "well", "--format", "csv"]).stdout;
    assert_eq!(wells.lines().count(), 6, "{wells}");
    let fields: String =
        lead.export("well").lines().map(|line| format!("{}\n", fields_of(line))).collect();
    let file = site.file("wells.jsonl", fields);
    let report = other.json(&["import", &file, "--collection", "well"]);
    assert_eq!(counts(&report), (5, 0, 0, 5), "{report}");
}

#[test]
fn the_whole_file_of_a_year_goes_in_once_and_reaches_another_device() {
    let Ok(file) = std::env::var(WHOLE_FILE) else {
        skipped(&format!("{WHOLE_FILE} does not name the file of a whole year"));
        return;
    };
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    let report = lead.run(&["--json", "import", &file, "--map", MAPPING]).json();
    let (imported, unchanged, refused, rows) = counts(&report);
    assert_eq!(rows, 152_064);
    assert_eq!(imported + unchanged + refused, rows);
    let again = lead.run(&["--json", "import", &file, "--map", MAPPING]).json();
    assert_eq!(counts(&again), (0, imported + unchanged, refused, rows));
    let (relay, address) = site.relay().of(&lead);
    lead.sync(&address);
    hand.sync(&address);
    relay.stop();
    assert_in_step(&[&lead, &hand]);
}

/// Rows as the bureau publishes them, invented: so many wells, and months of each.
fn production(wells: usize, months: usize) -> String {
    let mut rows = HEADER.to_owned();
    for well in 0..wells {
        for month in 1..=months {
            let volume = well * 100 + month;
            writeln!(
                rows,
                "17719{:05}03,S01,G{:05},WD   {:02},WD030,\"ACME, INC.\",2011-{month:02},11,O,08,\
                 {volume},{},{}",
                40_000 + well,
                well % 7,
                well % 90,
                volume * 3,
                volume % 13,
            )
            .unwrap();
        }
    }
    rows
}

fn fields_of(line: &str) -> Json {
    let record: Json = serde_json::from_str(line).unwrap();
    record["fields"].clone()
}

/// The fields of all entries, with the names of their wells instead of ids.
fn contents(device: &Device) -> Vec<String> {
    let export = device.export("field_entry");
    let mut contents: Vec<String> = export
        .lines()
        .map(|line| {
            let record: Json = serde_json::from_str(line).unwrap();
            let mut fields = record["fields"].clone();
            fields["deviceId"] = Json::Null;
            fields["wellId"] = record["names"]["wellId"].clone();
            fields.to_string()
        })
        .collect();
    contents.sort();
    contents
}

fn count(report: &Json, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// Imported, unchanged, refused, rows.
fn counts(report: &Json) -> (u64, u64, u64, u64) {
    let count = |name| count(report, name);
    (count("imported"), count("unchanged"), count("refused"), count("rows"))
}

fn log_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
