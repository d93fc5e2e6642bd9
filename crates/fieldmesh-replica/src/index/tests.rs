//! The index against a plain list of batches, in every order of arrival.

use fieldmesh_model::{DeviceId, Epoch, Scope};

use super::*;
use crate::interface::Held;
use crate::tests::in_every_order;

fn id(byte: u8) -> BatchId {
    BatchId::from_bytes([byte; 32])
}

fn held(own: u8, sequence: u64, previous: u8) -> Held {
    Held {
        id: id(own),
        author: DeviceId::from_bytes([1; 32]),
        scope: Scope { collection: 3, partition: 0, month: 24_000 },
        epoch: Epoch(1),
        sequence,
        previous: id(previous),
        last: Moment::from_millis(i64::from(own)),
        priority: fieldmesh_batch::Priority::NORMAL,
        is_signed: true,
    }
}

/// A chain of five, a fork at its third place that is continued, and a batch beyond a gap.
fn tree() -> Vec<Held> {
    vec![
        held(1, 1, 0),
        held(2, 2, 1),
        held(3, 3, 2),
        held(4, 4, 3),
        held(5, 5, 4),
        held(13, 3, 2),
        held(14, 4, 13),
        held(20, 8, 19),
    ]
}

#[test]
fn whatever_the_order_of_arrival_the_chains_are_the_same() {
    in_every_order(&mut tree(), &mut |order| {
        let mut index = Index::default();
        for held in order {
            assert!(index.insert(held).is_some());
            assert!(index.insert(held).is_none(), "known by now");
        }
        check(&index);
    });
}

fn check(index: &Index) {
    let spot = |own: u8| index.find(&id(own)).unwrap();
    let rooted: Vec<u8> = tree()
        .iter()
        .map(|held| held.id.as_bytes()[0])
        .filter(|own| index.has(spot(*own), Mark::Rooted))
        .collect();
    assert_eq!(rooted, [1, 2, 3, 4, 5, 13, 14]);
    let mut tips: Vec<u8> = index.tips().map(|tip| index.id(tip).as_bytes()[0]).collect();
    tips.sort_unstable();
    assert_eq!(tips, [5, 14, 20]);
    let chain = held(1, 1, 0).chain();
    let gaps: Vec<(Chain, Gap)> = index.gaps().collect();
    assert_eq!(gaps, [(chain, Gap { first: 6, last: 7 })]);
    let fork =
        |sequence, known, other| Fork { chain, sequence, known: id(known), other: id(other) };
    let forks: Vec<Fork> = index.forks().collect();
    assert_eq!(forks, [fork(3, 3, 13), fork(4, 4, 14)]);
    assert_eq!(index.head(&chain), Some(Head { sequence: 5, id: id(5) }));
    for (head, reached) in
        [(5, vec![1, 2, 3, 4, 5]), (14, vec![1, 2, 13, 14]), (2, vec![1, 2]), (20, vec![20])]
    {
        for other in tree() {
            let own = other.id.as_bytes()[0];
            assert_eq!(index.reaches(spot(head), spot(own)), reached.contains(&own));
        }
    }
    for own in tree() {
        let previous = index.previous(spot(own.id.as_bytes()[0])).map(|it| index.id(it));
        let is_linked = own.sequence > 1 && own.sequence < 8;
        assert_eq!(previous, is_linked.then_some(own.previous));
    }
}

#[test]
fn a_batch_that_names_one_of_another_chain_or_place_is_not_linked_to_it() {
    let mut foreign = held(9, 2, 1);
    foreign.epoch = Epoch(2);
    let skips = held(8, 5, 1);
    for order in [[held(1, 1, 0), foreign, skips], [skips, foreign, held(1, 1, 0)]] {
        let mut index = Index::default();
        for held in &order {
            assert!(index.successors(held).next().is_none());
            index.insert(held);
        }
        let first = index.find(&id(1)).unwrap();
        assert_eq!(index.children(first).count(), 0);
        for own in [8, 9] {
            let spot = index.find(&id(own)).unwrap();
            assert_eq!(index.previous(spot), None);
            assert!(!index.reaches(spot, first) && !index.has(spot, Mark::Rooted));
        }
    }
}

#[test]
fn ids_that_begin_alike_are_told_apart() {
    let mut index = Index::default();
    let mut twin = held(7, 1, 0);
    let mut bytes = [7; 32];
    bytes[31] = 8;
    twin.id = BatchId::from_bytes(bytes);
    index.insert(&held(7, 1, 0));
    assert!(index.find(&twin.id).is_none());
    index.insert(&twin);
    assert_ne!(index.find(&twin.id), index.find(&id(7)));
}

#[test]
fn the_greatest_sequence_does_no_harm() {
    let mut index = Index::default();
    index.insert(&held(1, u64::MAX, 9));
    let last = u64::MAX - 1;
    assert_eq!(index.gaps().next().unwrap().1, Gap { first: 1, last });
    assert!(index.successors(&held(9, last, 8)).next().is_some());
}
