//! What signed receipts prove, for how long, and what gives a relay away that keeps things back.

use fieldmesh_batch::{Batch, Receipt};
use fieldmesh_identity::Item;
use fieldmesh_identity::policy::ITEMS_PER_MEMBER_MAX;
use fieldmesh_model::{DeviceId, Role, StoreId};

use super::crew::{Author, Crew, Node, Office, at, keys};
use super::items::junk;
use crate::limits::LATE_ASKED_MAX;
use crate::{Config, Event, Input, Proof, Replica};

const RELAY: usize = 2;

/// Two devices and a relay.
fn crew() -> (Crew, Office) {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    office.certify(&keys(2), Role::Operator);
    office.certify(&keys(3), Role::Relay);
    office.certify(&keys(4), Role::Operator);
    let nodes = [1, 2, 3].map(|seed| Node::new(seed, &office)).into();
    (Crew::of(nodes), office)
}

fn proof(devices: usize, is_safe: bool) -> Proof {
    Proof { devices, is_safe }
}

fn proofs(crew: &Crew, node: usize, batches: &[Batch]) -> Vec<Proof> {
    batches.iter().map(|batch| crew.nodes[node].replica.proof(&batch.id())).collect()
}

fn count(node: &Node, wanted: impl Fn(&Event) -> bool) -> usize {
    node.events.iter().filter(|event| wanted(event)).count()
}

fn withheld(node: &Node) -> Vec<DeviceId> {
    let relays = node.events.iter().filter_map(|event| match event {
        Event::Withheld { relay, .. } => Some(*relay),
        _ => None,
    });
    relays.collect()
}

#[test]
fn a_record_is_safe_only_when_a_relay_has_signed_for_it_and_stays_so_after_a_restart() {
    let (mut crew, _) = crew();
    let batches: Vec<Batch> = (0..5_u8).map(|number| crew.seal(0, &[number])).collect();
    crew.connect(0, 1);
    crew.run();
    assert_eq!(proofs(&crew, 0, &batches), [proof(1, false); 5]);
    crew.connect(0, RELAY);
    crew.run();
    assert_eq!(proofs(&crew, 0, &batches), [proof(2, true); 5]);
    let later = crew.seal(0, b"later");
    assert_eq!(crew.nodes[0].replica.proof(&later.id()), proof(0, false), "no guess");
    crew.pass(1_500);
    assert_eq!(crew.nodes[0].replica.proof(&later.id()), proof(2, true));
    crew.nodes[0].restart();
    assert_eq!(proofs(&crew, 0, &batches), [proof(2, true); 5]);
}

#[test]
fn a_device_that_is_still_writing_when_a_relay_dials_again_keeps_the_link_and_learns_what_is_safe()
{
    let (mut crew, _) = crew();
    let own = crew.seal(0, b"own");
    let (link, _) = crew.connect(RELAY, 0);
    crew.pass(2_000);
    crew.nodes[0].is_slow = true;
    let foreign = crew.nodes[1].author.seal(0, b"foreign");
    crew.nodes[RELAY].put(at(crew.now), foreign);
    crew.perform(RELAY);
    crew.run();
    assert_eq!(crew.nodes[0].writing.len(), 1);
    crew.cut(RELAY, link);
    let later = crew.seal(0, b"later");
    crew.connect(RELAY, 0);
    crew.run();
    assert!(crew.nodes.iter().all(|node| node.closed.is_empty()), "{:?}", crew.nodes[RELAY].closed);
    crew.nodes[0].is_slow = false;
    let now = at(crew.now);
    crew.nodes[0].finish_writing(now);
    crew.perform(0);
    crew.run();
    assert!(crew.nodes.iter().all(|node| node.closed.is_empty()));
    crew.pass(3_000);
    assert_eq!(proofs(&crew, 0, &[own, later]), [proof(1, true); 2]);
}

#[test]
fn a_record_that_comes_after_the_receipt_for_it_is_safe_and_stays_so_after_a_restart() {
    let (mut crew, _) = crew();
    let batch = crew.nodes[1].author.seal(0, b"comes later");
    let (link, _) = crew.connect(0, 1);
    crew.run();
    let relay = &crew.nodes[RELAY].author.keys;
    let store = (StoreId::from_bytes([9; 16]), 1);
    let receipt =
        Receipt::new(batch.header().tenant, relay.device(), store, at(0), [batch.key_bytes()]);
    let bytes = receipt.signed(relay.signing_key()).encode();
    let replica = &mut crew.nodes[0].replica;
    replica.expect_receipts(link);
    replica.take_receipts(at(0), link, &[bytes]).unwrap();
    crew.perform(0);
    crew.nodes[1].put(at(0), batch.clone());
    crew.perform(1);
    crew.run();
    assert!(crew.nodes[0].replica.proof(&batch.id()).is_safe);
    crew.nodes[0].restart();
    assert!(crew.nodes[0].replica.proof(&batch.id()).is_safe);
}

