//! A segment that was written anew is damaged; what is lost is one block, and it is named.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fieldmesh_store::files::{Files, ReadFile, WriteFile};
use fieldmesh_store::memory::{Crash, Fault, MemoryFiles};
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{Damage, Entry, Fate, Past, Place, ReadError, Replayed, Store};

use super::rewrite::{Contents, assert_holds, filled};
use super::{Dice, key, open, options, replay};

const REWRITTEN: &str = "log/0000000000000001.log";
const FRAMES_START: usize = 4176;

/// A disk whose first segment was written anew in several small blocks, some entries dropped.
fn rewritten() -> (MemoryFiles, Contents) {
    let files = MemoryFiles::new();
    let mut dice = Dice(9);
    let entries: Vec<Entry> = [40, 40, 40, 66_000, 40, 40, 40, 40]
        .into_iter()
        .map(|length| Entry {
            kind: 1,
            bytes: (0..length).map(|_| dice.below(256) as u8).collect(),
        })
        .collect();
    let store = open(&files, &MemoryRows::new());
    let places = store.append(entries.clone()).unwrap();
    let mut contents: Contents = places.into_iter().zip(entries).collect();
    store.close().unwrap();
    let store = open(&files, &MemoryRows::new());
    let fate = |place: Place| if [1, 5].contains(&place.0) { Fate::Drop } else { Fate::Keep };
    store.rewrite(1, Past::Named, |place, _| fate(place)).unwrap();
    contents.retain(|place, _| fate(*place) == Fate::Keep);
    let last = Entry { kind: 1, bytes: vec![1; 30] };
    contents.insert(store.append(vec![last.clone()]).unwrap()[0], last);
    store.close().unwrap();
    (files, contents)
}

/// The sequences that a replay names as lost.
fn named(replayed: &Replayed) -> Vec<u64> {
    let mut named: Vec<u64> =
        replayed.bad_frames.iter().flat_map(|bad| bad.sequences.clone()).collect();
    named.sort_unstable();
    named
}

/// What is missing is named, no more, and what is named is said to be damaged.
fn assert_named(store: &Store, contents: &Contents, context: &str) -> Vec<u64> {
    let (entries, replayed) = replay(store);
    let lost: Vec<u64> = contents
        .iter()
        .filter(|(p, e)| !entries.contains(&(**p, (*e).clone())))
        .map(|(p, _)| p.0)
        .collect();
    assert_eq!(named(&replayed), lost, "{context}");
    assert_eq!(entries.len() + lost.len(), contents.len(), "{context}");
    for (place, entry) in contents {
        match store.read(*place) {
            Ok(read) => assert_eq!(*read, *entry, "{context}"),
            Err(ReadError::Damaged { .. }) => assert!(lost.contains(&place.0), "{context}"),
            Err(error) => panic!("{context}: {error}"),
        }
    }
    lost
}

#[test]
fn one_flipped_bit_in_a_rewritten_segment_costs_at_most_one_block_and_names_its_entries() {
    let (files, contents) = rewritten();
    let segment = files.contents()[REWRITTEN].clone();
    let blocks = [vec![0, 2], vec![3], vec![4, 6, 7]];
    let mut costs = [0, 0, 0, 0];
    for index in 0..segment.len() {
        let large = FRAMES_START + 400..segment.len() - 600;
        if ((100..4000).contains(&index) || large.contains(&index)) && index % 997 != 0 {
            continue;
        }
        let damaged = files.fork();
        let mut bytes = segment.clone();
        bytes[index] ^= 1 << (index % 8);
        damaged.place(REWRITTEN, bytes);
        let store = open(&damaged, &MemoryRows::new());
        let context = format!("byte {index} of {}", segment.len());
        let lost = assert_named(&store, &contents, &context);
        let is_listed = !replay(&store).1.bad_frames.is_empty();
        assert_eq!(is_listed, index >= FRAMES_START, "{context}");
        match blocks.iter().position(|block| *block == lost) {
            Some(block) => costs[block] += 1,
            None => {
                assert_eq!(lost, [0; 0], "{context}");
                costs[3] += u64::from(is_listed);
            }
        }
    }
    // Each block was hit, and so were index and trailer.
    assert!(costs.iter().all(|cost| *cost > 60), "{costs:?}");
}

