//! Goal: nothing is removed, and nothing taken into the log, of a file that was left of a segment
//! unless it is known to be in the one that took its place.
//! Method: a crash leaves files of segments that became one, a bit flips in that, and files are
//! put beside it that another history or a failing disk left.

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{Entry, Fate, Kept, Past, Place};

use super::formats;
use super::merge::{commands, half_removed, keep, logs, name};
use super::open;

/// What lay in a home that went on from an earlier copy: opened for so many entries each time.
fn other_history(files: &MemoryFiles, opens: &[u64]) -> MemoryFiles {
    let same = MemoryFiles::new();
    same.place("store", files.contents()["store"].clone());
    for count in opens {
        let store = open(&same, &MemoryRows::new());
        let content = opens.iter().sum::<u64>() as u8;
        let entries = (0..*count).map(|_| Entry { kind: 1, bytes: vec![content; 50] });
        store.append(entries.collect()).unwrap();
        store.close().unwrap();
    }
    same
}

/// Flips a bit in the only block of a segment of several.
fn damage(files: &MemoryFiles, number: u64) {
    let mut bytes = files.contents()[&name(number)].clone();
    bytes[4_300] ^= 1;
    files.place(&name(number), bytes);
}

#[test]
fn every_open_says_that_entries_came_back_until_somebody_has_looked() {
    let (files, _) = half_removed(&[1, 2, 3]);
    damage(&files, 4);
    for _ in 0..2 {
        let store = open(&files, &MemoryRows::new());
        assert!(store.has_returned());
        assert_eq!(logs(&files), [name(4)]);
    }
    let store = open(&files, &MemoryRows::new());
    store.settle_returned().unwrap();
    assert!(!store.has_returned());
    drop(store);
    let store = open(&files, &MemoryRows::new());
    assert!(!store.has_returned());
    store.look_again().unwrap();
    assert!(!store.has_returned(), "nothing has come back so far");
    drop(store);
    assert!(open(&files, &MemoryRows::new()).has_returned());
}

#[test]
fn a_leftover_that_cannot_be_compared_stays_while_what_it_had_is_damaged() {
    let (source, written) = half_removed(&[1, 2, 3]);
    damage(&source, 4);
    let whole = source.contents()[&name(2)].clone();
    for is_unread in [true, false] {
        let files = source.fork();
        match is_unread {
            true => [0, 4_096].into_iter().for_each(|at| files.lose_sector(&name(2), at)),
            false => files.place(&name(2), vec![7; 9_000]),
        }
        for _ in 0..2 {
            let store = open(&files, &MemoryRows::new());
            assert_eq!(store.kept_leftovers(), [(name(2), Kept::Needed)].into());
            assert_eq!(logs(&files), [name(2), name(4)]);
            assert!(store.read(Place(0)).is_ok() && store.read(Place(3)).is_err());
        }
        // The disk gives it again.
        let again = MemoryFiles::new();
        files.contents().into_iter().for_each(|(name, content)| again.place(&name, content));
        again.place(&name(2), whole.clone());
        let store = open(&again, &MemoryRows::new());
        assert!(store.kept_leftovers().is_empty());
        for (place, entry) in written.range(..Place(9)) {
            assert_eq!(*store.read(*place).unwrap(), *entry, "{place}");
        }
    }
}

#[test]
fn nothing_is_mended_from_leftovers_that_say_different_things_or_too_much() {
    // Which segments it was made of was not kept then.
    let files = formats::files("log-4.zst");
    damage(&files, 3);
    for (number, opens) in [(1, &[3][..]), (2, &[1, 3])] {
        let other = other_history(&files, opens);
        files.place(&name(number), other.contents()[&name(number)].clone());
    }
    let store = open(&files, &MemoryRows::new());
    let disputed = [1, 2].map(|number| (name(number), Kept::Other));
    assert_eq!(store.kept_leftovers(), disputed.into());
    assert!((0..9).all(|place| store.read(Place(place)).is_err()));
    drop(store);
    // One that has entries of a segment which does not say to have taken it over.
    let (files, _) = commands(6);
    let store = open(&files, &MemoryRows::new());
    store.merge(&[1, 2, 3, 4], keep).unwrap();
    store.merge(&[5, 6], keep).unwrap();
    store.close().unwrap();
    [4, 6].into_iter().for_each(|number| damage(&files, number));
    let other = other_history(&files, &[18]);
    files.place(&name(1), other.contents()[&name(1)].clone());
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.kept_leftovers(), [(name(1), Kept::Other)].into());
    assert!((0..18).all(|place| store.read(Place(place)).is_err()));
}

