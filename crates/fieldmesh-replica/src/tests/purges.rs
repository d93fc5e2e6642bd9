//! What was purged: it is in no copy that is taken in, and nobody hides what was not.
//!
//! Batches of two leaves, of which a purge names one.

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Item, Purge, Statement};
use fieldmesh_model::{DocumentId, Role};

use super::crew::{Crew, Node, Office, at, keys};
use crate::{Input, RefuseReason};

/// What is purged.
const GONE: &[u8] = b"what nobody may read any more";
/// What stays.
const LEFT: &[u8] = b"what everybody keeps";

const DOCUMENT: DocumentId = DocumentId::from_bytes([0x99; 16]);

/// A batch that says [`GONE`] of [`DOCUMENT`] and [`LEFT`] of another.
fn two_leaves(crew: &mut Crew, node: usize) -> Batch {
    let author = &mut crew.nodes[node].author;
    author.sequence += 1;
    let mut draft = author.draft(crew.now, LEFT);
    let mut gone = draft.leaves[0].clone();
    (gone.document, gone.change) = (DOCUMENT, GONE.to_vec());
    draft.leaves.insert(0, gone);
    let salt_seed = [u8::try_from(author.sequence).unwrap(); 16];
    let batch = Batch::seal(draft, author.keys.signing_key(), salt_seed).unwrap();
    author.previous = batch.id();
    batch
}

fn purge(office: &mut Office, batch: &Batch) -> Item {
    let leaves = [batch.leaf_hashes()[0]].into();
    let purge = Purge { document: DOCUMENT, leaves, at: at(0), reason: "asked for".into() };
    office.sign(&Statement::Purge(Box::new(purge)))
}

fn assert_erased(node: &Node, batch: &Batch) {
    let held = &node.disk[&batch.id()];
    assert!(held.leaves()[0].is_erased());
    assert_eq!(held.leaves()[1].change, LEFT);
    assert_eq!(held.leaf_hashes(), batch.leaf_hashes());
}

#[test]
fn what_was_purged_is_not_written_when_it_arrives_late() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    let item = purge(&mut office, &batch);
    crew.nodes[0].put(at(0), batch.clone());
    crew.perform(0);
    crew.input(1, Input::LocalItem { item });
    crew.connect(0, 1);
    crew.run();
    crew.assert_same([0, 1]);
    assert_erased(&crew.nodes[1], &batch);
    assert!(crew.nodes[1].in_step().is_some_and(|stats| stats.refused == 0));
}

#[test]
fn a_purge_of_one_record_erases_nothing_of_another_that_it_names() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    let leaves = [batch.leaf_hashes()[1]].into();
    let purge = Purge { document: DOCUMENT, leaves, at: at(0), reason: "asked for".into() };
    let item = office.sign(&Statement::Purge(Box::new(purge)));
    crew.nodes[0].put(at(0), batch.clone());
    crew.perform(0);
    (0..2).for_each(|node| crew.input(node, Input::LocalItem { item: item.clone() }));
    crew.connect(0, 1);
    crew.run();
    crew.assert_same([0, 1]);
    assert_eq!(crew.nodes[1].disk[&batch.id()].leaves()[1].change, LEFT);
}

#[test]
fn a_new_member_gets_the_rest_from_whoever_erased_the_purged_part() {
    let (mut crew, mut office) = Crew::new(1);
    let batch = two_leaves(&mut crew, 0);
    let item = purge(&mut office, &batch);
    crew.input(0, Input::LocalItem { item });
    crew.nodes[0].put(at(0), batch.erase(0).unwrap());
    crew.perform(0);
    let certificate = office.certify(&keys(7), Role::Operator);
    crew.input(0, Input::LocalItem { item: certificate.clone() });
    let mut first = Office::new(200);
    first.items.push(certificate);
    crew.nodes.push(Node::new(7, &first));
    crew.connect(1, 0);
    crew.pass(100_000);
    crew.assert_same([0, 1]);
    assert_erased(&crew.nodes[1], &batch);
    crew.nodes[1].restart();
    crew.assert_same([0, 1]);
}

