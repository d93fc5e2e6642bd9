//! Segments are written anew; what stays is read as before, at its old place, whatever happens.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{Entry, Fate, Form, Past, Place, ReadError, RewriteError, Store, WriteSet};

use super::{Dice, open, replay, try_open};

/// What a store holds, by place.
pub(crate) type Contents = BTreeMap<Place, Entry>;

/// A closed store with several segments, and what it holds.
pub(crate) fn filled(count: u64) -> (MemoryFiles, Contents) {
    let files = MemoryFiles::new();
    let mut dice = Dice(5);
    let mut written = Contents::new();
    let store = open(&files, &MemoryRows::new());
    for serial in 0..count {
        let entry = dice.entry(serial);
        written.insert(store.append(vec![entry.clone()]).unwrap()[0], entry);
    }
    store.close().unwrap();
    (files, written)
}

/// Every third entry goes, every fifth is replaced by a short one, the others stay.
fn fate(place: Place) -> Fate {
    match place.0 {
        number if number % 3 == 0 => Fate::Drop,
        number if number % 5 == 0 => Fate::Replace(short(place)),
        _ => Fate::Keep,
    }
}

fn short(place: Place) -> Entry {
    Entry { kind: 200, bytes: place.0.to_be_bytes().to_vec() }
}

/// What is left of `contents` after [`fate`] has decided about the places of one segment.
fn expected(contents: &Contents, decided: &std::ops::Range<u64>) -> Contents {
    let mut left = contents.clone();
    for (place, entry) in contents.iter().filter(|(place, _)| decided.contains(&place.0)) {
        match fate(*place) {
            Fate::Keep => left.insert(*place, entry.clone()),
            Fate::Replace(other) => left.insert(*place, other),
            Fate::Drop => left.remove(place),
        };
    }
    left
}

