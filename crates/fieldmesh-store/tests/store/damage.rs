//! Bits flip and files vanish; everything else must still be read, and the damage be listed.

use std::sync::Arc;

use fieldmesh_store::files::Files as _;
use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{
    Damage, DataKey, Entry, OpenError, Options, Place, ReadError, Store, Tree, ViewCondition,
    WriteSet,
};

use super::{Dice, open, replay};

/// Two segments with some entries each, closed in order.
fn two_segments() -> (MemoryFiles, Vec<(Place, Entry)>) {
    let files = MemoryFiles::new();
    let mut dice = Dice(1);
    let mut written = Vec::new();
    for _ in 0..2 {
        let store = open(&files, &MemoryRows::new());
        for serial in 0..6 {
            let bytes = (0..20 + dice.below(60)).map(|_| dice.below(256) as u8).collect();
            let entry = Entry { kind: serial, bytes };
            let place = store.append(vec![entry.clone()]).unwrap()[0];
            written.push((place, entry));
        }
    }
    (files, written)
}

#[test]
fn one_flipped_bit_anywhere_costs_at_most_one_listed_entry() {
    let (files, written) = two_segments();
    for (name, content) in files.contents() {
        for index in 0..content.len() {
            // The zeros between the two heads are all alike.
            if name.starts_with("log/") && (100..4000).contains(&index) && index % 97 != 0 {
                continue;
            }
            let damaged = files.fork();
            let mut bytes = content.clone();
            bytes[index] ^= 1 << (index % 8);
            damaged.place(&name, bytes);
            let store = open(&damaged, &MemoryRows::new());
            let (entries, replayed) = replay(&store);
            let lost: Vec<_> = written.iter().filter(|w| !entries.contains(w)).collect();
            let report = store.report();
            let is_listed = !replayed.bad_frames.is_empty()
                || report.torn_tail.is_some()
                || !report.bad_frames.is_empty();
            let is_frame = name.starts_with("log/") && index >= 4176;
            assert_eq!(lost.len(), usize::from(is_frame), "{name} byte {index}");
            assert_eq!(is_listed, is_frame, "{name} byte {index}");
            assert!(entries.iter().all(|entry| written.contains(entry)));
            for (place, _) in lost {
                let error = store.read(*place).unwrap_err();
                assert!(matches!(error, ReadError::Damaged { .. } | ReadError::NotFound { .. }));
            }
        }
    }
}

/// Where the frames of an undamaged segment begin, and how long each is.
fn frames(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut start = 4176;
    while start < segment.len() {
        let length = u32::from_be_bytes(segment[start + 12..start + 16].try_into().unwrap());
        frames.push((start, 22 + length as usize + 16));
        start += 22 + length as usize + 16;
    }
    frames
}

#[test]
fn a_deleted_segment_is_noticed() {
    let (files, written) = two_segments();
    let store = open(&files, &MemoryRows::new());
    let third = store.append(vec![Entry { kind: 9, bytes: vec![9] }]).unwrap()[0];
    store.close().unwrap();
    fieldmesh_store::files::Files::remove(&files, "log/0000000000000002.log").unwrap();

    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.report().missing_segments, [2]);
    let (entries, replayed) = replay(&store);
    assert_eq!(entries.len(), 7);
    assert_eq!(replayed.bad_frames.len(), 1);
    assert_eq!(replayed.bad_frames[0].damage, Damage::Missing);
    assert_eq!(replayed.bad_frames[0].sequences, 6..12);
    assert!(store.read(third).is_ok());
    assert!(matches!(store.read(written[8].0), Err(ReadError::Damaged { .. })));
    assert!(store.report().is_lost(written[8].0) && !store.report().is_lost(third));
}

#[test]
fn a_segment_cut_short_names_the_sequences_it_lost() {
    let (files, written) = two_segments();
    let name = "log/0000000000000001.log";
    let mut content = files.contents()[name].clone();
    content.truncate(frames(&content)[4].0);
    files.place(name, content);
    let store = open(&files, &MemoryRows::new());
    assert!(matches!(store.read(written[4].0), Err(ReadError::Damaged { .. })));
    let (entries, replayed) = replay(&store);
    assert_eq!(entries.len(), 10);
    assert_eq!(replayed.bad_frames[0].sequences, 4..6);
}

#[test]
fn a_dead_sector_costs_only_what_lies_on_it() {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    let mut dice = Dice(2);
    let entries: Vec<Entry> = (0..16)
        .map(|kind| Entry { kind, bytes: (0..900).map(|_| dice.below(256) as u8).collect() })
        .collect();
    let places = store.append(entries.clone()).unwrap();
    store.close().unwrap();
    let name = "log/0000000000000001.log";
    let frames = frames(&files.contents()[name]);
    for offset in [0, 4096, 8192, 16_384] {
        let damaged = files.fork();
        damaged.lose_sector(name, offset as u64);
        let store = open(&damaged, &MemoryRows::new());
        let touched = |place: &Place| {
            let (start, length) = frames[place.0 as usize];
            start < offset + 4096 && start + length > offset
        };
        for (place, entry) in places.iter().zip(&entries) {
            match store.read(*place) {
                Ok(read) => assert_eq!(*read, *entry),
                Err(_) => assert!(touched(place), "{offset}: {place:?}"),
            }
        }
        let (replayed, listed) = replay(&store);
        let untouched = places.iter().filter(|place| !touched(place)).count();
        assert_eq!(replayed.len(), untouched, "{offset}");
        let is_listed = !listed.bad_frames.is_empty() || store.report().torn_tail.is_some();
        assert_eq!(is_listed, untouched < 16, "{offset}");
        let kept_as = store.report().torn_tail.clone().and_then(|torn| torn.kept_as);
        assert_eq!(kept_as, None, "what may be readable again was cut off");
    }
}

