//! What was decided about records that are alike is read from each of them, and nobody says so of
//! records that are not his item's.

use std::collections::BTreeSet;

use super::*;
use crate::{Decision, Outcome, alike_id};

fn other() -> DocumentId {
    DocumentId::from_bytes([9; 16])
}

impl Replica {
    fn decide(
        &mut self,
        hours: i64,
        item: uuid::Uuid,
        records: &[DocumentId],
        kept: Option<DocumentId>,
    ) {
        let mut document = self.document();
        document.settling_alike(item, records);
        let (actor, at) = (self.actor(), at(hours));
        let change = match kept {
            Some(kept) => document.give_way(actor, at, user(self.number), kept),
            None => document.keep_over(actor, at, &[other()]),
        };
        assert!(self.keep(change.unwrap()));
    }

    fn decided(&self) -> Vec<Decision> {
        let document = self.document();
        let fields = document.view(entries()).unwrap().fields;
        document.decisions(entries(), &fields).unwrap()
    }

    fn both(&self) -> BTreeSet<DocumentId> {
        BTreeSet::from([self.id, other()])
    }
}

#[test]
fn who_keeps_a_record_as_it_is_says_so_and_makes_it_no_newer() {
    let [mut one, _] = crew();
    let before = one.document().view(entries()).unwrap();
    let members = one.both();
    let item = alike_id(wells::FIELD_ENTRY, 0, &members);
    let ids: Vec<DocumentId> = members.iter().copied().collect();
    one.decide(3, item, &ids, None);
    let [decision] = &one.decided()[..] else { panic!("{:?}", one.decided()) };
    assert_eq!((decision.item, decision.outcome, decision.at), (item, Outcome::Kept, at(3)));
    assert_eq!((decision.is_named, &decision.members), (true, &members));
    assert_eq!(one.document().view(entries()).unwrap(), before);
    assert_eq!(one.document().conflicts(entries()).unwrap(), []);
    one.decide(4, item, &ids, Some(other()));
    one.decide(5, item, &ids, Some(other()));
    let outcomes: Vec<_> = one.decided().into_iter().map(|it| it.outcome).collect();
    let gone = Outcome::GaveWay(other());
    assert_eq!(outcomes, [Outcome::Kept, gone, gone], "also what changes nothing is said");
    let deleted = one.document().view(entries()).unwrap().deleted.unwrap();
    assert_eq!(deleted.at, at(4), "and deletes nothing anew");
}

#[test]
fn an_item_that_other_records_made_is_not_ended_by_naming_it() {
    let [mut one, _] = crew();
    let others = [other(), DocumentId::from_bytes([8; 16])];
    let foreign = alike_id(wells::FIELD_ENTRY, 0, &BTreeSet::from(others));
    one.decide(3, foreign, &others, None);
    one.decide(4, foreign, &[one.id, other()], None);
    one.decide(5, uuid::Uuid::from_bytes([7; 16]), &[one.id; 2], None);
    assert_eq!(one.decided(), []);
}

#[test]
fn what_names_no_item_is_about_the_records_that_it_names() {
    let [mut one, mut two] = crew();
    let change = one.document().give_way(one.actor(), at(1), user(1), other()).unwrap();
    one.keep(change);
    let change = two.document().tell_apart(two.actor(), at(2), &[other()]).unwrap();
    two.keep(change);
    let item = alike_id(wells::FIELD_ENTRY, 0, &one.both());
    let mut both = [one, two];
    meet(&mut both);
    for replica in &both {
        let decided = replica.decided();
        let outcomes: Vec<_> = decided.iter().map(|it| (it.item, it.outcome)).collect();
        let (gone, apart) = (Outcome::GaveWay(other()), Outcome::Apart);
        assert_eq!(outcomes, [(item, gone), (item, apart)]);
        assert!(decided.iter().all(|it| !it.is_named));
    }
}

#[test]
fn a_change_that_names_many_items_says_something_of_the_first_few() {
    let [mut one, _] = crew();
    let mut document = one.document();
    let before = document.view(entries()).unwrap();
    let name = |document: &mut Document, others: std::ops::Range<u8>| {
        others
            .map(|number| {
                let other = DocumentId::from_bytes([number; 16]);
                let members = BTreeSet::from([one.id, other]);
                let item = alike_id(wells::FIELD_ENTRY, 0, &members);
                document.settling_alike(item, &members.into_iter().collect::<Vec<_>>());
                item
            })
            .collect::<BTreeSet<_>>()
    };
    let named = name(&mut document, 20..60);
    let change = document.keep_over(one.actor(), at(3), &[]).unwrap();
    assert!(one.keep(change));
    let told: BTreeSet<_> = one.decided().into_iter().map(|it| it.item).collect();
    assert_eq!(told.len(), crate::decision::NAMED_MAX);
    assert!(told.is_subset(&named));
    // Naming many is more than deciding, so it makes the record newer.
    assert!(one.document().view(entries()).unwrap().updated_at > before.updated_at);
}

#[test]
fn an_item_of_more_records_than_are_compared_or_of_broken_ids_is_none() {
    let [mut one, _] = crew();
    let others = |count: u8| (0..count).map(|number| DocumentId::from_bytes([number + 50; 16]));
    for (hours, count, is_told) in [(3, 64, false), (4, 63, true)] {
        let members: BTreeSet<DocumentId> = others(count).chain([one.id]).collect();
        let item = alike_id(wells::FIELD_ENTRY, 0, &members);
        let ids: Vec<DocumentId> = members.into_iter().collect();
        one.decide(hours, item, &ids, None);
        let is_item = |it: &Decision| it.item == item;
        assert_eq!(one.decided().iter().any(is_item), is_told, "{count} others");
    }
}

#[test]
fn of_many_decisions_the_newest_are_told_in_a_bounded_look() {
    let [mut one, _] = crew();
    for round in 0..12_u8 {
        let mut document = one.document();
        for number in 0..8 {
            let other = DocumentId::from_bytes([30 + round * 8 + number; 16]);
            let members = BTreeSet::from([one.id, other]);
            let item = alike_id(wells::FIELD_ENTRY, 0, &members);
            document.settling_alike(item, &members.into_iter().collect::<Vec<_>>());
        }
        let change = document.keep_over(one.actor(), at(i64::from(round) + 3), &[]).unwrap();
        assert!(one.keep(change));
    }
    let decided = one.decided();
    assert_eq!(decided.len(), 64);
    assert_eq!((decided[0].at, decided[63].at), (at(7), at(14)), "the newest eight changes");
}