#[test]
fn a_damaged_index_is_made_again_and_a_rewriting_heals_it() {
    let (files, contents) = rewritten();
    let mut segment = files.contents()[REWRITTEN].clone();
    let end = segment.len();
    segment[end - 30] ^= 1;
    files.place(REWRITTEN, segment);
    let store = open(&files, &MemoryRows::new());
    let listed = replay(&store).1.bad_frames;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].damage == Damage::Index && listed[0].sequences.is_empty());
    assert_eq!(assert_named(&store, &contents, "index"), [0; 0]);
    assert!(matches!(store.read(Place(1)), Err(ReadError::NotFound { .. })));
    store.rewrite(1, Past::Named, |_, _| Fate::Keep).unwrap();
    assert_holds(&store, &contents, &contents, "healed");
    assert!(files.contents().keys().all(|name| !name.starts_with("quarantine/")));
}

#[test]
fn whoever_reads_one_entry_of_a_damaged_block_hears_of_all_that_went_with_it() {
    let (files, _) = rewritten();
    let segment = files.contents()[REWRITTEN].clone();
    let mut heard = Vec::new();
    // The last block holds the entries 4, 6 and 7; the index behind it is damaged or is not.
    for hit in [vec![segment.len() - 300], vec![segment.len() - 300, segment.len() - 30]] {
        let damaged = files.fork();
        let mut bytes = segment.clone();
        hit.iter().for_each(|at| bytes[*at] ^= 1);
        damaged.place(REWRITTEN, bytes);
        let store = open(&damaged, &MemoryRows::new());
        let told = Arc::new(Mutex::new(BTreeSet::new()));
        let listener = Arc::clone(&told);
        store.on_damage(move |places| listener.lock().unwrap().extend(places));
        assert!(matches!(store.read(Place(6)), Err(ReadError::Damaged { .. })));
        heard.push(told.lock().unwrap().clone());
    }
    // Without the index nobody knows that the entry 5 was dropped before.
    assert_eq!(heard, [[4, 6, 7].into(), BTreeSet::from([4, 5, 6, 7])]);
}

#[test]
fn a_rewritten_segment_cut_anywhere_names_what_it_lost() {
    let (files, contents) = rewritten();
    let segment = files.contents()[REWRITTEN].clone();
    let near_end = (segment.len() - 400..segment.len()).step_by(7);
    for length in (FRAMES_START..FRAMES_START + 300).step_by(11).chain(near_end) {
        let damaged = files.fork();
        damaged.place(REWRITTEN, segment[..length].to_vec());
        let store = open(&damaged, &MemoryRows::new());
        let (entries, replayed) = replay(&store);
        let named = named(&replayed);
        let is_there = |place: &Place| entries.iter().any(|(found, _)| found == place);
        // Without the index nobody knows which entries of a lost block were dropped before.
        assert!(contents.keys().all(|p| is_there(p) != named.contains(&p.0)), "{length}");
        assert!(named.iter().all(|lost| *lost < 8), "{length}");
        assert!(!replayed.bad_frames.is_empty(), "{length}");
    }
}

#[test]
fn a_deleted_rewritten_segment_is_noticed() {
    let (files, contents) = rewritten();
    Files::remove(&files, REWRITTEN).unwrap();
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.report().missing_segments, [1]);
    assert!(store.report().past_is_uncertain() && store.report().is_lost(Place(7)));
    assert!(matches!(store.read(Place(7)), Err(ReadError::Damaged { .. })));
    assert_eq!(replay(&store).0.len(), 1);
    assert!(contents.len() > 1);
}

#[test]
fn a_dead_sector_of_a_rewritten_segment_costs_what_lies_on_it() {
    let (files, contents) = rewritten();
    let length = files.contents()[REWRITTEN].len();
    for offset in (0..length).step_by(4096) {
        let damaged = files.fork();
        damaged.lose_sector(REWRITTEN, offset as u64);
        let store = open(&damaged, &MemoryRows::new());
        let (entries, replayed) = replay(&store);
        let lost = named(&replayed);
        assert!(contents.keys().all(|place| {
            entries.iter().any(|(found, _)| found == place) != lost.contains(&place.0)
        }));
        // It may be readable again tomorrow.
        if !lost.is_empty() {
            let result = store.rewrite(1, Past::Named, |_, _| Fate::Keep);
            assert!(matches!(result, Err(fieldmesh_store::RewriteError::Unreadable { .. })));
        }
    }
}

