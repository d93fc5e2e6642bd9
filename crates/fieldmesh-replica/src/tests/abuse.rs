//! What hostile members, cuts and clocks must not take away.

use fieldmesh_batch::Receipt;
use fieldmesh_identity::Access;
use fieldmesh_model::{Filter, Region, Role, StoreId};

use super::crew::{Author, Crew, Node, Office, at, head_of, keys};
use crate::limits::GRANTS_MAX;
use crate::{CloseReason, Config, Event, Held, Input, Output, Replica, SessionError};

/// Two devices and a relay.
fn with_relay() -> (Crew, Office) {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    office.certify(&keys(3), Role::Relay);
    let nodes = [1, 2, 3].map(|seed| Node::new(seed, &office)).into();
    (Crew::of(nodes), office)
}

/// The second device signs for stores that do not exist.
fn invent_stores(crew: &mut Crew) -> fieldmesh_batch::Batch {
    let batch = crew.seal(0, b"entry");
    let (link, _) = crew.connect(0, 1);
    crew.pass(5_000);
    let liar = keys(2);
    for number in 0..=u16::MAX / 64 {
        let mut store = [7; 16];
        store[..2].copy_from_slice(&number.to_be_bytes());
        let store = (StoreId::from_bytes(store), 1);
        let heads = [batch.key_bytes()];
        let receipt = Receipt::new(batch.header().tenant, liar.device(), store, at(0), heads);
        let receipts = [receipt.sign(liar.signing_key())];
        crew.nodes[0].replica.expect_receipts(link);
        crew.nodes[0].replica.take_receipts(at(0), link, &receipts).unwrap();
    }
    batch
}

#[test]
fn work_before_a_revocation_reaches_a_new_device_though_its_proof_stands_aside() {
    let (mut crew, mut office) = Crew::new(3);
    let batches: Vec<_> = (0..5_u8).map(|number| crew.seal(0, &[number])).collect();
    let (link, _) = crew.connect(0, 1);
    crew.pass(5_000);
    crew.cut(0, link);
    let item = office.revoke(keys(1).device(), [head_of(&batches[2])].into());
    crew.input(1, Input::LocalItem { item });
    assert_eq!((crew.nodes[1].replica.len(), crew.nodes[1].replica.quarantine_len()), (3, 2));
    crew.connect(2, 1);
    crew.pass(100);
    assert_eq!(crew.nodes[2].replica.root(), crew.nodes[1].replica.root());
    crew.pass(60_000);
    crew.assert_same([1, 2]);
    assert!(crew.nodes[2].in_step().is_some());
    crew.nodes[2].restart();
    assert_eq!(crew.nodes[2].replica.unheld().count(), 0);
}

#[test]
fn one_device_is_one_device_however_many_stores_it_signs_for() {
    let (mut crew, _) = Crew::new(2);
    let batch = invent_stores(&mut crew);
    assert_eq!(crew.nodes[0].replica.proof(&batch.id()).devices, 1);
}

#[test]
fn work_is_safe_at_a_relay_whatever_stores_a_device_invents() {
    let (mut crew, _) = with_relay();
    let batch = invent_stores(&mut crew);
    crew.perform(0);
    crew.connect(0, 2);
    crew.pass(60_000);
    assert!(crew.nodes[0].replica.proof(&batch.id()).is_safe);
}

#[test]
fn work_is_not_called_safe_by_a_relay_that_is_known_to_be_restored() {
    let (mut crew, office) = with_relay();
    let batch = crew.seal(0, b"entry");
    for (from, to) in [(0, 1), (1, 2)] {
        let (link, _) = crew.connect(from, to);
        crew.pass(2_000);
        crew.cut(from, link);
    }
    let config = Config { store_epoch: 2, ..*crew.nodes[2].replica.config() };
    crew.nodes[2].replica = Replica::new(config, office.items, []);
    crew.nodes[2].disk.clear();
    crew.nodes[2].is_slow = true;
    let (link, _) = crew.connect(0, 2);
    crew.pass(2_000);
    crew.cut(0, link);
    crew.connect(0, 1);
    crew.pass(3_000);
    assert!(!crew.nodes[2].replica.holds(&batch.id()));
    assert!(!crew.nodes[0].replica.proof(&batch.id()).is_safe);
}

