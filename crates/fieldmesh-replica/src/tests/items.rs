//! Whether replicas hold the same policy items whatever members and strangers sign.
//!
//! Goal: a flood takes room from nobody else, and no order of arrival leaves two replicas apart.
//! Method: items are shuffled by a generator with a printed seed and given to each replica apart.

use std::collections::BTreeSet;

use fieldmesh_identity::policy::{ITEMS_PER_ISSUER_MAX, ITEMS_PER_MEMBER_MAX};
use fieldmesh_identity::{
    Certificate, Cut, DeviceKeys, Item, ItemPlace, Policy, Revocation, Statement,
};
use fieldmesh_model::{ItemId, Role, UserId};

use super::crew::{Crew, Node, Office, keys};
use crate::limits::ITEMS_DISPLACING_PER_HOUR_MAX;
use crate::{Event, Input, Replica};

const SHUFFLES: u64 = 20;

pub(super) fn junk(office: &Office, signer: &DeviceKeys, number: u64) -> Item {
    let place = ItemPlace { sequence: number, previous: None };
    let statement = Statement::Unknown { kind: 99, body: number.to_be_bytes().to_vec() };
    Item::sign(signer, office.tenant, place, &statement).unwrap()
}

/// Two devices, and a third one that floods.
fn flooded() -> (Crew, Office) {
    let (_, mut office) = Crew::new(2);
    office.certify(&keys(9), Role::Operator);
    (Crew::of([1, 2].map(|seed| Node::new(seed, &office)).into()), office)
}

fn give(crew: &mut Crew, node: usize, items: impl IntoIterator<Item = Item>) {
    items.into_iter().for_each(|item| crew.input(node, Input::LocalItem { item }));
}

fn shuffled(items: &[Item], seed: u64) -> Vec<Item> {
    let (mut items, mut state) = (items.to_vec(), seed);
    for at in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        items.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
    items
}

#[test]
fn items_that_say_nothing_change_nothing() {
    let (mut crew, office) = Crew::new(1);
    give(&mut crew, 0, (0..3).map(|number| junk(&office, &keys(1), number)));
    assert!(!crew.nodes[0].events.contains(&Event::PolicyChanged));
    assert_eq!(crew.nodes[0].replica.items().count(), office.items.len() + 3);
}

#[test]
fn what_strangers_sign_takes_no_room() {
    let (mut crew, office) = Crew::new(1);
    give(&mut crew, 0, (0..3).map(|number| junk(&office, &keys(77), number)));
    assert_eq!(crew.nodes[0].replica.items().count(), office.items.len());
    let stored = [office.items.clone(), vec![junk(&office, &keys(77), 1)]].concat();
    let config = *crew.nodes[0].replica.config();
    let opened = Replica::new(config, stored, []);
    assert_eq!(opened.policy_root(), crew.nodes[0].replica.policy_root(), "an older store");
}

#[test]
fn a_revocation_and_new_work_arrive_although_a_member_has_filled_its_share() {
    let (mut crew, mut office) = flooded();
    let share = ITEMS_PER_MEMBER_MAX as u64;
    give(&mut crew, 0, (0..share * 2).map(|number| junk(&office, &keys(9), number)));
    give(&mut crew, 1, (0..share * 2).map(|number| junk(&office, &keys(9), 1_000 + number)));
    for node in &crew.nodes {
        assert_eq!(node.replica.items().count(), office.items.len() + ITEMS_PER_MEMBER_MAX);
    }
    let revocation = office.revoke(keys(9).device(), [].into());
    let id = revocation.id();
    give(&mut crew, 1, [revocation]);
    let batch = crew.seal(1, b"entry");
    crew.connect(1, 0);
    crew.run();
    assert_eq!(crew.nodes[0].closed, []);
    assert!(crew.nodes[0].replica.items().any(|item| item.id() == id));
    assert_eq!(crew.nodes[0].replica.items().count(), office.items.len() + ITEMS_PER_MEMBER_MAX);
    assert!(crew.nodes[0].replica.holds(&batch.id()));
    crew.assert_equal();
}

#[test]
fn a_member_that_drives_out_its_own_items_again_and_again_fills_no_disk() {
    let (mut crew, office) = flooded();
    let count = ITEMS_PER_MEMBER_MAX + 2 * ITEMS_DISPLACING_PER_HOUR_MAX;
    let mut items: Vec<Item> =
        (0..count as u64).map(|number| junk(&office, &keys(9), number)).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.id()));
    crew.connect(0, 1);
    crew.run();
    for item in items {
        give(&mut crew, 0, [item]);
        crew.run();
    }
    let stored = crew.nodes[1].stored_items;
    assert_eq!(stored, ITEMS_PER_MEMBER_MAX + ITEMS_DISPLACING_PER_HOUR_MAX);
    crew.pass(60_000);
    assert!(crew.nodes.iter().all(|node| node.closed.is_empty()));
    let batch = crew.seal(0, b"entry");
    crew.pass(2_000);
    assert!(crew.nodes[1].replica.holds(&batch.id()), "work goes on");
    assert_ne!(crew.nodes[0].replica.policy_root(), crew.nodes[1].replica.policy_root());
    crew.pass(3_600_000);
    crew.assert_same([0, 1]);
}

