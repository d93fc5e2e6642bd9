//! Concurrent edits: what is shown, what waits for a person, and how it is settled.

use super::*;

#[test]
fn different_fields_merge_by_themselves() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, "data.runtime", 12);
    one.pull(&two);
    assert_eq!(one.field(OIL), Some(Value::Int(90)));
    assert_eq!(one.field("data.runtime"), Some(Value::Int(12)));
    assert_eq!(one.open_conflicts(), []);
}

#[test]
fn a_measured_value_shows_the_latest_and_waits_for_a_person() {
    let [mut one, mut two] = crew();
    // The later one is made by the device whose value Automerge itself would not choose.
    for (early, late) in [(1, 2), (2, 1)] {
        one.set(early, OIL, 90.0);
        two.set(late, OIL, 95.0);
        let mut both = [one.clone(), two.clone()];
        meet(&mut both);
        let latest = if early < late { 95 } else { 90 };
        for replica in &both {
            assert_eq!(replica.field(OIL), Some(Value::Int(latest)));
            assert_eq!(replica.open_conflicts(), [(ConflictKind::Field, OIL.to_owned())]);
        }
        let [ours, theirs] = both.map(|replica| replica.document().conflicts(entries()).unwrap());
        assert_eq!(ours, theirs, "every replica has the same inbox");
        let values: Vec<_> =
            ours[0].values.iter().map(|one| (one.label.as_str(), one.at)).collect();
        assert_eq!(values, [("A", at(1)), ("B", at(2))]);
        assert_eq!(ours[0].shown, "B");
        [one, two] = crew();
    }
}

#[test]
fn equal_values_are_no_conflict() {
    let [mut one, mut two, mut three] = crew();
    one.set(1, OIL, 90);
    two.set(2, OIL, Value::Float(90.0));
    three.set(3, OIL, 91);
    one.pull(&two);
    assert_eq!(one.open_conflicts(), []);
    one.pull(&three);
    let conflict = one.document().conflicts(entries()).unwrap().remove(0);
    assert_eq!(conflict.values.len(), 2, "three writes, two distinct values");
}

#[test]
fn latest_settles_by_itself_within_a_day_and_asks_beyond() {
    for (hours, kind) in [(24, ConflictKind::SettledAutomatically), (26, ConflictKind::Field)] {
        let [mut one, mut two] = crew();
        one.set(1, "priority", "CRITICAL");
        two.set(1 + hours, "priority", "LOW");
        one.pull(&two);
        assert_eq!(one.field("priority"), Some("LOW".into()));
        assert_eq!(one.open_conflicts(), [(kind, "priority".to_owned())]);
        let view = one.document().view(entries()).unwrap();
        assert_eq!(view.contested.is_empty(), kind == ConflictKind::SettledAutomatically);
    }
}

#[test]
fn clearing_competes_with_setting() {
    let [mut one, mut two] = crew();
    one.edit(1, &[Edit::clear(OIL)]);
    two.set(2, OIL, 95);
    one.pull(&two);
    let conflict = one.document().conflicts(entries()).unwrap().remove(0);
    assert_eq!(conflict.values[0].value, Value::Null);
    one.resolve(3, "A");
    assert_eq!(one.field(OIL), None);
    assert_eq!(one.open_conflicts(), []);
}

#[test]
fn notes_merge_by_character() {
    let [mut one, mut two] = crew();
    one.set(1, "notes", "the pump ran smoothly");
    two.set(2, "notes", "pump ran smoothly all day");
    one.pull(&two);
    assert_eq!(one.field("notes"), Some("the pump ran smoothly all day".into()));
    assert_eq!(one.open_conflicts(), []);
}

#[test]
fn notes_begun_on_two_devices_are_both_kept() {
    let mut fields = production();
    fields.remove("notes");
    let [mut one, mut two] = crew_with(&fields);
    one.set(1, "notes", "valve replaced");
    two.set(2, "notes", "leak at the flange");
    one.pull(&two);
    let conflict = one.document().conflicts(entries()).unwrap().remove(0);
    assert_eq!(conflict.kind, ConflictKind::Field);
    let values: Vec<_> = conflict.values.iter().map(|one| one.value.clone()).collect();
    assert_eq!(values, ["valve replaced".into(), "leak at the flange".into()]);
    one.set(3, "notes", "valve replaced; leak at the flange");
    assert_eq!(one.open_conflicts(), []);
    assert_eq!(one.field("notes"), Some("valve replaced; leak at the flange".into()));
}