#[test]
fn a_receipt_covers_no_batch_beyond_a_gap() {
    let (mut crew, _) = crew();
    let mut author = Author::new(1, crew.nodes[0].author.tenant);
    let batches: Vec<Batch> = (0..6_u8).map(|number| author.seal(1, &[number])).collect();
    for (index, batch) in batches.iter().enumerate().filter(|(index, _)| *index != 3) {
        assert_ne!(index, 3);
        crew.nodes[RELAY].put(at(0), batch.clone());
    }
    for batch in &batches {
        crew.nodes[0].put(at(0), batch.clone());
    }
    crew.nodes[RELAY].is_slow = true;
    crew.connect(0, RELAY);
    crew.run();
    let safe = |crew: &Crew| proofs(crew, 0, &batches).iter().filter(|it| it.is_safe).count();
    assert_eq!(safe(&crew), 0, "the relay has not written the missing one");
    crew.nodes[RELAY].is_slow = false;
    let now = at(crew.now);
    crew.nodes[RELAY].finish_writing(now);
    crew.perform(RELAY);
    crew.run();
    assert_eq!(safe(&crew), 6);
}

#[test]
fn nothing_is_safe_at_a_relay_that_lacks_a_batch_before_it() {
    let (mut crew, _) = crew();
    let mut author = Author::new(1, crew.nodes[0].author.tenant);
    let batches: Vec<Batch> = (0..6_u8).map(|number| author.seal(1, &[number])).collect();
    for batch in batches[..3].iter().chain(&batches[4..]) {
        crew.nodes[RELAY].put(at(0), batch.clone());
    }
    let (link, _) = crew.connect(1, RELAY);
    crew.pass(5_000);
    assert_eq!(crew.nodes[1].replica.len(), 5);
    crew.cut(1, link);
    // Who has all of it asks for the last one only.
    crew.nodes[1].put(at(crew.now), batches[3].clone());
    crew.perform(1);
    let safe = |crew: &Crew| proofs(crew, 1, &batches).iter().filter(|it| it.is_safe).count();
    assert_eq!(safe(&crew), 3);
    crew.nodes[RELAY].is_slow = true;
    crew.connect(1, RELAY);
    crew.pass(5_000);
    assert_eq!(safe(&crew), 3);
}

#[test]
fn a_relay_restored_from_a_backup_makes_nothing_safe_until_it_signs_again() {
    let (mut crew, office) = crew();
    let batches: Vec<Batch> = (0..5_u8).map(|number| crew.seal(0, &[number])).collect();
    let (link, _) = crew.connect(0, RELAY);
    crew.run();
    assert_eq!(proofs(&crew, 0, &batches), [proof(1, true); 5]);
    crew.cut(0, link);
    let config = *crew.nodes[RELAY].replica.config();
    let config = Config { store_epoch: config.store_epoch + 1, ..config };
    crew.nodes[RELAY].replica = Replica::new(config, office.items, []);
    crew.nodes[RELAY].disk.clear();
    crew.nodes[RELAY].is_slow = true;
    crew.connect(0, RELAY);
    crew.run();
    assert_eq!(proofs(&crew, 0, &batches), [proof(0, false); 5]);
    let is_restored = |event: &Event| matches!(event, Event::StoreRestored { epoch: 2, .. });
    assert_eq!(count(&crew.nodes[0], is_restored), 1);
    crew.nodes[RELAY].is_slow = false;
    let now = at(crew.now);
    crew.nodes[RELAY].finish_writing(now);
    crew.perform(RELAY);
    crew.pass(2_000);
    assert_eq!(proofs(&crew, 0, &batches), [proof(1, true); 5]);
    // Receipts of before say nothing after a restart either, in whatever order they are kept.
    crew.nodes[0].events.reverse();
    crew.nodes[0].restart();
    assert_eq!(proofs(&crew, 0, &batches), [proof(1, true); 5]);
}

#[test]
fn a_device_learns_from_another_device_that_its_batches_are_safe() {
    let (mut crew, _) = crew();
    let batch = crew.seal(0, b"entry");
    let (link, _) = crew.connect(0, 1);
    crew.run();
    crew.cut(0, link);
    crew.connect(1, RELAY);
    crew.pass(2_000);
    crew.connect(0, 1);
    crew.pass(2_000);
    assert_eq!(crew.nodes[0].replica.proof(&batch.id()), proof(2, true));
}

