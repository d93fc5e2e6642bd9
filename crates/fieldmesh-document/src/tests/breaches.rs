//! What a merged record breaks of its collection's rules: by field, the same everywhere, until the
//! record keeps the rule.

use super::*;
use crate::Breach;

const RUNTIME: &str = "data.runtime";

impl Replica {
    fn breaches(&self) -> Vec<Breach> {
        let document = self.document();
        document.breaches(entries(), &document.view(entries()).unwrap()).unwrap()
    }

    fn broken(&self) -> Vec<(String, usize)> {
        self.breaches().into_iter().map(|it| (it.key, it.faults.len())).collect()
    }
}

#[test]
fn what_was_written_by_the_rules_breaks_none() {
    let [mut one, mut two] = crew();
    assert_eq!(one.breaches(), []);
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    one.pull(&two);
    assert_eq!(one.breaches(), [], "two good values are a conflict and no breach");
}

#[test]
fn a_merge_that_breaks_a_rule_is_listed_alike_in_every_order_until_it_is_mended() {
    let mut fields = production();
    fields.insert("latitude".to_owned(), Value::Float(31.9));
    fields.insert("longitude".to_owned(), Value::Float(-102.1));
    let [mut one, mut two] = crew_with(&fields);
    // Each of them keeps the rule that both coordinates are given or none.
    one.edit(1, &[Edit::clear("latitude"), Edit::clear("longitude")]);
    two.set(2, "longitude", -102.2);
    let mut both = [one, two];
    meet(&mut both);
    for replica in &both {
        assert_eq!(replica.broken(), [("latitude".to_owned(), 1)]);
    }
    let [one, two] = &both;
    assert_eq!(one.breaches(), two.breaches());
    let backwards: Vec<_> = one.changes.values().rev().map(Vec::as_slice).collect();
    let backwards = Document::load(one.id, backwards).unwrap();
    let view = backwards.view(entries()).unwrap();
    assert_eq!(backwards.breaches(entries(), &view).unwrap(), one.breaches());
    let [mut one, mut two] = both;
    // An edit of something else keeps the item, and so does one that nobody else knows of.
    let before = one.breaches();
    one.set(3, OIL, 91);
    assert_eq!(one.breaches(), before);
    two.set(4, "latitude", 31.8);
    assert_eq!(two.breaches(), []);
    one.pull(&two);
    assert_eq!(one.breaches(), []);
}

#[test]
fn each_field_is_an_item_of_its_own_and_mending_one_leaves_the_others() {
    let mut fields = production();
    fields.insert(RUNTIME.to_owned(), Value::Int(25));
    fields.insert(OIL.to_owned(), Value::Int(-1));
    fields.insert("latitude".to_owned(), Value::Float(31.9));
    let [mut one] = crew_with(&fields);
    let broken = one.breaches();
    let keys: Vec<_> = broken.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, [OIL, RUNTIME, "longitude"]);
    assert_eq!(broken[0].values[0].value, Value::Int(-1));
    assert_eq!(broken[2].values, [], "a missing value nobody wrote");
    // A document of one change reads as the same one that Automerge has loaded.
    let bytes: Vec<u8> = one.changes.values().flatten().copied().collect();
    let loaded = Document::load_all(one.id, &bytes).unwrap();
    let view = loaded.view(entries()).unwrap();
    assert_eq!(loaded.breaches(entries(), &view).unwrap(), broken);
    one.set(1, RUNTIME, 24);
    assert_eq!(one.breaches(), [broken[0].clone(), broken[2].clone()]);
    // An edit that keeps the fault is another one to look at.
    one.set(2, OIL, -2);
    let again = one.breaches();
    assert_ne!(again[0].id, broken[0].id);
    assert_eq!(again[1], broken[2]);
    one.delete(3);
    assert_eq!(one.breaches(), [], "nobody mends what is deleted");
    one.restore(4);
    assert_eq!(one.breaches(), again);
}

#[test]
fn a_reference_is_left_to_those_who_have_the_other_records() {
    let mut fields = production();
    fields.insert("wellId".to_owned(), "well 7".into());
    let [one] = crew_with(&fields);
    assert_eq!(one.breaches(), []);
    fields.remove("wellId");
    let [one] = crew_with(&fields);
    assert_eq!(one.broken(), [("wellId".to_owned(), 1)]);
}

#[test]
fn any_number_of_unknown_fields_is_bounded_work() {
    let mut fields = production();
    for number in 0..500 {
        fields.insert(format!("oddity{number}"), Value::Int(number));
    }
    let [one] = crew_with(&fields);
    let broken = one.broken();
    assert_eq!(broken.len(), 17, "{broken:?}");
    assert_eq!(broken[0], (String::new(), 1));
}

#[test]
fn a_breach_is_told_from_a_conflict_by_its_id() {
    let mut fields = production();
    fields.insert(RUNTIME.to_owned(), Value::Int(25));
    let [mut one, mut two] = crew_with(&fields);
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    one.pull(&two);
    assert!(crate::is_breach_id(&one.breaches()[0].id));
    assert!(!crate::is_breach_id(&one.document().conflicts(entries()).unwrap()[0].id));
}
