//! Small segments become one; what stays is read as before, at its old place, whatever happens.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{
    ClosedSegment, Damage, DataKeys, Entry, Fate, Form, Kept, Past, Place, Replayed, RewriteError,
    Store,
};

use super::rewrite::{Contents, assert_holds};
use super::{Dice, key, open, options, replay, try_open};

const FOLDER: &str = "log/";

/// A closed store that was opened once for each segment, as by commands, and what it holds.
pub(super) fn commands(count: u64) -> (MemoryFiles, Contents) {
    let files = MemoryFiles::new();
    let mut dice = Dice(9);
    let mut written = Contents::new();
    for serial in 0..count {
        let store = open(&files, &MemoryRows::new());
        let entries: Vec<Entry> = (0..3).map(|part| dice.entry(serial * 3 + part)).collect();
        let places = store.append(entries.clone()).unwrap();
        written.extend(places.into_iter().zip(entries));
        store.close().unwrap();
    }
    (files, written)
}

fn numbers(store: &Store) -> Vec<u64> {
    store.closed_segments().unwrap().iter().map(|segment| segment.number).collect()
}

/// The files of the log.
pub(super) fn logs(files: &MemoryFiles) -> Vec<String> {
    files.contents().into_keys().filter(|name| name.starts_with(FOLDER)).collect()
}

pub(super) fn name(number: u64) -> String {
    format!("{FOLDER}{number:016}.log")
}

pub(super) fn keep(_: Place, _: &Entry) -> bool {
    false
}

/// Every third entry goes.
fn goes(place: Place) -> bool {
    place.0.is_multiple_of(3)
}

fn fate(place: Place) -> Fate {
    if goes(place) { Fate::Drop } else { Fate::Keep }
}

fn left(contents: &Contents, of: std::ops::Range<u64>) -> Contents {
    let stays = |place: &Place| !of.contains(&place.0) || !goes(*place);
    contents.iter().filter(|(place, _)| stays(place)).map(|(p, e)| (*p, e.clone())).collect()
}

fn open_soundly(files: &MemoryFiles, context: &str) -> Store {
    let store = open(files, &MemoryRows::new());
    assert_eq!(store.report().damage, [""; 0], "{context}");
    store
}

#[test]
fn many_segments_become_one_and_every_entry_keeps_its_place() {
    let (files, written) = commands(6);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(numbers(&store), [1, 2, 3, 4, 5, 6]);
    let before: u64 = store.closed_segments().unwrap().iter().map(|it| it.bytes).sum();
    let merged = store.merge(&[2, 3, 4], |place, _| goes(place)).unwrap();
    let contents = left(&written, 3..12);
    assert_eq!((merged.kept, merged.dropped, merged.lost), (6, 3, 0));
    assert_eq!(numbers(&store), [1, 4, 5, 6]);
    assert_holds(&store, &contents, &written, "three of six");
    // One that was made of several is one of several again.
    store.merge(&[1, 4, 5, 6], keep).unwrap();
    let one = store.closed_segments().unwrap();
    let [ClosedSegment { number: 6, first_number: 1, form: Form::Blocks, .. }] = &one[..] else {
        panic!("{one:?}");
    };
    assert_eq!((one[0].places.clone(), one[0].entries), (0..18, 15));
    assert!(one[0].bytes < before - 5 * 4176, "{} of {before}", one[0].bytes);
    assert_eq!(logs(&files), [name(6)]);
    assert_holds(&store, &contents, &written, "all");
    store.close().unwrap();
    // It goes on behind all of them, and is written anew like everything else.
    let store = open_soundly(&files, "once more");
    assert_holds(&store, &contents, &written, "once more");
    assert_eq!(store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap(), [Place(18)]);
    store.rewrite(6, Past::Named, |_, _| Fate::Keep).unwrap();
    assert_eq!(store.closed_segments().unwrap(), one);
    store.close().unwrap();
    assert_eq!(logs(&files), [name(6), name(7)]);
    assert_eq!(numbers(&open_soundly(&files, "at last")), [6, 7]);
}