#[test]
fn more_heads_than_one_receipt_holds_are_all_proven() {
    let (mut crew, office) = crew();
    let mut batches = Vec::new();
    for partition in 0..600 {
        let mut author = Author::new(1, office.tenant);
        author.partition = partition;
        let batch = author.seal(0, b"one each");
        crew.nodes[0].put(at(0), batch.clone());
        batches.push(batch);
    }
    crew.connect(0, RELAY);
    crew.pass(10_000);
    assert!(proofs(&crew, 0, &batches).iter().all(|it| it.is_safe));
    let kept = count(&crew.nodes[0], |event| matches!(event, Event::Receipt(_)));
    assert_eq!(kept, 3);
    crew.nodes[0].events.clear();
    crew.pass(600_000);
    assert_eq!(count(&crew.nodes[0], |event| matches!(event, Event::Receipt(_))), 0);
}

#[test]
fn a_peer_that_keeps_asking_gets_so_many_answers_a_second_and_no_more() {
    let (mut crew, _) = crew();
    let batch = crew.seal(0, b"entry");
    crew.connect(0, 1);
    crew.pass(5_000);
    let (link, _) = crew.nodes[0].replica.links().next().unwrap();
    let before = crew.nodes[0].signed;
    for _ in 0..1_000 {
        let now = at(crew.now);
        crew.nodes[0].replica.asked(now, link, &[super::crew::key_of(&batch)]);
        crew.perform(0);
    }
    let limit = usize::try_from(crate::limits::ANSWERS_PER_SECOND_MAX).unwrap();
    assert_eq!(crew.nodes[0].signed - before, limit);
}

/// A relay that shows a device an empty store although it has signed for more.
fn withhold(pause: i64) -> (Crew, Batch) {
    let (mut crew, office) = crew();
    let batch = crew.seal(0, b"withheld");
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(2_000);
    crew.cut(0, link);
    let config = *crew.nodes[RELAY].replica.config();
    let honest =
        std::mem::replace(&mut crew.nodes[RELAY].replica, Replica::new(config, office.items, []));
    assert!(honest.holds(&batch.id()));
    crew.now += pause;
    let (link, _) = crew.connect(1, RELAY);
    crew.pass(2_000);
    assert!(crew.nodes[1].in_step().is_some());
    crew.cut(1, link);
    (crew, batch)
}

#[test]
fn a_relay_that_withholds_a_batch_is_reported_by_the_device_that_gets_it_elsewhere() {
    let (mut crew, batch) = withhold(1_000);
    assert_eq!(withheld(&crew.nodes[1]), []);
    crew.connect(1, 0);
    crew.pass(2_000);
    let relay = crew.nodes[RELAY].device();
    assert!(crew.nodes[1].replica.holds(&batch.id()));
    assert_eq!(withheld(&crew.nodes[1]), [relay], "once");
    crew.pass(600_000);
    assert_eq!(withheld(&crew.nodes[1]), [relay], "and not again");
}

#[test]
fn a_relay_is_reported_although_much_else_came_late_that_it_never_had() {
    let (mut crew, hidden) = withhold(1_000);
    let (_, office) = self::crew();
    crew.nodes.push(Node::new(4, &office));
    let (third, now) = (3, at(crew.now));
    for partition in 0..u32::try_from(LATE_ASKED_MAX).unwrap() + 20 {
        let mut author = Author::new(4, office.tenant);
        author.partition = partition;
        crew.nodes[third].put(now, author.seal(crew.now, b"one each"));
    }
    crew.connect(1, third);
    crew.pass(5_000);
    crew.nodes[third].put(now, hidden.clone());
    crew.perform(third);
    crew.pass(5_000);
    assert!(crew.nodes[1].replica.holds(&hidden.id()));
    assert_eq!(withheld(&crew.nodes[1]), [], "who brought it has no receipt for it");
    crew.connect(1, 0);
    crew.pass(10_000);
    assert_eq!(withheld(&crew.nodes[1]), [crew.nodes[RELAY].device()]);
}

#[test]
fn a_relay_that_got_a_batch_after_it_was_in_step_is_not_accused() {
    let (mut crew, _) = crew();
    let (link, _) = crew.connect(1, RELAY);
    crew.pass(2_000);
    crew.cut(1, link);
    crew.seal(0, b"later");
    crew.connect(0, RELAY);
    crew.pass(2_000);
    crew.connect(1, 0);
    crew.pass(2_000);
    assert_eq!(crew.nodes[1].replica.len(), 1);
    assert_eq!(withheld(&crew.nodes[1]), []);
}

