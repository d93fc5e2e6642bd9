//! The parts that links are lent, and how long they are kept.

use fieldmesh_model::Role;

use super::*;
use crate::interface::Held;
use crate::tests::crew::{Author, Office, keys};

const DEVICE: u8 = 1;

fn office() -> Office {
    let mut office = Office::new(200);
    office.certify(&keys(DEVICE), Role::Operator);
    office
}

fn policy(office: &Office) -> Policy {
    Policy::evaluate(office.tenant, &office.items)
}

/// Batches in partitions 0 to 3 by turns.
fn batches(office: &Office, count: u8) -> Vec<Held> {
    let mut authors = [0, 1, 2, 3].map(|partition| {
        let mut author = Author::new(DEVICE, office.tenant);
        author.partition = partition;
        author
    });
    let seal = |number: u8| authors[usize::from(number) % 4].seal(0, &[number]);
    (0..count).map(seal).map(|batch| Held::of(&batch)).collect()
}

/// Everything in one partition.
fn grant(partition: u32) -> Grant {
    let read = Access { partitions: [partition].into(), ..Access::ALL };
    Grant {
        filters: [Filter::everything(), Filter::everything()],
        reads: Some([Access::ALL, read]),
        is_signed_only: false,
    }
}

fn partitions(grants: &Grants) -> Vec<u32> {
    (0..200).filter(|it| grants.parts.iter().any(|part| part.grant == grant(*it))).collect()
}

#[test]
fn a_peer_that_comes_again_finds_its_part_with_what_came_meanwhile() {
    let office = office();
    let policy = policy(&office);
    let mut all = batches(&office, 40);
    let late = all.split_off(20);
    let (mut holdings, _) = Holdings::open(&policy, all);
    let mut grants = Grants::default();
    assert!(grants.needs_walk(&grant(2), &holdings));
    assert_eq!(grants.give(LinkId(1), grant(2), &holdings), Ok(true));
    grants.forget(LinkId(1));
    for held in &late {
        let arrival = holdings.insert(&policy, held).unwrap();
        grants.place(&holdings, arrival.spot);
    }
    assert!(!grants.needs_walk(&grant(2), &holdings), "it is kept");
    assert_eq!(grants.give(LinkId(2), grant(2), &holdings), Ok(true));
    let anew = Part::build(grant(2), &holdings);
    let lent = grants.lend(LinkId(2), &mut Trie::new(), &mut Trie::new()).0.clone();
    assert_eq!((lent.len(), lent.iter().eq(anew.tries[0].iter())), (20, true));
}

#[test]
fn parts_that_nobody_needs_are_few_and_make_room() {
    let office = office();
    let (holdings, _) = Holdings::open(&policy(&office), batches(&office, 8));
    let mut grants = Grants::default();
    let of = |partition: u32| LinkId(u64::from(partition));
    for partition in 0..5 {
        grants.give(of(partition), grant(partition), &holdings).unwrap();
    }
    for partition in [3, 0, 1] {
        grants.forget(of(partition));
    }
    assert_eq!(partitions(&grants), [0, 1, 2, 4], "the last ones rest");
    let most = u32::try_from(GRANTS_MAX).unwrap();
    for partition in 100..100 + most - 2 {
        grants.give(of(partition), grant(partition), &holdings).unwrap();
    }
    assert_eq!(grants.parts.len(), GRANTS_MAX);
    assert_eq!(grants.give(of(90), grant(90), &holdings), Err(TooManyGrants));
    grants.forget(of(4));
    assert_eq!(grants.give(of(90), grant(90), &holdings), Ok(true));
}