#[test]
fn lists_merge_by_item_and_competing_lists_lose_none() {
    let [mut one, mut two] = crew();
    let append = |key: &str, item: &str| Edit::Append { key: key.to_owned(), item: item.into() };
    one.edit(1, &[append("photos", "/upload/3"), append("data.workPerformed", "oiled")]);
    two.edit(2, &[append("photos", "/upload/4"), append("data.workPerformed", "cleaned")]);
    one.pull(&two);
    let Some(Value::List(photos)) = one.field("photos") else { panic!("photos are a list") };
    assert_eq!(photos.len(), 4);
    assert_eq!(one.open_conflicts(), [(ConflictKind::Field, "data.workPerformed".to_owned())]);
    one.edit(3, &[append("data.workPerformed", "painted")]);
    let Some(Value::List(mut work)) = one.field("data.workPerformed") else {
        panic!("work is a list")
    };
    work.sort_by(Value::order);
    assert_eq!(Value::List(work), vec!["cleaned", "oiled", "painted"].into());
    assert_eq!(one.open_conflicts(), []);
}

#[test]
fn taking_either_value_leaves_one() {
    for label in ["a", "B"] {
        let [mut one, mut two] = crew();
        one.set(1, OIL, 90);
        two.set(2, OIL, 95);
        one.pull(&two);
        one.resolve(3, label);
        let expected = if label == "a" { 90 } else { 95 };
        assert_eq!(one.field(OIL), Some(Value::Int(expected)));
        assert_eq!(one.open_conflicts(), []);
    }
}

#[test]
fn two_people_who_resolve_alike_agree_and_differently_conflict_anew() {
    let [mut one, mut two, mut three] = crew();
    one.set(1, OIL, 90);
    two.set(2, OIL, 95);
    let mut crew = [one, two, three.clone()];
    meet(&mut crew);
    [one, two, three] = crew;
    let first_id = one.document().conflicts(entries()).unwrap().remove(0).id;
    one.resolve(3, "A");
    two.resolve(4, "A");
    three.resolve(5, "B");
    let mut alike = one.clone();
    alike.pull(&two);
    assert_eq!(alike.open_conflicts(), []);
    assert_eq!(alike.field(OIL), Some(Value::Int(90)));
    // Whichever of the values Automerge prefers, both choices are seen.
    one.pull(&three);
    let conflict = one.document().conflicts(entries()).unwrap().remove(0);
    assert_eq!(conflict.values.len(), 2);
    assert_ne!(conflict.id, first_id);
}

#[test]
fn a_late_edit_does_not_resurrect_a_record_and_is_shown() {
    let [mut one, mut two] = crew();
    two.set(1, OIL, 95);
    one.delete(2);
    assert_eq!(one.open_conflicts(), []);
    assert!(!one.delete(3), "deleting twice changes nothing");
    one.pull(&two);
    let view = one.document().view(entries()).unwrap();
    assert_eq!(view.deleted.map(|deletion| (deletion.at, deletion.by)), Some((at(2), user(1))));
    let conflict = one.document().conflicts(entries()).unwrap().remove(0);
    assert_eq!(conflict.kind, ConflictKind::DeletedAndEdited);
    assert_eq!(conflict.values[0].value, at(2).into());
    assert_eq!(conflict.values[1].edits, Fields::from([(OIL.to_owned(), Value::Int(95))]));

    let mut restored = one.clone();
    restored.resolve(3, "B");
    assert_eq!(restored.document().view(entries()).unwrap().deleted, None);
    assert_eq!(restored.field(OIL), Some(Value::Int(95)));
    assert_eq!(restored.open_conflicts(), []);

    one.resolve(3, "A");
    assert!(one.document().view(entries()).unwrap().deleted.is_some());
    assert_eq!(one.open_conflicts(), []);
}

#[test]
fn an_edit_that_one_of_two_who_deleted_had_seen_does_not_wait() {
    let [mut one, mut two, mut three] = crew();
    three.set(1, OIL, 95);
    one.delete(2);
    two.pull(&three);
    two.delete(3);
    one.pull(&two);
    assert_eq!(one.open_conflicts(), []);
    assert!(one.restore(4));
    assert_eq!(one.document().view(entries()).unwrap().deleted, None);
}

#[test]
fn a_concurrent_tombstone_outlives_a_restore() {
    let [mut one, mut two] = crew();
    one.delete(1);
    two.pull(&one);
    one.restore(2);
    two.set(2, "notes", "still here");
    two.restore(2);
    two.delete(3);
    one.pull(&two);
    assert!(one.document().view(entries()).unwrap().deleted.is_some());
}

#[test]
fn what_is_fixed_at_creation_stays_whatever_is_written_later() {
    let [mut one] = crew();
    one.set(1, "wellId", "00000000-0000-0000-0000-000000000001");
    one.set(2, "entryType", "INSPECTION");
    let view = one.document().view(entries()).unwrap();
    assert_eq!(view.fields["wellId"], production()["wellId"]);
    assert_eq!(view.fields["entryType"], "PRODUCTION".into());
    assert_eq!(view.ignored, ["entryType", "wellId"]);
    assert_eq!(one.open_conflicts(), []);
}