/// Everything in `contents` and nothing else is read, in every way there is.
pub(crate) fn assert_holds(store: &Store, contents: &Contents, all: &Contents, context: &str) {
    let (entries, replayed) = replay(store);
    assert_eq!(replayed.bad_frames, [], "{context}");
    assert!(entries.iter().cloned().eq(contents.clone()), "{context}");
    for place in all.keys() {
        match (store.read(*place), contents.get(place)) {
            (Ok(read), Some(entry)) => assert_eq!(*read, *entry, "{context}"),
            (Err(ReadError::NotFound { .. }), None) => {}
            (read, wanted) => panic!("{context}: {place} is {read:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn what_stays_is_read_at_its_place_and_what_goes_is_gone() {
    let (files, written) = filled(60);
    let store = open(&files, &MemoryRows::new());
    let added = store.append(vec![Entry { kind: 9, bytes: vec![9] }]).unwrap()[0];
    let mut contents = written.clone();
    contents.insert(added, Entry { kind: 9, bytes: vec![9] });
    let segments = store.closed_segments().unwrap();
    assert!(segments.len() > 4);
    for segment in &segments {
        assert_eq!(segment.form, Form::Frames);
        let before = contents.clone();
        let mut seen = Vec::new();
        let rewritten = store.rewrite(segment.number, Past::Named, |place, entry| {
            assert_eq!(before.get(&place), Some(entry));
            seen.push(place);
            fate(place)
        });
        let rewritten = rewritten.unwrap();
        contents = expected(&contents, &segment.places);
        assert_eq!(seen.len() as u64, rewritten.kept + rewritten.dropped);
        assert_eq!((seen.len() as u64, rewritten.lost), (segment.entries, 0));
        assert_holds(&store, &contents, &written, &format!("segment {}", segment.number));
    }
    let again = store.closed_segments().unwrap();
    assert!(again.iter().all(|segment| segment.form == Form::Blocks));
    let places = |segments: &[fieldmesh_store::ClosedSegment]| -> Vec<_> {
        segments.iter().map(|segment| segment.places.clone()).collect()
    };
    assert_eq!(places(&again), places(&segments));
    assert!(store.append(vec![Entry { kind: 9, bytes: vec![9] }]).unwrap()[0] > added);
    drop(store);
    let store = open(&files, &MemoryRows::new());
    contents.extend(replay(&store).0.into_iter().filter(|(place, _)| *place > added));
    assert_holds(&store, &contents, &written, "after an open");
    // What was written anew is written anew like everything else.
    let places = again[1].places.clone();
    store.rewrite(again[1].number, Past::Named, |_, _| Fate::Drop).unwrap();
    contents.retain(|place, _| !places.contains(&place.0));
    assert_holds(&store, &contents, &written, "twice");
    drop(store);
    assert_holds(&open(&files, &MemoryRows::new()), &contents, &written, "at last");
}

#[test]
fn a_replay_begins_behind_any_entry_of_a_rewritten_segment() {
    let (files, written) = filled(30);
    let store = open(&files, &MemoryRows::new());
    let mut contents = written.clone();
    for segment in store.closed_segments().unwrap() {
        store.rewrite(segment.number, Past::Named, |place, _| fate(place)).unwrap();
        contents = expected(&contents, &segment.places);
    }
    for after in written.keys() {
        let mut seen = Vec::new();
        let replayed = store.replay(Some(*after), |place, _| {
            seen.push(place);
            ControlFlow::Continue(())
        });
        assert_eq!(replayed.unwrap().bad_frames, []);
        assert!(contents.keys().filter(|place| *place > after).eq(&seen), "behind {after}");
    }
}

#[test]
fn a_view_is_not_ahead_of_a_log_whose_last_entries_were_dropped() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let entry = Entry { kind: 1, bytes: vec![7; 300] };
    let places = store.append(vec![entry.clone(), entry.clone()]).unwrap();
    let mut set = WriteSet::new();
    set.set_applied(places[1]);
    store.view().apply(set).unwrap();
    drop(store);
    let store = open(&files, &rows);
    store.rewrite(1, Past::Named, |_, _| Fate::Drop).unwrap();
    drop(store);
    let store = open(&files, &rows);
    assert!(!store.report().past_is_uncertain() && !store.view_was_rebuilt());
    assert_eq!(store.end(), Some(places[1]));
    assert!(store.append(vec![entry]).unwrap()[0] > places[1]);
}

#[test]
fn only_closed_segments_are_written_anew() {
    let store = open(&MemoryFiles::new(), &MemoryRows::new());
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    let keep = |_: Place, _: &Entry| Fate::Keep;
    let active = store.rewrite(1, Past::Named, keep);
    assert!(matches!(active, Err(RewriteError::NotClosed { segment: 1 })));
    let missing = store.rewrite(2, Past::Named, keep);
    assert!(matches!(missing, Err(RewriteError::NotFound { segment: 2 })));
    assert_eq!(store.closed_segments().unwrap(), []);
    store.close().unwrap();
    assert!(matches!(store.rewrite(1, Past::Named, keep), Err(RewriteError::Closed)));
}

#[test]
fn a_full_disk_leaves_the_old_segment() {
    let (files, written) = filled(20);
    let store = open(&files, &MemoryRows::new());
    files.set_free_bytes(1_000_000);
    let full = store.rewrite(1, Past::Named, |_, _| Fate::Drop);
    assert!(matches!(full, Err(RewriteError::DiskFull { free_bytes: 1_000_000, .. })));
    files.set_free_bytes(1_000_000_000);
    let large = Entry { kind: 0, bytes: vec![0; fieldmesh_store::ENTRY_SIZE_MAX + 1] };
    let large = store.rewrite(1, Past::Named, |_, _| Fate::Replace(large.clone()));
    assert!(matches!(large, Err(RewriteError::TooLarge { .. })));
    assert_holds(&store, &written, &written, "refused");
    assert!(files.contents().keys().all(|name| !name.ends_with(".new")));
}

/// Writes a segment anew with a fault on the way; says whether the fault was reached.
fn run(source: &(MemoryFiles, Contents), fault: Fault, at: u64, crash: Crash) -> bool {
    let context = format!("{fault:?} at {at}, {crash:?}");
    let (files, written) = (source.0.fork(), &source.1);
    let store = open(&files, &MemoryRows::new());
    let segment = store.closed_segments().unwrap()[0].clone();
    let after = expected(written, &segment.places);
    files.fail_at(files.changes() + at, fault);
    let (steps, decide) = (files.changes() + at, |place: Place, _: &Entry| fate(place));
    let result = store.rewrite(segment.number, Past::Named, decide);
    let is_reached = files.changes() > steps;
    assert_eq!(result.is_err(), is_reached, "{context}");
    if fault != Fault::PowerOff {
        // The store goes on with the one or the other, and the next try succeeds.
        let is_new = replay(&store).0.len() < written.len();
        assert_holds(&store, if is_new { &after } else { written }, written, &context);
        if at.is_multiple_of(2) {
            store.rewrite(segment.number, Past::Named, decide).unwrap();
            assert_holds(&store, &after, written, &context);
        }
    }
    files.fail_at(files.changes(), Fault::PowerOff);
    drop(store);
    files.crash(crash);
    let store = open(&files, &MemoryRows::new());
    let is_new = replay(&store).0.len() < written.len();
    assert!(is_new || is_reached, "{context}: rewritten and old again");
    assert_holds(&store, if is_new { &after } else { written }, written, &context);
    assert!(!store.report().past_is_uncertain(), "{context}");
    assert!(files.contents().keys().all(|name| !name.ends_with(".log.new")), "{context}");
    is_reached
}

#[test]
fn power_and_disk_may_fail_at_any_step_and_one_of_both_segments_is_there() {
    let source = filled(20);
    let pieces = (0..8).map(|seed| Crash::Pieces { seed });
    let crashes: Vec<Crash> = pieces.chain([Crash::NothingUnsynced, Crash::ProcessOnly]).collect();
    for fault in [Fault::PowerOff, Fault::NoSpace, Fault::Io] {
        for crash in &crashes {
            let mut at = 0;
            while run(&source, fault, at, *crash) {
                at += 1;
            }
            assert!(at >= 5, "only {at} steps");
        }
    }
}

#[test]
fn an_unfinished_segment_is_removed_at_the_next_open() {
    let (files, written) = filled(6);
    files.place("log/0000000000000001.log.new", vec![7; 9000]);
    files.place("log/notes.new", b"not ours".to_vec());
    let store = open(&files, &MemoryRows::new());
    assert_holds(&store, &written, &written, "leftover");
    assert!(!files.contents().contains_key("log/0000000000000001.log.new"));
    assert!(files.contents().contains_key("log/notes.new"));
}

#[test]
fn readers_see_the_old_segment_or_the_new_one() {
    let (files, written) = filled(40);
    let store = Arc::new(open(&files, &MemoryRows::new()));
    let done = Arc::new(AtomicBool::new(false));
    let started = Arc::new(std::sync::Barrier::new(4));
    let read = |by_replay: bool| {
        let (store, done, written) = (Arc::clone(&store), Arc::clone(&done), written.clone());
        let started = Arc::clone(&started);
        std::thread::spawn(move || {
            started.wait();
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 2 {
                rounds += 1;
                let check = |place: Place, entry: &Entry| {
                    assert!(*entry == written[&place] || *entry == short(place), "{place}");
                };
                if by_replay {
                    let (entries, replayed) = replay(&store);
                    assert_eq!(replayed.bad_frames, []);
                    assert_eq!(entries.len(), written.len());
                    entries.iter().for_each(|(place, entry)| check(*place, entry));
                    continue;
                }
                written.keys().for_each(|place| check(*place, &store.read(*place).unwrap()));
            }
        })
    };
    let readers = [read(false), read(false), read(true)];
    started.wait();
    for round in 0..4 {
        for segment in store.closed_segments().unwrap() {
            let decide = |place: Place, _: &Entry| match (place.0 + round) % 7 {
                0 => Fate::Replace(short(place)),
                _ => Fate::Keep,
            };
            store.rewrite(segment.number, Past::Named, decide).unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn an_entry_is_read_while_its_segment_is_closed_and_written_anew() {
    let store = Arc::new(open(&MemoryFiles::new(), &MemoryRows::new()));
    let entry = |serial: u64| Entry { kind: 1, bytes: serial.to_be_bytes().repeat(50) };
    store.append(vec![entry(0)]).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let place = store.end().unwrap();
                    assert_eq!(*store.read(place).unwrap(), entry(place.0));
                    let seen = store.replay(Some(place), |place, found| {
                        assert_eq!(found, entry(place.0));
                        ControlFlow::Continue(())
                    });
                    assert_eq!(seen.unwrap().bad_frames, []);
                }
            })
        })
        .collect();
    let mut next = 1;
    while next < 2_000 {
        let entries = (next..next + 50).map(entry).collect();
        next += store.append(entries).unwrap().len() as u64;
        for segment in store.closed_segments().unwrap() {
            if segment.form == Form::Frames {
                store.rewrite(segment.number, Past::Named, |_, _| Fate::Keep).unwrap();
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(store.closed_segments().unwrap().len() > 10);
}

#[test]
fn a_segment_without_entries_and_one_with_a_large_entry_are_written_anew() {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    let mut dice = Dice(3);
    let large = Entry { kind: 1, bytes: (0..300_000).map(|_| dice.below(256) as u8).collect() };
    let empty = Entry { kind: 2, bytes: Vec::new() };
    let entries = [empty.clone(), large, empty.clone(), empty];
    let places = store.append(entries.to_vec()).unwrap();
    drop(store);
    let store = try_open(&files, &MemoryRows::new()).unwrap();
    let contents: Contents = places.iter().copied().zip(entries).collect();
    let rewritten = store.rewrite(1, Past::Named, |_, _| Fate::Keep).unwrap();
    assert!(rewritten.bytes_after <= rewritten.bytes_before + 200);
    assert_holds(&store, &contents, &contents, "large");
    store.rewrite(1, Past::Named, |_, _| Fate::Drop).unwrap();
    assert_holds(&store, &Contents::new(), &contents, "nothing left");
    store.rewrite(1, Past::Named, |_, _| Fate::Keep).unwrap();
    assert_eq!(store.closed_segments().unwrap()[0].entries, 0);
}

#[test]
fn the_parts_of_a_store_are_measured() {
    let (files, _) = filled(20);
    files.place("quarantine/log-1", vec![0; 77]);
    files.place("reserve", vec![0; 33]);
    let store = open(&files, &MemoryRows::new());
    let before = store.disk_usage().unwrap();
    assert_eq!((before.quarantine_bytes, before.reserve_bytes, before.view_bytes), (77, 33, 0));
    let rewritten = store.rewrite(1, Past::Named, |_, _| Fate::Drop).unwrap();
    let freed = rewritten.bytes_before - rewritten.bytes_after;
    assert!(freed > 10_000);
    assert_eq!(store.disk_usage().unwrap().log_bytes, before.log_bytes - freed);

    let folder = tempfile::tempdir().unwrap();
    let options = super::options();
    let store = Store::open(folder.path(), &super::key(), &options).unwrap();
    store.append(vec![Entry { kind: 0, bytes: vec![0; 400] }]).unwrap();
    store.flush_view().unwrap();
    let usage = store.disk_usage().unwrap();
    assert!(usage.log_bytes > 4176 && usage.view_bytes > 0 && usage.quarantine_bytes == 0);
}
