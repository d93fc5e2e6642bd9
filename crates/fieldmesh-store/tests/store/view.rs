//! The view over sled and over memory: same behaviour, and damage ends in a rebuild, not in a
//! panic or in missing rows.

use std::fs;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::Row;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::view::rows::{RowBatch, RowRange, Rows, RowsError, RowsSource};
use fieldmesh_store::{
    Direction, Entry, KeyRange, Options, Store, Tree, View, ViewCondition, ViewError, WriteSet,
};

use super::{key, open, options, try_open};

fn open_folder(folder: &Path) -> Store {
    let options = Options { reserve_bytes: 0, ..Options::default() };
    Store::open(folder, &key(), &options).unwrap()
}

/// Both kinds of view.
fn with_views(test: impl Fn(&View)) {
    test(open(&MemoryFiles::new(), &MemoryRows::new()).view());
    let folder = tempfile::tempdir().unwrap();
    test(open_folder(folder.path()).view());
}

fn put(view: &View, tree: Tree, key: &[u8], value: Vec<u8>) {
    let mut set = WriteSet::new();
    set.put(tree, key, value);
    view.apply(set).unwrap();
}

#[test]
fn rows_are_scanned_in_both_directions_within_their_tree() {
    with_views(|view| {
        for number in 0..10_u8 {
            put(view, Tree::Index, &[b'a', number], vec![number]);
            put(view, Tree::Feed, &[b'a', number], vec![100]);
        }
        put(view, Tree::Index, &[0xff, 0xff], vec![77]);
        let range = KeyRange::prefix(b"a");
        let up = view.scan(Tree::Index, &range, Direction::Ascending, 4).unwrap();
        assert_eq!(up.iter().map(|(_, value)| value[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let rest = range.clone().after(&up[3].0);
        assert_eq!(view.keys(Tree::Index, &rest, Direction::Ascending, 99).unwrap().len(), 6);
        let down = view.scan(Tree::Index, &range, Direction::Descending, 2).unwrap();
        assert_eq!(down.iter().map(|(_, value)| value[0]).collect::<Vec<_>>(), [9, 8]);
        let last = view.scan(Tree::Index, &KeyRange::all(), Direction::Descending, 1).unwrap();
        assert_eq!(last, [(vec![0xff, 0xff], vec![77])]);
        let ff = KeyRange::prefix(&[0xff]);
        assert_eq!(view.scan(Tree::Index, &ff, Direction::Ascending, 9).unwrap().len(), 1);
        let empty = KeyRange::new(Bound::Included(b"z"), Bound::Excluded(b"b"));
        assert_eq!(view.scan(Tree::Index, &empty, Direction::Ascending, 9).unwrap(), []);
        assert_eq!(view.count(Tree::Index).unwrap(), 11);
        assert_eq!(view.count(Tree::Inbox).unwrap(), 0);
    });
}

#[test]
fn large_values_are_stored_in_pieces_and_leave_nothing_behind() {
    with_views(|view| {
        for size in [0, 1, 4067, 4068, 4096, 70_000, 1_000_000] {
            let value: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            put(view, Tree::Document, b"large", value.clone());
            assert_eq!(view.get(Tree::Document, b"large").unwrap(), Some(value));
            view.verify().unwrap();
        }
        assert_eq!(view.count(Tree::Document).unwrap(), 1);
        let mut set = WriteSet::new();
        set.delete(Tree::Document, b"large");
        set.delete(Tree::Document, b"never there");
        view.apply(set).unwrap();
        assert_eq!(view.get(Tree::Document, b"large").unwrap(), None);
        assert_eq!(view.count(Tree::Document).unwrap(), 0);
        view.verify().unwrap();
    });
}

#[test]
fn what_is_too_large_changes_nothing() {
    with_views(|view| {
        let mut set = WriteSet::new();
        set.put(Tree::Meta, b"a", b"1");
        set.put(Tree::Meta, vec![0; 513], b"1");
        assert!(matches!(view.apply(set), Err(ViewError::KeyTooLarge { size: 513 })));
        let mut set = WriteSet::new();
        set.put(Tree::Meta, b"a", b"1");
        set.put(Tree::Meta, b"b", vec![0; 2 * 1024 * 1024 + 1]);
        assert!(matches!(view.apply(set), Err(ViewError::ValueTooLarge { .. })));
        assert_eq!(view.get(Tree::Meta, b"a").unwrap(), None);
    });
}

/// A store whose view holds some hundred rows, closed; gives the number of rows.
fn filled(folder: &Path) -> u64 {
    let store = open_folder(folder);
    for number in 0..40_u32 {
        let bytes = number.to_be_bytes().to_vec();
        let place = store.append(vec![Entry { kind: 1, bytes: bytes.clone() }]).unwrap()[0];
        let mut set = WriteSet::new();
        for row in 0..10_u8 {
            set.put(Tree::Document, [&bytes[..], &[row]].concat(), vec![row; 300]);
        }
        set.set_applied(place);
        store.view().apply(set).unwrap();
    }
    store.close().unwrap();
    400
}

/// The view has every row of what it says is applied, or admits that it begins anew.
fn check_view(folder: &Path, rows: u64, context: &str) -> bool {
    let store = open_folder(folder);
    if store.view_was_rebuilt() {
        assert_eq!(store.view().applied().unwrap(), None, "{context}");
        assert_eq!(store.view().count(Tree::Document).unwrap(), 0, "{context}");
        put(store.view(), Tree::Meta, b"works", b"1".to_vec());
        return true;
    }
    let all = store.view().scan(Tree::Document, &KeyRange::all(), Direction::Ascending, 9999);
    let behind = store.replay(store.view().applied().unwrap(), |_, _| ControlFlow::Continue(()));
    let expected = rows - 10 * behind.unwrap().entries;
    assert_eq!(all.unwrap().len() as u64, expected, "{context}");
    false
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_view_is_there_after_a_close_and_after_an_unclean_end() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path());
    assert!(!check_view(folder.path(), rows, "closed"));
    fs::remove_file(folder.path().join("clean")).unwrap();
    assert!(!check_view(folder.path(), rows, "unclean"));
}

#[test]
fn a_deleted_view_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path());
    fs::remove_dir_all(folder.path().join("view")).unwrap();
    assert!(check_view(folder.path(), rows, "deleted"));
}