#[test]
fn damage_is_named_after_a_rewriting_until_somebody_settles_it() {
    let (files, written) = filled(30);
    let (name, place) = ("log/0000000000000002.log", FRAMES_START + 30);
    let mut segment = files.contents()[name].clone();
    segment[place] ^= 1;
    files.place(name, segment);
    let store = open(&files, &MemoryRows::new());
    let listed = named(&replay(&store).1);
    assert_eq!(listed.len(), 1);
    let mut left = written.clone();
    left.remove(&Place(listed[0]));
    for _ in 0..2 {
        let rewritten = store.rewrite(2, Past::Named, |_, _| Fate::Keep).unwrap();
        assert_eq!(rewritten.lost, 1);
        let (entries, replayed) = replay(&store);
        assert_eq!((named(&replayed), entries.len()), (listed.clone(), left.len()));
        assert_eq!(replayed.bad_frames[0].damage, Damage::Earlier);
        let read = store.read(Place(listed[0]));
        assert!(matches!(read, Err(ReadError::Damaged { .. })));
    }
    // The damaged bytes were kept once.
    let contents = files.contents();
    assert_eq!(contents.keys().filter(|name| name.starts_with("quarantine/")).count(), 1);
    store.rewrite(2, Past::Settled, |_, _| Fate::Keep).unwrap();
    assert_holds(&store, &left, &written, "settled");
    drop(store);
    assert_holds(&open(&files, &MemoryRows::new()), &left, &written, "settled, opened");
}

#[test]
fn damage_stays_named_when_a_rewriting_is_cut_off_at_any_step() {
    let (files, written) = filled(12);
    let mut segment = files.contents()[REWRITTEN].clone();
    segment[FRAMES_START + 30] ^= 1;
    files.place(REWRITTEN, segment);
    let left = written.len() - 1;
    for (fault, crash) in [
        (Fault::PowerOff, Crash::NothingUnsynced),
        (Fault::PowerOff, Crash::Pieces { seed: 1 }),
        (Fault::Io, Crash::ProcessOnly),
    ] {
        for at in 0..40 {
            let files = files.fork();
            let store = open(&files, &MemoryRows::new());
            let steps = files.changes() + at;
            files.fail_at(steps, fault);
            let result = store.rewrite(1, Past::Named, |_, _| Fate::Keep);
            assert_eq!(result.is_err(), files.changes() > steps, "{fault:?} at {at}");
            drop(store);
            files.crash(crash);
            let (entries, replayed) = replay(&open(&files, &MemoryRows::new()));
            assert_eq!(named(&replayed), [0], "{fault:?} at {at}");
            assert_eq!(entries.len(), left, "{fault:?} at {at}");
            let contents = files.contents();
            let is_kept = contents.keys().any(|name| name.starts_with("quarantine/"));
            assert!(is_kept || replayed.bad_frames[0].damage == Damage::Body);
        }
    }
}

/// A disk that counts how often it is read.
struct Counting(MemoryFiles, Arc<AtomicU64>);

struct CountingFile(Arc<dyn ReadFile>, Arc<AtomicU64>);

impl ReadFile for CountingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

impl Files for Counting {
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(CountingFile(self.0.open(name)?, Arc::clone(&self.1))))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.0.truncate(name, length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.0.sync(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn size_of_folder(&self, folder: &str) -> io::Result<u64> {
        self.0.size_of_folder(folder)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.0.create_folder(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        self.0.allocate(name, length)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }
}

#[test]
fn entries_read_in_order_cost_one_read_of_the_disk_a_block() {
    let (files, written) = filled(200);
    let reads = Arc::new(AtomicU64::new(0));
    let disk = Arc::new(Counting(files, Arc::clone(&reads)));
    let store = Store::open_on(disk, Arc::new(MemoryRows::new()), &key(), &options()).unwrap();
    let mut raw = 0;
    for segment in store.closed_segments().unwrap() {
        store.rewrite(segment.number, Past::Named, |_, _| Fate::Keep).unwrap();
        raw += 2 + segment.bytes / 30_000;
    }
    let before = reads.load(Ordering::Relaxed);
    for (place, entry) in &written {
        assert_eq!(*store.read(*place).unwrap(), *entry);
    }
    let count = reads.load(Ordering::Relaxed) - before;
    // Trailer, index and a few blocks of each segment.
    assert!(count < 3 * raw && count < written.len() as u64, "{count} reads, {raw} expected");
}
