//! Runs of batches that travel with one signature: complete, cut, thinned out and forged.

use fieldmesh_batch::Batch;
use fieldmesh_model::BatchId;

use super::crew::{Author, Crew, Node, noise};
use crate::limits::{RUN_BYTES_MAX, SIGNED_EVERY};
use crate::{Event, Held, Input};

const COUNT: u64 = 40;

fn recorded(crew: &mut Crew, node: usize) -> Vec<Batch> {
    (0..COUNT).map(|number| crew.seal(node, format!("entry {number}").as_bytes())).collect()
}

fn unsigned(node: &Node) -> Vec<u64> {
    let unsigned = node.disk.values().filter(|batch| !batch.is_signed());
    let mut places: Vec<u64> = unsigned.map(|batch| batch.header().sequence).collect();
    places.sort_unstable();
    places
}

/// The same batch without its signature.
fn stripped(batch: &Batch) -> Batch {
    Batch::decode(&batch.encode_unsigned()).unwrap()
}

#[test]
fn a_run_is_proven_by_its_last_signature_here_after_a_restart_and_at_the_next_peer() {
    let (mut crew, _) = Crew::new(4);
    recorded(&mut crew, 0);
    for (from, to) in [(0, 1), (1, 2), (2, 3)] {
        crew.connect(from, to);
        crew.run();
        crew.nodes[to].restart();
        assert_eq!(crew.nodes[to].replica.unheld().count(), 0);
        assert_eq!(crew.nodes[to].replica.root(), crew.nodes[0].replica.root());
        // However often batches are passed on, signatures remain close together.
        let wanted: Vec<u64> =
            (1..COUNT).filter(|place| !place.is_multiple_of(SIGNED_EVERY)).collect();
        assert_eq!(unsigned(&crew.nodes[to]), wanted);
        assert_eq!(crew.nodes[to].refused(), 0);
    }
}

#[test]
fn a_run_that_is_cut_anywhere_leaves_nothing_unproven_and_is_completed_later() {
    let mut is_over = false;
    for pieces in 0..10_000 {
        let (mut crew, _) = Crew::new(2);
        recorded(&mut crew, 0);
        crew.chunk = 97;
        let (link, _) = crew.connect(0, 1);
        is_over = crew.run_for(pieces * 3);
        crew.cut(0, link);
        crew.nodes[1].restart();
        assert_eq!(crew.nodes[1].replica.unheld().count(), 0, "cut after {pieces}");
        crew.chunk = usize::MAX;
        crew.connect(0, 1);
        crew.run();
        crew.assert_equal();
        if is_over {
            break;
        }
    }
    assert!(is_over);
}

#[test]
fn a_batch_on_the_disk_that_nothing_proves_is_not_held_and_comes_again() {
    let (mut crew, _) = Crew::new(2);
    let batches = recorded(&mut crew, 0);
    let torn = [stripped(&batches[0]), stripped(&batches[1])];
    crew.nodes[1].disk.extend(torn.iter().map(|batch| (batch.id(), batch.clone())));
    crew.nodes[1].restart();
    let mut ids: Vec<BatchId> = torn.iter().map(Batch::id).collect();
    ids.sort_unstable();
    assert_eq!(crew.nodes[1].replica.unheld().collect::<Vec<_>>(), ids);
    assert!(crew.nodes[1].replica.is_empty() && !crew.nodes[1].replica.holds(&ids[0]));
    crew.connect(0, 1);
    crew.run();
    crew.assert_equal();
    assert_eq!(crew.nodes[1].replica.unheld().count(), 0);
}

/// Makes a node offer `batches` as they are.
fn offer(crew: &mut Crew, node: usize, batches: &[Batch]) {
    for batch in batches {
        crew.nodes[node].disk.insert(batch.id(), batch.clone());
        crew.nodes[node].replica.smuggle(&Held::of(batch));
    }
    crew.input(node, Input::Resync { link: None });
}

#[test]
fn batches_that_nothing_ever_names_take_bounded_memory_and_end_nothing() {
    let (mut crew, office) = Crew::new(3);
    let mut author = Author::new(1, office.tenant);
    let batches: Vec<Batch> = (0..300_u32)
        .map(|number| author.seal(0, &[&number.to_be_bytes()[..], &[7; 3_000]].concat()))
        .collect();
    let run: Vec<Batch> = batches.iter().take(299).map(stripped).collect();
    offer(&mut crew, 0, &run);
    crew.connect(0, 1);
    crew.run();
    assert!(crew.nodes[1].replica.is_empty());
    assert!(crew.nodes[1].replica.unnamed_bytes() <= RUN_BYTES_MAX);
    crew.pass(200_000);
    assert!(crew.nodes[1].replica.is_empty());
    let is_stalled = |event: &Event| matches!(event, Event::Stalled { .. });
    assert!(crew.nodes.iter().any(|node| node.events.iter().any(is_stalled)));
    assert!(crew.nodes[1].closed.iter().all(|(_, reason)| !reason.is_fault()));
    // An honest peer helps: the last batch proves the whole run.
    crew.nodes[2].disk.extend(batches.iter().map(|batch| (batch.id(), batch.clone())));
    crew.nodes[2].restart();
    crew.connect(2, 1);
    crew.run();
    assert_eq!(crew.nodes[1].replica.len(), batches.len());
}

#[test]
fn nobody_proves_a_batch_in_anothers_name() {
    let (mut crew, office) = Crew::new(2);
    let mut victim = Author::new(2, office.tenant);
    victim.sequence = 1;
    let mut attacker = Author::new(1, office.tenant);
    // What the attacker writes under another's name, and a batch of its own that names it.
    let mut draft = victim.draft(0, b"forged");
    draft.author = attacker.keys.device();
    let own = Batch::seal(draft, attacker.keys.signing_key(), [1; 16]).unwrap();
    let mut bytes = own.encode_unsigned();
    bytes[41..73].copy_from_slice(victim.keys.device().as_bytes());
    let forged = Batch::decode(&bytes).unwrap();
    assert_eq!(forged.header().author, victim.keys.device());
    (attacker.sequence, attacker.previous) = (1, forged.id());
    let naming = attacker.seal(1, b"names it");
    offer(&mut crew, 0, &[forged.clone(), naming.clone()]);
    crew.connect(0, 1);
    crew.pass(100_000);
    assert!(!crew.nodes[1].replica.holds(&forged.id()));
    assert!(!crew.nodes[1].disk.contains_key(&forged.id()));
    assert!(crew.nodes[1].replica.holds(&naming.id()), "its own batch is its own matter");
}

#[test]
fn a_run_whose_end_takes_minutes_on_a_slow_link_is_paid_for_once() {
    let (mut crew, _) = Crew::new(2);
    crew.seal(0, b"short");
    crew.seal(0, &noise(400_000));
    crew.chunk = 4_000;
    let (link, end) = crew.connect(0, 1);
    // 32 kbit/s.
    while !crew.run_for(1) {
        crew.now += 1_000;
        (0..2).for_each(|node| crew.input(node, Input::Tick));
        crew.deliver(1, end);
    }
    crew.assert_equal();
    let sent = crew.nodes[0].loaded.iter().filter(|(to, _)| *to == link).count();
    assert_eq!(sent, 2, "what waited for its signature came twice");
}
