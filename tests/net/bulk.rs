//! Many records changed, and many conflicts settled, by one command.

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
