//! What was written side by side without contradiction, and what each author had seen.

use super::*;
use crate::{FieldConflict, Sight};

const GAS: &str = "data.gasVolume";

impl Replica {
    fn parallel(&self) -> Option<FieldConflict> {
        let conflicts = self.document().conflicts(entries()).unwrap();
        conflicts.into_iter().find(|one| one.kind == ConflictKind::MergedAutomatically)
    }
}

#[test]
fn edits_of_different_fields_are_told_with_what_each_wrote_until_somebody_writes_on_top() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, GAS, 7);
    two.set(3, "notes", "valve replaced");
    assert_eq!(one.parallel(), None);
    let mut both = [one, two];
    meet(&mut both);
    let [mut one, two] = both;
    let told = one.parallel().unwrap();
    assert_eq!(two.parallel(), Some(told.clone()));
    assert!(!told.is_open());
    assert!(told.take("A").is_err(), "there is nothing to choose");
    let written = |side: &crate::ConflictValue| -> Vec<String> {
        side.edits.iter().map(|(key, value)| format!("{key}={}", value.to_cell())).collect()
    };
    assert_eq!(written(&told.values[0]), [format!("{OIL}=90")]);
    assert_eq!(written(&told.values[1]), [format!("{GAS}=7"), "notes=valve replaced".into()]);
    assert_eq!(one.open_conflicts(), []);
    one.set(4, OIL, 91);
    assert_eq!(one.parallel(), None);
}

#[test]
fn the_same_field_twice_is_a_conflict_and_nothing_else() {
    let [mut one, mut two] = crew();
    one.set(1, OIL, 90.0);
    two.set(2, OIL, 95.0);
    one.pull(&two);
    assert_eq!(one.parallel(), None);
    two.set(3, GAS, 7);
    one.pull(&two);
    assert!(one.parallel().is_some(), "the gas was written beside the oil");
    assert_eq!(one.open_conflicts(), [(ConflictKind::Field, OIL.to_owned())]);
}

#[test]
fn every_replica_tells_alike_what_each_author_had_seen() {
    let [mut one, mut two, mut three] = crew();
    two.set(1, GAS, 7);
    two.set(2, OIL, 95.0);
    three.pull(&two);
    three.set(3, "notes", "seen");
    one.set(4, OIL, 90.0);
    let mut all = [one, two, three];
    meet(&mut all);
    for replica in &all {
        let document = replica.document();
        let conflict = document.conflicts(entries()).unwrap().remove(0);
        let sides: Vec<_> = conflict.values.iter().map(|side| side.hash).collect();
        let sights = document.sights(&sides).unwrap();
        // The first wrote 95 before the notes, which build on it; the second saw none of these.
        let alone = Sight { sides: Vec::new(), unseen: 1, unseen_last: Some(at(4)) };
        let behind = Sight { sides: Vec::new(), unseen: 3, unseen_last: Some(at(3)) };
        assert_eq!(sights, [alone, behind]);
    }
    let [one, ..] = &all;
    let document = one.document();
    let history = document.history(entries()).unwrap();
    let hashes: Vec<_> = history.iter().map(|it| it.hash).collect();
    let sights = document.sights(&hashes[..3]).unwrap();
    assert_eq!(sights[2].sides, [0, 1], "who edits later has seen what was there");
    assert_eq!(sights[0].sides, [0; 0]);
}
