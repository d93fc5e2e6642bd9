//! What counts and what stands aside: the same in the end, whatever came first.

use std::collections::BTreeSet;

use fieldmesh_batch::Batch;
use fieldmesh_identity::Item;
use fieldmesh_model::{BatchId, DeviceId, Epoch, Role};

use super::crew::{Author, Crew, Node, Office, at, head_of, keys};
use super::in_every_order;
use crate::{Event, Held, Input, Output, RefuseReason, Replica};

/// Something that arrives.
#[derive(Debug, Clone)]
enum Thing {
    Batch(Held),
    Item(Item),
}

/// A chain of three with a fork at its second place, which is continued.
fn forked(office: &Office) -> Vec<Batch> {
    let mut author = Author::new(2, office.tenant);
    let mut batches = vec![author.seal(0, b"first")];
    let mut twin = Author::new(2, office.tenant);
    (twin.sequence, twin.previous) = (author.sequence, author.previous);
    batches.extend([author.seal(1, b"second"), author.seal(2, b"third")]);
    batches.extend([twin.seal(3, b"other second"), twin.seal(4, b"other third")]);
    batches
}

/// Lets `things` arrive at a new replica; the batches aside, as the events tell.
fn arrive(office: &Office, things: &[Thing]) -> (Replica, BTreeSet<BatchId>) {
    let mut replica = Replica::new(Node::config(1, office), office.items[..3].to_vec(), []);
    let mut told = BTreeSet::new();
    for thing in things {
        let input = match thing.clone() {
            Thing::Batch(held) => Input::LocalBatch { held },
            Thing::Item(item) => Input::LocalItem { item },
        };
        replica.handle(at(0), input).unwrap();
        while let Some(output) = replica.poll() {
            match output {
                Output::Event(Event::SetAside { batches }) => {
                    assert!(batches.iter().all(|batch| told.insert(*batch)), "told twice");
                }
                Output::Event(Event::Readmitted { batches }) => {
                    assert!(batches.iter().all(|batch| told.remove(batch)), "was not aside");
                }
                _ => {}
            }
        }
    }
    (replica, told)
}

#[test]
fn a_revocation_and_an_adoption_end_the_same_before_between_and_after_the_batches() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    let batches = forked(&office);
    let device = keys(2).device();
    let revocation = office.revoke(device, [head_of(&batches[1])].into());
    let adoption = office.adopt(device, [head_of(&batches[4])].into());
    let mut things: Vec<Thing> = batches.iter().map(|it| Thing::Batch(Held::of(it))).collect();
    things.extend([Thing::Item(revocation), Thing::Item(adoption)]);
    let all =
        Replica::new(Node::config(1, &office), office.items.clone(), batches.iter().map(Held::of));
    let aside: Vec<_> = all.aside().collect();
    assert_eq!(aside, [(batches[2].id(), RefuseReason::BeyondHeads)]);
    assert_eq!((all.len(), all.forks().count()), (4, 2));
    let (root, quarantine) = (all.root(), all.quarantine_root());
    in_every_order(&mut things, &mut |order| {
        let (replica, told) = arrive(&office, order);
        assert_eq!((replica.root(), replica.quarantine_root()), (root, quarantine));
        assert_eq!(told, [batches[2].id()].into());
        assert!(replica.is_aside(&batches[2].id()) && !replica.is_aside(&batches[4].id()));
    });
}

#[test]
fn a_head_that_comes_after_its_revocation_brings_back_what_it_leads_to() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    let batches = forked(&office);
    let item = office.revoke(keys(2).device(), [head_of(&batches[2])].into());
    let before = [Thing::Item(item)].into_iter();
    let early = batches[..2].iter().map(|batch| Thing::Batch(Held::of(batch)));
    let mut things: Vec<Thing> = before.chain(early).collect();
    let (replica, told) = arrive(&office, &things);
    assert_eq!((replica.len(), replica.quarantine_len(), told.len()), (0, 2, 2));
    things.push(Thing::Batch(Held::of(&batches[2])));
    let (replica, told) = arrive(&office, &things);
    assert_eq!((replica.len(), replica.quarantine_len(), told.len()), (3, 0, 0));
}

#[test]
fn the_newest_heads_keep_everything_that_counts_when_a_device_is_revoked() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    let mut batches = forked(&office);
    // One place is missing: what is on both sides of the gap is kept.
    batches.remove(1);
    let held = batches.iter().map(Held::of);
    let mut replica = Replica::new(Node::config(1, &office), office.items.clone(), held);
    let heads = replica.newest_heads(&keys(2).device());
    assert_eq!(heads.len(), 2);
    let root = replica.root();
    let item = office.revoke(keys(2).device(), heads);
    replica.handle(at(0), Input::LocalItem { item }).unwrap();
    assert!(replica.policy().is_revoked(&keys(2).device()));
    assert_eq!((replica.root(), replica.quarantine_len()), (root, 0));
}

