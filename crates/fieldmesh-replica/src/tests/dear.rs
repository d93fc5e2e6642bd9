//! Goal: over a link whose bytes are dear only a part travels, in both directions, the rest waits
//! and is counted, and a link without that limit brings it. Method: a device and a relay in memory,
//! with work of this month and of three months before it.

use std::collections::BTreeSet;

use fieldmesh_batch::{Batch, Priority};
use fieldmesh_model::{Filter, Region, Role};

use super::crew::{Author, Crew, Node, Office, at, keys};
use crate::{Event, LinkId};

const DEVICE: usize = 0;
const RELAY: usize = 1;
const LONG_AGO: i64 = -90 * 24 * 3_600 * 1_000;

fn crew() -> Crew {
    let mut office = Office::new(200);
    for seed in [1, 3, 4] {
        office.certify(&keys(seed), Role::Operator);
    }
    office.certify(&keys(2), Role::Relay);
    Crew::of([1, 2].map(|seed| Node::new(seed, &office)).into())
}

/// Has an author record at a node; each has chains of its own.
fn record(crew: &mut Crew, node: usize, author: u8, when: i64, count: u8) -> Vec<Batch> {
    let mut author = Author::new(author, crew.nodes[0].author.tenant);
    let batches: Vec<Batch> = (0..count).map(|number| author.seal(when, &[number])).collect();
    for batch in &batches {
        crew.nodes[node].put(at(crew.now), batch.clone());
        crew.perform(node);
    }
    batches
}

fn this_month() -> Filter {
    let region = Region { since: at(0).month(), ..Region::default() };
    Filter::new([region]).unwrap()
}

fn held_back(crew: &Crew, node: usize, link: LinkId) -> u64 {
    crew.nodes[node].replica.held_back(link)
}

fn stalled(crew: &Crew) -> usize {
    let events = crew.nodes.iter().flat_map(|node| &node.events);
    events.filter(|event| matches!(event, Event::Stalled { .. })).count()
}

#[test]
fn what_is_old_stays_on_both_sides_of_a_dear_link_and_both_come_to_rest() {
    let mut crew = crew();
    record(&mut crew, DEVICE, 1, LONG_AGO, 6);
    record(&mut crew, RELAY, 3, LONG_AGO, 5);
    record(&mut crew, DEVICE, 4, 0, 3);
    let (link, end) = crew.connect_for(DEVICE, RELAY, Some(&this_month()));
    crew.run();
    crew.pass(200_000);
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
    assert_eq!((stalled(&crew), crew.nodes[RELAY].refused()), (0, 0));
    assert_eq!((crew.nodes[DEVICE].replica.len(), crew.nodes[RELAY].replica.len()), (9, 8));
    // The relay has no wish of its own: to it this is a peer that wants less.
    assert_eq!((held_back(&crew, DEVICE, link), held_back(&crew, RELAY, end)), (6, 0));
    let exchanges = crew.nodes[DEVICE].in_step().unwrap().exchanges;
    crew.pass(600_000);
    assert_eq!(crew.nodes[DEVICE].in_step().unwrap().exchanges, exchanges, "nobody compares on");

    crew.cut(DEVICE, link);
    let (link, _) = crew.connect(DEVICE, RELAY);
    crew.run();
    crew.assert_same([DEVICE, RELAY]);
    assert_eq!(held_back(&crew, DEVICE, link), 0);
}

#[test]
fn what_comes_later_is_held_to_the_same_part_and_what_the_peer_is_known_to_hold_waits_for_nothing()
{
    let mut crew = crew();
    record(&mut crew, DEVICE, 1, LONG_AGO, 6);
    let (link, _) = crew.connect(DEVICE, RELAY);
    crew.run();
    crew.cut(DEVICE, link);
    let (link, _) = crew.connect_for(DEVICE, RELAY, Some(&this_month()));
    crew.run();
    assert_eq!(held_back(&crew, DEVICE, link), 0, "the relay has signed for all of it");
    let late = record(&mut crew, DEVICE, 3, LONG_AGO, 2);
    let fresh = record(&mut crew, DEVICE, 4, 0, 2);
    crew.run();
    crew.pass(120_000);
    let loaded: BTreeSet<_> =
        crew.nodes[DEVICE].loaded.iter().filter(|(to, _)| *to == link).map(|it| it.1).collect();
    assert_eq!(loaded, fresh.iter().map(Batch::id).collect());
    assert!(!late.iter().any(|batch| crew.nodes[RELAY].replica.holds(&batch.id())));
    assert_eq!((held_back(&crew, DEVICE, link), stalled(&crew)), (2, 0));
}

#[test]
fn a_link_that_carries_no_records_brings_the_policy_and_is_in_step() {
    let mut crew = crew();
    record(&mut crew, DEVICE, 1, 0, 4);
    let (link, _) = crew.connect_for(DEVICE, RELAY, Some(&Filter::nothing()));
    crew.run();
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
    assert_eq!((crew.nodes[RELAY].replica.len(), held_back(&crew, DEVICE, link)), (0, 4));
}

#[test]
fn a_link_asks_for_no_more_than_its_replica_wants() {
    let mut crew = crew();
    let config = *crew.nodes[DEVICE].replica.config();
    let items = crew.nodes[DEVICE].replica.items().cloned().collect();
    let own = Region { collection: Some(3), partition: Some(7), since: 0 };
    let own = Filter::new([own]).unwrap();
    crew.nodes[DEVICE].replica = crate::Replica::new(config, items, []).with_filter(own);
    record(&mut crew, RELAY, 3, 0, 4);
    crew.connect_for(DEVICE, RELAY, Some(&this_month()));
    crew.run();
    assert!(crew.nodes[DEVICE].in_step().is_some());
    assert!(crew.nodes[DEVICE].replica.is_empty());
}

#[test]
fn critical_work_is_named_until_a_relay_has_signed_for_it() {
    let mut crew = crew();
    record(&mut crew, DEVICE, 3, 0, 2);
    let mut author = Author::new(1, crew.nodes[0].author.tenant);
    author.sequence = 1;
    let draft = fieldmesh_batch::Draft { priority: Priority::CRITICAL, ..author.draft(0, b"leak") };
    let batch = Batch::seal(draft, author.keys.signing_key(), [7; 16]).unwrap();
    let scope = batch.header().scope;
    crew.nodes[DEVICE].put(at(0), batch);
    crew.perform(DEVICE);
    assert_eq!(crew.nodes[DEVICE].replica.critical_scopes(), [scope].into());
    crew.connect(DEVICE, RELAY);
    crew.run();
    crew.pass(2_000);
    assert!(crew.nodes[DEVICE].replica.critical_scopes().is_empty());
}
