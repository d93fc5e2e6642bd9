//! A view in sled that is written anew: smaller, the same rows, and there after a crash at any
//! point.

use std::fs;
use std::path::Path;

use fieldmesh_store::view::is_wasteful;
use fieldmesh_store::{Direction, Entry, KeyRange, Options, Store, Tree, ViewCondition, WriteSet};

use super::{Dice, key};

fn open(folder: &Path) -> Store {
    let options = Options { reserve_bytes: 0, ..Options::default() };
    Store::open(folder, &key(), &options).unwrap()
}

/// A store whose rows were written again and again.
fn worn(folder: &Path) -> Store {
    let store = open(folder);
    let mut dice = Dice(1);
    for round in 0..30_u8 {
        let place = store.append(vec![Entry { kind: 1, bytes: vec![round] }]).unwrap()[0];
        let mut set = WriteSet::new();
        for _ in 0..2_500 {
            let value: Vec<u8> = (0..40).map(|_| dice.below(256) as u8).collect();
            set.put(Tree::Document, dice.below(20_000).to_be_bytes(), value);
        }
        set.put(Tree::Document, b"large", vec![round; 9_000]);
        set.set_applied(place);
        store.view().apply(set).unwrap();
    }
    store
}

fn rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = KeyRange::all();
    store.view().scan(Tree::Document, &all, Direction::Ascending, usize::MAX).unwrap()
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.path().is_dir() {
        true => size(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

#[test]
fn a_worn_view_is_much_smaller_when_it_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = worn(folder.path());
    let before = (rows(&store), store.view().applied().unwrap());
    let worn_size = size(&folder.path().join("view"));
    store.compact_view().unwrap();
    assert!((rows(&store), store.view().applied().unwrap()) == before);
    store.view().verify().unwrap();
    let fresh_size = size(&folder.path().join("view"));
    assert!(fresh_size * 2 < worn_size, "{worn_size} bytes before, {fresh_size} after");
    assert!(!folder.path().join("view.new").exists() && !folder.path().join("view.old").exists());

    store.close().unwrap();
    let store = open(folder.path());
    assert_eq!(store.report().view, ViewCondition::Kept);
    assert!(rows(&store) == before.0);
    assert!(!store.compact_wasteful_view().unwrap());
}

/// Of 5 MiB that do not get smaller.
#[test]
fn a_view_that_is_written_anew_takes_little_more_than_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut dice = Dice(2);
    let mut content = 0;
    for round in 0..5_u8 {
        let place = store.append(vec![Entry { kind: 1, bytes: vec![round] }]).unwrap()[0];
        let mut set = WriteSet::new();
        for _ in 0..2_000 {
            let value: Vec<u8> = (0..500).map(|_| dice.below(256) as u8).collect();
            content += value.len() as u64;
            set.put(Tree::Document, dice.below(u64::MAX).to_be_bytes(), value);
        }
        set.set_applied(place);
        store.view().apply(set).unwrap();
    }
    store.compact_view().unwrap();
    let disk = size(&folder.path().join("view"));
    assert!(disk < content * 5 / 4, "{disk} bytes for {content}");
    store.view().verify().unwrap();
}

#[test]
fn a_crash_while_a_view_takes_the_place_of_another_loses_neither_rows_nor_room() {
    let folder = tempfile::tempdir().unwrap();
    let [view, fresh, old] = ["view", "view.new", "view.old"].map(|name| folder.path().join(name));
    let store = worn(folder.path());
    let expected = rows(&store);
    store.close().unwrap();
    let steps: [&dyn Fn(); 4] = [
        // Written in part.
        &|| fs::create_dir(&fresh).unwrap(),
        // The old one is out of the way, the new one not in its place.
        &|| {
            fs::create_dir(&fresh).unwrap();
            fs::rename(&view, &old).unwrap();
        },
        &|| fs::rename(&view, &old).unwrap(),
        // The new one is in its place, the old one is still there in part.
        &|| fs::create_dir(&old).unwrap(),
    ];
    for (number, step) in steps.iter().enumerate() {
        step();
        let store = open(folder.path());
        assert_eq!(store.report().view, ViewCondition::Kept, "step {number}");
        assert!(rows(&store) == expected, "step {number}");
        store.close().unwrap();
        assert!(!fresh.exists() && !old.exists(), "step {number}");
    }
}

#[test]
fn a_view_is_written_anew_for_what_it_wastes_and_not_for_its_size() {
    const MIB: u64 = 1024 * 1024;
    assert!(!is_wasteful(0, 0));
    assert!(!is_wasteful(7 * MIB, 1));
    assert!(is_wasteful(9 * MIB, MIB));
    assert!(!is_wasteful(900 * MIB, 500 * MIB));
    assert!(is_wasteful(900 * MIB, 200 * MIB));
    assert!(!is_wasteful(u64::MAX / 100, u64::MAX / 100));
}
