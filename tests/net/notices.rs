//! What people hear of their own work by the hand of others.

use crate::site::Site;

#[test]
fn whoever_lost_a_conflict_is_told_until_he_has_seen_it() {
    let site = Site::new();
    let [lead, hand] = site.crew(["lead", "hand"]);
    lead.well("Alder 1");
    let entry = lead.entry("Alder 1", 0, 1);
    hand.meet(&lead);
    lead.ok(&["edit", &entry, "oilVolume=6"]);
    hand.ok(&["edit", &entry, "oilVolume=7"]);
    hand.meet(&lead);
    hand.ok(&["notices"]).says(&["No notices"]);
    lead.ok(&["conflicts", "resolve", "--all", "--take", "client", "--yes"]);
    hand.meet(&lead);

    let told = hand.ok(&["--json", "notices"]).lines();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["wrote"], &told[0]["left"]), (&7.into(), &6.into()), "{told:#?}");
    assert_eq!(told[0]["record"], entry.as_str());
    hand.ok(&["notices"]).says(&["oilVolume", "took 6 instead of your 7"]);
    hand.ok(&["status"]).says(&["notices", "1 to you"]);
    assert_eq!(lead.ok(&["--json", "notices"]).stdout, "", "whoever did it knows");

    let id = told[0]["id"].as_str().unwrap();
    let daemon = hand.daemon();
    assert_eq!(hand.ok(&["--json", "notices"]).lines(), told);
    hand.ok(&["notices", "--seen", &id[id.len() - 8..]]).says(&["1 notice", "this device"]);
    hand.run(&["notices", "--seen", "nothing"]).code(4).says(&["nothing"]);
    daemon.stop();
    assert_eq!(hand.ok(&["--json", "notices"]).stdout, "");
    assert_eq!(hand.json(&["status"])["notices"], 0);
    let seen = hand.ok(&["--json", "notices", "--all"]).lines();
    assert_eq!((seen.len(), &seen[0]["seen"]), (1, &true.into()), "{seen:#?}");
    hand.ok(&["notices", "--seen", "all"]).says(&["0 notices"]);
}
