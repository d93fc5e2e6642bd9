//! A store is written anew with another key, whatever happens on the way.
//!
//! The disk is in memory and fails or loses its power at every write of a rekey in turn. After
//! each, both keys together open the store with everything in it, and the rekey can be completed;
//! then the new key does so alone, and the old one opens nothing that is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{
    DataKey, DataKeys, Entry, Fate, OpenError, Past, RekeyError, RewriteError, Store, Tree,
    ViewCondition, WriteSet,
};

use super::merge::{half_removed, logs, name};
use super::rewrite::{Contents, assert_holds, filled};
use super::{key, open, options, replay};

fn open_with(files: &MemoryFiles, rows: &MemoryRows, keys: &DataKeys) -> Store {
    let (files, rows) = (Arc::new(files.clone()), Arc::new(rows.clone()));
    Store::open_on(files, rows, keys, &options()).unwrap()
}

fn rekeyed() -> DataKeys {
    DataKeys::from(key()).rekeyed().unwrap()
}

/// A closed store with several segments and a view of all its entries.
fn viewed(count: u64) -> (MemoryFiles, MemoryRows, Contents) {
    let (files, written) = filled(count);
    let rows = MemoryRows::new();
    let store = open(&files, &rows);
    apply(&store, &written);
    store.close().unwrap();
    (files, rows, written)
}

fn apply(store: &Store, written: &Contents) {
    let mut set = WriteSet::new();
    for (place, entry) in written {
        set.put(Tree::Document, place.to_bytes().to_vec(), vec![entry.kind; 50]);
        set.set_applied(*place);
    }
    store.view().apply(set).unwrap();
}

fn assert_viewed(store: &Store, written: &Contents, context: &str) {
    for (place, entry) in written {
        let value = store.view().get(Tree::Document, &place.to_bytes()).unwrap();
        assert_eq!(value, Some(vec![entry.kind; 50]), "{context}");
    }
}

/// The key checks in the heads of all segments on the disk.
fn checks(files: &MemoryFiles) -> BTreeSet<Vec<u8>> {
    let contents = files.contents();
    let segments = contents.iter().filter(|(name, _)| name.starts_with("log/"));
    segments.map(|(_, bytes)| bytes[60..68].to_vec()).collect()
}

/// Whether anything on the disk opens with the key of before alone.
fn is_open_to_the_key_before(files: &MemoryFiles, rows: &MemoryRows) -> bool {
    let files = files.fork();
    let opened =
        Store::open_on(Arc::new(files.clone()), Arc::new(rows.clone()), &key(), &options());
    !matches!(opened, Err(OpenError::WrongKey))
}

#[test]
fn after_a_rekey_the_new_key_alone_opens_everything_and_the_old_one_nothing() {
    let (files, rows, mut written) = viewed(60);
    let keys = rekeyed();
    let store = open(&files, &rows);
    let found_by = store.keyed_hash("site", &[b"north"]);
    let active = store.append(vec![Entry { kind: 7, bytes: vec![7; 40] }]).unwrap()[0];
    written.insert(active, Entry { kind: 7, bytes: vec![7; 40] });
    apply(&store, &written);

    store.begin_rekey(&keys);
    let added = store.append(vec![Entry { kind: 8, bytes: vec![8; 40] }]).unwrap()[0];
    written.insert(added, Entry { kind: 8, bytes: vec![8; 40] });
    let progress = store.rekey_progress().unwrap();
    assert_eq!(progress.parts_done, 1, "{progress:?}");
    let mut told = Vec::new();
    store.rekey(|| false, |progress| told.push(progress)).unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.parts_done), "{told:?}");
    assert_eq!(told.last().unwrap().parts_done, told.last().unwrap().parts_total);
    store.end_rekey();
    apply(&store, &written);
    assert_holds(&store, &written, &written, "rekeyed");
    store.close().unwrap();
    drop(store);

    assert_eq!(checks(&files).len(), 1);
    assert!(!is_open_to_the_key_before(&files, &rows));
    let store = open_with(&files, &rows, &keys.settled());
    assert_eq!(store.report().view, ViewCondition::Kept);
    assert!(store.report().was_closed && !store.report().past_is_uncertain());
    assert_holds(&store, &written, &written, "opened again");
    assert_viewed(&store, &written, "opened again");
    // The rows that stand under hashes are still found.
    assert_eq!(store.keyed_hash("site", &[b"north"]), found_by);
    // No page of the view is left that the key before opens.
    let foreign = Store::open_on(Arc::new(MemoryFiles::new()), Arc::new(rows), &key(), &options());
    assert_eq!(foreign.unwrap().report().view, ViewCondition::Foreign);
}