#[test]
fn damaged_sled_files_never_panic_and_never_hide_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path());
    let mut rebuilt = 0;
    let mut tried = 0;
    for name in ["db", "conf"] {
        let length = fs::metadata(folder.path().join("view").join(name)).unwrap().len() as usize;
        for step in 0..12 {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            fs::remove_file(copy.path().join("clean")).unwrap();
            let path = copy.path().join("view").join(name);
            let mut bytes = fs::read(&path).unwrap();
            if step % 4 == 3 {
                bytes.truncate(length * step / 12);
            } else {
                bytes[length * step / 12] ^= 0x40;
            }
            fs::write(&path, bytes).unwrap();
            tried += 1;
            rebuilt += u32::from(check_view(copy.path(), rows, &format!("{name} {step}")));
        }
    }
    assert!(rebuilt > 0 && rebuilt <= tried);
}

#[test]
fn an_empty_snapshot_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path());
    fs::write(folder.path().join("view").join("snap.0000000000000000"), b"").unwrap();
    fs::remove_file(folder.path().join("clean")).unwrap();
    assert!(!check_view(folder.path(), rows, "empty snapshot"));
}

/// So many rows that they are written as a page.
fn put_page(view: &View) {
    let mut set = WriteSet::new();
    for number in 0..9_000_u16 {
        set.put(Tree::Meta, number.to_be_bytes(), b"1");
    }
    set.put(Tree::Meta, b"a", b"1");
    view.apply(set).unwrap();
}