#[test]
fn a_relay_is_reported_for_what_it_hid_although_it_has_signed_for_later_work_since() {
    let (mut crew, office) = crew();
    let hidden = crew.seal(0, b"hidden");
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(2_000);
    let other = Node::new(3, &office);
    let open = std::mem::replace(&mut crew.nodes[RELAY], other);
    crew.nodes.push(open);
    crew.move_end(RELAY, 3);
    crew.now += 1_000;
    let (second, _) = crew.connect(1, RELAY);
    crew.pass(2_000);
    crew.cut(1, second);
    for number in 0..5_u8 {
        crew.seal(0, &[number]);
        crew.pass(2_000);
    }
    crew.cut(0, link);
    // Also over one that has never met the relay, and long after.
    crew.nodes[0].restart();
    crew.connect(1, 0);
    crew.pass(5_000);
    assert!(crew.nodes[1].replica.holds(&hidden.id()));
    assert_eq!(withheld(&crew.nodes[1]), [crew.nodes[RELAY].device()], "for the first one only");
}

#[test]
fn a_relay_that_takes_earlier_moments_than_it_took_elsewhere_is_not_believed() {
    let (mut crew, batch) = withhold(-1_000_000);
    crew.connect(1, 0);
    crew.pass(2_000);
    assert_eq!(withheld(&crew.nodes[1]), [], "by its moments it was in step before it signed");
    assert!(crew.nodes[1].replica.proof(&batch.id()).is_safe);
    // It does not do what an honest one does when it is shown its own word.
    crew.nodes[RELAY].is_stubborn = true;
    crew.connect(1, RELAY);
    crew.pass(5_000);
    assert!(!crew.nodes[1].replica.proof(&batch.id()).is_safe);
    assert_eq!(count(&crew.nodes[1], |event| matches!(event, Event::StoreDoubted { .. })), 1);
}

/// A relay that has signed for a batch and was put back from a copy that lacks it.
fn put_back() -> (Crew, Batch) {
    let (mut crew, _) = crew();
    let before = crew.seal(0, b"before");
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(2_000);
    crew.cut(0, link);
    let signed_until = crew.nodes[RELAY].signed_until;
    crew.nodes[RELAY].restart();
    let lost = crew.seal(0, b"lost");
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(2_000);
    crew.cut(0, link);
    assert_eq!(proofs(&crew, 0, &[before, lost.clone()]), [proof(1, true); 2]);
    crew.nodes[RELAY].signed_until = signed_until;
    crew.nodes[RELAY].disk.remove(&lost.id());
    crew.nodes[RELAY].restart();
    crew.nodes[RELAY].is_slow = true;
    // It is not behind what it signed for before, so that it takes the same moments once more.
    crew.now -= 10_000;
    (crew, lost)
}

#[test]
fn a_relay_put_back_from_an_older_copy_raises_its_epoch_when_it_is_shown_its_own_word() {
    let (mut crew, lost) = put_back();
    let (link, _) = crew.connect(0, RELAY);
    crew.run();
    assert!(!crew.nodes[0].replica.proof(&lost.id()).is_safe, "it has not written it");
    assert_eq!(crew.nodes[RELAY].replica.config().store_epoch, 2);
    let is_restored = |event: &Event| matches!(event, Event::StoreRestored { epoch: 2, .. });
    assert_eq!(count(&crew.nodes[0], is_restored), 1);
    crew.nodes[0].restart();
    assert!(!crew.nodes[0].replica.proof(&lost.id()).is_safe, "nor after a restart");
    crew.cut(0, link);
    crew.nodes[RELAY].is_slow = false;
    let now = at(crew.now);
    crew.nodes[RELAY].finish_writing(now);
    crew.connect(0, RELAY);
    crew.pass(3_000);
    assert!(crew.nodes[0].replica.proof(&lost.id()).is_safe);
    assert_eq!(count(&crew.nodes[0], is_restored), 1);
}

