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

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// A chain of `count` batches that forks about once in `fork_every`, and has gaps.
fn forked(dice: &mut Dice, count: u8, fork_every: usize) -> Vec<Held> {
    let mut all: Vec<Held> = vec![held(1, 1, 0)];
    for own in 2..=count {
        let at = match dice.below(fork_every) {
            0 => dice.below(all.len()),
            _ => all.len() - 1,
        };
        let before = all[at];
        let skips = u64::from(dice.below(20) == 0);
        all.push(held(own, before.sequence + 1 + skips, before.id.as_bytes()[0]));
    }
    let lost = 1 + dice.below(all.len() - 1);
    all.remove(lost);
    all
}

#[test]
fn what_reaches_what_is_as_walking_the_chain_says_in_whatever_order_it_came() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let fork_every = 1 + dice.below(12);
        let mut batches = forked(&mut dice, 40, fork_every);
        match seed % 3 {
            0 => {}
            1 => batches.reverse(),
            _ => (1..batches.len()).for_each(|at| batches.swap(at, dice.below(at + 1))),
        }
        let mut index = Index::default();
        for batch in &batches {
            index.insert(batch).unwrap();
            if dice.below(8) == 0 {
                check_ways(&index);
            }
        }
        check_ways(&index);
    }
}

/// Compares with the walk from each entry, batch by batch.
fn check_ways(index: &Index) {
    for head in index.spots() {
        let way = std::iter::successors(Some(head), |spot| index.previous(*spot));
        let way: BTreeSet<Spot> = way.collect();
        for spot in index.spots() {
            assert_eq!(index.reaches(head, spot), way.contains(&spot), "{head:?} to {spot:?}");
        }
    }
}

#[test]
fn a_long_chain_is_one_branch_whatever_the_order_and_each_fork_one_more() {
    let long = |own: u32| -> Held {
        let id = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            BatchId::from_bytes(bytes)
        };
        let sequence = u64::from(own);
        Held { id: id(own), previous: id(own - 1), sequence, ..held(1, 1, 0) }
    };
    let mut batches: Vec<Held> = (1..=3_000).map(long).collect();
    for order in 0..3 {
        match order {
            0 => {}
            1 => batches.reverse(),
            _ => batches.sort_by_key(|batch| (batch.sequence % 7, batch.sequence)),
        }
        let mut index = Index::default();
        batches.iter().for_each(|batch| assert!(index.insert(batch).is_some()));
        let branches = |index: &Index| -> BTreeSet<Branch> {
            index.spots().map(|spot| index.branch(spot)).collect()
        };
        assert_eq!(branches(&index).len(), 1);
        for (number, place) in [(1, 5), (2, 2_000), (3, 2_999)] {
            index.insert(&Held { id: id(number), ..long(place) }).unwrap();
            assert_eq!(branches(&index).len(), 1 + usize::from(number));
        }
    }
}