/// Flips a bit in every page.
fn rot(rows: &MemoryRows) {
    let below = rows.open().unwrap();
    let pages = (Bound::Included(vec![1]), Bound::Excluded(vec![2]));
    for (key, mut stored) in below.scan(&pages, Direction::Ascending, 9_999).unwrap() {
        stored[20] ^= 1;
        below.write([(key, Some(stored))].into()).unwrap();
    }
}

#[test]
fn a_row_that_rots_while_the_store_is_open_breaks_the_view_until_it_is_reopened() {
    let rows = MemoryRows::new();
    let store = open(&MemoryFiles::new(), &rows);
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    put_page(store.view());
    rot(&rows);

    let damaged = store.view().get(Tree::Meta, b"a");
    assert!(matches!(damaged, Err(ViewError::Damaged)));
    assert!(matches!(store.view().get(Tree::Meta, b"b"), Err(ViewError::Broken)));
    assert!(!store.is_made_anew());
    assert_eq!(store.reopen_view().unwrap(), ViewCondition::Damaged);
    assert_eq!(store.view().applied().unwrap(), None);
    put(store.view(), Tree::Meta, b"a", b"2".to_vec());
    assert!(store.is_made_anew());
    store.close().unwrap();
}

/// A closed store with an entry.
fn with_an_entry() -> MemoryFiles {
    let files = MemoryFiles::new();
    let store = open(&files, &MemoryRows::new());
    assert!(!store.is_made_anew(), "there is nothing to make it of");
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    store.close().unwrap();
    files
}

#[test]
fn every_open_says_that_the_view_was_begun_anew_until_somebody_has_drawn_the_consequences() {
    let (files, lost) = (with_an_entry(), MemoryRows::new());
    for is_rebuilt in [true, false, false] {
        let store = open(&files, &lost);
        assert!(store.view_was_rebuilt() == is_rebuilt && store.is_made_anew());
        let mut set = WriteSet::new();
        set.set_applied(store.end().unwrap());
        store.view().apply(set).unwrap();
    }
    let store = open(&files, &lost);
    store.settle_anew().unwrap();
    assert!(!store.is_made_anew());
    drop(store);
    assert!(!open(&files, &lost).is_made_anew());
}

#[test]
fn a_view_begun_anew_on_a_full_disk_is_said_to_be_as_long_as_it_has_nothing() {
    use fieldmesh_store::memory::Fault;
    let source = with_an_entry();
    for at in 0.. {
        let (files, rows) = (source.fork(), MemoryRows::new());
        let step = files.changes() + at;
        files.fail_at(step, Fault::NoSpace);
        // A fault may come at the second of them as well.
        for store in (0..2).filter_map(|_| try_open(&files, &rows).ok()) {
            assert!(store.is_made_anew(), "step {at}");
        }
        if files.changes() <= step {
            break;
        }
    }
}

#[test]
fn a_row_lost_in_an_unclean_end_is_noticed_at_the_next_open() {
    use fieldmesh_store::memory::{Crash, Fault};
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    put(store.view(), Tree::Meta, b"a", b"1".to_vec());
    put(store.view(), Tree::Meta, b"b", b"2".to_vec());
    files.fail_at(files.changes(), Fault::PowerOff);
    drop(store);
    files.crash(Crash::NothingUnsynced);
    // The first of the two sets, which lies by itself.
    let below = rows.open().unwrap();
    below.write([([&[2][..], &0_u64.to_be_bytes()].concat(), None)].into()).unwrap();

    let store = open(&files, &rows);
    assert!(!store.report().was_closed && store.view_was_rebuilt());
    assert_eq!(store.report().view, ViewCondition::Damaged);
    assert_eq!(store.view().get(Tree::Meta, b"b").unwrap(), None);
}