/// A device that an issuer certified, and an issuer's key in the hands of a thief who signs as much
/// as has room, all of which goes before the certificate: the certificate and the rest.
fn robbed() -> (Office, Item, Vec<Item>) {
    let (_, mut office) = Crew::new(2);
    let issuer = keys(8);
    let user = UserId::from_bytes([8; 16]);
    let lead = Certificate::new(issuer.public_key(), "Tablet", user, Role::Manager);
    office.sign(&Statement::Certificate(Box::new(Certificate { may_issue: true, ..lead })));
    let honest = (1..).map(|version| {
        let member = Certificate::new(keys(7).public_key(), "Truck", user, Role::Operator);
        let statement = Statement::Certificate(Box::new(Certificate { version, ..member }));
        Item::sign(&issuer, office.tenant, ItemPlace::FIRST, &statement).unwrap()
    });
    let certificate = honest.into_iter().find(|item| item.id().as_bytes()[0] >= 0xc0).unwrap();
    let junk = (0..).map(|number| junk(&office, &issuer, number));
    let flood: Vec<Item> =
        junk.filter(|item| item.id() < certificate.id()).take(ITEMS_PER_ISSUER_MAX).collect();
    (office, certificate, flood)
}

#[test]
fn members_whose_certificates_a_thief_drove_out_are_back_once_a_cut_is_named() {
    let (mut office, certificate, flood) = robbed();
    let items = [office.items.clone(), vec![certificate.clone()]].concat();
    let stolen = [office.items.clone(), flood].concat();
    let mut crew = Crew::of([1, 2].map(|seed| Node::new(seed, &office)).into());
    let configs = [0, 1].map(|node| *crew.nodes[node].replica.config());
    crew.nodes[0].replica = Replica::new(configs[0], items, []);
    crew.nodes[1].replica = Replica::new(configs[1], stolen, []);
    let is_member = |crew: &Crew, node: usize| {
        crew.nodes[node].replica.policy().member(&keys(7).device()).is_some()
    };
    assert!(is_member(&crew, 0));
    crew.connect(0, 1);
    crew.pass(60_000);
    assert!(!is_member(&crew, 0), "it is driven out");
    let items = Some(Cut { sequence: certificate.place().sequence, item: certificate.id() });
    let device = keys(8).device();
    let (heads, reason) = ([].into(), "stolen".into());
    let (remaining, wipe) = (None, false);
    let said = Revocation { device, version: 1, heads, items, remaining, wipe, reason };
    let item = office.sign(&Statement::Revocation(Box::new(said)));
    crew.input(0, Input::LocalItem { item });
    assert!(is_member(&crew, 0), "from what was kept");
    crew.pass(60_000);
    assert!(is_member(&crew, 1), "and from there to others");
    crew.assert_same([0, 1]);
}

#[test]
fn what_was_signed_before_its_signer_was_known_arrives_with_the_certificate() {
    let (mut crew, mut office) = Crew::new(2);
    let early: Vec<Item> = (0..20).map(|number| junk(&office, &keys(9), number)).collect();
    give(&mut crew, 0, early.clone());
    assert_eq!(crew.nodes[0].replica.items().count(), office.items.len());
    let certificate = office.certify(&keys(9), Role::Operator);
    give(&mut crew, 1, [certificate]);
    give(&mut crew, 1, early);
    crew.connect(0, 1);
    crew.run();
    crew.assert_equal();
    assert_eq!(crew.nodes[0].replica.items().count(), office.items.len() + 20);
}

#[test]
fn no_order_of_certificates_revocations_and_floods_leaves_two_replicas_apart() {
    let (_, mut office) = Crew::new(4);
    office.certify(&keys(8), Role::Admin);
    office.certify(&keys(9), Role::Operator);
    let known = office.items.len();
    let mut all = office.items.clone();
    all.extend((0..40).map(|number| junk(&office, &keys(9), number)));
    all.extend((0..40).map(|number| junk(&office, &keys(77), number)));
    let revocation = |device: &DeviceKeys, items| {
        let (device, version) = (device.device(), 1);
        let (heads, reason) = ([].into(), "lost".into());
        let (remaining, wipe) = (None, false);
        let said = Revocation { device, version, heads, items, remaining, wipe, reason };
        Statement::Revocation(Box::new(said))
    };
    let policy = Policy::evaluate(office.tenant, &all);
    let cut = policy.head(&keys(9).public_key());
    for (number, statement) in
        [revocation(&keys(9), cut), revocation(&keys(4), None)].iter().enumerate()
    {
        let place = ItemPlace { sequence: number as u64, previous: None };
        all.push(Item::sign(&keys(8), office.tenant, place, statement).unwrap());
    }
    let expected = Policy::evaluate(office.tenant, &all);
    let ids: BTreeSet<ItemId> = all.iter().map(Item::id).filter(|id| expected.holds(id)).collect();
    assert_eq!(ids.len(), known + ITEMS_PER_MEMBER_MAX + 2);
    for seed in 1..=SHUFFLES {
        let mut founded = Office::new(200);
        for device in 1..=3 {
            founded.certify(&keys(device), Role::Operator);
        }
        let mut crew = Crew::of([1, 2, 3].map(|seed| Node::new(seed, &founded)).into());
        give(&mut crew, 0, all.clone());
        for node in [1, 2] {
            give(&mut crew, node, shuffled(&all, seed * 10 + node as u64));
        }
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            crew.connect(a, b);
            crew.run();
        }
        for node in &crew.nodes {
            assert!(node.replica.items().map(Item::id).eq(ids.iter().copied()), "seed {seed}");
            assert!(*node.replica.policy() == expected, "seed {seed}");
        }
        crew.assert_equal();
    }
}
