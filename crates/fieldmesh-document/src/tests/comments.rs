//! What people say about an item travels with the record and is no edit of it.

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, AutomergeError, ROOT, ReadDoc};

use super::*;
use crate::COMMENTS_MAX;

impl Replica {
    fn say(&mut self, hours: i64, item: &uuid::Uuid, text: &str) {
        let mut document = self.document();
        let change = document.comment(self.actor(), at(hours), item, text).unwrap();
        assert!(self.keep(change), "a comment is a change");
    }

    /// The document as Automerge has it, for what no honest device would write.
    fn automerge(&self) -> Automerge {
        self.document().inner().clone()
    }

    fn said(&self) -> Vec<String> {
        self.document().comments().unwrap().into_iter().map(|one| one.text).collect()
    }
}

#[test]
fn what_two_people_say_at_once_is_read_on_both_devices_and_changes_nothing() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    two.set(3, "data.gasVolume", 7);
    let mut both = [one, two];
    meet(&mut both);
    let [mut one, mut two] = both;
    let before = one.document();
    let conflicts = before.conflicts(entries()).unwrap();
    assert_eq!(conflicts.len(), 2, "one that is open and one that merged");
    one.say(5, &conflicts[0].id, "the gauge was read twice");
    two.say(6, &conflicts[0].id, "no, it was replaced");
    two.say(7, &conflicts[1].id, "fine");
    let mut both = [one, two];
    meet(&mut both);
    for replica in &both {
        assert_eq!(replica.said(), ["the gauge was read twice", "no, it was replaced", "fine"]);
        let document = replica.document();
        assert_eq!(document.conflicts(entries()).unwrap(), conflicts);
        assert_eq!(document.view(entries()).unwrap(), before.view(entries()).unwrap());
        assert_eq!(document.closings(entries()).unwrap().ended, []);
    }
    let [mut one, _] = both;
    one.set(8, OIL, 91);
    assert_eq!(one.document().view(entries()).unwrap().updated_at, at(8));
    assert_eq!(one.said().len(), 3, "what was said stays");
}

#[test]
fn nobody_reopens_a_deletion_by_saying_something() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    one.pull(&two);
    let item = one.document().conflicts(entries()).unwrap().remove(0).id;
    two.pull(&one);
    one.delete(3);
    two.say(4, &item, "wait");
    one.pull(&two);
    assert!(one.open_conflicts().iter().all(|(kind, _)| *kind != ConflictKind::DeletedAndEdited));
    assert_eq!(one.said(), ["wait"]);
}

#[test]
fn an_edit_that_also_says_something_is_an_edit() {
    let [mut one, _] = crew();
    let mut document = one.document();
    let item = uuid::Uuid::from_bytes([7; 16]);
    let key = crate::keys::comment(&item, "0123456789abcdef");
    let change = document.change(one.actor(), at(5), |transaction| {
        crate::edit::say(transaction, &key, "so".into())?;
        crate::edit::write(transaction, entries(), &[0; 16], &Edit::set(OIL, 91))
    });
    assert!(one.keep(change.unwrap()));
    assert_eq!(one.document().view(entries()).unwrap().updated_at, at(5));
}

fn put(inner: &mut Automerge, key: &str, value: &str) {
    inner.transact::<_, _, AutomergeError>(|it| it.put(ROOT, key, value)).unwrap();
}

fn forked(inner: &Automerge, number: u8) -> Automerge {
    let mut fork = inner.fork();
    fork.set_actor(ActorId::from([number; 16]));
    fork
}

fn comment_key(number: usize) -> String {
    crate::keys::comment(&uuid::Uuid::from_bytes([7; 16]), &format!("{number:016x}"))
}

#[test]
fn strands_on_a_long_trunk_are_found_beside_a_comment() {
    let [one] = crew();
    let mut trunk = one.automerge();
    for number in 0..600 {
        put(&mut trunk, "notes", &number.to_string());
    }
    let mut all = trunk.clone();
    for number in 1..=127 {
        let mut fork = forked(&trunk, number);
        put(&mut fork, &format!("data.new{number}"), "so");
        all.merge(&mut fork).unwrap();
    }
    let heads: Vec<_> = all.get_heads().into_iter().map(|head| head.0).collect();
    put(&mut all, &comment_key(0), "all of these?");
    let document = Document::of(one.id, all);
    let strands = document.strands(&document.metas());
    assert_eq!((strands.len(), strands), (127, heads));
}

#[test]
fn comments_that_build_on_each_other_by_many_ways_are_walked_once() {
    let [one] = crew();
    let mut left = one.automerge();
    put(&mut left, "notes", "checked");
    let end = left.get_heads()[0].0;
    left = forked(&left, 1);
    let mut right = forked(&left, 2);
    // Every pair of them doubles the ways down to the edit.
    for number in 0..64 {
        put(&mut left, &comment_key(2 * number), "left");
        put(&mut right, &comment_key(2 * number + 1), "right");
        let mut before = left.clone();
        left.merge(&mut right).unwrap();
        right.merge(&mut before).unwrap();
    }
    put(&mut left, &comment_key(1_000), "left");
    put(&mut right, &comment_key(1_001), "right");
    left.merge(&mut right).unwrap();
    let document = Document::of(one.id, left);
    assert_eq!(document.strands(&document.metas()), [end]);
}

#[test]
fn an_edit_below_another_is_no_strand_of_its_own() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    let item = uuid::Uuid::from_bytes([7; 16]);
    two.pull(&one);
    one.say(2, &item, "early");
    two.set(3, "notes", "checked");
    one.pull(&two);
    let document = one.document();
    assert_eq!(document.heads().len(), 2);
    assert_eq!(document.strands(&document.metas()).len(), 1);
}

#[test]
fn what_is_no_comment_takes_no_room_from_those_that_are() {
    let [mut one] = crew();
    one.say(1, &uuid::Uuid::from_bytes([7; 16]), "the gauge was read twice");
    let mut inner = one.automerge();
    let garbage = |it: &mut automerge::transaction::Transaction<'_>| {
        (0..2 * COMMENTS_MAX).try_for_each(|number| {
            it.put(ROOT, format!("_comment.0.{number:04}"), "so")?;
            it.put(ROOT, comment_key(number).replace("0707", "0000"), 7)
        })
    };
    inner.transact::<_, _, AutomergeError>(garbage).unwrap();
    let comments = Document::of(one.id, inner).comments().unwrap();
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].text, "the gauge was read twice");
}

#[test]
fn what_is_put_over_a_comment_or_takes_it_away_hides_nothing_and_is_no_edit() {
    let [mut one] = crew();
    let item = uuid::Uuid::from_bytes([7; 16]);
    one.say(1, &item, "first");
    one.say(2, &item, "second");
    let before = one.document().view(entries()).unwrap();
    let mut inner = forked(&one.automerge(), 9);
    let taken: Vec<_> = inner.keys(ROOT).filter(|key| key.starts_with("_comment.")).collect();
    put(&mut inner, &taken[0], "never said");
    inner.transact::<_, _, AutomergeError>(|it| it.delete(ROOT, taken[1].as_str())).unwrap();
    let document = Document::of(one.id, inner);
    let said: Vec<_> = document.comments().unwrap().into_iter().map(|one| one.text).collect();
    assert_eq!(said, ["first", "second"]);
    assert_eq!(document.view(entries()).unwrap(), before);
}