#[test]
fn index_keys_are_hashed_alike_in_every_build() {
    let files = MemoryFiles::new();
    let first = open(&files, &MemoryRows::new());
    let hash = first.keyed_hash("site", &[b"north", b"2026-03"]);
    assert_ne!(hash, first.keyed_hash("site", &[b"north2", b"026-03"]));
    assert_ne!(hash, first.keyed_hash("month", &[b"north", b"2026-03"]));
    drop(first);
    assert_eq!(open(&files, &MemoryRows::new()).keyed_hash("site", &[b"north", b"2026-03"]), hash);
}

#[test]
fn a_view_whose_places_mean_something_else_is_built_anew() {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    let store = open(&files, &rows);
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    put(store.view(), Tree::Meta, b"a", b"1".to_vec());
    drop(store);
    let below: Box<dyn Rows> = rows.open().unwrap();
    let key = b"\0head".to_vec();
    let mut head = below.get(&key).unwrap().unwrap();
    head[0] = 1;
    below.write([(key, Some(head))].into()).unwrap();

    let store = open(&files, &rows);
    assert_eq!(store.report().view, ViewCondition::EarlierVersion);
    assert!(store.view_was_rebuilt() && !store.report().past_is_uncertain());
    assert_eq!(store.view().applied().unwrap(), None);
}

/// Rows that tell how often they were looked through.
#[derive(Clone, Default)]
struct Counted {
    rows: MemoryRows,
    scans: Arc<AtomicUsize>,
}

impl Rows for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.rows.get(key)
    }

    fn scan(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, RowsError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.rows.scan(range, direction, limit)
    }

    fn write(&self, batch: RowBatch) -> Result<(), RowsError> {
        self.rows.write(batch)
    }

    fn flush(&self) -> Result<(), RowsError> {
        self.rows.flush()
    }
}

impl RowsSource for Counted {
    fn open(&self) -> Result<Box<dyn Rows>, RowsError> {
        Ok(Box::new(self.clone()))
    }

    fn set_aside(&self) -> Result<(), RowsError> {
        self.rows.set_aside()
    }

    fn discard(&self) -> Result<(), RowsError> {
        self.rows.discard()
    }

    fn forget_set_aside(&self) -> Result<(), RowsError> {
        self.rows.forget_set_aside()
    }

    fn open_beside(&self) -> Result<Box<dyn Rows>, RowsError> {
        self.rows.open_beside()
    }

    fn take_beside(&self) -> Result<(), RowsError> {
        self.rows.take_beside()
    }

    fn disk_bytes(&self) -> Result<u64, RowsError> {
        self.rows.disk_bytes()
    }
}

#[test]
fn what_a_small_view_lacks_is_looked_for_on_the_disk_once() {
    let counted = Counted::default();
    let rows = Arc::new(counted.clone());
    let files = Arc::new(MemoryFiles::new());
    let store = Store::open_on(files, rows, &key(), &options()).unwrap();
    let view = store.view();
    put(view, Tree::Meta, b"a", b"1".to_vec());
    let before = counted.scans.load(Ordering::Relaxed);
    for number in 0..100_u8 {
        let key = [b'b', number];
        assert_eq!(view.get(Tree::Meta, &key).unwrap(), None);
        for direction in [Direction::Ascending, Direction::Descending] {
            let range = KeyRange::prefix(&key);
            assert_eq!(view.keys(Tree::Index, &range, direction, 10).unwrap().len(), 0);
        }
    }
    assert!(counted.scans.load(Ordering::Relaxed) - before <= 2);
    // So many that they are written into pages.
    let mut set = WriteSet::new();
    for number in 0..20_000_u32 {
        set.put(Tree::Index, number.to_be_bytes().to_vec(), vec![1]);
    }
    view.apply(set).unwrap();
    for number in [0, 7_000, 19_999_u32] {
        let found = view.get(Tree::Index, &number.to_be_bytes()).unwrap();
        assert_eq!(found.as_deref(), Some(&[1][..]));
    }
    assert_eq!(view.count(Tree::Index).unwrap(), 20_000);
    assert_eq!(view.get(Tree::Meta, b"a").unwrap().as_deref(), Some(&b"1"[..]));
}
