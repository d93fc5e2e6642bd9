//! A segment is ended although it is small, so that it can be written anew; nothing else changes.

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{Entry, Fate, Past, Store};

use super::rewrite::{Contents, assert_holds};
use super::{Dice, open};

/// Appends an entry and notes it.
fn append(store: &Store, contents: &mut Contents, entry: Entry) {
    let places = store.append(vec![entry.clone()]).unwrap();
    contents.insert(places[0], entry);
}

#[test]
fn what_was_recorded_on_a_quiet_day_is_compressed_without_waiting_for_a_full_segment() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let (mut dice, mut contents) = (Dice(3), Contents::new());
    assert!(!store.rotate(0), "nothing was written so far");
    for serial in 0..8 {
        append(&store, &mut contents, Entry { kind: 1, bytes: vec![serial; 300] });
    }
    assert!(store.closed_segments().unwrap().is_empty());
    assert!(!store.rotate(1_000_000));
    assert!(store.rotate(1_000));
    assert!(!store.rotate(0), "it is ended already");
    assert_holds(&store, &contents, &contents, "ended");
    let segment = store.closed_segments().unwrap().remove(0);
    assert_eq!((segment.entries, segment.places.clone()), (8, 0..8));
    let written = store.rewrite(segment.number, Past::Named, |_, _| Fate::Keep).unwrap();
    assert!(written.bytes_after < written.bytes_before);
    assert_holds(&store, &contents, &contents, "written anew");
    append(&store, &mut contents, dice.entry(99));
    assert!(store.rotate(0));
    assert_holds(&store, &contents, &contents, "gone on behind it");
    store.close().unwrap();
    assert!(!store.rotate(0), "closed");
    let store = open(&files, &rows);
    assert_holds(&store, &contents, &contents, "opened again");
    assert!(store.report().damage.is_empty());
}
