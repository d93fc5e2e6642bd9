//! What two or more replicas reach when they meet: the sets become equal, at a known cost.

use std::collections::BTreeSet;

use fieldmesh_model::Role;

use super::crew::{Author, Crew, Node, Office, at, key_of, keys};
use crate::{Event, Held, Input, Replica, Unstored};

fn differing(ours: usize, theirs: usize, common: usize) -> Crew {
    differing_in(ours, theirs, common).0
}

fn differing_in(ours: usize, theirs: usize, common: usize) -> (Crew, Office) {
    let (mut crew, office) = Crew::new(2);
    for index in 0..common {
        let batch = crew.seal(0, format!("common {index}").as_bytes());
        crew.nodes[1].put(at(0), batch);
        crew.now += 60_000;
    }
    for index in 0..ours.max(theirs) {
        crew.now += 60_000;
        if index < ours {
            crew.seal(0, format!("ours {index}").as_bytes());
        }
        if index < theirs {
            crew.seal(1, format!("theirs {index}").as_bytes());
        }
    }
    (crew, office)
}

#[test]
fn two_replicas_with_any_difference_end_equal_and_in_step() {
    for (ours, theirs, common) in
        [(0, 0, 0), (1, 0, 0), (0, 1, 0), (5, 0, 300), (0, 5, 300), (70, 40, 200), (150, 1, 1)]
    {
        let mut crew = differing(ours, theirs, common);
        crew.connect(0, 1);
        crew.run();
        crew.assert_equal();
        assert_eq!(crew.nodes[0].replica.len(), ours + theirs + common);
        let stats = [0, 1].map(|node| crew.nodes[node].in_step().expect("in step on both sides"));
        assert_eq!(stats[0].batches_received, theirs as u64);
        assert_eq!(stats[1].batches_received, ours as u64);
        assert_eq!(stats.map(|stats| stats.repeated), [0, 0]);
        assert_eq!(stats.map(|stats| stats.batches_sent), [ours as u64, theirs as u64]);
    }
}

#[test]
fn a_stream_split_into_single_bytes_gives_the_same_end() {
    let mut crew = differing(20, 30, 100);
    crew.chunk = 1;
    crew.connect(0, 1);
    crew.run();
    crew.assert_equal();
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
}

#[test]
fn nothing_new_costs_fourteen_bytes_on_an_open_link() {
    let mut crew = differing(3, 4, 50);
    crew.connect(0, 1);
    crew.run();
    for node in [0, 1] {
        crew.nodes[node].events.clear();
    }
    crew.delivered = [0, 0];
    crew.pass(60_000);
    assert_eq!(crew.delivered, [14, 0]);
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
}

#[test]
fn a_new_batch_reaches_a_peer_behind_a_peer_without_a_comparison() {
    let (mut crew, _) = Crew::new(3);
    crew.connect(0, 1);
    crew.connect(1, 2);
    crew.run();
    let exchanges = |crew: &Crew| -> u64 {
        crew.nodes
            .iter()
            .flat_map(|node| node.replica.links().filter_map(|(link, _)| node.replica.stats(link)))
            .map(|stats| stats.exchanges)
            .sum()
    };
    let before = exchanges(&crew);
    let batch = crew.seal(0, b"new");
    crew.run();
    crew.assert_equal();
    assert!(crew.nodes[2].replica.contains(&key_of(&batch)));
    assert_eq!(exchanges(&crew), before);
}

#[test]
fn with_many_peers_some_are_pushed_to_and_the_others_ask() {
    let (mut crew, _) = Crew::new(7);
    for other in 1..7 {
        crew.connect(0, other);
    }
    crew.run();
    crew.seal(0, b"new");
    crew.run();
    crew.pass(150);
    crew.assert_equal();
    let sent: u64 = crew.nodes[0]
        .replica
        .links()
        .filter_map(|(link, _)| crew.nodes[0].replica.stats(link))
        .map(|stats| stats.batches_sent)
        .sum();
    assert_eq!(sent, 6);
}

#[test]
fn the_largest_change_travels_and_so_does_what_compresses_without_limit() {
    let (mut crew, _) = Crew::new(2);
    let mut large = vec![0; fieldmesh_model::limits::CHANGE_SIZE_MAX];
    for (index, byte) in large.iter_mut().enumerate() {
        *byte = (index.wrapping_mul(2_654_435_761) >> 13).to_be_bytes()[7];
    }
    crew.seal(0, &large);
    large.fill(0);
    for _ in 0..8 {
        crew.seal(0, &large);
    }
    crew.connect(0, 1);
    crew.run();
    crew.assert_equal();
    assert_eq!(crew.nodes[1].in_step().unwrap().batches_received, 9);
}

#[test]
fn in_step_waits_for_the_disk() {
    let mut crew = differing(0, 10, 0);
    crew.nodes[0].is_slow = true;
    crew.connect(0, 1);
    crew.run();
    assert!(crew.nodes.iter().all(|node| node.in_step().is_none()));
    let now = at(crew.now);
    crew.nodes[0].finish_writing(now);
    crew.perform(0);
    crew.run();
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
}

#[test]
fn what_cannot_be_stored_closes_the_link_and_comes_again() {
    let mut crew = differing(0, 10, 0);
    crew.nodes[0].is_slow = true;
    crew.connect(0, 1);
    crew.run();
    let batches = std::mem::take(&mut crew.nodes[0].writing);
    crew.nodes[0].disk.clear();
    crew.input(0, Input::StoreFailed { batches, items: Vec::new(), why: Unstored::Failed });
    crew.run();
    assert_eq!(crew.nodes[0].closed.len(), 1);
    assert_eq!(crew.nodes[0].replica.len(), 0);
    crew.nodes[0].is_slow = false;
    crew.connect(0, 1);
    crew.run();
    assert_eq!(crew.nodes[0].replica.len(), 10);
}

