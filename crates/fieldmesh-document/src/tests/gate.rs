//! What the gate lets pass and what it refuses, change by change.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, ObjType, ROOT, ScalarValue};

use super::*;
use crate::gate::{FormError, Refusal, RootError};
use crate::{ChunkError, peek};

fn root_bytes(replica: &Replica) -> &[u8] {
    replica.changes.values().next().unwrap()
}

/// A change that writes by hand what no honest replica writes.
fn foreign(
    replica: &Replica,
    write: impl FnOnce(&mut automerge::transaction::Transaction<'_>),
) -> Vec<u8> {
    let mut inner = replica.document().inner().clone().with_actor(ActorId::from(replica.actor()));
    let mut transaction = inner.transaction();
    write(&mut transaction);
    transaction.commit_with(CommitOptions::default().with_time(at(1).as_millis()));
    inner.get_last_local_change().unwrap().raw_bytes().to_vec()
}

fn judge_foreign(
    replica: &Replica,
    write: impl FnOnce(&mut automerge::transaction::Transaction<'_>),
) -> Result<(), Refusal> {
    let change = foreign(replica, write);
    judge(&change, &[root_bytes(replica)], &replica.origin()).map(|_| ())
}

#[test]
fn a_change_is_judged_against_what_it_builds_on_and_nothing_else() {
    let [mut one, mut two] = crew();
    one.set(1, "data.oilVolume", 90);
    two.set(2, "data.oilVolume", 91);
    let root = root_bytes(&crew::<1>()[0]).to_vec();
    let last =
        |replica: &Replica| replica.changes.values().find(|bytes| **bytes != root).unwrap().clone();
    let (ours, theirs) = (last(&one), last(&two));
    let alone = judge(&ours, &[&root], &one.origin()).unwrap();
    let beside = judge(&ours, &[&theirs, &root, &root], &one.origin()).unwrap();
    assert_eq!(alone.change, beside.change);
    assert_eq!(alone.document.heads_digest(), beside.document.heads_digest());
    let missing = judge(&ours, &[&theirs], &one.origin()).unwrap_err();
    assert_eq!(missing, Refusal::Missing { hashes: vec![peek(&root).unwrap().hash] });
    assert!(!missing.is_final());
}

#[test]
fn a_root_change_must_belong_to_the_user_that_the_id_commits_to() {
    let [one, two] = crew();
    let root = root_bytes(&one);
    let accepted = judge(root, &[], &one.origin()).unwrap();
    let facts = accepted.root.unwrap();
    assert_eq!((facts.collection, facts.at), (wells::FIELD_ENTRY, at(0)));
    let origin = Origin { user: user(2), ..one.origin() };
    assert_eq!(judge(root, &[], &origin).unwrap_err(), RootError::WrongCreator.into());
    let origin = Origin { document: DocumentId::from_bytes([9; 16]), ..one.origin() };
    assert_eq!(judge(root, &[], &origin).unwrap_err(), RootError::NotTheirs.into());
    assert_eq!(judge(root, &[], &two.origin()).unwrap_err(), Refusal::WrongActor);
    let origin = Origin { epoch: Epoch(2), ..one.origin() };
    assert_eq!(judge(root, &[], &origin).unwrap_err(), Refusal::WrongActor);
}

#[test]
fn another_root_by_somebody_else_is_refused() {
    let [one, mallory] = crew();
    let fields = production();
    let identity = identity(&fields);
    let theirs = CreateRecord {
        user: user(2),
        device: device(2),
        actor: mallory.actor(),
        ..record(&identity, &fields)
    };
    let change = root_change(&theirs).unwrap().bytes;
    let error = judge(&change, &[root_bytes(&one)], &mallory.origin()).unwrap_err();
    assert_eq!(error, RootError::NotTheirs.into());
    let claimed = root_change(&CreateRecord { user: user(1), ..theirs }).unwrap().bytes;
    let error = judge(&claimed, &[], &mallory.origin()).unwrap_err();
    assert_eq!(error, RootError::WrongCreator.into());
    // A gateway writes for others, and in their names only what is theirs.
    let gateway = Origin { is_gateway: true, ..mallory.origin() };
    assert!(judge(&claimed, &[], &gateway).is_ok());
    assert_eq!(judge(&change, &[], &gateway).unwrap_err(), RootError::NotTheirs.into());
}

#[test]
fn a_first_change_without_its_system_keys_is_refused() {
    let [one] = crew::<1>();
    let mut empty = one.clone();
    empty.changes.clear();
    let mut inner = Automerge::new().with_actor(ActorId::from(one.actor()));
    let mut transaction = inner.transaction();
    transaction.put(ROOT, "data.oilVolume", 5).unwrap();
    transaction.commit();
    let change = inner.get_last_local_change().unwrap();
    let error = judge(change.raw_bytes(), &[], &one.origin()).unwrap_err();
    assert!(matches!(error, Refusal::Root(RootError::Lacks { .. })), "{error:?}");
}

#[test]
fn kinds_of_operations_that_nothing_here_writes_are_refused() {
    let [one] = crew();
    let unknown = Err(Refusal::Form(FormError::UnknownKind { index: 0 }));
    assert_eq!(judge_foreign(&one, |tx| tx.delete(ROOT, "notes").unwrap()), unknown);
    assert_eq!(
        judge_foreign(&one, |tx| drop(tx.put_object(ROOT, "map", ObjType::Map).unwrap())),
        unknown
    );
    assert_eq!(
        judge_foreign(&one, |tx| tx.put(ROOT, "n", ScalarValue::counter(1)).unwrap()),
        unknown
    );
    let bad_key = Err(Refusal::Form(FormError::BadKey { index: 0 }));
    assert_eq!(judge_foreign(&one, |tx| tx.put(ROOT, "a\nb", 1).unwrap()), bad_key);
    assert_eq!(judge_foreign(&one, |tx| tx.put(ROOT, "k".repeat(300), 1).unwrap()), bad_key);
    assert_eq!(judge_foreign(&one, |tx| tx.put(ROOT, "data.new", 1).unwrap()), Ok(()));
}

#[test]
fn a_change_must_follow_its_actors_last() {
    let [mut one] = crew();
    let root = root_bytes(&one).to_vec();
    one.set(1, "data.oilVolume", 90);
    one.set(2, "data.oilVolume", 91);
    let last = one.changes.values().find(|bytes| peek(bytes).unwrap().seq == 3).unwrap();
    let missing = judge(last, &[&root], &one.origin()).unwrap_err();
    assert!(matches!(missing, Refusal::Missing { .. }));
    let first = one.changes.values().find(|bytes| peek(bytes).unwrap().seq == 2).unwrap();
    // The number of a change that it builds on, and one that leaves a gap.
    let mut expanded = automerge::Change::try_from(last.as_slice()).unwrap().decode();
    for seq in [2, 4] {
        expanded.seq = seq;
        let change = automerge::Change::from(expanded.clone());
        let error = judge(change.raw_bytes(), &[&root, first], &one.origin()).unwrap_err();
        assert_eq!(error, Refusal::OutOfSequence { seq });
    }
    expanded.seq = 3;
    expanded.start_op = std::num::NonZeroU64::MIN;
    let change = automerge::Change::from(expanded);
    let error = judge(change.raw_bytes(), &[&root, first], &one.origin()).unwrap_err();
    assert_eq!(error, Refusal::OutOfSequence { seq: 3 });
}

#[test]
fn compressed_joined_and_cut_changes_are_refused() {
    let [one] = crew();
    let root = root_bytes(&one);
    let mut change = automerge::Change::try_from(root).unwrap();
    let compressed = change.bytes().into_owned();
    assert_ne!(compressed, root);
    let refused = |bytes: &[u8]| judge(bytes, &[], &one.origin()).unwrap_err();
    assert_eq!(refused(&compressed), ChunkError::NotAChange.into());
    assert_eq!(refused(&one.document().inner().save()), ChunkError::NotAChange.into());
    assert_eq!(refused(&[root, root].concat()), ChunkError::Malformed.into());
    assert_eq!(refused(&root[..root.len() - 1]), ChunkError::Malformed.into());
    let mut flipped = root.to_vec();
    flipped[40] ^= 1;
    assert_eq!(refused(&flipped), ChunkError::BadChecksum.into());
}

#[test]
fn peeking_tells_what_automerge_would() {
    let [mut one, two] = crew();
    one.set(1, "notes", "the pump ran");
    one.pull(&two);
    one.delete(2);
    for bytes in one.changes.values() {
        let peeked = peek(bytes).unwrap();
        let change = automerge::Change::try_from(bytes.as_slice()).unwrap();
        assert_eq!(peeked.hash, change.hash().0);
        assert_eq!(peeked.deps, change.deps().iter().map(|dep| dep.0).collect::<Vec<_>>());
        assert_eq!(peeked.actor, change.actor_id().to_bytes());
        assert_eq!(peeked.seq, change.seq());
        assert_eq!(peeked.start_op, change.start_op().get());
        assert_eq!(peeked.operations, change.len());
        assert_eq!(peeked.at.as_millis(), change.timestamp());
    }
}