/// Rekeys with a fault on the way; says whether the fault was reached.
fn run(source: &(MemoryFiles, MemoryRows, Contents), fault: Fault, at: u64, crash: Crash) -> bool {
    let context = format!("{fault:?} at {at}, {crash:?}");
    let (files, keys) = (source.0.fork(), rekeyed());
    let rows = MemoryRows::new();
    let mut written = source.2.clone();
    let store = open(&files, &rows);
    apply(&store, &written);
    store.flush_view().unwrap();
    let steps = files.changes() + at;
    files.fail_at(steps, fault);
    store.begin_rekey(&keys);
    let mut is_done = store.rekey(|| false, |_| {}).is_ok();
    let is_reached = files.changes() > steps;
    if fault == Fault::PowerOff {
        assert!(!is_done || !is_reached, "{context}");
    } else {
        // The store goes on, and the next try succeeds.
        assert_holds(&store, &written, &written, &context);
        if is_reached {
            let entry = Entry { kind: 3, bytes: vec![3; 300] };
            written.insert(store.append(vec![entry.clone()]).unwrap()[0], entry);
        }
        if is_reached && at.is_multiple_of(2) {
            store.rekey(|| false, |_| {}).unwrap();
            is_done = true;
        }
    }
    files.fail_at(files.changes(), Fault::PowerOff);
    drop(store);
    files.crash(crash);
    rows.crash();
    // What is written down at this moment: both keys, unless the rekey was done.
    let keys = if is_done { keys.settled() } else { keys };
    let store = open_with(&files, &rows, &keys);
    assert_holds(&store, &written, &written, &context);
    assert!(!store.report().past_is_uncertain(), "{context}");
    assert_eq!(store.report().view, ViewCondition::Kept, "{context}");
    store.rekey(|| false, |_| {}).unwrap();
    store.close().unwrap();
    drop(store);
    assert!(!is_open_to_the_key_before(&files, &rows), "{context}");
    let store = open_with(&files, &rows, &keys.settled());
    assert_holds(&store, &written, &written, &context);
    assert_viewed(&store, &source.2, &context);
    is_reached
}

#[test]
fn power_and_disk_may_fail_at_any_step_and_both_keys_open_everything() {
    let source = viewed(24);
    source.0.place("quarantine/log-0000000000000001-9000.0", vec![5; 900]);
    let pieces = (0..4).map(|seed| Crash::Pieces { seed });
    let crashes: Vec<Crash> = pieces.chain([Crash::NothingUnsynced, Crash::ProcessOnly]).collect();
    for fault in [Fault::PowerOff, Fault::NoSpace, Fault::Io] {
        for crash in &crashes {
            let mut at = 0;
            while run(&source, fault, at, *crash) {
                at += 1;
            }
            assert!(at >= 20, "only {at} steps");
        }
    }
}

#[test]
fn what_is_in_the_quarantine_does_not_open_with_the_key_before() {
    let (files, rows, _) = viewed(60);
    let name = "log/0000000000000001.log";
    let mut bytes = files.contents()[name].clone();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    files.place(name, bytes.clone());
    let store = open(&files, &rows);
    store.rewrite(1, Past::Named, |_, _| Fate::Keep).unwrap();
    let aside = |files: &MemoryFiles| -> Vec<Vec<u8>> {
        let contents = files.contents().into_iter();
        contents
            .filter(|(name, _)| name.starts_with("quarantine/"))
            .map(|(_, bytes)| bytes)
            .collect()
    };
    let before = aside(&files);
    assert_eq!(before.len(), 1);
    let count = replay(&store).0.len();

    let first = rekeyed();
    store.begin_rekey(&first);
    store.rekey(|| false, |_| {}).unwrap();
    let after = aside(&files);
    assert_eq!(after.len(), 1);
    assert!(!after[0].windows(16).any(|part| before[0].windows(16).any(|other| part == other)));
    assert_eq!(replay(&store).0.len(), count);
    store.end_rekey();

    // The next one seals it anew once more, and what was damaged is in it still.
    let second = first.settled().rekeyed().unwrap();
    store.begin_rekey(&second);
    store.rekey(|| false, |_| {}).unwrap();
    let last = aside(&files);
    assert_eq!(last[0].len(), after[0].len());
    assert_ne!(last, after);
    let opened = second.current().unseal("fieldmesh/quarantine/1", &last[0][16..]);
    assert_eq!(opened.as_ref(), before.first());
}