#[test]
fn a_replay_begins_behind_any_entry_of_what_became_one() {
    let (files, written) = commands(5);
    let store = open(&files, &MemoryRows::new());
    store.merge(&[1, 2, 3, 4], keep).unwrap();
    for after in written.keys() {
        let mut seen = Vec::new();
        let replayed = store.replay(Some(*after), |place, _| {
            seen.push(place);
            ControlFlow::Continue(())
        });
        assert_eq!(replayed.unwrap().bad_frames, []);
        assert!(written.keys().filter(|place| *place > after).eq(&seen), "behind {after}");
    }
}

#[test]
fn only_closed_neighbours_of_one_store_become_one() {
    let (files, written) = commands(4);
    let store = open(&files, &MemoryRows::new());
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    let refused = |segments: &[u64]| store.merge(segments, keep).unwrap_err();
    assert!(matches!(refused(&[1, 3]), RewriteError::NotNeighbours { segment: 3 }));
    assert!(matches!(refused(&[2, 1]), RewriteError::NotNeighbours { segment: 1 }));
    assert!(matches!(refused(&[2, 2]), RewriteError::NotNeighbours { segment: 2 }));
    assert!(matches!(refused(&[4, 5]), RewriteError::NotClosed { segment: 5 }));
    assert!(matches!(refused(&[4, 6]), RewriteError::NotFound { segment: 6 }));
    assert!(matches!(refused(&[]), RewriteError::NotFound { .. }));
    drop(store);
    // A segment that is gone stays known as gone.
    let mut contents = files.contents();
    contents.remove(&name(2)).unwrap();
    let files = MemoryFiles::new();
    contents.into_iter().for_each(|(name, content)| files.place(&name, content));
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.report().missing_segments, [2]);
    assert!(matches!(store.merge(&[1, 3], keep), Err(RewriteError::NotNeighbours { .. })));
    store.merge(&[3, 4], keep).unwrap();
    drop(store);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(
        (store.report().missing_segments.clone(), numbers(&store)),
        (vec![2], vec![1, 4, 5])
    );
    assert_eq!(store.report().lost_count(), 3);
    let found: Vec<Place> = replay(&store).0.into_iter().map(|(place, _)| place).collect();
    let here = |place: &Place| !(3..6).contains(&place.0);
    assert!(written.keys().copied().chain([Place(12)]).filter(here).eq(found));
}

#[test]
fn what_was_lost_between_two_segments_stays_named_and_what_was_never_promised_is_not() {
    let (files, _) = commands(2);
    let store = open(&files, &MemoryRows::new());
    store.append(vec![Entry { kind: 1, bytes: vec![1; 40] }]).unwrap();
    drop(store);
    // The end of the last segment is torn, so its place is given to nobody.
    let mut content = files.contents()[&name(3)].clone();
    content.truncate(content.len() - 3);
    files.place(&name(3), content);
    // A flipped bit costs an entry of the second.
    let mut content = files.contents()[&name(2)].clone();
    *content.last_mut().unwrap() ^= 1;
    files.place(&name(2), content);
    let store = open(&files, &MemoryRows::new());
    store.append(vec![Entry { kind: 1, bytes: vec![2; 40] }]).unwrap();
    store.rotate(0);
    let before = replay(&store);
    let merged = store.merge(&[1, 2, 3, 4], keep).unwrap();
    assert_eq!(merged.lost, 1);
    let after = replay(&store);
    assert_eq!(before.0, after.0);
    let lost = |replayed: &Replayed| -> String {
        let bad = replayed.bad_frames.iter().map(|bad| bad.sequences.clone());
        format!("{:?}", bad.collect::<Vec<_>>())
    };
    assert_eq!((lost(&before.1), lost(&after.1)), ("[5..6]".into(), "[5..6]".into()));
}

/// What a crash leaves between the renaming of the new one and the end of the removals.
pub(super) fn half_removed(left: &[u64]) -> (MemoryFiles, Contents) {
    let (files, written) = commands(4);
    let before = files.contents();
    let store = open(&files, &MemoryRows::new());
    store.merge(&[1, 2, 3, 4], keep).unwrap();
    drop(store);
    for number in left {
        files.place(&name(*number), before[&name(*number)].clone());
    }
    (files, written)
}

