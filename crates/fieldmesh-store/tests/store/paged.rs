//! The view against a plain map: random sets, opened again, crashed and written anew at any time.
//!
//! Whatever the pages do, readers see the map; what a crash leaves is the map as it was after one
//! of the sets, and the view says which.

use std::collections::BTreeMap;
use std::ops::Bound;

use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::view::rows::RowsSource as _;
use fieldmesh_store::{
    Direction, Entry, KeyRange, Place, Store, Tree, View, ViewCondition, WriteSet,
};

use super::{Dice, open};

const SEEDS: u64 = 8;
const STEPS: u64 = 60;
const TREES: [Tree; 4] = [Tree::Meta, Tree::Document, Tree::Index, Tree::Quarantine];

type Model = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// A store and what its view should hold after each set.
struct World {
    files: MemoryFiles,
    rows: MemoryRows,
    dice: Dice,
    store: Option<Store>,
    model: Model,
    /// The map after the set that belongs to each place.
    past: BTreeMap<Option<Place>, Model>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
        let store = Some(open(&files, &rows));
        let past = BTreeMap::from([(None, Model::new())]);
        Self { files, rows, dice: Dice(seed), store, model: Model::new(), past }
    }

    fn view(&self) -> &View {
        self.store.as_ref().unwrap().view()
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0 => self.reopen(),
            1 => self.crash(),
            2 => self.store.as_ref().unwrap().compact_view().unwrap(),
            3 => self.store.as_ref().unwrap().flush_view().unwrap(),
            4 => self.view().settle().unwrap(),
            _ => self.write(),
        }
    }

    /// Applies a set of one to some thousand changes.
    fn write(&mut self) {
        let most = [3, 30, 300, 9_000][self.dice.below(4) as usize];
        let mut set = WriteSet::new();
        for _ in 0..=self.dice.below(most) {
            let (tree, key) = self.key();
            if self.dice.below(4) == 0 {
                set.delete(tree, key.clone());
                self.model.remove(&(tree, key));
            } else {
                let value = self.value();
                set.put(tree, key.clone(), value.clone());
                self.model.insert((tree, key), value);
            }
        }
        let entry = Entry { kind: 1, bytes: vec![1] };
        let place = self.store.as_ref().unwrap().append(vec![entry]).unwrap()[0];
        set.set_applied(place);
        if self.dice.below(2) == 0 {
            set.expect_more();
        }
        self.view().apply(set).unwrap();
        self.past.insert(Some(place), self.model.clone());
    }

    fn key(&mut self) -> (Tree, Vec<u8>) {
        let tree = TREES[self.dice.below(4) as usize];
        let number = self.dice.below(3_000);
        let long = if number.is_multiple_of(100) { 500 } else { 0 };
        (tree, [&number.to_be_bytes()[..], &vec![b'k'; long]].concat())
    }

    fn value(&mut self) -> Vec<u8> {
        let size = match self.dice.below(100) {
            0 => 2_040 + self.dice.below(20),
            1 => self.dice.below(9_000),
            2..20 => self.dice.below(700),
            _ => self.dice.below(30),
        };
        let is_random = self.dice.below(2) == 0;
        let bytes = (0..size).map(|_| if is_random { self.dice.below(256) as u8 } else { 7 });
        bytes.collect()
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        self.open_again();
    }

    /// The power goes; the view returns to what it had flushed last.
    fn crash(&mut self) {
        self.files.fail_at(self.files.changes(), Fault::PowerOff);
        drop(self.store.take());
        self.files.crash(Crash::NothingUnsynced);
        self.rows.crash();
        self.open_again();
        let applied = self.view().applied().unwrap();
        self.model = self.past[&applied].clone();
    }

    fn open_again(&mut self) {
        let store = open(&self.files, &self.rows);
        assert_eq!(store.report().view, ViewCondition::Kept);
        self.store = Some(store);
    }

    /// Everything, and parts of it in both directions.
    fn check(&mut self, context: &str) {
        self.view().verify().unwrap();
        for tree in TREES {
            let held = self.model.iter().filter(|((found, _), _)| *found == tree);
            let held: Vec<(Vec<u8>, Vec<u8>)> =
                held.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            let all = KeyRange::all();
            let found = self.view().scan(tree, &all, Direction::Ascending, usize::MAX).unwrap();
            assert!(found == held, "{context}: {} of {} rows", found.len(), held.len());
            assert_eq!(self.view().count(tree).unwrap(), held.len() as u64, "{context}");
            self.check_part(tree, &held, context);
        }
    }

    fn check_part(&mut self, tree: Tree, held: &[(Vec<u8>, Vec<u8>)], context: &str) {
        let (_, key) = self.key();
        let expected = self.model.get(&(tree, key.clone())).cloned();
        assert_eq!(self.view().get(tree, &key).unwrap(), expected, "{context}");
        let limit = 1 + self.dice.below(300) as usize;
        let behind: Vec<_> = held.iter().filter(|row| row.0 >= key).take(limit).cloned().collect();
        let range = KeyRange::new(Bound::Included(&key), Bound::Unbounded);
        let found = self.view().scan(tree, &range, Direction::Ascending, limit).unwrap();
        assert!(found == behind, "{context}");
        let before = held.iter().rev().filter(|row| row.0 < key).take(limit);
        let before: Vec<_> = before.map(|row| row.0.clone()).collect();
        let range = KeyRange::new(Bound::Unbounded, Bound::Excluded(&key));
        let found = self.view().keys(tree, &range, Direction::Descending, limit).unwrap();
        assert!(found == before, "{context}");
    }
}