#[test]
fn a_segment_that_cannot_be_read_today_keeps_the_key_before() {
    let (files, rows, written) = viewed(60);
    let store = open(&files, &rows);
    let name = "log/0000000000000001.log";
    files.lose_sector(name, files.contents()[name].len() as u64 / 2);
    store.begin_rekey(&rekeyed());
    let refused = store.rekey(|| false, |_| {});
    let unreadable =
        matches!(refused, Err(RekeyError::Rewrite(RewriteError::Unreadable { segment: 1 })));
    assert!(unreadable, "{refused:?}");
    // Everything else is written anew all the same.
    let progress = store.rekey_progress().unwrap();
    assert_eq!(progress.parts_done + 1, progress.parts_total);
    assert!(replay(&store).0.len() + 20 > written.len());
    let other = DataKey::from_bytes([1; 32]);
    store.close().unwrap();
    let opened = Store::open_on(Arc::new(files), Arc::new(rows), &other, &options());
    assert!(matches!(opened, Err(OpenError::WrongKey)));
}

#[test]
fn a_rekey_that_is_told_to_stop_goes_on_where_it_was() {
    let (files, rows, written) = viewed(60);
    let store = open(&files, &rows);
    store.begin_rekey(&rekeyed());
    let told = std::cell::Cell::new(0);
    let stopped = store.rekey(|| told.get() > 2, |progress| told.set(progress.parts_done));
    assert!(matches!(stopped, Err(RekeyError::Rewrite(RewriteError::Closed))), "{stopped:?}");
    let progress = store.rekey_progress().unwrap();
    assert_eq!(progress.parts_done, 3);
    assert!(progress.parts_total > 5, "{progress:?}");
    assert_holds(&store, &written, &written, "stopped");
    store.rekey(|| false, |_| {}).unwrap();
    assert_holds(&store, &written, &written, "done");
}

/// A store whose segment of several has a bit flipped, opened while there is no room to mend it from
/// what a crash left beside it.
fn unmended() -> (MemoryFiles, Store, Contents) {
    let (files, written) = half_removed(&[1, 2, 3]);
    let mut bytes = files.contents()[&name(4)].clone();
    bytes[4_300] ^= 1;
    files.place(&name(4), bytes);
    files.set_free_bytes(0);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.kept_leftovers().len(), 3);
    files.set_free_bytes(u64::MAX);
    // Those of the last are in no other file.
    (files, store, written.into_iter().filter(|(place, _)| place.0 < 9).collect())
}

#[test]
fn what_is_damaged_comes_back_after_a_rekey_from_what_a_crash_left_before_it() {
    let (files, store, written) = unmended();
    let keys = rekeyed();
    store.begin_rekey(&keys);
    let progress = store.rekey_progress().unwrap();
    assert_eq!(progress.parts_total - progress.parts_done, 5, "{progress:?}");
    store.rekey(|| false, |_| {}).unwrap();
    store.end_rekey();
    assert_eq!(logs(&files).len(), 4);
    assert_eq!(checks(&files).len(), 1);
    drop(store);
    let rows = MemoryRows::new();
    assert!(!is_open_to_the_key_before(&files, &rows));
    let store = open_with(&files, &rows, &keys.settled());
    assert!(store.kept_leftovers().is_empty());
    for (place, entry) in &written {
        assert_eq!(*store.read(*place).unwrap(), *entry, "{place}");
    }
}

#[test]
fn a_rekey_cut_off_at_any_write_leaves_what_damage_is_mended_from() {
    let mut at = 0;
    loop {
        let (files, store, written) = unmended();
        let keys = rekeyed();
        let step = files.changes() + at;
        files.fail_at(step, Fault::PowerOff);
        store.begin_rekey(&keys);
        let is_done = store.rekey(|| false, |_| {}).is_ok();
        let is_reached = files.changes() > step;
        assert!(is_done || is_reached, "step {at}");
        files.fail_at(files.changes(), Fault::PowerOff);
        drop(store);
        files.crash(Crash::NothingUnsynced);
        let store = open_with(&files, &MemoryRows::new(), &keys);
        for (place, entry) in &written {
            assert_eq!(*store.read(*place).unwrap(), *entry, "{place}, step {at}");
        }
        if !is_reached {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "the rekey wrote {at} times");
}

#[test]
fn what_is_damaged_in_a_leftover_stays_so_and_nothing_else_does() {
    let (files, store, written) = unmended();
    // It goes bad after the open.
    let mut bytes = files.contents()[&name(2)].clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    files.place(&name(2), bytes);
    let keys = rekeyed();
    store.begin_rekey(&keys);
    store.rekey(|| false, |_| {}).unwrap();
    store.end_rekey();
    drop(store);
    let store = open_with(&files, &MemoryRows::new(), &keys.settled());
    for (place, entry) in &written {
        let is_whole = store.read(*place).is_ok_and(|read| *read == *entry);
        assert_eq!(is_whole, place.0 != 5, "{place}");
    }
}
