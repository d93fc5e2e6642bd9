//! Goal: nobody's record is gone without a word, and what two people settle apart from each other
//! is asked again.
//! Method: small groups, settled by hand.

use super::*;

fn id(number: u8) -> DocumentId {
    DocumentId::from_bytes([number; 16])
}

fn ids(numbers: &[u8]) -> BTreeSet<DocumentId> {
    numbers.iter().copied().map(id).collect()
}

fn live(number: u8, apart_from: &[u8]) -> Member {
    let kinship = Kinship { apart_from: ids(apart_from), ..Kinship::default() };
    Member { id: id(number), kinship }
}

fn gone(number: u8, superseded_by: &[u8]) -> Member {
    let superseded_by = ids(superseded_by);
    let kinship = Kinship { is_deleted: true, superseded_by, ..Kinship::default() };
    Member { id: id(number), kinship }
}

fn open(members: &[Member]) -> BTreeSet<DocumentId> {
    judge(members).open
}

#[test]
fn two_records_of_one_thing_are_open_and_the_earlier_one_is_shown() {
    let verdict = judge(&[live(2, &[]), live(1, &[]), gone(3, &[])]);
    assert_eq!(verdict.open, ids(&[1, 2]));
    assert_eq!(verdict.behind, BTreeMap::from([(id(2), id(1))]));
    assert_eq!(judge(&[live(1, &[]), gone(2, &[1])]), Verdict::default());
}

#[test]
fn records_that_were_told_apart_both_count_until_another_one_comes() {
    assert_eq!(judge(&[live(1, &[2]), live(2, &[])]), Verdict::default());
    let verdict = judge(&[live(1, &[2]), live(2, &[1]), live(3, &[])]);
    assert_eq!(verdict.open, ids(&[1, 2, 3]));
    assert_eq!(verdict.behind, BTreeMap::from([(id(3), id(1))]));
}

#[test]
fn what_each_of_two_people_kept_is_not_gone_by_the_word_of_the_other() {
    assert_eq!(open(&[gone(1, &[2]), gone(2, &[1])]), ids(&[1, 2]));
    assert_eq!(open(&[gone(1, &[2]), gone(2, &[1]), gone(3, &[1, 2])]), ids(&[1, 2, 3]));
    assert_eq!(open(&[gone(1, &[2]), gone(2, &[3]), gone(3, &[1]), live(4, &[])]), ids(&[1, 2, 3]));
    assert_eq!(open(&[live(1, &[]), gone(2, &[1, 3]), gone(3, &[2])]), ids(&[]));
    assert_eq!(open(&[gone(1, &[9]), gone(2, &[1])]), ids(&[]), "one of another group took over");
}

#[test]
fn while_each_of_two_people_has_kept_another_one_the_first_counts_all_the_same() {
    let instead = |members: &[Member]| judge(members).instead.first().copied();
    assert_eq!(instead(&[gone(2, &[1]), gone(1, &[2])]), Some(id(1)));
    assert_eq!(instead(&[gone(1, &[2]), gone(2, &[1]), live(3, &[])]), None, "3 counts");
    assert_eq!(instead(&[gone(1, &[2]), gone(2, &[1]), live(3, &[1, 2])]), Some(id(1)));
    assert_eq!(instead(&[live(1, &[]), gone(2, &[1])]), None);
    assert_eq!(instead(&[gone(1, &[]), gone(2, &[1])]), None, "nobody wants either");
}

#[test]
fn whoever_deletes_a_record_counts_on_one_that_is_there_and_is_no_other_thing() {
    let members = [gone(1, &[2]), live(2, &[3]), live(3, &[]), live(4, &[])];
    assert_eq!(left_instead(&members, id(4)), Some(id(2)));
    assert_eq!(left_instead(&members, id(2)), Some(id(4)), "3 is meant beside it");
    assert_eq!(left_instead(&members, id(1)), None, "it is gone already");
    assert_eq!(left_instead(&members[..2], id(2)), None, "nothing else is left");
}

#[test]
fn who_is_kept_leaves_those_that_are_meant_beside_it() {
    let members = [live(1, &[2]), live(2, &[]), live(3, &[]), gone(4, &[1])];
    assert_eq!(gone_for(&members, id(1)), [id(3), id(4)]);
    assert_eq!(gone_for(&members, id(2)), [id(3), id(4)]);
    assert_eq!(gone_for(&members, id(3)), [id(1), id(2), id(4)]);
    let asked = [live(1, &[2]), gone(2, &[1])];
    assert_eq!((gone_for(&asked, id(1)), gone_for(&asked, id(2))), (vec![id(2)], vec![id(1)]));
}

#[test]
fn a_record_that_one_person_means_beside_the_other_is_not_dropped_by_who_did_not_know() {
    let mut dropped = gone(2, &[1]);
    dropped.kinship.apart_from = ids(&[1]);
    assert_eq!(open(&[live(1, &[]), dropped.clone()]), ids(&[1, 2]));
    assert_eq!(open(&[live(1, &[2]), gone(2, &[1])]), ids(&[1, 2]));
    assert_eq!(judge(&[live(1, &[]), dropped]).behind.len(), 0);
}