#[test]
fn an_honest_relay_is_not_accused_because_clocks_were_set_back() {
    let (mut crew, _) = with_relay();
    crew.now = 3_600_000;
    let (link, _) = crew.connect(1, 2);
    crew.pass(2_000);
    crew.cut(1, link);
    crew.now = 10_000;
    let batch = crew.seal(0, b"later");
    let (link, _) = crew.connect(0, 2);
    crew.pass(2_000);
    crew.cut(0, link);
    crew.connect(1, 0);
    crew.pass(2_000);
    assert!(crew.nodes[1].replica.holds(&batch.id()));
    let is_withheld = |event: &Event| matches!(event, Event::Withheld { .. });
    assert!(!crew.nodes[1].events.iter().any(is_withheld));
}

#[test]
fn a_revoked_device_gets_nothing_that_was_being_read_for_it() {
    let (mut crew, mut office) = Crew::new(2);
    crew.connect(1, 0);
    crew.pass(2_000);
    let now = at(crew.now);
    let node = &mut crew.nodes[0];
    let batch = node.author.seal(5, b"entry after the revocation");
    node.put(now, batch.clone());
    let outputs = || -> Vec<Output> { Vec::new() };
    let mut loads = outputs();
    while let Some(output) = node.replica.poll() {
        loads.extend(Some(output).filter(|output| matches!(output, Output::Load { .. })));
    }
    let item = office.revoke(keys(2).device(), [].into());
    node.replica.handle(now, Input::LocalItem { item }).unwrap();
    let [Output::Load { link, .. }] = loads[..] else { panic!("{loads:?}") };
    node.replica.handle(now, Input::BatchesLoaded { link, batches: vec![batch] }).unwrap();
    let mut closed = Vec::new();
    while let Some(output) = node.replica.poll() {
        assert!(!matches!(output, Output::Data { .. }), "sent all the same");
        if let Output::Close { reason, .. } = output {
            closed.push(reason);
        }
    }
    assert_eq!(closed, [CloseReason::Fault(SessionError::NotMember)]);
}

#[test]
fn a_peer_beyond_the_last_different_grant_is_told_so() {
    let count = u8::try_from(GRANTS_MAX).unwrap() + 2;
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Relay);
    for seed in 2..=count {
        let read = Access { partitions: [u32::from(seed)].into(), ..Access::ALL };
        office.certify_for(&keys(seed), Role::Operator, read);
    }
    let nodes = (1..=count).map(|seed| Node::new(seed, &office)).collect();
    let mut crew = Crew::of(nodes);
    for node in 1..usize::from(count) {
        crew.connect(node, 0);
    }
    crew.run();
    let limit = GRANTS_MAX;
    let reason = CloseReason::Fault(SessionError::TooManyGrants { limit });
    assert_eq!(crew.nodes[0].closed.iter().map(|it| &it.1).collect::<Vec<_>>(), [&reason]);
}

#[test]
fn a_filter_that_admits_all_is_no_filter() {
    let (mut crew, office) = Crew::new(2);
    let all = Region { collection: None, partition: None, since: 0 };
    let config = Node::config(2, &office);
    crew.nodes[1].replica =
        Replica::new(config, office.items.clone(), []).with_filter(Filter::new([all]).unwrap());
    crew.nodes[1].replica.speak_first_version();
    crew.seal(0, b"entry");
    crew.connect(0, 1);
    crew.run();
    crew.assert_equal();
}

#[test]
fn a_place_with_many_batches_names_the_smallest_in_every_proof() {
    let (mut crew, office) = Crew::new(1);
    let mut author = Author::new(1, office.tenant);
    let template = Held::of(&author.seal(0, b"x"));
    for number in [5_u8, 3, 9, 4] {
        let held = Held { id: fieldmesh_model::BatchId::from_bytes([number; 32]), ..template };
        crew.input(0, Input::LocalBatch { held });
    }
    let forks: Vec<(u8, u8)> = crew.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Fork(fork) => Some((fork.known.as_bytes()[0], fork.other.as_bytes()[0])),
            _ => None,
        })
        .collect();
    assert_eq!(forks, [(3, 5), (3, 9), (3, 4)]);
}
