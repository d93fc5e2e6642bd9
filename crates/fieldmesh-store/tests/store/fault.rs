//! A disk that is full or fails at each write in turn; the store keeps what it has and goes on.

use std::sync::Arc;

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{AppendError, Entry, Options, Place, Store};

use super::{Dice, key, open, options, replay, try_open};

/// What a run does after its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Crash,
}

/// Appends some groups, with one fault on the way; checks now, and after a crash.
///
/// Says whether the fault was reached.
fn run(fault: Fault, at: u64, then: Then, crash: Crash) -> bool {
    let context = format!("{fault:?} at {at}, then {then:?}, {crash:?}");
    let files = MemoryFiles::new();
    let rows = MemoryRows::new();
    files.fail_at(at, fault);
    let mut dice = Dice(at);
    let store = match try_open(&files, &rows) {
        Ok(store) => store,
        Err(_) => open(&files, &rows),
    };
    let mut kept: Vec<(Place, Entry)> = Vec::new();
    let mut gone: Vec<Entry> = Vec::new();
    let mut is_reached = files.changes() > at;
    for serial in 0..12 {
        let entries = vec![dice.entry(2 * serial), dice.entry(2 * serial + 1)];
        match store.append(entries.clone()) {
            Ok(places) => kept.extend(places.into_iter().zip(entries)),
            Err(AppendError::Io { may_survive, .. }) => {
                is_reached = true;
                if !may_survive {
                    gone.extend(entries);
                }
                if then == Then::Crash {
                    break;
                }
                // The next append already succeeds, whatever failed.
                let again = vec![dice.entry(1000)];
                let places = store.append(again.clone()).unwrap();
                kept.extend(places.into_iter().zip(again));
            }
            Err(error) => panic!("{context}: {error}"),
        }
    }
    is_reached |= files.changes() > at;
    assert_eq!(replay(&store).0, kept, "{context}");
    files.fail_at(files.changes(), Fault::PowerOff);
    drop(store);
    files.crash(crash);
    let store = open(&files, &rows);
    let (entries, replayed) = replay(&store);
    assert!(kept.iter().all(|entry| entries.contains(entry)), "{context}");
    let risen = entries.iter().find(|(_, entry)| gone.contains(entry));
    assert_eq!(risen, None, "{context}");
    assert_eq!(replayed.bad_frames, [], "{context}");
    is_reached
}

#[test]
fn the_store_goes_on_after_a_failure_at_any_write() {
    let pieces = (0..8).map(|seed| Crash::Pieces { seed });
    let crashes: Vec<Crash> = pieces.chain([Crash::NothingUnsynced, Crash::ProcessOnly]).collect();
    for fault in [Fault::NoSpace, Fault::Io] {
        for then in [Then::GoOn, Then::Crash] {
            for crash in &crashes {
                let mut at = 0;
                while run(fault, at, then, *crash) {
                    at += 1;
                }
                assert!(at > 25, "only {at} writes");
            }
        }
    }
}

#[test]
fn a_full_disk_is_refused_with_numbers_and_accepted_again() {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    let entry = Entry { kind: 0, bytes: vec![1; 100] };
    store.append(vec![entry.clone()]).unwrap();
    files.set_free_bytes(1_000_000);
    let Err(AppendError::DiskFull { free_bytes, needed_bytes }) = store.append(vec![entry.clone()])
    else {
        panic!("appended to a full disk");
    };
    assert_eq!(free_bytes, 1_000_000);
    assert!(needed_bytes > 32 * 1024 * 1024);
    files.set_free_bytes(1_000_000_000);
    store.append(vec![entry]).unwrap();
    assert_eq!(replay(&store).0.len(), 2);
}

#[test]
fn what_makes_room_is_written_where_a_full_disk_refuses_all_else() {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    let entry = Entry { kind: 0, bytes: vec![1; 100] };
    files.set_free_bytes(11 << 20);
    let refused = store.append(vec![entry.clone()]).unwrap_err().to_string();
    let words = "the disk has 11.0 MiB free and 32.1 MiB are needed; free some space";
    assert_eq!(refused, words);
    store.append_making_room(vec![entry.clone()]).unwrap();
    files.set_free_bytes(3 << 20);
    let refused = store.append_making_room(vec![entry]).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull { .. }));
    assert_eq!(replay(&store).0.len(), 1);
}

#[test]
fn the_reserve_is_given_up_when_a_full_disk_is_closed_and_taken_again_later() {
    let files = MemoryFiles::new();
    let options = Options { reserve_bytes: 1_000, ..options() };
    let open = || {
        let rows = Arc::new(MemoryRows::new());
        Store::open_on(Arc::new(files.clone()), rows, &key(), &options).unwrap()
    };
    let reserve = || files.contents().get("reserve").map(Vec::len);
    let store = open();
    assert_eq!(reserve(), Some(1_000));
    files.set_free_bytes(10);
    store.close().unwrap();
    assert_eq!(reserve(), None);
    drop(open());
    assert_eq!(reserve(), None);
    files.set_free_bytes(1_000_000_000);
    drop(open());
    assert_eq!(reserve(), Some(1_000));
}

#[test]
fn what_is_too_large_is_refused_alone() {
    let store = open(&MemoryFiles::new(), &MemoryRows::new());
    let size = fieldmesh_store::ENTRY_SIZE_MAX + 1;
    let error = store.append(vec![Entry { kind: 0, bytes: vec![0; size] }]);
    assert!(matches!(error, Err(AppendError::TooLarge { .. })));
    assert_eq!(store.append(Vec::new()).unwrap(), []);
    assert_eq!(store.end(), None);
}

#[test]
fn an_entry_that_survives_its_failed_append_has_its_place_alone() {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    let entry = |kind| Entry { kind, bytes: vec![kind; 100] };
    let mut kept = vec![(store.append(vec![entry(1)]).unwrap()[0], entry(1))];
    // The sync fails, and so does the cut that should remove what it may have written.
    files.fail_at(files.changes() + 1, Fault::Io);
    files.fail_at(files.changes() + 2, Fault::Io);
    let failed = store.append(vec![entry(2), entry(3)]);
    assert!(matches!(failed, Err(AppendError::Io { may_survive: true, .. })));
    kept.push((store.append(vec![entry(4)]).unwrap()[0], entry(4)));
    assert_eq!(replay(&store), (kept.clone(), replay(&store).1));
    assert_eq!(replay(&store).1.bad_frames, []);
    drop(store);
    let store = open(&files, &MemoryRows::new());
    let (entries, replayed) = replay(&store);
    assert_eq!((entries.len(), replayed.bad_frames), (4, Vec::new()));
    for (place, entry) in entries.iter().chain(&kept) {
        assert_eq!(*store.read(*place).unwrap(), *entry);
    }
}

#[test]
fn what_follows_from_all_that_is_there_is_not_written_behind_anything_else() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let entry = |kind| vec![Entry { kind, bytes: vec![kind] }];
    let first = store.append_behind(None, entry(1)).unwrap();
    assert_eq!(first.last().copied(), store.end());
    assert_eq!(store.append_behind(None, entry(2)).unwrap(), []);
    let second = store.append_behind(store.end(), entry(3)).unwrap();
    store.append(entry(4)).unwrap();
    assert_eq!(store.append_behind(second.last().copied(), entry(5)).unwrap(), []);
    let kinds: Vec<u8> = replay(&store).0.iter().map(|(_, entry)| entry.kind).collect();
    assert_eq!(kinds, [1, 3, 4]);
}
