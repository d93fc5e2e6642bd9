//! What a disk loses after it was durable: it comes again, and nobody believes in it meanwhile.

use fieldmesh_batch::Batch;
use fieldmesh_model::{BatchId, Role};

use super::crew::{Crew, Node, Office, keys};
use crate::{Event, Input};

/// The disk of `node` loses batches, and the shell says so.
fn lose(crew: &mut Crew, node: usize, ids: &[BatchId]) {
    crew.nodes[node].disk.retain(|id, _| !ids.contains(id));
    crew.input(node, Input::BatchesLost { ids: ids.to_vec() });
}

fn seal_some(crew: &mut Crew, node: usize, count: u8) -> Vec<BatchId> {
    let seal = |crew: &mut Crew, number| {
        crew.now += 1_000;
        crew.seal(node, &[number]).id()
    };
    (0..count).map(|number| seal(crew, number)).collect()
}

fn assert_durable(crew: &Crew, node: usize, ids: &[BatchId]) {
    for id in ids {
        assert!(crew.nodes[node].replica.holds(id), "not held");
        assert!(crew.nodes[node].disk.contains_key(id), "not durable");
    }
    assert_eq!(crew.nodes[node].replica.lost().len(), 0);
}

#[test]
fn a_batch_that_the_disk_lost_comes_again_over_a_link_that_is_up() {
    let (mut crew, _) = Crew::new(2);
    let ids = seal_some(&mut crew, 0, 9);
    crew.connect(0, 1);
    crew.pass(5_000);
    lose(&mut crew, 1, &ids[3..5]);
    assert!(!crew.nodes[1].replica.holds(&ids[3]));
    crew.pass(120_000);
    crew.assert_equal();
    assert_durable(&crew, 1, &ids);
}

#[test]
fn a_device_whose_own_batches_went_bad_gets_them_from_whoever_has_them_and_keeps_its_chain() {
    let (mut crew, _) = Crew::new(3);
    let ids = seal_some(&mut crew, 0, 6);
    let (link, _) = crew.connect(0, 1);
    crew.pass(5_000);
    crew.cut(0, link);
    lose(&mut crew, 0, &ids[..4]);
    let lost = crew.nodes[0].replica.lost();
    assert!(lost.iter().eq(ids[..4].iter().collect::<std::collections::BTreeSet<_>>()));
    // Who has never had them cannot give them.
    let (link, _) = crew.connect(0, 2);
    crew.pass(5_000);
    assert_eq!(crew.nodes[0].replica.lost().len(), 4);
    crew.cut(0, link);
    crew.connect(1, 0);
    crew.pass(5_000);
    assert_durable(&crew, 0, &ids);
    let is_surprise = |event: &Event| matches!(event, Event::OwnBatchUnknown { .. });
    assert!(!crew.nodes[0].events.iter().any(is_surprise));
}

#[test]
fn nothing_counts_as_safe_on_a_relay_that_has_lost_it() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Relay);
    let mut crew = Crew::of([1, 2].map(|seed| Node::new(seed, &office)).into());
    let batches: Vec<Batch> = (0..5).map(|number| crew.seal(0, &[number])).collect();
    let (link, _) = crew.connect(0, 1);
    crew.pass(10_000);
    let is_safe = |crew: &Crew| crew.nodes[0].replica.proof(&batches[4].id()).is_safe;
    assert!(is_safe(&crew));
    crew.cut(0, link);
    lose(&mut crew, 1, &[batches[2].id()]);
    // The only other copy is gone from the device, too: the relay must not say that it has it.
    lose(&mut crew, 0, &[batches[2].id()]);
    let (link, _) = crew.connect(0, 1);
    crew.pass(10_000);
    assert!(!is_safe(&crew));
    crew.cut(0, link);
    crew.nodes[0].disk.insert(batches[2].id(), batches[2].clone());
    crew.nodes[0].restart();
    crew.connect(0, 1);
    crew.pass(10_000);
    assert!(is_safe(&crew));
    assert_eq!(crew.nodes[1].replica.lost().len(), 0);
}

#[test]
fn a_batch_that_does_not_count_and_went_bad_comes_back_to_its_side() {
    let (mut crew, mut office) = Crew::new(3);
    let ids = seal_some(&mut crew, 2, 4);
    let (link, _) = crew.connect(2, 0);
    crew.pass(5_000);
    crew.connect(0, 1);
    crew.pass(5_000);
    crew.cut(2, link);
    let item = office.revoke(crew.nodes[2].device(), [].into());
    crew.input(0, Input::LocalItem { item });
    crew.pass(60_000);
    assert_eq!(crew.nodes[1].replica.quarantine_len(), 4);
    lose(&mut crew, 1, &ids[1..3]);
    crew.pass(120_000);
    crew.assert_same([0, 1]);
    assert_eq!(crew.nodes[1].replica.quarantine_len(), 4);
    assert_durable(&crew, 1, &ids);
}

#[test]
fn what_was_lost_while_the_policy_changed_stands_where_the_policy_says() {
    let (mut crew, mut office) = Crew::new(3);
    let ids = seal_some(&mut crew, 2, 4);
    let (link, _) = crew.connect(2, 0);
    crew.pass(5_000);
    let (between, _) = crew.connect(0, 1);
    crew.pass(5_000);
    crew.cut(2, link);
    crew.cut(0, between);
    lose(&mut crew, 1, &ids[1..3]);
    let item = office.revoke(crew.nodes[2].device(), [].into());
    crew.input(0, Input::LocalItem { item });
    crew.connect(1, 0);
    crew.pass(60_000);
    crew.assert_same([0, 1]);
    assert_eq!(crew.nodes[1].replica.len(), 0);
    assert_durable(&crew, 1, &ids);
}