#[test]
fn what_a_crash_left_of_those_that_became_one_is_removed() {
    for left in [&[1, 2, 3][..], &[2, 3], &[3], &[1], &[2]] {
        let (files, written) = half_removed(left);
        // A leftover that cannot be read is one as well.
        files.place(&name(left[0]), vec![7; 9_000]);
        let store = open_soundly(&files, &format!("{left:?}"));
        assert_eq!(logs(&files), [name(4)]);
        assert_holds(&store, &written, &written, &format!("{left:?}"));
    }
}

#[test]
fn what_is_damaged_in_the_one_comes_back_from_what_a_crash_left() {
    let (files, written) = half_removed(&[1, 2, 3]);
    let whole = files.contents()[&name(4)].clone();
    let mut mended = 0;
    for at in (4_176..whole.len()).step_by(11) {
        let files = files.fork();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        files.place(&name(4), bytes.clone());
        let store = open(&files, &MemoryRows::new());
        assert!(store.kept_leftovers().is_empty(), "byte {at}");
        assert_eq!(logs(&files), [name(4)], "byte {at}");
        mended += u64::from(files.contents()[&name(4)] != bytes);
        // Three entries came by each command, and those of the last are in no other file.
        for (place, entry) in written.range(..Place(9)) {
            assert_eq!(*store.read(*place).unwrap(), *entry, "{place}, byte {at}");
        }
        assert_eq!(store.report().damage, [""; 0], "byte {at}");
        drop(store);
        let store = open(&files, &MemoryRows::new());
        assert!(written.range(..Place(9)).all(|(place, _)| store.read(*place).is_ok()));
    }
    assert!(mended > 0, "no byte of the one mattered");
}

#[test]
fn where_the_disk_fails_while_damage_is_mended_nothing_whole_is_removed() {
    let (source, written) = half_removed(&[1, 2, 3]);
    let mut bytes = source.contents()[&name(4)].clone();
    bytes[4_300] ^= 1;
    source.place(&name(4), bytes);
    let mut at = 0;
    let mut kept = 0;
    loop {
        let files = source.fork();
        let step = files.changes() + at;
        files.fail_at(step, Fault::Io);
        let opened = try_open(&files, &MemoryRows::new());
        let is_reached = files.changes() > step;
        if let Ok(store) = &opened {
            let left = store.kept_leftovers();
            assert!(left.values().all(|why| *why == Kept::Needed), "{left:?}, step {at}");
            kept += left.len();
        }
        drop(opened);
        files.crash(Crash::NothingUnsynced);
        let store = open(&files, &MemoryRows::new());
        assert!(store.kept_leftovers().is_empty(), "step {at}");
        for (place, entry) in written.range(..Place(9)) {
            assert_eq!(*store.read(*place).unwrap(), *entry, "{place}, step {at}");
        }
        if !is_reached {
            break;
        }
        at += 1;
    }
    assert!(kept > 0, "in none of {at} steps a file was kept");
}

#[test]
fn a_leftover_that_the_disk_does_not_give_up_is_tried_again_before_anything_is_dropped() {
    let (files, written) = half_removed(&[2]);
    let mut at = 0;
    let store = loop {
        let files = files.fork();
        files.fail_at(at, Fault::Io);
        at += 1;
        // Other faults keep a store from being opened, or nothing from being removed.
        let Ok(store) = try_open(&files, &MemoryRows::new()) else { continue };
        if logs(&files).contains(&name(2)) {
            assert_eq!(store.report().damage, [""; 0]);
            assert_holds(&store, &written, &written, "left");
            files.fail_at(files.changes() + 1, Fault::Io);
            assert!(matches!(
                store.rewrite(4, Past::Named, |_, _| Fate::Keep),
                Err(RewriteError::Io(_))
            ));
            store.rewrite(4, Past::Named, |place, _| fate(place)).unwrap();
            assert_eq!(logs(&files), [name(4)]);
            break store;
        }
    };
    assert_holds(&store, &left(&written, 0..12), &written, "in the end");
}

