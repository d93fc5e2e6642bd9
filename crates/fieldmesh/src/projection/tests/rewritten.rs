//! Goal: a log that was made smaller gives the very same view, row by row, and stays so.
//! Method: a crew's edits are shuffled into a log with verdicts, copies, changes that no batch holds,
//! receipts and facts; one home writes its segments anew now and then, another one never does, and
//! the views that both give when they are built from nothing are compared.

use fieldmesh_batch::Receipt;
use fieldmesh_model::StoreId;
use fieldmesh_store::Past;

use super::*;
use crate::upkeep::Worth;

const TREES: [Tree; 11] = [
    Tree::Meta,
    Tree::Document,
    Tree::Leaf,
    Tree::Index,
    Tree::Feed,
    Tree::Inbox,
    Tree::Peer,
    Tree::Blob,
    Tree::Item,
    Tree::Chain,
    Tree::Quarantine,
];

/// Every row of a view.
type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// A home on a disk in memory.
struct Disk {
    files: MemoryFiles,
    view: MemoryRows,
}

impl Disk {
    fn new() -> Self {
        Self { files: MemoryFiles::new(), view: MemoryRows::new() }
    }

    /// Works on the home, with a view as far as it goes.
    fn with<T>(&self, view: &MemoryRows, crew: &Crew, work: impl FnOnce(&Stage) -> T) -> T {
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
        stage.catch_up(crew, store.end());
        let done = work(&stage);
        store.close().unwrap();
        done
    }

    /// Appends a piece of a day, in several segments.
    fn record(&self, crew: &Crew, entries: &[Entry], dice: &mut Dice) {
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

    /// Writes every segment anew; gives how many entries went.
    fn compact(&self, crew: &Crew) -> u64 {
        let me = crew.keys[0].device();
        self.with(&self.view, crew, |stage| {
            let mut dropped = 0;
            for segment in stage.store.closed_segments().unwrap() {
                let mut worth = Worth::read(&stage.store, me, &segment.places).unwrap();
                let decide = |place: Place, entry: &_| worth.decide(place, entry);
                dropped += stage.store.rewrite(segment.number, Past::Named, decide).unwrap().dropped;
            }
            dropped
        })
    }

    /// Every row of a view that is built from nothing.
    fn rebuilt(&self, crew: &Crew) -> Rows {
        self.with(&MemoryRows::new(), crew, |stage| all_rows(&stage.store))
    }
}

fn all_rows(store: &Store) -> Rows {
    let mut found = Rows::new();
    for tree in TREES {
        for row in rows::scan(store.view(), tree, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row.unwrap();
            found.insert((tree, key), value);
        }
    }
    found
}

/// Moves entries about and strews in what else a log has.
fn day(crew: &mut Crew, dice: &mut Dice) -> Vec<Entry> {
    let (mut log, _) = logs(crew, dice);
    for _ in 0..dice.below(log.len()) {
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
    let mut dropped = 0;
    for seed in 0..40 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let log = day(&mut crew, &mut dice);
        let (kept, compacted) = (Disk::new(), Disk::new());
        let (morning, evening) = log.split_at(dice.below(log.len()));
        for (part, name) in [(morning, "morning"), (evening, "evening")] {
            kept.record(&crew, part, &mut dice);
            compacted.record(&crew, part, &mut dice);
            let expected = kept.rebuilt(&crew);
            dropped += compacted.compact(&crew);
            assert_eq!(compacted.rebuilt(&crew), expected, "seed {seed}, {name}");
            assert_eq!(compacted.compact(&crew), 0, "seed {seed}, {name}, again");
            assert_eq!(compacted.rebuilt(&crew), expected, "seed {seed}, {name}, again");
        }
    }
    assert!(dropped > 500, "only {dropped} entries went");
}
