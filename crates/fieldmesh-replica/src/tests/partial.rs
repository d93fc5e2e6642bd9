//! Replicas that hold a part, and members that may read a part: nothing else reaches them.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Access;
use fieldmesh_model::filter::Region;
use fieldmesh_model::{BatchId, Filter, Role};

use super::crew::{Author, Crew, Node, Office, keys};
use crate::{Event, Input, LinkId, RefuseReason};

const OPEN: u32 = 7;
const HIDDEN: u32 = 8;

/// A node that may read everything, and one that may read only the open partition.
fn restricted() -> (Crew, Office) {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    let read = Access { partitions: [OPEN].into(), ..Access::ALL };
    office.certify_for(&keys(2), Role::Client, read);
    office.certify(&keys(3), Role::Operator);
    let nodes = [1, 2, 3].map(|seed| Node::new(seed, &office)).into();
    (Crew::of(nodes), office)
}

/// Has an author of its own chain record in `partition` at the first node.
fn record(crew: &mut Crew, author: u8, partition: u32, count: u32) -> Vec<Batch> {
    let mut author = Author::new(author, crew.nodes[0].author.tenant);
    author.partition = partition;
    let mut batches = Vec::new();
    for number in 0..count {
        let batch = author.seal(i64::from(number), format!("{partition} {number}").as_bytes());
        crew.nodes[0].put(super::crew::at(crew.now), batch.clone());
        crew.perform(0);
        batches.push(batch);
    }
    batches
}

fn ids(batches: &[Batch]) -> BTreeSet<BatchId> {
    batches.iter().map(Batch::id).collect()
}

fn loaded(node: &Node, link: LinkId) -> BTreeSet<BatchId> {
    node.loaded.iter().filter(|(to, _)| *to == link).map(|(_, id)| *id).collect()
}

#[test]
fn a_client_restricted_to_a_partition_gets_that_one_whole_and_nothing_else() {
    let (mut crew, _) = restricted();
    let open = record(&mut crew, 1, OPEN, 40);
    record(&mut crew, 1, HIDDEN, 60);
    let (link, _) = crew.connect(0, 1);
    crew.run();
    assert!(crew.nodes[1].in_step().is_some());
    assert_eq!(crew.nodes[1].disk.keys().copied().collect::<BTreeSet<_>>(), ids(&open));
    assert_eq!(loaded(&crew.nodes[0], link), ids(&open));
    // What comes later is offered or not by the same rule.
    let later = record(&mut crew, 3, OPEN, 3);
    record(&mut crew, 3, HIDDEN, 3);
    crew.run();
    crew.pass(120_000);
    let all: BTreeSet<BatchId> = ids(&open).union(&ids(&later)).copied().collect();
    assert_eq!(loaded(&crew.nodes[0], link), all);
    assert_eq!(crew.nodes[1].replica.len(), all.len());
}

#[test]
fn what_a_restricted_client_sees_does_not_depend_on_what_is_hidden_from_it() {
    let heard = |hidden: u32| {
        let (mut crew, _) = restricted();
        record(&mut crew, 1, OPEN, 30);
        record(&mut crew, 3, HIDDEN, hidden);
        crew.recorded = Some(Vec::new());
        crew.connect(1, 0);
        crew.run();
        record(&mut crew, 3, HIDDEN, hidden);
        crew.run();
        crew.pass(180_000);
        crew.recorded.take().unwrap()
    };
    let alone = heard(0);
    assert!(!alone.is_empty());
    assert_eq!(heard(1), alone);
    assert_eq!(heard(500), alone);
}

#[test]
fn a_filter_takes_in_its_part_whole_and_nothing_outside_is_loaded() {
    let (mut crew, office) = Crew::new(3);
    let region = Region { collection: None, partition: Some(OPEN), since: 0 };
    let filter = Filter::new([region]).unwrap();
    let config = *crew.nodes[1].replica.config();
    crew.nodes[1].replica = crate::Replica::new(config, office.items, []).with_filter(filter);
    let open = record(&mut crew, 1, OPEN, 50);
    record(&mut crew, 1, HIDDEN, 70);
    let (link, _) = crew.connect(0, 1);
    crew.run();
    assert!(crew.nodes.iter().take(2).all(|node| node.in_step().is_some()));
    assert_eq!(crew.nodes[1].disk.keys().copied().collect::<BTreeSet<_>>(), ids(&open));
    assert_eq!(loaded(&crew.nodes[0], link), ids(&open));
    crew.connect(1, 2);
    crew.run();
    assert_eq!(crew.nodes[2].replica.len(), open.len(), "and passes its part on");
}