#[test]
fn two_that_hold_it_whole_and_with_the_gap_are_in_step_at_once() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    let item = purge(&mut office, &batch);
    crew.nodes[0].put(at(0), batch.clone());
    crew.nodes[1].put(at(0), batch.erase(0).unwrap());
    for node in [0, 1] {
        crew.perform(node);
        crew.input(node, Input::LocalItem { item: item.clone() });
    }
    crew.connect(0, 1);
    crew.run();
    crew.assert_same([0, 1]);
    assert_eq!(crew.delivered[1], 0, "nothing travels");
}

#[test]
fn what_the_disk_still_has_of_it_is_not_sent() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    crew.nodes[0].put(at(0), batch.clone());
    crew.perform(0);
    let item = purge(&mut office, &batch);
    crew.input(0, Input::LocalItem { item });
    crew.recorded = Some(Vec::new());
    crew.connect(0, 1);
    crew.run();
    let recorded = crew.recorded.take().unwrap();
    let bytes: Vec<u8> = recorded.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(bytes.windows(LEFT.len()).any(|it| it == LEFT));
    assert!(!bytes.windows(GONE.len()).any(|it| it == GONE));
    assert_erased(&crew.nodes[1], &batch);
}

#[test]
fn a_leaf_that_nobody_purged_cannot_be_hidden() {
    let (mut crew, _) = Crew::new(3);
    let batch = two_leaves(&mut crew, 0);
    crew.nodes[0].put(at(0), batch.clone());
    crew.nodes[1].put(at(0), batch.erase(0).unwrap());
    crew.perform(0);
    crew.perform(1);
    crew.connect(1, 2);
    crew.pass(100_000);
    assert!(!crew.nodes[2].replica.holds(&batch.id()));
    crew.connect(0, 2);
    crew.pass(100_000);
    assert_eq!(crew.nodes[2].disk[&batch.id()], batch, "another one has it whole");
}

#[test]
fn a_hostile_gap_beside_a_purged_one_is_refused() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    let item = purge(&mut office, &batch);
    crew.nodes[0].put(at(0), batch.erase(0).unwrap().erase(1).unwrap());
    crew.perform(0);
    crew.input(1, Input::LocalItem { item: item.clone() });
    let both = crew.nodes[0].disk[&batch.id()].clone();
    crew.connect(0, 1);
    crew.run();
    let reason = crew.nodes[1].replica.judged(&both);
    assert_eq!(reason, Some(RefuseReason::Erased));
    crew.pass(100_000);
    assert!(!crew.nodes[1].replica.holds(&batch.id()));
}

#[test]
fn a_gap_is_taken_once_the_purge_is_known() {
    let (mut crew, mut office) = Crew::new(2);
    let batch = two_leaves(&mut crew, 0);
    let gap = batch.erase(0).unwrap();
    crew.nodes[0].put(at(0), gap.clone());
    crew.perform(0);
    let links = crew.connect(0, 1);
    crew.run();
    assert!(!crew.nodes[1].replica.holds(&batch.id()));
    let item = purge(&mut office, &batch);
    crew.input(0, Input::LocalItem { item });
    crew.pass(1_000_000);
    assert!(crew.nodes[1].replica.links().any(|(link, _)| link == links.1), "the link goes on");
    crew.assert_same([0, 1]);
    assert_eq!(crew.nodes[1].disk[&batch.id()], gap);
}

#[test]
fn a_leaf_of_a_purged_document_that_no_purge_names_holds_nothing_else_back() {
    let (mut crew, mut office) = Crew::new(2);
    let known = two_leaves(&mut crew, 0);
    let late = two_leaves(&mut crew, 0);
    let item = purge(&mut office, &known);
    for batch in [&known, &late] {
        crew.nodes[0].put(at(0), batch.clone());
        crew.perform(0);
    }
    crew.input(0, Input::LocalItem { item });
    crew.connect(0, 1);
    crew.run();
    crew.assert_same([0, 1]);
    assert_erased(&crew.nodes[1], &known);
    assert_eq!(crew.nodes[1].disk[&late.id()], late);
    // An administrator's device that has got it names it as well.
    let item = purge(&mut office, &late);
    crew.input(1, Input::LocalItem { item });
    crew.run();
    crew.assert_same([0, 1]);
    assert_eq!(crew.nodes[0].refused() + crew.nodes[1].refused(), 0);
}
