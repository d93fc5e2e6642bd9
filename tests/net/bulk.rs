//! Many records changed, and many conflicts settled, by one command.

use std::time::Duration;

use crate::process::eventually;
use crate::site::Site;

#[test]
fn many_records_are_shown_before_they_are_changed_and_only_as_many_as_expected() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    lead.record("well", &["name=Alder 2", "apiNumber=42-227-30002", "status=ACTIVE"]);
    let edit = |rest: &[&str]| {
        let mut line = vec!["--json", "edit", "--all", "well", "operator=Cedar"];
        line.extend(rest);
        lead.run(&line)
    };
    let operators = || lead.ok(&["list", "well", "--where", "operator=Cedar", "--count"]).stdout;
    let preview = edit(&["--dry-run"]).ok().json();
    assert_eq!(preview["changed"].as_array().unwrap().len(), 2, "{preview}");
    assert_eq!(preview["changed"][0]["fields"][0]["after"], "Cedar", "{preview}");
    // Nobody can be asked here.
    edit(&[]).code(2).says(&["--yes", "--expect", "--dry-run"]);
    edit(&["--expect", "3"]).code(6).says(&["2 records would change", "3 were expected"]);
    assert_eq!(operators().trim(), "0");
    let done = edit(&["--expect", "2"]).ok().json();
    assert_eq!(done["written"], true, "{done}");
    assert_eq!(operators().trim(), "2");
    let daemon = lead.daemon();
    edit(&["--expect", "2"]).code(6).says(&["0 records would change"]);
    // Where nothing would change there is nothing to ask about.
    assert_eq!(edit(&[]).ok().json()["unchanged"], 2);
    assert_eq!(edit(&["operator=Beech", "--yes"]).ok().json()["written"], true);
    daemon.stop();
    assert_eq!(operators().trim(), "0");
}

#[test]
fn a_change_of_many_that_is_killed_is_made_of_all_or_of_none() {
    const WELLS: usize = 150;
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let rows = (0..WELLS).map(|well| format!("Alder {well},42-227-{:05},ACTIVE\n", 30_000 + well));
    let header = "name,apiNumber,status\n".to_owned();
    let file = site.file("wells.csv", std::iter::once(header).chain(rows).collect::<String>());
    lead.ok(&["import", &file, "--collection", "well"]);
    let segments = || std::fs::read_dir(lead.home.join("store/log")).unwrap().count();
    for operator in ["Beech", "Cedar", "Dogwood"] {
        let before = segments();
        let edit = ["edit", "--all", "well", &format!("operator={operator}"), "--yes"];
        let mut running = lead.start(&edit);
        eventually("something of it is being written", Duration::from_secs(60), || {
            (segments() > before || !running.is_alive()).then_some(())
        });
        running.kill();
        let operator = format!("operator={operator}");
        let changed = lead.ok(&["list", "well", "--where", &operator, "--count"]).stdout;
        let changed: usize = changed.trim().parse().unwrap();
        assert!(changed == 0 || changed == WELLS, "{changed} of {WELLS}");
        lead.verify();
    }
    lead.ok(&["edit", "--all", "well", "operator=Elm", "--yes"]);
    let changed = lead.ok(&["list", "well", "--where", "operator=Elm", "--count"]).stdout;
    assert_eq!(changed.trim(), WELLS.to_string());
}

#[test]
fn conflicts_are_settled_alike_and_those_that_cannot_be_are_named() {
    let site = Site::new();
    let [lead, hand, truck] = site.crew(["lead", "hand", "truck"]);
    lead.well("Alder 1");
    let entries: Vec<String> = (0..2).map(|minute| lead.entry("Alder 1", minute, 1)).collect();
    hand.meet(&lead);
    truck.meet(&lead);
    lead.ok(&["edit", &entries[0], "oilVolume=6"]);
    hand.ok(&["edit", &entries[0], "oilVolume=7"]);
    hand.ok(&["edit", &entries[1], "oilVolume=8"]);
    truck.ok(&["edit", &entries[1], "oilVolume=9"]);
    hand.meet(&lead);
    truck.meet(&lead);
    let resolve = |rest: &[&str]| {
        let mut line = vec!["--json", "conflicts", "resolve", "--all", "--take", "client"];
        line.extend(rest);
        lead.run(&line)
    };
    let open = || lead.ok(&["--json", "conflicts"]).lines().len();
    let looked = resolve(&["--dry-run"]).code(6).json();
    assert_eq!((looked["settled"].as_array().unwrap().len(), open()), (1, 2), "{looked}");
    // Nobody can be asked here.
    resolve(&[]).code(2).says(&["--yes", "--expect", "--dry-run"]);
    resolve(&["--expect", "2"]).code(6).says(&["would be settled: 1", "expected: 2"]);
    assert_eq!(open(), 2);
    let done = resolve(&["--expect", "1"]).code(6).json();
    assert_eq!(done["settled"], looked["settled"]);
    assert_eq!(done["left"][0]["record"], entries[1].as_str(), "{done}");
    assert_eq!(open(), 1);
    let daemon = lead.daemon();
    resolve(&["--kind", "rule"]).code(2).says(&["no sides"]);
    lead.ok(&["conflicts", "resolve", "--all", "--kind", "field", "--take", "latest", "--yes"]);
    daemon.stop();
    assert_eq!(open(), 0);
}