#[test]
fn the_view_is_a_map_whatever_happens_to_it() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.step();
            if step % 7 == 0 {
                world.check(&format!("seed {seed}, step {step}"));
            }
        }
        world.check(&format!("seed {seed}, end"));
    }
}

/// A store whose view has many pages and some large values.
fn filled(files: &MemoryFiles, rows: &MemoryRows) -> Store {
    let store = open(files, rows);
    for part in 0..20_u32 {
        let place = store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap()[0];
        let mut set = WriteSet::new();
        for number in 0..500_u32 {
            let key = (number * 20 + part).to_be_bytes();
            set.put(Tree::Document, key, format!("record {number} of part {part}"));
        }
        set.put(Tree::Document, format!("large {part}"), vec![part as u8; 10_000]);
        set.set_applied(place);
        store.view().apply(set).unwrap();
    }
    store
}

#[test]
fn a_page_that_rots_or_vanishes_is_noticed() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    filled(&files, &rows).close().unwrap();
    let clean = files.contents()["clean"].clone();
    let below = rows.open().unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let stored = below.scan(&all, Direction::Ascending, usize::MAX).unwrap();
    assert!(stored.len() > 50, "only {} rows", stored.len());
    for (key, value) in stored.into_iter().step_by(5) {
        let mut rotten = value.clone();
        rotten[value.len() / 2] ^= 1;
        for damaged in [None, Some(rotten), Some(Vec::new())] {
            below.write([(key.clone(), damaged)].into()).unwrap();
            let copy = files.fork();
            fieldmesh_store::files::Files::remove(&copy, "clean").unwrap();
            below.flush().unwrap();
            let rows = copy_of(&rows);
            let store = open(&copy, &rows);
            assert!(store.view_was_rebuilt(), "a damaged row {key:?} was kept");
            below.write([(key.clone(), Some(value.clone()))].into()).unwrap();
        }
    }
    below.flush().unwrap();
    files.place("clean", clean);
    assert!(!open(&files, &rows).view_was_rebuilt());
}

fn copy_of(rows: &MemoryRows) -> MemoryRows {
    let copy = MemoryRows::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let stored = rows.open().unwrap().scan(&all, Direction::Ascending, usize::MAX).unwrap();
    let batch = stored.into_iter().map(|(key, value)| (key, Some(value))).collect();
    copy.open().unwrap().write(batch).unwrap();
    copy
}

#[test]
fn no_key_stands_on_the_disk_but_the_beginnings_of_some() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let mut set = WriteSet::new();
    for number in 0..9_000 {
        set.put(Tree::Document, format!("{number:04} north of the river"), b"x");
    }
    store.view().apply(set).unwrap();
    let mut set = WriteSet::new();
    set.put(Tree::Document, "7 south of the river", b"x");
    store.view().apply(set).unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let stored = rows.open().unwrap().scan(&all, Direction::Ascending, usize::MAX).unwrap();
    assert!(stored.len() > 5);
    for (key, value) in stored {
        for bytes in [key, value] {
            assert!(!bytes.windows(5).any(|part| part == b"river"));
        }
    }
}

#[test]
fn a_view_of_an_earlier_version_is_made_anew() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    filled(&files, &rows).close().unwrap();
    // The head of version 1: the same parts behind another number.
    let below = rows.open().unwrap();
    let head = b"\0head".to_vec();
    let mut stored = below.get(&head).unwrap().unwrap();
    assert_eq!(stored[0], 8);
    stored[0] = 1;
    below.write([(head, Some(stored))].into()).unwrap();

    let store = open(&files, &rows);
    assert_eq!(store.report().view, ViewCondition::EarlierVersion);
    assert!(store.view_was_rebuilt() && !store.report().past_is_uncertain());
    assert_eq!(store.view().applied().unwrap(), None);
    assert_eq!(store.view().count(Tree::Document).unwrap(), 0);
}

#[test]
fn reads_go_on_while_the_view_is_written_anew() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = filled(&files, &rows);
    let end = store.end();
    let all = |store: &Store| {
        let all = KeyRange::all();
        store.view().scan(Tree::Document, &all, Direction::Ascending, usize::MAX).unwrap()
    };
    let before = all(&store);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..5 {
                store.compact_view().unwrap();
            }
        });
        while !writer.is_finished() {
            assert!(all(&store) == before);
        }
    });
    assert!(all(&store) == before);
    store.view().verify().unwrap();
    assert_eq!(store.view().applied().unwrap(), end);
    store.close().unwrap();
    let store = open(&files, &rows);
    assert_eq!(store.report().view, ViewCondition::Kept);
    assert!(all(&store) == before);
}

#[test]
fn pieces_of_a_large_value_go_with_it() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    let pieces = || {
        let range = (Bound::Included(vec![0xfe]), Bound::Unbounded);
        rows.open().unwrap().scan(&range, Direction::Ascending, usize::MAX).unwrap().len()
    };
    // The first set goes into pages at once, the others wait outside them.
    for (fillers, is_put, expected) in
        [(9_000, true, 3), (0, true, 6), (0, true, 6), (9_000, false, 0)]
    {
        let mut set = WriteSet::new();
        for number in 0..fillers {
            set.put(Tree::Index, u32::to_be_bytes(number), b"");
        }
        match is_put {
            true => set.put(Tree::Document, b"large", vec![7; 10_000]),
            false => set.delete(Tree::Document, b"large"),
        }
        store.view().apply(set).unwrap();
        assert_eq!(pieces(), expected);
    }
}
