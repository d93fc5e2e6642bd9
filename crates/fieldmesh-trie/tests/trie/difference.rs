//! What an exchange finds and what it costs. Goal: exactly the difference, within the bytes and
//! round trips that the design promises. Method: whole exchanges in memory, both ways round.

use std::collections::BTreeSet;

use fieldmesh_trie::{
    Answer, Budget, Exchange, FIRST_ANSWER_BYTES_MAX, Form, Key, Node, Trie, WireKey, answer,
    encode, exchange, first_answer, named, opening, wire_root,
};

use crate::crew::{CHANNEL, Seeded, Year, trie};

/// One side and the other of 100 new entries and 50 edits each, after shared work.
fn busy_day(shared: usize, partitions: usize) -> (Trie, Trie) {
    let mut year = Year::new(11, partitions);
    let base = year.work(shared);
    let mut day = |seed| {
        year.seeded = Seeded(seed);
        let mut keys = year.new_entries(100);
        keys.extend(year.edits(50));
        trie(&base, &keys)
    };
    (day(1), day(2))
}

/// After `shared` entries, `count` more on one side.
fn newer(shared: usize, partitions: usize, count: usize) -> (Trie, Trie) {
    let mut year = Year::new(5, partitions);
    let base = year.work(shared);
    let new = year.new_entries(count);
    (trie(&base, &[]), trie(&base, &new))
}

/// The exchange finds exactly the difference both ways round, within `bytes` and `half_trips`.
fn costs_at_most(pair: &(Trie, Trie), bytes: usize, half_trips: usize) {
    let (one, other) = pair;
    for (first, second) in [(one, other), (other, one)] {
        let found = exact(first, second);
        let context = format!("{} B in {} half trips", found.bytes(), found.half_trips);
        assert!(found.bytes() <= bytes && found.half_trips <= half_trips, "{context}");
    }
}

fn exact(first: &Trie, second: &Trie) -> Exchange {
    let found = exchange(first, second, &CHANNEL, Budget::default());
    let (a, b) = (set(first), set(second));
    assert!(!found.is_cut);
    assert_eq!(found.first_lacks, &b - &a);
    assert_eq!(found.second_lacks, &a - &b);
    found
}

fn set(trie: &Trie) -> BTreeSet<Key> {
    trie.iter().copied().collect()
}

/// Repeats exchanges until the roots agree; gives bytes and how many it took.
fn converge(one: &mut Trie, other: &mut Trie, budget: Budget) -> (usize, u8) {
    let (mut bytes, mut rounds) = (0, 0);
    while one.root() != other.root() {
        assert!(rounds < 200, "exchanges make no progress");
        rounds += 1;
        let found = exchange(one, other, &WireKey::new([rounds; 32], Form::Summed), budget);
        bytes += found.bytes();
        assert!(found.first_lacks.iter().all(|key| one.insert(*key)), "sent what was there");
        assert!(found.second_lacks.iter().all(|key| other.insert(*key)), "sent what was there");
    }
    (bytes, rounds)
}

#[test]
fn nothing_new_costs_one_round_trip_and_14_bytes() {
    let (one, other) = newer(100_000, 4, 0);
    let found = exact(&one, &other);
    assert!(found.bytes_there <= 13 && found.bytes_back == 1 && found.half_trips == 2);
}

#[test]
fn one_recent_entry_costs_less_than_a_kilobyte_and_two_round_trips() {
    for size in [10_000, 100_000] {
        costs_at_most(&newer(size, 1, 1), 290, 4);
        costs_at_most(&newer(size, 4, 1), 760, 4);
    }
}

#[test]
fn a_hundred_recent_entries_cost_hardly_more_than_one() {
    costs_at_most(&newer(10_000, 1, 100), 290, 6);
    costs_at_most(&newer(100_000, 1, 100), 440, 4);
    costs_at_most(&newer(10_000, 4, 100), 1_100, 4);
    costs_at_most(&newer(100_000, 4, 100), 1_550, 6);
}

#[test]
fn a_busy_day_on_both_sides_costs_less_than_1700_bytes_and_three_and_a_half_round_trips() {
    costs_at_most(&busy_day(10_000, 1), 1_700, 7);
    costs_at_most(&busy_day(100_000, 1), 2_300, 7);
    costs_at_most(&busy_day(10_000, 4), 3_700, 7);
}

#[test]
fn a_first_answer_stays_within_a_kilobyte() {
    for (size, partitions) in [(90, 1), (100, 1), (5_000, 9), (60_000, 3)] {
        let (one, other) = busy_day(size, partitions);
        for side in [one, other] {
            for form in [Form::Plain, Form::Summed] {
                let key = WireKey::new([7; 32], form);
                let bytes = encode(&first_answer(&side, &key), form).len();
                assert!((100..=FIRST_ANSWER_BYTES_MAX).contains(&bytes), "{bytes} B of {size}");
            }
        }
    }
}

#[test]
fn scattered_differences_cost_in_proportion() {
    let mut seeded = Seeded(4);
    let shared = Year::new(6, 2).work(100_000);
    let full = trie(&shared, &[]);
    let mut holes = full.clone();
    for _ in 0..1_000 {
        holes.remove(&shared[seeded.below(shared.len())]);
    }
    let missing = full.len() - holes.len();
    let (bytes, rounds) = converge(&mut full.clone(), &mut holes, Budget::default());
    assert!(bytes <= 1_024 + 85 * missing * 4, "{bytes} B for {missing} in {rounds} rounds");
    assert!(rounds <= 8, "{rounds} rounds");
}