/// Three nodes, of which the second is revoked up to its third batch; all of its five are known to
/// the second only.
fn revoked() -> (Crew, Vec<Batch>, Item) {
    let (mut crew, mut office) = Crew::new(3);
    let batches: Vec<Batch> = (0..5_u8).map(|number| crew.seal(1, &[number])).collect();
    let item = office.revoke(keys(2).device(), [head_of(&batches[2])].into());
    (crew, batches, item)
}

fn ids(batches: &[Batch]) -> Vec<BatchId> {
    batches.iter().map(Batch::id).collect()
}

#[test]
fn work_beyond_the_cut_is_set_aside_and_what_is_before_stays() {
    let (mut crew, batches, item) = revoked();
    crew.connect(1, 0);
    crew.connect(0, 2);
    crew.run();
    crew.assert_equal();
    crew.nodes.iter_mut().for_each(|node| node.events.clear());
    crew.input(0, Input::LocalItem { item });
    crew.pass(60_000);
    for node in [0, 2] {
        let replica = &crew.nodes[node].replica;
        assert_eq!((replica.len(), replica.quarantine_len()), (3, 2));
        let set_aside = Event::SetAside { batches: ids(&batches[3..]) };
        assert!(crew.nodes[node].events.contains(&set_aside));
    }
    crew.nodes[0].restart();
    let aside: BTreeSet<BatchId> = crew.nodes[0].replica.aside().map(|(id, _)| id).collect();
    assert_eq!(aside, ids(&batches[3..]).into_iter().collect());
}

#[test]
fn a_batch_of_a_revoked_device_is_stored_aside_and_can_be_adopted_everywhere() {
    let (mut crew, batches, item) = revoked();
    // The third hears of the revocation first, and of the batches from a peer that knows it not.
    crew.input(2, Input::LocalItem { item: item.clone() });
    let mut office = Office::new(200);
    (1..=3).for_each(|seed| _ = office.certify(&keys(seed), Role::Operator));
    for batch in &batches {
        crew.nodes[0].put(at(crew.now), batch.clone());
    }
    crew.perform(0);
    crew.connect(2, 0);
    crew.pass(30_000);
    crew.assert_same([0, 2]);
    assert_eq!(crew.nodes[2].replica.len(), 3);
    assert_eq!(crew.nodes[2].replica.quarantine_len(), 2, "the quarantine travels too");
    let is_quarantined = |event: &Event| matches!(event, Event::Quarantined { .. });
    assert!(crew.nodes[2].events.iter().any(is_quarantined));
    assert!(ids(&batches[3..]).iter().all(|id| crew.nodes[2].stored_aside.contains(id)));
    office.items.push(item);
    let adoption = office.adopt(keys(2).device(), [head_of(&batches[4])].into());
    crew.input(2, Input::LocalItem { item: adoption });
    crew.pass(30_000);
    crew.assert_same([0, 2]);
    for node in [0, 2] {
        let replica = &crew.nodes[node].replica;
        assert_eq!((replica.len(), replica.quarantine_len()), (5, 0));
    }
}

#[test]
fn what_stands_aside_reaches_a_peer_within_a_minute() {
    let (mut crew, batches, item) = revoked();
    crew.input(0, Input::LocalItem { item });
    crew.connect(0, 2);
    crew.pass(1_000);
    for batch in &batches {
        crew.nodes[0].put(at(crew.now), batch.clone());
    }
    crew.perform(0);
    crew.pass(75_000);
    crew.assert_same([0, 2]);
    assert_eq!(crew.nodes[2].replica.quarantine_len(), 2);
}

#[test]
fn a_quarantine_that_is_full_takes_in_nothing_more() {
    let mut office = Office::new(200);
    (1..=2).for_each(|seed| _ = office.certify(&keys(seed), Role::Operator));
    office.certify(&keys(3), Role::Relay);
    let limit = u32::try_from(crate::limits::QUARANTINE_MAX).unwrap();
    // What a relay seems to have written stands aside.
    let mut author = Author::new(3, office.tenant);
    let template = Held::of(&author.seal(0, b"written by a relay"));
    let held = (0..limit - 1).map(|number| {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let author = DeviceId::from_bytes([u8::try_from(number % 8).unwrap(); 32]);
        Held { id: BatchId::from_bytes(id), author, epoch: Epoch(u64::from(number)), ..template }
    });
    let mut nodes: Vec<Node> = [1, 2].map(|seed| Node::new(seed, &office)).into();
    nodes[0].replica = Replica::new(Node::config(1, &office), office.items.clone(), held);
    let mut crew = Crew::of(nodes);
    assert_eq!(crew.nodes[0].replica.quarantine_len(), crate::limits::QUARANTINE_MAX - 1);
    for number in 0..3_u8 {
        let batch = author.seal(1, &[number]);
        crew.nodes[1].disk.insert(batch.id(), batch.clone());
        crew.nodes[1].replica.smuggle(&Held::of(&batch));
    }
    crew.connect(0, 1);
    crew.run();
    assert_eq!(crew.nodes[0].replica.quarantine_len(), crate::limits::QUARANTINE_MAX);
    let is_full = |event: &Event| {
        matches!(event, Event::Refused { reason: RefuseReason::QuarantineFull, .. })
    };
    assert!(crew.nodes[0].events.iter().any(is_full));
}