/// Puts beside them what a copy of the home recorded under this number, in as many places.
fn put_of_a_copy(files: &MemoryFiles, number: u64) {
    let other = other_history(files, &[3, 3, 3]);
    files.place(&name(number), other.contents()[&name(number)].clone());
}

#[test]
fn what_a_copy_of_the_home_recorded_stays_where_all_its_places_were_dropped_here() {
    let (files, _) = commands(4);
    let before = files.contents();
    let store = open(&files, &MemoryRows::new());
    store.merge(&[1, 2, 3, 4], |place, _| (3..6).contains(&place.0)).unwrap();
    drop(store);
    let crashed = files.fork();
    put_of_a_copy(&files, 2);
    let assert_kept = |last: u64| {
        let store = open(&files, &MemoryRows::new());
        assert_eq!(store.kept_leftovers(), [(name(2), Kept::Other)].into());
        assert_eq!(logs(&files), [name(2), name(last)]);
        store
    };
    assert_kept(4);
    let store = assert_kept(4);
    store.rewrite(4, Past::Named, |_, _| Fate::Keep).unwrap();
    drop(store);
    let store = assert_kept(4);
    store.append(vec![Entry { kind: 1, bytes: vec![1; 40] }]).unwrap();
    store.rotate(0);
    store.merge(&[4, 5], keep).unwrap();
    drop(store);
    assert_kept(5);
    // The one that was taken over goes, whatever was dropped of it.
    crashed.place(&name(2), before[&name(2)].clone());
    let store = open(&crashed, &MemoryRows::new());
    assert!(store.kept_leftovers().is_empty());
    assert_eq!(logs(&crashed), [name(4)]);
}

#[test]
fn nothing_that_a_copy_of_the_home_recorded_comes_in_the_place_of_what_is_damaged() {
    let (files, _) = half_removed(&[]);
    damage(&files, 4);
    put_of_a_copy(&files, 2);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.kept_leftovers(), [(name(2), Kept::Other)].into());
    assert!((0..12).all(|place| store.read(Place(place)).is_err()));
    drop(store);
    // Beside it, the one that was taken over mends its own.
    let (files, written) = half_removed(&[1, 3]);
    damage(&files, 4);
    put_of_a_copy(&files, 2);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.kept_leftovers(), [(name(2), Kept::Other)].into());
    for (place, entry) in written.range(..Place(9)) {
        let read = store.read(*place).map(|entry| (*entry).clone()).ok();
        assert_eq!(read, Some(entry.clone()).filter(|_| !(3..6).contains(&place.0)), "{place}");
    }
}

#[test]
fn a_file_that_holds_nothing_else_goes_whoever_wrote_it() {
    let (files, written) = commands(4);
    let copy = files.fork();
    let store = open(&copy, &MemoryRows::new());
    store.rewrite(2, Past::Named, |_, _| Fate::Keep).unwrap();
    drop(store);
    let store = open(&files, &MemoryRows::new());
    store.merge(&[1, 2, 3, 4], keep).unwrap();
    drop(store);
    files.place(&name(2), copy.contents()[&name(2)].clone());
    let store = open(&files, &MemoryRows::new());
    assert!(store.kept_leftovers().is_empty());
    assert_eq!(logs(&files), [name(4)]);
    assert!(written.iter().all(|(place, entry)| *store.read(*place).unwrap() == *entry));
}
