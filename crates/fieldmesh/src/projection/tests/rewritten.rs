//! Goal: a log that was made smaller gives the very same view, row by row, and stays so.
//! Method: a crew's edits are shuffled into a log with verdicts, copies, unsealed changes, receipts
//! and facts; one home writes its segments anew now and then, another one never does, and the views
//! that both give when they are built from nothing are compared.

use fieldmesh_batch::Receipt;
use fieldmesh_model::StoreId;
use fieldmesh_store::{Fate, Past};

use super::*;
use crate::projection::{ARRIVALS_KEY, VANISHED_KEY};
use crate::upkeep::Worth;

const TREES: [Tree; 10] = [
    Tree::Meta,
    Tree::Document,
    Tree::Leaf,
    Tree::Index,
    Tree::Inbox,
    Tree::Peer,
    Tree::Blob,
    Tree::Item,
    Tree::Chain,
    Tree::Quarantine,
];

/// Every row of a view.
pub(super) type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// A home on a disk in memory.
pub(super) struct Disk {
    files: MemoryFiles,
    view: MemoryRows,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { files: MemoryFiles::new(), view: MemoryRows::new() }
    }

    /// Works on the home, with a view as far as it goes.
    fn with<T>(&self, view: &MemoryRows, crew: &Crew, work: impl FnOnce(&Stage) -> T) -> T {
        self.with_lagging(view, |stage| {
            stage.catch_up(crew, stage.store.end());
            work(stage)
        })
    }

    /// The same, with a view that goes as far as it did.
    pub(super) fn with_lagging<T>(&self, view: &MemoryRows, work: impl FnOnce(&Stage) -> T) -> T {
        let options = Options { reserve_bytes: 0, ..Options::default() };
        let key = DataKey::from_bytes([42; 32]);
        let (files, rows) = (Arc::new(self.files.clone()), Arc::new(view.clone()));
        let store = Arc::new(Store::open_on(files, rows, &key, &options).unwrap());
        let stage = Stage { store: Arc::clone(&store), places: Arc::default() };
        let replayed = store.replay(None, |place, entry| {
            if let Ok(Entry::Batch(bytes)) = Entry::decode(&entry) {
                stage.places.insert_all([(Batch::decode(&bytes).unwrap().id(), place)]);
            }
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(replayed.unwrap().bad_frames, []);
        let done = work(&stage);
        store.close().unwrap();
        done
    }

    /// Appends a piece of a day, in several segments.
    pub(super) fn record(&self, crew: &Crew, entries: &[Entry], dice: &mut Dice) {
        self.with(&self.view, crew, |stage| {
            let mut rest = entries;
            while !rest.is_empty() {
                let (piece, more) = rest.split_at((1 + dice.below(12)).min(rest.len()));
                rest = more;
                stage.project(crew, piece);
                if dice.one_in(3) {
                    stage.store.rotate(0);
                }
            }
            stage.store.rotate(0);
        });
    }

    /// Writes every segment anew; gives how many changes and how many facts went.
    pub(super) fn compact(&self, crew: &Crew) -> [u64; 2] {
        let me = crew.keys[0].device();
        self.with(&self.view, crew, |stage| {
            let mut dropped = [0; 2];
            for segment in stage.store.closed_segments().unwrap() {
                let mut worth = Worth::read(&stage.store, me, &segment.places).unwrap();
                let decide = |place: Place, entry: &_| {
                    let fate = worth.decide(place, entry);
                    if fate == Fate::Drop {
                        let is_fact = matches!(Entry::decode(entry), Ok(Entry::Fact(_)));
                        dropped[usize::from(is_fact)] += 1;
                    }
                    fate
                };
                stage.store.rewrite(segment.number, Past::Named, decide).unwrap();
            }
            dropped
        })
    }

    /// Every row of the view as it was kept.
    pub(super) fn rows(&self, crew: &Crew) -> Rows {
        self.with(&self.view, crew, |stage| all_rows(&stage.store))
    }

    /// Every row of a view that is built from nothing.
    pub(super) fn rebuilt(&self, crew: &Crew) -> Rows {
        self.with(&MemoryRows::new(), crew, |stage| all_rows(&stage.store))
    }
}

/// A document without its places in the feed: a change keeps the one at which it came first, and a
/// log that lacks it there has it at its batch.
fn without_arrival(value: &[u8]) -> Vec<u8> {
    let row: DocumentRow = rows::decode(value).unwrap();
    rows::encode(&DocumentRow { arrived: Vec::new(), feed: 0, ..row })
}

pub(super) fn all_rows(store: &Store) -> Rows {
    let mut found = Rows::new();
    for tree in TREES {
        for row in rows::scan(store.view(), tree, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row.unwrap();
            // When records left this view is between it and its readers.
            if tree == Tree::Meta && [VANISHED_KEY, ARRIVALS_KEY].contains(&key.as_slice()) {
                continue;
            }
            let value = if tree == Tree::Document { without_arrival(&value) } else { value };
            found.insert((tree, key), value);
        }
    }
    found
}

/// A day on which nobody is shut out: this device records and seals, and another one edits as well.
pub(super) fn calm(crew: &mut Crew, dice: &mut Dice) -> Vec<Entry> {
    let (mut log, mut unsealed) = (Vec::new(), Vec::new());
    for step in 0..60 {
        let leaf = match step {
            0..=9 => Some(crew.create(step)),
            _ => crew.edit(0, step, dice),
        };
        if let Some(leaf) = leaf {
            log.push(local(crew, &leaf, step));
            unsealed.push(leaf);
        }
        if dice.one_in(3) && !unsealed.is_empty() {
            let leaves = std::mem::take(&mut unsealed);
            log.push(Entry::Batch(crew.seal(0, leaves, step).encode()));
        }
        if step > 10 && dice.one_in(3) {
            let leaf = crew.edit(1, step, dice).into_iter().collect::<Vec<_>>();
            if !leaf.is_empty() {
                log.push(Entry::Batch(crew.seal(1, leaf, step).encode()));
            }
        }
    }
    log
}

/// Moves entries about and strews in what else a log has.
pub(super) fn day(is_calm: bool, crew: &mut Crew, dice: &mut Dice) -> Vec<Entry> {
    let mut log = if is_calm { calm(crew, dice) } else { logs(crew, dice).0 };
    for _ in 0..dice.below(5) * dice.below(log.len() / 4) {
        let at = dice.below(log.len() - 1);
        log.swap(at, at + 1);
    }
    for step in 0..40 {
        let extra = match dice.below(8) {
            0 => Fact::Epoch(step),
            1 => Fact::LastSync(at(step as usize)),
            2 => Fact::Addresses(vec![step as u8; 3]),
            3 => Fact::Met(vec![(crew.keys[1].device(), at(step as usize))]),
            4 => Fact::Signed(at(step as usize)),
            _ => Fact::Receipt(receipt(crew, 1, step as usize)),
        };
        log.insert(dice.below(log.len()), Entry::Fact(extra));
    }
    // Somebody edits on, and nothing seals it so far.
    for step in 100..103 {
        if let Some(leaf) = crew.edit(0, step, dice) {
            log.push(local(crew, &leaf, step));
        }
    }
    log
}

fn receipt(crew: &Crew, epoch: u64, step: usize) -> Vec<u8> {
    let (device, store) = (crew.keys[1].device(), StoreId::from_bytes([3; 16]));
    let receipt = Receipt::new(crew.tenant, device, (store, epoch), at(step), [[7; 46]]);
    receipt.signed(crew.keys[1].signing_key()).encode()
}

#[test]
fn a_view_built_from_what_is_left_of_a_log_has_every_row_that_it_had() {
    let [mut changes, mut facts] = [0; 2];
    for seed in 0..12 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let log = day(seed % 2 == 0, &mut crew, &mut dice);
        let (kept, compacted) = (Disk::new(), Disk::new());
        let (morning, evening) = log.split_at(dice.below(log.len()));
        for (part, name) in [(morning, "morning"), (evening, "evening")] {
            kept.record(&crew, part, &mut dice);
            compacted.record(&crew, part, &mut dice);
            let expected = kept.rebuilt(&crew);
            let dropped = compacted.compact(&crew);
            changes += dropped[0];
            facts += dropped[1];
            assert_eq!(compacted.rebuilt(&crew), expected, "seed {seed}, {name}");
            assert_eq!(compacted.compact(&crew), [0; 2], "seed {seed}, {name}, again");
            assert_eq!(compacted.rebuilt(&crew), expected, "seed {seed}, {name}, again");
        }
    }
    assert!(changes > 200 && facts > 100, "only {changes} changes and {facts} facts went");
}

#[test]
fn receipts_that_a_view_has_given_up_go_and_the_same_ones_stay() {
    let (crew, mut dice) = (Crew::new(), Dice(3));
    let mut log: Vec<Entry> = (0..400)
        .map(|step| Entry::Fact(Fact::Receipt(receipt(&crew, 1, step * 3 + dice.below(3)))))
        .collect();
    let disk = Disk::new();
    disk.record(&crew, &log.split_off(200), &mut dice);
    disk.record(&crew, &log, &mut dice);
    let expected = disk.rebuilt(&crew);
    assert_eq!(disk.compact(&crew), [0, 400 - 256]);
    assert_eq!(disk.rebuilt(&crew), expected);
}