#[test]
fn an_author_of_excluded_batches_leaves_room_for_those_of_others() {
    let mut office = Office::new(200);
    (1..=2).for_each(|seed| _ = office.certify(&keys(seed), Role::Operator));
    (3..=4).for_each(|seed| _ = office.certify(&keys(seed), Role::Relay));
    let limit = u32::try_from(crate::limits::QUARANTINE_PER_AUTHOR_MAX).unwrap();
    let mut authors = [3, 4].map(|seed| Author::new(seed, office.tenant));
    let template = Held::of(&authors[0].seal(0, b"written by a relay"));
    let held = (0..limit).map(|number| {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Held { id: BatchId::from_bytes(id), epoch: Epoch(u64::from(number)), ..template }
    });
    let mut nodes: Vec<Node> = [1, 2].map(|seed| Node::new(seed, &office)).into();
    nodes[0].replica = Replica::new(Node::config(1, &office), office.items.clone(), held);
    let mut crew = Crew::of(nodes);
    let batches = [0, 1].map(|author: usize| authors[author].seal(1, b"one more"));
    for batch in &batches {
        crew.nodes[1].disk.insert(batch.id(), batch.clone());
        crew.nodes[1].replica.smuggle(&Held::of(batch));
    }
    crew.connect(0, 1);
    crew.pass(60_000);
    assert_eq!(batches.map(|it| crew.nodes[0].replica.holds(&it.id())), [false, true]);
    let is_refused = |event: &&Event| {
        matches!(event, Event::Refused { reason: RefuseReason::QuarantineShare, .. })
    };
    let refusals = crew.nodes[0].events.iter().filter(is_refused).count();
    assert_eq!(refusals, 1, "what is left out is not sent again and again");
}

#[test]
fn both_sides_of_a_fork_are_kept_by_all_and_flag_their_author() {
    let (mut crew, office) = Crew::new(3);
    let batches = forked(&office);
    for (index, batch) in batches.iter().enumerate() {
        crew.nodes[if index < 3 { 0 } else { 2 }].put(at(0), batch.clone());
    }
    for node in [0, 2] {
        crew.perform(node);
    }
    crew.connect(0, 1);
    crew.connect(1, 2);
    crew.pass(1_000);
    crew.assert_equal();
    let forks: BTreeSet<_> = crew.nodes[1].replica.forks().collect();
    let places: Vec<u64> = forks.iter().map(|fork| fork.sequence).collect();
    assert_eq!(places, [2, 3]);
    for node in &crew.nodes {
        assert_eq!(node.replica.len(), batches.len());
        assert_eq!(node.replica.forks().collect::<BTreeSet<_>>(), forks);
        let told = node.events.iter().filter(|event| matches!(event, Event::Fork(_)));
        assert_eq!(told.count(), 2);
    }
}

#[test]
fn what_counts_again_is_not_sent_to_a_peer_that_holds_it() {
    let (mut crew, mut office) = Crew::new(3);
    let batches = forked(&office);
    for batch in &batches[..2] {
        crew.nodes[0].put(at(0), batch.clone());
    }
    let (link, _) = crew.connect(0, 2);
    crew.run();
    assert_eq!(crew.nodes[2].replica.len(), 2);
    let item = office.revoke(keys(2).device(), [head_of(&batches[2])].into());
    crew.input(0, Input::LocalItem { item });
    crew.run();
    assert!([0, 2].iter().all(|node| crew.nodes[*node].replica.quarantine_len() == 2));
    crew.nodes[0].loaded.clear();
    crew.nodes[0].put(at(0), batches[2].clone());
    crew.perform(0);
    crew.pass(120_000);
    crew.assert_same([0, 2]);
    assert_eq!(crew.nodes[2].replica.len(), 3);
    assert_eq!(crew.nodes[0].loaded, [(link, batches[2].id())]);
}