#[test]
fn a_store_that_lacks_what_it_signed_for_is_not_believed_whoever_carries_its_word() {
    let (mut crew, lost) = put_back();
    // It does not care for its own word and keeps its epoch.
    crew.now += 20_000;
    crew.nodes[RELAY].is_stubborn = true;
    crew.nodes[RELAY].is_slow = false;
    let doubted = |node: &Node| count(node, |event| matches!(event, Event::StoreDoubted { .. }));
    let kept: Vec<Event> = crew.nodes[0].events.clone();
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(5_000);
    assert_eq!(doubted(&crew.nodes[0]), 1);
    assert!(crew.nodes[0].replica.proof(&lost.id()).is_safe, "it holds it again and has signed");
    crew.cut(0, link);
    // A copy of what it signed before says nothing to who has seen it.
    let device = crew.nodes[RELAY].device();
    let is_old = |event: &&Event| matches!(event, Event::Receipt(it) if it.signer == device);
    let old: Vec<Event> = kept.iter().filter(is_old).cloned().collect();
    assert!(!old.is_empty());
    let is_doubt = |event: &Event| matches!(event, Event::StoreDoubted { .. });
    crew.nodes[0].events.retain(is_doubt);
    crew.nodes[0].events.extend(old);
    crew.nodes[0].restart();
    assert!(!crew.nodes[0].replica.proof(&lost.id()).is_safe);
}

#[test]
fn a_store_is_not_doubted_where_one_policy_item_took_the_place_of_another_meanwhile() {
    let (mut crew, lost) = put_back();
    crew.now += 20_000;
    crew.nodes[RELAY].is_stubborn = true;
    crew.nodes[RELAY].is_slow = false;
    let (_, office) = self::crew();
    let mut items: Vec<Item> =
        (0..=ITEMS_PER_MEMBER_MAX as u64).map(|number| junk(&office, &keys(2), number)).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.id()));
    let first = items.pop().unwrap();
    for (node, item) in
        [0, RELAY].into_iter().flat_map(|node| items.iter().map(move |it| (node, it)))
    {
        crew.input(node, Input::LocalItem { item: item.clone() });
    }
    crew.nodes[0].loaded.clear();
    crew.connect(0, RELAY);
    while !crew.nodes[0].loaded.iter().any(|(_, id)| *id == lost.id()) {
        assert!(!crew.run_for(1), "it is asked for");
    }
    let before = crew.nodes[0].replica.items().count();
    crew.input(0, Input::LocalItem { item: first });
    assert_eq!(crew.nodes[0].replica.items().count(), before);
    crew.pass(5_000);
    let is_doubt = |event: &Event| matches!(event, Event::StoreDoubted { .. });
    assert_eq!(count(&crew.nodes[0], is_doubt), 0);
}

#[test]
fn a_relay_whose_clock_was_set_back_is_neither_accused_nor_doubted() {
    let (mut crew, _) = crew();
    crew.now += 100_000;
    let (link, _) = crew.connect(1, RELAY);
    crew.pass(2_000);
    crew.cut(1, link);
    crew.nodes[RELAY].restart();
    crew.now -= 90_000;
    let batch = crew.seal(0, b"later");
    let (link, _) = crew.connect(0, RELAY);
    crew.pass(2_000);
    crew.cut(0, link);
    crew.connect(1, 0);
    crew.pass(2_000);
    crew.connect(1, RELAY);
    crew.pass(5_000);
    assert_eq!(crew.nodes[1].replica.proof(&batch.id()), proof(2, true));
    let is_blame =
        |event: &Event| matches!(event, Event::Withheld { .. } | Event::StoreDoubted { .. });
    assert_eq!(crew.nodes.iter().map(|node| count(node, is_blame)).sum::<usize>(), 0);
    assert_eq!(crew.nodes[RELAY].replica.config().store_epoch, 1);
}

#[test]
fn receipts_that_nobody_asked_for_are_not_read_and_foreign_ones_prove_nothing() {
    let (mut crew, _) = crew();
    let batch = crew.seal(0, b"entry");
    crew.connect(0, 1);
    crew.run();
    let (link, _) = crew.nodes[0].replica.links().next().unwrap();
    let store = (StoreId::from_bytes([9; 16]), 1);
    let heads = [batch.key_bytes()];
    let relay = &crew.nodes[RELAY].author.keys;
    let tenant = batch.header().tenant;
    let forged = Receipt::new(tenant, relay.device(), store, at(0), heads);
    let by_other = forged.clone().signed(crew.nodes[1].author.keys.signing_key()).encode();
    let by_relay = forged.signed(relay.signing_key()).encode();
    let replica = &mut crew.nodes[0].replica;
    replica.take_receipts(at(0), link, &[by_relay.clone(), vec![0; 3]]).unwrap();
    assert_eq!(replica.proof(&batch.id()), proof(1, false), "nobody has asked");
    replica.expect_receipts(link);
    assert!(replica.take_receipts(at(0), link, &[by_other]).is_err());
    assert_eq!(replica.proof(&batch.id()), proof(1, false));
    replica.expect_receipts(link);
    replica.take_receipts(at(0), link, &[by_relay]).unwrap();
    assert_eq!(replica.proof(&batch.id()), proof(2, true));
}