#[test]
fn disjoint_sets_find_everything() {
    let mut one = trie(&Year::new(1, 3).work(9_000), &[]);
    let mut other = trie(&Year::new(2, 3).work(11_000), &[]);
    let (bytes, _) = converge(&mut one, &mut other, Budget::default());
    assert_eq!(one.len(), 20_000);
    assert!(bytes <= 20_000 * 12, "{bytes} B");
}

#[test]
fn an_empty_side_costs_next_to_nothing() {
    let full = trie(&Year::new(1, 3).work(10_000), &[]);
    let found = exact(&Trie::new(), &full);
    assert!(found.bytes() <= 10 && found.half_trips == 2, "{found:?}");
    let found = exact(&full, &Trie::new());
    assert!(found.bytes() <= 16 && found.half_trips == 3);
    let small = Budget { keys: 100, ..Budget::default() };
    let cut = opening(&full, &CHANNEL, 0, small);
    assert!(cut.is_cut && cut.lacks.len() == 100);
}

#[test]
fn small_and_oddly_shaped_sets_find_their_difference() {
    let mut seeded = Seeded(12);
    for round in 0..400 {
        let side = |seeded: &mut Seeded| -> Trie {
            let count = [0, 1, 31, 33, 120, 600][seeded.below(6)];
            let key = |seeded: &mut Seeded| {
                let mut bytes = [0; 46];
                for place in [0, 3, 7, 12, 13, 30, 45] {
                    bytes[place] = [0, 1, 0x10, 0x80][seeded.below(4)];
                }
                Key::from_bytes(bytes)
            };
            let mut trie: Trie = (0..count).map(|_| key(seeded)).collect();
            trie.rehash();
            trie
        };
        let (one, other) = (side(&mut seeded), side(&mut seeded));
        if wire_root(&one, &CHANNEL) != wire_root(&other, &CHANNEL) {
            let found = exact(&one, &other);
            assert!(found.half_trips <= 24, "round {round}: {}", found.half_trips);
        }
    }
}

#[test]
fn a_small_budget_delays_and_loses_nothing() {
    let mut one = trie(&Year::new(1, 2).work(6_000), &[]);
    let mut other = trie(&Year::new(2, 2).work(6_000), &[]);
    let budget = Budget { bytes: 0, keys: 500 };
    let (_, rounds) = converge(&mut one, &mut other, budget);
    assert!(rounds > 5);
    assert_eq!(one.len(), 12_000);
}

#[test]
fn the_few_of_one_side_are_found_although_more_is_lacking_there_than_fits() {
    let mut one = trie(&Year::new(1, 2).work(40), &[]);
    let mut other = trie(&Year::new(2, 2).work(4_000), &[]);
    let budget = Budget { keys: 600, ..Budget::default() };
    let (_, rounds) = converge(&mut one, &mut other, budget);
    assert!(rounds <= 10, "{rounds} rounds");
    assert_eq!(other.len(), 4_040);
}

#[test]
fn a_trie_may_change_between_two_messages() {
    let mut seeded = Seeded(77);
    let mut year = Year::new(1, 2);
    let shared = year.work(3_000);
    let mut sides = [trie(&shared, &[]), trie(&shared, &year.edits(60))];
    let mut offered: [Vec<Node>; 2] = Default::default();
    let mut message = Answer { nodes: first_answer(&sides[0], &CHANNEL), ..Answer::default() };
    let mut turn = 1;
    while !message.is_empty() {
        offered[1 - turn].clone_from(&message.nodes);
        for key in year.edits(20) {
            sides[turn].insert(key);
        }
        sides[turn].remove(&shared[seeded.below(shared.len())]);
        let trie = &sides[turn];
        let mut reply = answer(trie, &CHANNEL, &message.nodes, Budget::default());
        for want in &message.wants {
            let asked = named(trie, &CHANNEL, &offered[turn][want.node], &want.bits);
            assert!(asked.iter().all(|key| trie.contains(key)));
            reply.lacks.extend(asked);
        }
        sides[turn].rehash();
        turn = 1 - turn;
        sides[turn].extend(reply.lacks.drain(..));
        message = reply;
    }
    let [one, other] = &mut sides;
    converge(one, other, Budget::default());
}

#[test]
fn items_whose_short_ids_collide_wait_for_the_next_exchange() {
    let keys = Year::new(1, 1).work(3);
    let other = trie(&keys[..2], &[]);
    // The peer's second item has the short id of one of ours: it counts as known for now.
    let id = CHANNEL.short_id(&keys[0]);
    let twice = Node::Ids { prefix: fieldmesh_trie::Prefix::ALL, ids: vec![id, id] };
    let reply = answer(&other, &CHANNEL, std::slice::from_ref(&twice), Budget::default());
    assert_eq!((reply.lacks.as_slice(), reply.wants.len()), (&keys[1..2], 0));
    assert_eq!(named(&other, &CHANNEL, &twice, &[0b11]), [keys[0]], "asked twice, sent once");
}
