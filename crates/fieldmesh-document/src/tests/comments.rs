//! What people say about an item travels with the record and is no edit of it.

use super::*;

impl Replica {
    fn say(&mut self, hours: i64, item: &uuid::Uuid, text: &str) {
        let mut document = self.document();
        let change = document.comment(self.actor(), at(hours), item, text).unwrap();
        assert!(self.keep(change), "a comment is a change");
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