#[test]
fn what_is_in_no_other_segment_is_no_leftover_whatever_its_number() {
    let (files, written) = half_removed(&[]);
    let (others, _) = commands(2);
    // The same store went on from an earlier copy, which lay there for a while.
    let same = MemoryFiles::new();
    same.place("store", files.contents()["store"].clone());
    let store = open(&same, &MemoryRows::new());
    (0..2).for_each(|kind| drop(store.append(vec![Entry { kind, bytes: vec![9; 50] }]).unwrap()));
    store.close().unwrap();
    for (from, is_told) in [(&others, false), (&same, true)] {
        let files = files.fork();
        files.place(&name(1), from.contents()[&name(1)].clone());
        for _ in 0..2 {
            let store = open(&files, &MemoryRows::new());
            assert_eq!(logs(&files), [name(1), name(4)]);
            assert!(written.keys().all(|place| store.read(*place).is_ok()));
            if is_told {
                let (entries, replayed) = replay(&store);
                assert!(entries.into_iter().eq(written.clone()));
                let [stray] = &replayed.bad_frames[..] else { panic!("{replayed:?}") };
                assert_eq!((stray.segment, stray.damage), (1, Damage::Stray));
                assert!(store.report().past_is_uncertain());
                assert_eq!(store.kept_leftovers(), [(name(1), Kept::Other)].into());
            }
            store.rewrite(4, Past::Named, |_, _| Fate::Keep).unwrap();
        }
        assert_eq!(logs(&files), [name(1), name(4)]);
    }
}

/// The bytes of a segment under a head that says it has taken over one segment more.
fn with_another_head(mut bytes: Vec<u8>) -> Vec<u8> {
    for at in [0, 4_096] {
        let copy = &mut bytes[at..at + 80];
        copy[11] += 1;
        let checksum = crc32fast::hash(&copy[..76]).to_be_bytes();
        copy[76..].copy_from_slice(&checksum);
    }
    bytes
}

#[test]
fn nobody_without_the_key_can_say_that_a_segment_which_is_gone_was_taken_over() {
    let (files, written) = commands(5);
    let store = open(&files, &MemoryRows::new());
    store.merge(&[2, 3, 4], keep).unwrap();
    store.close().unwrap();
    for is_gone in [true, false] {
        let disk = MemoryFiles::new();
        for (file, content) in files.contents() {
            match file {
                file if file == name(1) && is_gone => {}
                file if file == name(4) => disk.place(&file, with_another_head(content)),
                file => disk.place(&file, content),
            }
        }
        let store = open(&disk, &MemoryRows::new());
        let missing: &[u64] = if is_gone { &[1, 2, 3] } else { &[2, 3] };
        assert_eq!(store.report().missing_segments, missing);
        assert_eq!(store.report().bad_frames[0].damage, Damage::SegmentHead);
        assert!((3..12).all(|place| store.report().is_lost(Place(place))));
        assert_eq!(store.report().is_lost(Place(0)), is_gone);
        let entries = replay(&store).0;
        let whole = written.iter().filter(|(place, _)| !(3..12).contains(&place.0));
        let whole = whole.filter(|(place, _)| !is_gone || place.0 >= 3);
        assert!(whole.map(|(place, entry)| (*place, entry.clone())).eq(entries));
    }
}

#[test]
fn what_nothing_opens_of_at_the_end_of_the_log_keeps_its_places() {
    let (files, _) = commands(4);
    let store = open(&files, &MemoryRows::new());
    store.merge(&[2, 3, 4], keep).unwrap();
    store.close().unwrap();
    files.place(&name(4), with_another_head(files.contents()[&name(4)].clone()));
    let store = open(&files, &MemoryRows::new());
    assert!((3..12).all(|place| store.report().is_lost(Place(place))));
    let entry = Entry { kind: 1, bytes: vec![1] };
    assert!(store.append(vec![entry]).unwrap()[0] >= Place(12));
}

