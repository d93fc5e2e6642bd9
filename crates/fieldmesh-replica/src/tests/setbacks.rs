//! What a member gains that takes back, again and again, what it has signed for: a closed link.

use fieldmesh_batch::Receipt;
use fieldmesh_model::{Role, StoreId};

use super::crew::{Crew, Node, Office, at, keys};
use crate::limits::{RELAYED_MAX, SETBACKS_MAX};
use crate::{CloseReason, Event, SessionError};

const RELAY: usize = 2;

/// Two devices, a relay, and the certificate of another relay.
fn crew() -> (Crew, Office) {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    office.certify(&keys(3), Role::Relay);
    office.certify(&keys(4), Role::Relay);
    let nodes = [1, 2, 3].map(|seed| Node::new(seed, &office)).into();
    (Crew::of(nodes), office)
}

fn count(node: &Node, wanted: impl Fn(&Event) -> bool) -> usize {
    node.events.iter().filter(|event| wanted(event)).count()
}

/// A key that no batch has.
fn no_batch(number: usize) -> [u8; 46] {
    let mut key = [9; 46];
    key[38..].copy_from_slice(&(number as u64).to_be_bytes());
    key
}

fn was_shut_out(node: &Node) -> bool {
    let is_fault = |reason: &CloseReason| {
        *reason == CloseReason::from(SessionError::OutOfTurn { name: "Receipts" })
    };
    node.closed.iter().any(|(_, reason)| is_fault(reason))
}

#[test]
fn a_member_that_raises_its_epoch_with_each_answer_costs_nobody_more_than_a_few_writes() {
    let (mut crew, _) = crew();
    crew.seal(0, b"entry");
    crew.nodes[1].forge = Some(|number, mut receipt| {
        receipt.store_epoch += number as u64;
        receipt.heads = vec![no_batch(number)];
        receipt
    });
    crew.connect(0, 1);
    crew.pass(600_000);
    let is_restored = |event: &Event| matches!(event, Event::StoreRestored { .. });
    let restored = count(&crew.nodes[0], is_restored);
    assert!((1..=1 + SETBACKS_MAX as usize).contains(&restored), "{restored}");
    assert!(was_shut_out(&crew.nodes[0]), "{:?}", crew.nodes[0].closed);
    assert!(crew.nodes[1].signed <= 2 + SETBACKS_MAX as usize, "{}", crew.nodes[1].signed);
}

#[test]
fn a_member_whose_moments_go_back_and_forth_costs_nobody_more_than_a_few_writes() {
    let (mut crew, _) = crew();
    crew.nodes[1].forge = Some(|number, mut receipt| {
        receipt.at = at(if number % 2 == 1 { 1_000_000 * number as i64 } else { -1 });
        receipt.heads = vec![no_batch(number)];
        receipt
    });
    crew.connect(0, 1);
    for number in 0..40_u8 {
        crew.seal(0, &[number]);
        crew.pass(2_000);
    }
    let is_doubted = |event: &Event| matches!(event, Event::StoreDoubted { .. });
    let doubted = count(&crew.nodes[0], is_doubted);
    assert!((1..=1 + SETBACKS_MAX as usize).contains(&doubted), "{doubted}");
    assert!(was_shut_out(&crew.nodes[0]), "{:?}", crew.nodes[0].closed);
}

#[test]
fn a_member_that_carries_a_relays_risen_epochs_keeps_its_link_and_voids_little() {
    let (mut crew, office) = crew();
    crew.seal(0, b"entry");
    let (link, _) = crew.connect(0, 1);
    crew.pass(5_000);
    let relay = keys(3);
    let store = StoreId::from_bytes([3; 16]);
    for epoch in 1..20 {
        let place = (store, epoch);
        let receipt = Receipt::new(office.tenant, relay.device(), place, at(0), [no_batch(0)]);
        crew.nodes[0].replica.expect_receipts(link);
        let receipts = [receipt.sign(relay.signing_key())];
        crew.nodes[0].replica.take_receipts(at(crew.now), link, &receipts).unwrap();
        crew.perform(0);
    }
    let is_restored = |event: &Event| matches!(event, Event::StoreRestored { .. });
    assert_eq!(count(&crew.nodes[0], is_restored), SETBACKS_MAX as usize);
}

#[test]
fn a_relays_receipt_is_passed_on_although_another_relay_signs_around_it() {
    let (mut crew, office) = crew();
    let batch = crew.seal(0, b"entry");
    let (link, _) = crew.connect(0, RELAY);
    crew.run();
    let take = |crew: &mut Crew, seed: u8, millis: i64, head| {
        let signer = keys(seed);
        let store = (StoreId::from_bytes([seed; 16]), 1);
        let receipt = Receipt::new(office.tenant, signer.device(), store, at(millis), [head]);
        crew.nodes[0].replica.expect_receipts(link);
        let receipts = [receipt.sign(signer.signing_key())];
        crew.nodes[0].replica.take_receipts(at(crew.now), link, &receipts).unwrap();
    };
    // What it signed itself is the newest of all; only the evictions below are in question.
    let is_receipt =
        |event: &&Event| matches!(event, Event::Receipt(it) if it.signer == keys(3).device());
    let own: Vec<i64> = crew.nodes[0]
        .events
        .iter()
        .filter(is_receipt)
        .filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.at.millis_since(at(0))),
            _ => None,
        })
        .collect();
    assert!(!own.is_empty());
    let around = own.iter().flat_map(|at| [at - 1, at + 1]);
    let others = (0..RELAYED_MAX as i64 + 50).map(|number| 1_000_000 + number * 1_000);
    for (number, millis) in others.chain(around).enumerate() {
        take(&mut crew, 4, millis, no_batch(number));
    }
    crew.perform(0);
    crew.cut(0, link);
    assert!(!crew.nodes[1].replica.proof(&batch.id()).is_safe);
    crew.connect(1, 0);
    crew.pass(5_000);
    assert!(crew.nodes[1].replica.proof(&batch.id()).is_safe);
}
