//! Items of the inbox, and what settling them comes to.

use fieldmesh::api::ConflictReport;

use super::*;

#[test]
fn many_conflicts_settled_alike() {
    let report = samples::settled();
    assert_eq!(
        settled(&report, &style()),
        "\
conflict  record      field      shown  taken  value
7c21a9f0  State 12-4  oilVolume  82.3   B      81

conflict  record   left
5d30e1aa  Alder 1  only a manager may
"
    );
    assert_eq!(settled_summary(&report), "Settled 1 conflict, 1 conflict left open.");
    let looked = fieldmesh::api::ResolveAllReport { written: false, ..report };
    assert_eq!(
        settled_summary(&looked),
        "1 conflict would be settled, 1 conflict left open. Nothing was written."
    );
}

#[test]
fn the_conflict_inbox() {
    assert_eq!(
        conflicts(&[samples::conflict()], &Style { width: 120, ..style() }),
        "\
id        kind   record                 field      state  values
7c21a9f0  field  State 12-4 PRODUCTION  oilVolume  open   A 82.3 | B 80
"
    );
    assert_eq!(
        conflict(&samples::conflict(), &style()),
        "\
conflict 77777777-7777-7777-7777-77777c21a9f0
state   open
kind    field
record  field_entry State 12-4 PRODUCTION (11111111-1111-1111-1111-111111111111)
field   oilVolume
   value  written           by
A  82.3   2026-03-01 08:30  Ana on …aaaaaaaa
B  80     2026-03-01 08:30  device …bbbbbbbb
Settle it: fieldmesh conflicts resolve 7c21a9f0 --take A|B|…, or --set oilVolume=VALUE
"
    );
}

#[test]
fn a_broken_rule_says_what_is_wrong_and_who_wrote_it() {
    let listed = conflicts(&[samples::breach()], &Style { width: 120, ..style() });
    assert!(listed.contains("rule") && listed.contains("open   Oil volume cannot be negative"));
    assert_eq!(
        conflict(&samples::breach(), &style()),
        "\
conflict 77777777-7777-7777-7777-77777c21a9f0
state   open
kind    rule
record  field_entry State 12-4 PRODUCTION (11111111-1111-1111-1111-111111111111)
field   oilVolume
broken  Oil volume cannot be negative
   value  written           by
A  82.3   2026-03-01 08:30  Ana on …aaaaaaaa
Settle it: fieldmesh conflicts resolve 7c21a9f0 --set oilVolume=VALUE
"
    );
}

#[test]
fn records_that_are_alike_are_settled_knowingly() {
    let report = samples::settled_alike();
    assert_eq!(
        settled(&report, &style()),
        "\
conflict  record      kept             deleted
7c21a9f0  State 12-4  B oilVolume 101  A oilVolume 100
"
    );
    let mut both = report;
    both.settled[0].alike[0].kept = true;
    let shown = settled(&both, &style());
    assert!(shown.contains("A oilVolume 100 | B oilVolume 101  none"), "{shown}");
    both.settled[0].alike[0].deleted = true;
    both.settled[0].more = 3;
    let shown = settled(&both, &style());
    let kept = "A oilVolume 100 (restored) | B oilVolume 101 | and 3 more stay  none";
    assert!(shown.contains(kept), "{shown}");
}

#[test]
fn records_that_are_alike_may_be_merged() {
    let shown = conflict(&samples::alike(), &style());
    let advice = "\
Keep one: fieldmesh conflicts resolve 7c21a9f0 --take A|B|…, or all with --take both
Merge them: fieldmesh conflicts resolve 7c21a9f0 --set oilVolume=VALUE … keeps A with these values
";
    assert!(shown.ends_with(advice), "{shown}");
    let settled = ConflictReport { open: false, ..samples::alike() };
    assert!(!conflict(&settled, &style()).contains("--set"));
}

#[test]
fn what_became_of_a_deleted_record_is_said_in_words() {
    let item = samples::restored();
    let listed = conflicts(std::slice::from_ref(&item), &Style { width: 120, ..style() });
    assert!(listed.contains("open   A deleted | B restored"), "{listed}");
    let shown = conflict(&item, &style());
    assert!(shown.contains("A  deleted ") && shown.contains("B  restored "), "{shown}");
    assert!(!shown.contains("_deletedAt") && !listed.contains("_deletedAt"), "{shown}{listed}");
}

#[test]
fn a_batch_that_does_not_count_says_whose_it_is_and_what_to_do() {
    let shown = conflict(&samples::batch_aside(), &style());
    for part in [
        "reason     its device was revoked (stolen) before this was known",
        "batch      12 changes by truck-7, 2026-03-01 08:30",
        "to do      an admin can let it count again: fieldmesh devices adopt truck-7 abababab",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    let listed = conflicts(&[samples::batch_aside()], &Style { width: 140, ..style() });
    assert!(listed.contains("12 changes by truck-7"), "{listed}");
}
