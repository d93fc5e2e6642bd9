//! The power goes at a random operation; what was acknowledged must be there afterwards.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{
    AppendError, Direction, Entry, KeyRange, Place, ReadError, Store, Tree, WriteSet,
};

use super::{Dice, open, replay, try_open};

const SEEDS: u64 = 500;
const LIVES: u64 = 3;

/// One disk over several crashes.
struct World {
    files: MemoryFiles,
    rows: MemoryRows,
    dice: Dice,
    serial: u64,
    acknowledged: BTreeMap<Place, Entry>,
    attempted: Vec<Entry>,
    /// Entries of which all are there or none, whenever the power goes.
    together: Vec<Vec<Entry>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            files: MemoryFiles::new(),
            rows: MemoryRows::new(),
            dice: Dice(seed),
            serial: 0,
            acknowledged: BTreeMap::new(),
            attempted: Vec::new(),
            together: Vec::new(),
        }
    }

    /// Appends until the power is off.
    fn live(&mut self) {
        let off_at = self.files.changes() + self.dice.below(60);
        self.files.fail_at(off_at, Fault::PowerOff);
        let Ok(store) = try_open(&self.files, &self.rows) else { return };
        loop {
            let is_whole = self.dice.below(4) == 0;
            let count = 1 + self.dice.below(if is_whole { 12 } else { 4 });
            let entries: Vec<Entry> = (0..count).map(|_| self.entry()).collect();
            self.attempted.extend(entries.clone());
            let appended = match is_whole {
                true => {
                    self.together.push(entries.clone());
                    append_together(&store, &entries)
                }
                false => store.append(entries.clone()),
            };
            let Ok(places) = appended else { break };
            apply(&store, &places);
            self.acknowledged.extend(places.into_iter().zip(entries));
        }
    }

    fn entry(&mut self) -> Entry {
        self.serial += 1;
        self.dice.entry(self.serial)
    }

    /// Everything acknowledged is there; what else was found counts as acknowledged from here on.
    fn check(&mut self, context: &str) {
        let store = open(&self.files, &self.rows);
        for (place, entry) in &self.acknowledged {
            let read = store.read(*place).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(*read, *entry, "{context}");
        }
        let (entries, replayed) = replay(&store);
        assert!(entries.is_sorted_by_key(|(place, _)| *place), "{context}");
        let replayed_entries: BTreeMap<Place, Entry> = entries.into_iter().collect();
        for (place, entry) in &self.acknowledged {
            assert_eq!(replayed_entries.get(place), Some(entry), "{context}");
        }
        for entry in replayed_entries.values() {
            assert!(self.attempted.contains(entry), "{context}: an entry nobody appended");
        }
        let found: BTreeSet<&[u8]> = replayed_entries.values().map(|it| &it.bytes[..]).collect();
        for group in &self.together {
            let there = group.iter().filter(|entry| found.contains(&entry.bytes[..])).count();
            assert!(there == 0 || there == group.len(), "{context}: {there} of {}", group.len());
        }
        for bad_frame in replayed.bad_frames {
            let is_hit = |place: &&Place| bad_frame.sequences.contains(&place.0);
            let lost = self.acknowledged.keys().find(is_hit);
            assert_eq!(lost, None, "{context}");
        }
        catch_up(&store);
        let rows = store.view().scan(Tree::Feed, &KeyRange::all(), Direction::Ascending, 10_000);
        let in_view: Vec<Place> =
            rows.unwrap().into_iter().map(|(key, _)| place_of(&key)).collect();
        let in_log: Vec<Place> = replayed_entries.keys().copied().collect();
        assert_eq!(in_view, in_log, "{context}");
        self.acknowledged = replayed_entries;
    }
}

fn append_together(store: &Store, entries: &[Entry]) -> Result<Vec<Place>, AppendError> {
    let packed = entries.iter().map(|entry| store.pack(entry.clone()).unwrap()).collect();
    store.append_together(packed).wait()
}

fn place_of(key: &[u8]) -> Place {
    Place::from_bytes(key.try_into().unwrap())
}

fn apply(store: &Store, places: &[Place]) {
    let mut set = WriteSet::new();
    for place in places {
        set.put(Tree::Feed, place.to_bytes(), b"seen".to_vec());
        set.set_applied(*place);
    }
    store.view().apply(set).unwrap();
}

