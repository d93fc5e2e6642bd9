//! How conflicts ended: settled, or written over by somebody who may never have seen them.

use automerge::transaction::Transactable;
use automerge::{AutomergeError, ROOT};

use super::*;
use crate::{CLOSINGS_FIELDS_MAX, CLOSINGS_LOOK_MAX, CLOSINGS_MAX, Closing, FieldConflict};

impl Replica {
    fn conflict(&self) -> FieldConflict {
        self.document().conflicts(entries()).unwrap().remove(0)
    }

    fn ended(&self) -> Vec<Closing> {
        self.document().closings(entries()).unwrap().ended
    }
}

fn disputed() -> [Replica; 2] {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    let mut both = [one, two];
    meet(&mut both);
    both
}

#[test]
fn who_settles_is_told_from_who_only_writes() {
    let [mut one, mut two] = disputed();
    let conflict = one.conflict();
    assert_eq!(one.ended(), []);
    two.set(3, OIL, 93);
    let over = two.ended().remove(0);
    assert_eq!((over.item, over.is_settled), (conflict.id, false));
    assert_eq!(over.values, conflict.values);
    one.resolve(4, "A");
    let settled = one.ended().remove(0);
    assert_eq!((settled.item, settled.is_settled), (conflict.id, true));
    assert_eq!((settled.at, settled.left), (at(4), Value::Int(90)));
    // Two who end one conflict differently leave another one open, in every order of arrival.
    let mut both = [one, two];
    meet(&mut both);
    for replica in &both {
        let again = replica.conflict();
        assert!(again.is_open() && again.id != conflict.id);
        let ended: Vec<_> = replica.ended().iter().map(|it| (it.item, it.is_settled)).collect();
        assert_eq!(ended, [(conflict.id, false), (conflict.id, true)]);
    }
}

#[test]
fn a_settled_conflict_stays_in_the_history_whatever_follows() {
    let [mut one, _] = disputed();
    one.resolve(3, "A");
    one.set(4, OIL, 91);
    one.set(5, "notes", "checked");
    let ended = one.ended();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].is_settled);
    let view = one.document().view(entries()).unwrap();
    assert!(view.ignored.is_empty() && !view.fields.keys().any(|key| key.starts_with('_')));
}

#[test]
fn a_deletion_that_settles_says_so_and_one_that_knows_nothing_does_not() {
    for is_settled in [true, false] {
        let [mut one, mut two] = crew();
        one.delete(1);
        two.set(2, OIL, 95.0);
        one.pull(&two);
        let conflict = one.conflict();
        assert_eq!(conflict.kind, ConflictKind::DeletedAndEdited);
        let mut document = one.document();
        if is_settled {
            document.settling_deletion(entries());
        }
        let change = document.restore(one.actor(), at(3)).unwrap();
        assert!(one.keep(change));
        let ended: Vec<_> = one.ended().iter().map(|it| (it.item, it.is_settled)).collect();
        assert_eq!(ended, [(conflict.id, is_settled)]);
    }
}

#[test]
fn settling_one_field_leaves_the_conflict_of_another_open() {
    let [mut one, mut two] = crew();
    one.edit(1, &[Edit::set(OIL, 90.0), Edit::set("data.gasVolume", 7)]);
    two.edit(2, &[Edit::set(OIL, 95.0), Edit::set("data.gasVolume", 8)]);
    one.pull(&two);
    let before = one.document().conflicts(entries()).unwrap();
    assert_eq!(before.len(), 2);
    one.resolve(3, "A");
    assert_eq!(one.document().conflicts(entries()).unwrap(), before[1..]);
    assert_eq!(one.ended().len(), 1);
}

/// Sets some fields that nobody declared in one change.
fn set_many(replica: &mut Replica, hours: i64, count: usize, value: i64) {
    let set = |number: usize| Edit::set(format!("data.new{number:03}"), value);
    assert!(replica.edit(hours, &(0..count).map(set).collect::<Vec<_>>()));
}

#[test]
fn of_very_many_conflicts_that_ended_the_newest_are_told() {
    let [mut one, mut two] = disputed();
    set_many(&mut one, 3, 100, 1);
    set_many(&mut two, 4, 100, 2);
    one.resolve(5, "A");
    one.pull(&two);
    set_many(&mut one, 6, 100, 3);
    let closings = one.document().closings(entries()).unwrap();
    assert_eq!(closings.ended.len(), CLOSINGS_MAX);
    assert!(closings.ended.iter().all(|it| it.at == at(6)));
    assert_eq!(closings.left_out, one.changes.len(), "of the last change itself not all is told");
}

#[test]
fn only_so_many_fields_are_looked_up_for_what_ended() {
    for (count, found) in [(CLOSINGS_FIELDS_MAX - 1, 1), (CLOSINGS_FIELDS_MAX, 0)] {
        let [mut one, mut two] = disputed();
        one.resolve(3, "A");
        two.pull(&one);
        // Both write the same, so that nothing competes.
        set_many(&mut one, 4, count, 1);
        set_many(&mut two, 5, count, 1);
        one.pull(&two);
        set_many(&mut one, 6, count, 2);
        let closings = one.document().closings(entries()).unwrap();
        assert_eq!(closings.ended.len(), found, "{count}");
        assert_eq!(closings.left_out > 0, found == 0, "{count}");
    }
}

#[test]
fn in_a_record_of_very_many_changes_no_deletion_is_looked_at() {
    for (more, found) in [(0, 1), (CLOSINGS_LOOK_MAX, 0)] {
        let [mut one, _] = crew();
        let mut inner = one.document().inner().clone();
        for number in 0..more {
            let write = |it: &mut automerge::transaction::Transaction<'_>| {
                it.put(ROOT, "notes", number.to_string())
            };
            inner.transact::<_, _, AutomergeError>(write).unwrap();
        }
        let mut document = Document::of(one.id, inner);
        let mut aside = document.clone();
        let edits = [Edit::set(OIL, 95.0)];
        let edit = aside.edit(entries(), actor(device(2), Epoch(1)), at(2), &edits).unwrap();
        document.delete(one.actor(), at(1), user(1), None).unwrap();
        let changes = document.inner().get_changes(&[]);
        one.changes = changes.iter().map(|it| (it.hash().0, it.raw_bytes().to_vec())).collect();
        one.changes.insert([0; 32], edit.unwrap());
        let mut document = one.document();
        assert!(document.restore(one.actor(), at(3)).unwrap().is_some());
        let closings = document.closings(entries()).unwrap();
        assert_eq!(closings.ended.len(), found);
        assert_eq!(closings.left_out > 0, more > 0);
    }
}