#[test]
fn a_lost_mark_is_recovered_from_the_log() {
    let (files, _) = two_segments();
    let store = open(&files, &MemoryRows::new());
    let id = store.id();
    drop(store);
    files.place("store", b"rubbish".to_vec());
    assert_eq!(open(&files, &MemoryRows::new()).id(), id);
    assert_eq!(open(&files, &MemoryRows::new()).id(), id);
}

#[test]
fn another_key_is_refused_before_anything_changes() {
    let (files, _) = two_segments();
    let contents = files.contents();
    for mark in [contents["store"].clone(), b"rubbish".to_vec()] {
        files.place("store", mark);
        let before = files.contents();
        let other = DataKey::from_bytes([1; 32]);
        let rows = Arc::new(MemoryRows::new());
        let error = Store::open_on(Arc::new(files.clone()), rows, &other, &Options::default());
        assert!(matches!(error, Err(OpenError::WrongKey)));
        assert_eq!(files.contents(), before);
    }
}

#[test]
fn a_view_ahead_of_its_log_is_kept_and_says_what_the_log_has_lost() {
    let (files, _) = two_segments();
    let backup = files.fork();
    let rows = MemoryRows::new();
    let store = open(&files, &rows);
    let places = store.append(vec![Entry { kind: 1, bytes: vec![1] }; 3]).unwrap();
    let mut set = WriteSet::new();
    set.put(Tree::Meta, b"k", b"v");
    set.set_applied(places[2]);
    store.view().apply(set).unwrap();
    store.close().unwrap();

    let store = open(&backup, &rows);
    assert_eq!(store.report().view, ViewCondition::AheadOfLog);
    assert!(!store.view_was_rebuilt() && store.report().past_is_uncertain());
    assert_eq!(store.view().get(Tree::Meta, b"k").unwrap().unwrap(), b"v");
    assert!(places.iter().all(|place| store.report().is_lost(*place)));
    let next = store.append(vec![Entry { kind: 1, bytes: vec![2] }]).unwrap()[0];
    assert!(next > places[2], "{next} was given before");
    store.close().unwrap();

    let store = open(&backup, &rows);
    assert_eq!(store.report().view, ViewCondition::Kept);
    let is_damaged = |place: &Place| matches!(store.read(*place), Err(ReadError::Damaged { .. }));
    assert!(places.iter().all(is_damaged));
    assert_eq!(store.read(next).unwrap().bytes, [2]);
}

#[test]
fn what_the_view_knew_of_a_log_that_is_gone_is_kept() {
    let (files, written) = two_segments();
    let rows = MemoryRows::new();
    let store = open(&files, &rows);
    let mut set = WriteSet::new();
    set.put(Tree::Meta, b"k", b"v");
    set.set_applied(written.last().unwrap().0);
    store.view().apply(set).unwrap();
    store.close().unwrap();
    for name in files.contents().into_keys().filter(|name| name.starts_with("log/")) {
        files.remove(&name).unwrap();
    }
    let store = open(&files, &rows);
    assert_eq!(store.view().get(Tree::Meta, b"k").unwrap().unwrap(), b"v");
    assert!(written.iter().all(|(place, _)| store.report().is_lost(*place)));
    store.append(vec![Entry { kind: 1, bytes: vec![2] }]).unwrap();
    let is_damaged = |place: &Place| matches!(store.read(*place), Err(ReadError::Damaged { .. }));
    assert!(written.iter().all(|(place, _)| is_damaged(place)));
}

#[test]
fn whoever_reads_damage_has_it_told() {
    let (files, written) = two_segments();
    let name = "log/0000000000000001.log";
    let mut content = files.contents()[name].clone();
    let middle = content.len() - 10;
    content[middle] ^= 1;
    files.place(name, content);
    let store = open(&files, &MemoryRows::new());
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    store.on_damage(move |places| list.lock().unwrap().push(places));
    let is_damaged = |place: &Place| store.read(*place).is_err();
    let damaged: Vec<u64> =
        written.iter().map(|(place, _)| *place).filter(is_damaged).map(|place| place.0).collect();
    assert_eq!(damaged.len(), 1);
    let only = damaged[0]..damaged[0] + 1;
    assert_eq!(told.lock().unwrap().first(), Some(&only));
    store.replay(None, |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn a_view_of_another_store_is_rebuilt() {
    let rows = MemoryRows::new();
    open(&MemoryFiles::new(), &rows).close().unwrap();
    let store = open(&MemoryFiles::new(), &rows);
    assert_eq!(store.report().view, ViewCondition::Foreign);
    assert!(store.view_was_rebuilt());
}