fn catch_up(store: &Store) {
    let applied = store.view().applied().unwrap();
    let mut places = Vec::new();
    let collected = store.replay(applied, |place, _| {
        places.push(place);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(collected.unwrap().entries, places.len() as u64);
    apply(store, &places);
}

#[test]
fn everything_acknowledged_survives_every_crash() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for life in 0..LIVES {
            world.live();
            let crash = match (seed + life) % 3 {
                0 => Crash::NothingUnsynced,
                1 => Crash::ProcessOnly,
                _ => Crash::Pieces { seed: seed * LIVES + life },
            };
            world.files.crash(crash);
            // Every other time the view loses what it had not flushed as well.
            if world.dice.below(2) == 0 {
                world.rows.crash();
            }
            world.check(&format!("seed {seed}, life {life}, {crash:?}"));
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_all_of_a_group_or_nothing() {
    for fault in [Fault::Io, Fault::NoSpace] {
        let mut steps = 0;
        while fails_whole(&[steps], fault) {
            // What is written is taken away again, and that may fail too.
            for further in 1..4 {
                fails_whole(&[steps, steps + further], fault);
            }
            steps += 1;
        }
        assert!(steps > 3, "only {steps} steps");
    }
}

/// Appends a group while the disk fails at these steps; says whether it came to all of them.
fn fails_whole(steps: &[u64], fault: Fault) -> bool {
    let entry = |kind| Entry { kind, bytes: vec![kind; 300] };
    let group: Vec<Entry> = (2..9).map(entry).collect();
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    store.append(vec![entry(1)]).unwrap();
    let before = files.changes();
    steps.iter().for_each(|step| files.fail_at(before + step, fault));
    let appended = append_together(&store, &group);
    if steps.iter().any(|step| files.changes() <= before + step) {
        return false;
    }
    // The disk goes on, and so does the store.
    let context = format!("steps {steps:?}, {fault:?}");
    let last = store.append(vec![entry(9)]).unwrap_or_else(|error| panic!("{context}: {error}"));
    let held = |store: &Store| -> Vec<u8> {
        replay(store).0.into_iter().map(|(_, entry)| entry.kind).collect()
    };
    let all: Vec<u8> = (1..10).collect();
    let expected = if appended.is_ok() { all.clone() } else { vec![1, 9] };
    assert_eq!(held(&store), expected, "{context}");
    drop(store);
    files.crash(Crash::NothingUnsynced);
    let store = open(&files, &MemoryRows::new());
    let found = held(&store);
    let may_survive =
        matches!(appended, Err(AppendError::Io { may_survive: true, .. })) && found == all;
    assert!(found == expected || may_survive, "{context}: {found:?}");
    assert_eq!(*store.read(last[0]).unwrap(), entry(9));
    assert!(store.report().damage.is_empty(), "{context}: {:?}", store.report().damage);
    true
}

#[test]
fn an_entry_cut_off_by_a_crash_is_set_aside_and_reported_once() {
    let files = MemoryFiles::new();
    let rows = MemoryRows::new();
    let store = open(&files, &rows);
    let entry = Entry { kind: 1, bytes: vec![7; 300] };
    let places = store.append(vec![entry.clone(), entry.clone()]).unwrap();
    store.close().unwrap();
    let name = "log/0000000000000001.log";
    let mut segment = files.contents()[name].clone();
    segment.truncate(segment.len() - 5);
    files.place(name, segment);

    let store = open(&files, &MemoryRows::new());
    let torn = store.report().torn_tail.clone().unwrap();
    assert_eq!(torn.segment, 1);
    let kept = &files.contents()[&torn.kept_as.unwrap()];
    assert_eq!(kept.len() as u64, torn.length);
    assert!(store.report().past_is_uncertain());
    assert_eq!(store.end(), Some(places[0]));
    let next = store.append(vec![entry]).unwrap();
    assert!(next[0] > places[1], "the place of what was torn off was given again");
    assert!(matches!(store.read(places[1]), Err(ReadError::NotFound { .. })));
    store.settle_damage().unwrap();
    drop(store);

    let store = open(&files, &MemoryRows::new());
    assert!(!store.report().past_is_uncertain());
    assert_eq!(replay(&store).0.len(), 2);
}

/// A disk whose last entry is damaged and whose view has seen it.
fn damaged_end() -> (MemoryFiles, MemoryRows) {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let entry = Entry { kind: 1, bytes: vec![7; 300] };
    let places = store.append(vec![entry.clone(), entry]).unwrap();
    apply(&store, &places);
    store.close().unwrap();
    let name = "log/0000000000000001.log";
    let mut segment = files.contents()[name].clone();
    segment.truncate(segment.len() - 5);
    files.place(name, segment);
    (files, rows)
}

#[test]
fn damage_is_still_told_after_a_kill_at_any_step_of_the_open_that_found_it() {
    let mut steps = 0;
    loop {
        for crash in [Crash::NothingUnsynced, Crash::ProcessOnly, Crash::Pieces { seed: steps }] {
            let (files, rows) = damaged_end();
            let steps_before = files.changes();
            files.fail_at(steps_before + steps, Fault::PowerOff);
            let opened = try_open(&files, &rows);
            let is_whole = files.changes() <= steps_before + steps;
            drop(opened);
            files.crash(crash);
            let store = open(&files, &rows);
            assert!(store.report().past_is_uncertain(), "step {steps}, {crash:?}");
            let told = store.report().damage.join("\n");
            assert!(told.contains("the last "), "step {steps}, {crash:?}: {told}");
            assert!(told.contains("the view had seen"), "step {steps}, {crash:?}: {told}");
            if is_whole && crash == Crash::ProcessOnly {
                assert!(steps > 10, "only {steps} steps");
                return;
            }
        }
        steps += 1;
    }
}

#[test]
fn settled_damage_is_not_told_again() {
    let (files, rows) = damaged_end();
    let store = open(&files, &rows);
    // What follows from it is written down first.
    store.append(vec![Entry { kind: 2, bytes: vec![8] }]).unwrap();
    store.settle_damage().unwrap();
    drop(store);
    assert!(!open(&files, &rows).report().past_is_uncertain());
}