#[test]
fn a_batch_outside_the_grant_is_refused_and_never_stored() {
    let (mut crew, _) = restricted();
    record(&mut crew, 1, OPEN, 2);
    crew.connect(0, 1);
    crew.run();
    // The client itself writes what it may not read, and a peer that takes no notice sends it.
    let outside = RefuseReason::Outside { scope: fieldmesh_model::Scope::default() };
    assert!(!outside.may_pass_later());
    let mut author = Author::new(3, crew.nodes[0].author.tenant);
    author.partition = HIDDEN;
    let batch = author.seal(0, b"hidden");
    let held = crate::Held::of(&batch);
    assert!(!crew.nodes[1].replica.wants(&held.scope));
    assert!(crew.nodes[0].replica.wants(&held.scope));
    assert!(matches!(
        crew.nodes[1].replica.judged(&batch),
        Some(RefuseReason::Outside { scope }) if scope.partition == HIDDEN
    ));
}

#[test]
fn a_right_that_is_taken_away_takes_effect_at_once() {
    let (mut crew, mut office) = restricted();
    record(&mut crew, 1, HIDDEN, 5);
    crew.connect(0, 2);
    crew.run();
    assert_eq!(crew.nodes[2].replica.len(), 5);
    let read = Access { partitions: [OPEN].into(), ..Access::ALL };
    let item = office.renew(&keys(3), Role::Operator, read);
    crew.input(0, Input::LocalItem { item });
    crew.run();
    record(&mut crew, 1, OPEN, 4);
    let before = crew.nodes[0].loaded.len();
    record(&mut crew, 3, HIDDEN, 4);
    crew.run();
    crew.pass(200_000);
    assert_eq!(crew.nodes[0].loaded.len(), before, "nothing hidden was loaded");
    assert_eq!(crew.nodes[2].replica.len(), 9);
    let is_stalled = |event: &Event| matches!(event, Event::Stalled { .. });
    assert!(!crew.nodes[2].events.iter().any(is_stalled));
}

/// The node holds only what `filter` admits from here on, and drops the rest.
fn let_go(crew: &mut Crew, node: usize, filter: &Filter) -> BTreeSet<BatchId> {
    crew.input(node, Input::Wanted { filter: filter.clone() });
    let disk = &mut crew.nodes[node].disk;
    let is_gone = |batch: &Batch| !filter.admits(&batch.header().scope);
    let gone: Vec<BatchId> =
        disk.iter().filter(|(_, batch)| is_gone(batch)).map(|(id, _)| *id).collect();
    disk.retain(|id, _| !gone.contains(id));
    crew.input(node, Input::BatchesLost { ids: gone.clone() });
    gone.into_iter().collect()
}

#[test]
fn a_device_that_lets_a_part_go_is_in_step_without_it_and_gets_it_back_when_it_wants_it() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Relay);
    office.certify(&keys(3), Role::Operator);
    let mut crew = Crew::of([1, 2].map(|seed| Node::new(seed, &office)).into());
    let old = record(&mut crew, 1, HIDDEN, 20);
    let recent = record(&mut crew, 1, OPEN, 5);
    crew.connect(0, 1);
    crew.pass(120_000);
    assert!(old.iter().all(|batch| crew.nodes[0].replica.proof(&batch.id()).is_safe));

    let region = Region { collection: None, partition: Some(OPEN), since: 0 };
    let filter = Filter::new([region]).unwrap();
    assert_eq!(let_go(&mut crew, 0, &filter), ids(&old));
    assert_eq!(crew.nodes[0].replica.len(), recent.len());
    let loaded_before = crew.nodes[1].loaded.len();
    crew.connect(0, 1);
    record(&mut crew, 3, OPEN, 1);
    crew.pass(200_000);
    assert_eq!(crew.nodes[1].loaded.len(), loaded_before, "nothing of it is sent");
    assert_eq!((crew.nodes[0].disk.len(), crew.nodes[1].disk.len()), (6, 26));
    let is_stalled = |event: &Event| matches!(event, Event::Stalled { .. });
    assert!(!crew.nodes.iter().any(|node| node.events.iter().any(is_stalled)));

    // It starts anew and knows only where its chains ended.
    let ends = old.iter().map(|batch| {
        let held = crate::Held::of(batch);
        (held.chain(), held.sequence)
    });
    let config = *crew.nodes[0].replica.config();
    let held: Vec<_> = crew.nodes[0].disk.values().map(crate::Held::of).collect();
    let ends: Vec<_> = ends.collect();
    for (link, _) in crew.nodes[0].replica.links().collect::<Vec<_>>() {
        crew.cut(0, link);
    }
    crew.nodes[0].replica =
        crate::Replica::new(config, office.items.clone(), held).with_let_go(ends);
    crew.connect(0, 1);
    crew.pass(120_000);
    assert_eq!(crew.nodes[0].disk.len(), 26);
    crew.assert_equal();
    let is_surprise = |event: &Event| matches!(event, Event::OwnBatchUnknown { .. });
    assert!(!crew.nodes[0].events.iter().any(is_surprise));
    let doubts = |event: &Event| matches!(event, Event::StoreDoubted { .. });
    assert!(!crew.nodes.iter().any(|node| node.events.iter().any(doubts)));
}