/// Makes one of several with a fault on the way; says whether the fault was reached.
fn run(source: &(MemoryFiles, Contents), fault: Fault, at: u64, crash: Crash) -> bool {
    let context = format!("{fault:?} at {at}, {crash:?}");
    let (files, written) = (source.0.fork(), &source.1);
    let store = open(&files, &MemoryRows::new());
    let after = left(written, 0..12);
    let steps = files.changes() + at;
    files.fail_at(steps, fault);
    let decide = |place: Place, _: &Entry| goes(place);
    let result = store.merge(&[1, 2, 3, 4], decide);
    let is_reached = files.changes() > steps;
    assert_eq!(result.is_err(), is_reached, "{context}");
    if fault != Fault::PowerOff {
        // The store goes on with the old ones or the new one, and the next try succeeds.
        let is_new = numbers(&store) == [4, 5];
        assert_holds(&store, if is_new { &after } else { written }, written, &context);
        if is_reached && at.is_multiple_of(2) {
            let segments: &[u64] = if is_new { &[4] } else { &[1, 2, 3, 4] };
            store.merge(segments, decide).unwrap();
            assert_holds(&store, &after, written, &context);
            assert_eq!(logs(&files), [name(4), name(5)], "{context}");
        }
    }
    files.fail_at(files.changes(), Fault::PowerOff);
    drop(store);
    files.crash(crash);
    let store = open_soundly(&files, &context);
    let is_new = numbers(&store) == [4, 5];
    assert!(is_new || numbers(&store) == [1, 2, 3, 4, 5], "{context}");
    assert!(is_new || is_reached, "{context}: one and many again");
    assert_holds(&store, if is_new { &after } else { written }, written, &context);
    let logs = logs(&files);
    assert_eq!(logs.len(), if is_new { 2 } else { 5 }, "{context}: {logs:?}");
    is_reached
}

#[test]
fn power_and_disk_may_fail_at_any_step_and_all_or_the_one_are_there() {
    let source = commands(5);
    let pieces = (0..8).map(|seed| Crash::Pieces { seed });
    let crashes: Vec<Crash> = pieces.chain([Crash::NothingUnsynced, Crash::ProcessOnly]).collect();
    for fault in [Fault::PowerOff, Fault::NoSpace, Fault::Io] {
        for crash in &crashes {
            let mut at = 0;
            while run(&source, fault, at, *crash) {
                at += 1;
            }
            assert!(at >= 10, "only {at} steps");
        }
    }
}

#[test]
fn readers_see_the_old_segments_or_the_new_one() {
    let (files, written) = commands(40);
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
                if by_replay {
                    let (entries, replayed) = replay(&store);
                    assert_eq!(replayed.bad_frames, []);
                    assert!(entries.into_iter().eq(written.clone()));
                    continue;
                }
                for (place, entry) in &written {
                    assert_eq!(*store.read(*place).unwrap(), *entry, "{place}");
                }
            }
        })
    };
    let readers = [read(false), read(true), read(true)];
    started.wait();
    // By twos, until there is one.
    loop {
        let numbers = numbers(&store);
        if numbers.len() == 1 {
            break;
        }
        for pair in numbers.chunks_exact(2) {
            store.merge(pair, keep).unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_replay_that_is_under_way_sees_every_entry_once() {
    let (files, written) = commands(8);
    for at in 0..24 {
        let files = files.fork();
        let store = open(&files, &MemoryRows::new());
        for segments in [&[1, 2, 3][..], &[3, 4, 5, 6], &[7, 8], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let mut seen = Contents::new();
            let replayed = store.replay(None, |place, entry| {
                assert_eq!(seen.insert(place, entry), None, "{place}");
                if seen.len() == at {
                    // Some are one already, which the next open would change.
                    let numbers = numbers(&store);
                    if segments.iter().all(|segment| numbers.contains(segment)) {
                        store.merge(segments, keep).unwrap();
                    }
                }
                ControlFlow::Continue(())
            });
            assert_eq!(replayed.unwrap().bad_frames, [], "{segments:?} at {at}");
            assert_eq!(seen, written, "{segments:?} at {at}");
        }
    }
}

#[test]
fn a_new_key_is_that_of_what_became_one_and_of_nothing_that_is_left() {
    let (files, written) = half_removed(&[2, 3]);
    let keys = DataKeys::from(key()).rekeyed().unwrap();
    let open_with = |keys: &DataKeys| {
        let (files, rows) = (Arc::new(files.clone()), Arc::new(MemoryRows::new()));
        Store::open_on(files, rows, keys, &options()).unwrap()
    };
    let store = open_with(&keys);
    store.begin_rekey(&keys);
    store.rekey(|| false, |_| {}).unwrap();
    store.end_rekey();
    assert_holds(&store, &written, &written, "new key");
    drop(store);
    assert_eq!(logs(&files), [name(4)]);
    assert_holds(&open_with(&keys.settled()), &written, &written, "new key alone");
}