#[test]
fn what_comes_during_a_comparison_is_passed_on_before_in_step_is_said() {
    let (mut crew, _) = Crew::new(2);
    // The hello with the roots is on its way when the batch is sealed.
    crew.connect(0, 1);
    crew.seal(0, b"new");
    crew.run();
    crew.assert_equal();
    let sent = crew.nodes[0].in_step().unwrap();
    assert_eq!(sent.batches_sent, 1);
}

#[test]
fn a_link_that_breaks_while_the_disk_is_slow_does_not_fetch_twice() {
    let mut crew = differing(0, 10, 0);
    crew.nodes[0].is_slow = true;
    let (link, _) = crew.connect(0, 1);
    crew.run();
    crew.cut(0, link);
    crew.connect(0, 1);
    crew.run();
    let now = at(crew.now);
    crew.nodes[0].finish_writing(now);
    crew.perform(0);
    crew.run();
    let stats = crew.nodes[0].in_step().unwrap();
    assert_eq!((stats.batches_received, stats.repeated), (0, 0));
    crew.assert_equal();
}

#[test]
fn a_certificate_reaches_all_and_with_it_the_batches_of_a_new_device() {
    let (mut crew, mut office) = Crew::new(2);
    crew.connect(0, 1);
    crew.run();
    let item = office.certify(&keys(3), Role::Operator);
    let newcomer = Node::new(3, &office);
    crew.nodes.push(newcomer);
    crew.seal(2, b"first entry of the new device");
    // The new device meets only a peer that has not heard of it.
    crew.connect(2, 1);
    crew.run();
    crew.assert_equal();
    assert_eq!(crew.nodes[0].replica.len(), 1);
    for node in &crew.nodes {
        assert!(node.replica.policy().counts(&item.id()));
        assert_eq!(node.refused(), 0);
    }
}

#[test]
fn a_batch_that_comes_before_its_authors_certificate_waits_for_it() {
    let (mut crew, office) = Crew::new(2);
    let mut later = Office::new(200);
    for seed in 1..=2 {
        later.certify(&keys(seed), Role::Operator);
    }
    let item = later.certify(&keys(9), Role::Operator);
    assert_eq!(later.tenant, office.tenant);
    crew.connect(0, 1);
    crew.run();
    let mut stranger = Author::new(9, office.tenant);
    let batch = stranger.seal(5, b"early");
    crew.nodes[0].disk.insert(batch.id(), batch.clone());
    crew.nodes[0].replica.smuggle(&Held::of(&batch));
    crew.input(0, Input::Resync { link: None });
    crew.run();
    assert_eq!(crew.nodes[1].refused(), 1);
    assert_eq!(crew.nodes[1].replica.waiting_count(), 1);
    assert!(!crew.nodes[1].replica.contains(&key_of(&batch)));
    crew.input(0, Input::LocalItem { item });
    crew.run();
    assert!(crew.nodes[1].replica.contains(&key_of(&batch)));
    assert_eq!(crew.nodes[1].replica.waiting_count(), 0);
    crew.assert_equal();
}

#[test]
fn a_batch_that_cannot_be_read_from_the_disk_stalls_and_does_not_spin() {
    let mut crew = differing(3, 0, 0);
    let lost = *crew.nodes[0].disk.keys().next().unwrap();
    crew.nodes[0].disk.remove(&lost);
    crew.connect(0, 1);
    crew.run();
    assert_eq!(crew.nodes[1].replica.len(), 2);
    let stalled = |node: &Node| {
        node.events.iter().filter(|event| matches!(event, Event::Stalled { .. })).count()
    };
    assert_eq!(stalled(&crew.nodes[0]), 1);
    crew.delivered = [0, 0];
    crew.pass(59_000);
    assert_eq!(crew.delivered[1], 0);
    crew.pass(600_000);
    assert!(stalled(&crew.nodes[0]) <= 11);
}

#[test]
fn chains_show_what_is_missing_and_what_forks() {
    let (mut crew, office) = Crew::new(2);
    let first = crew.nodes[0].author.seal(0, b"never sent");
    let second = crew.nodes[0].author.seal(1, b"second");
    let mut twin = Author::new(1, office.tenant);
    twin.seal(0, b"never sent");
    let fork = twin.seal(9, b"another second");
    for batch in [second, fork] {
        crew.nodes[0].put(at(0), batch);
    }
    crew.connect(0, 1);
    crew.run();
    let events = &crew.nodes[1].events;
    let missing = |event: &&Event| matches!(event, Event::ChainGap { gap, .. } if gap.last == 1);
    assert_eq!(events.iter().filter(missing).count(), 1);
    let forks = |event: &&Event| matches!(event, Event::Fork(fork) if fork.sequence == 2);
    assert_eq!(events.iter().filter(forks).count(), 1);
    assert!(!crew.nodes[1].disk.contains_key(&first.id()));
}

#[test]
fn all_roots_are_one_root_whatever_the_history() {
    let (mut crew, office) = differing_in(40, 40, 40);
    crew.connect(1, 0);
    crew.run();
    let mut shuffled: Vec<_> = crew.nodes[0].disk.values().map(Held::of).collect();
    shuffled.reverse();
    let config = *crew.nodes[0].replica.config();
    let fresh = Replica::new(config, office.items, shuffled);
    let roots: BTreeSet<_> =
        crew.nodes.iter().map(|node| node.replica.root().0).chain([fresh.root().0]).collect();
    assert_eq!(roots.len(), 1);
}
