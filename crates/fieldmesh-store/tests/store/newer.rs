//! A store that a newer program wrote is refused in words, and nothing of it is touched.
//!
//! Each part gets a higher version as that program would write it, checksums included. The log
//! ends in a torn tail and nothing was closed in order, so an open that goes on too far is seen.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::Row;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::view::rows::{Rows, RowsSource as _};
use fieldmesh_store::view::sled::SledSource;
use fieldmesh_store::{Direction, Entry, OpenError, Store, Tree, WriteSet};

use super::{key, open, options, try_open};

const FIRST: &str = "log/0000000000000001.log";
const HEAD: &[u8] = b"\0head";

/// A store that was not closed, with a torn tail.
fn torn() -> (MemoryFiles, MemoryRows) {
    let (files, rows) = (MemoryFiles::new(), MemoryRows::new());
    fill(&open(&files, &rows));
    let mut content = files.contents()[FIRST].clone();
    content.truncate(content.len() - 3);
    files.place(FIRST, content);
    (files, rows)
}

fn fill(store: &Store) {
    let entries = (0..3).map(|kind| Entry { kind, bytes: vec![kind; 40] }).collect();
    let last = *store.append(entries).unwrap().last().unwrap();
    let mut set = WriteSet::new();
    set.put(Tree::Meta, b"a", b"1");
    set.set_applied(last);
    store.view().apply(set).unwrap();
    store.flush_view().unwrap();
}

/// Puts a CRC32 behind the part that it covers.
fn reseal(bytes: &mut [u8], part: std::ops::Range<usize>) {
    let checksum = crc32fast::hash(&bytes[part.clone()]).to_be_bytes();
    bytes[part.end..part.end + 4].copy_from_slice(&checksum);
}

fn all_rows(rows: &dyn Rows) -> Vec<Row> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    rows.scan(&all, Direction::Ascending, usize::MAX).unwrap()
}

fn set_view_version(rows: &dyn Rows, version: u8) {
    let mut head = rows.get(HEAD).unwrap().unwrap();
    head[0] = version;
    rows.write([(HEAD.to_vec(), Some(head))].into()).unwrap();
    rows.flush().unwrap();
}

/// The store is refused with these words, and every byte is as before.
#[track_caller]
fn assert_refused(files: &MemoryFiles, rows: &MemoryRows, words: &str) {
    let below = rows.open().unwrap();
    let before = (files.contents(), all_rows(&*below));
    for _ in 0..2 {
        let refused = try_open(files, rows).unwrap_err();
        assert!(matches!(refused, OpenError::NewerVersion { .. }), "{refused:?}");
        assert_eq!(refused.to_string(), words);
        assert!((files.contents(), all_rows(&*below)) == before);
    }
}

#[test]
fn a_newer_segment_is_refused_and_left_alone() {
    let (files, rows) = torn();
    let mut content = files.contents()[FIRST].clone();
    for copy in [0, 4096] {
        content[copy + 9] = 5;
        reseal(&mut content, copy..copy + 76);
    }
    files.place(FIRST, content);
    assert_refused(&files, &rows, &format!("{FIRST} has version 5, this program reads up to 4"));
}

#[test]
fn a_newer_mark_is_refused_and_left_alone() {
    let (files, rows) = torn();
    let mut mark = files.contents()["store"].clone();
    mark[9] = 8;
    let end = mark.len() - 4;
    reseal(&mut mark, 0..end);
    files.place("store", mark);
    assert_refused(&files, &rows, "store has version 8, this program reads up to 7");
}

#[test]
fn a_newer_view_is_refused_and_neither_made_anew_nor_is_the_log_mended() {
    let (files, rows) = torn();
    set_view_version(&*rows.open().unwrap(), 9);
    assert_refused(&files, &rows, "view has version 9, this program reads up to 8");
    // The program that wrote it goes on with it.
    set_view_version(&*rows.open().unwrap(), 8);
    let store = try_open(&files, &rows).unwrap();
    assert_eq!(store.view().get(Tree::Meta, b"a").unwrap(), Some(b"1".to_vec()));
}

/// Sled writes a snapshot whenever it is opened, so of its files only the rows are compared.
#[test]
fn a_newer_view_on_a_real_disk_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fill(&Store::open(folder.path(), &key(), &options()).unwrap());
    let (view, quarantine) = (folder.path().join("view"), folder.path().join("quarantine"));
    let source = SledSource::new(view, quarantine, 1 << 20);
    set_view_version(&*source.open().unwrap(), 9);
    let before = (contents(folder.path()), all_rows(&*source.open().unwrap()));
    assert!(before.0.contains_key(Path::new("clean")));
    for _ in 0..2 {
        let refused = Store::open(folder.path(), &key(), &options()).unwrap_err();
        assert_eq!(refused.to_string(), "view has version 9, this program reads up to 8");
        assert!((contents(folder.path()), all_rows(&*source.open().unwrap())) == before);
    }
}

#[test]
fn a_view_that_is_newer_under_another_key_is_the_wrong_key() {
    let (files, rows) = torn();
    set_view_version(&*rows.open().unwrap(), 8);
    let other = fieldmesh_store::DataKey::from_bytes([1; 32]);
    let shared = (std::sync::Arc::new(files), std::sync::Arc::new(rows));
    let refused = Store::open_on(shared.0, shared.1, &other, &options());
    assert!(matches!(refused, Err(OpenError::WrongKey)));
}

#[test]
fn a_version_that_never_was_is_damage() {
    let (files, rows) = torn();
    let mut mark = files.contents()["store"].clone();
    mark[9] = 0;
    let end = mark.len() - 4;
    reseal(&mut mark, 0..end);
    files.place("store", mark);
    let mut content = files.contents()[FIRST].clone();
    content[9] = 0;
    reseal(&mut content, 0..76);
    files.place(FIRST, content);
    let store = try_open(&files, &rows).unwrap();
    assert_eq!(store.replay(None, |_, _| std::ops::ControlFlow::Continue(())).unwrap().entries, 2);
}

/// Every file of a store but those of sled, and the lock, which says who held it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            match path.is_dir() {
                true if name == Path::new("view") => {}
                true => folders.push(path),
                false if name == Path::new("lock") => {}
                false => drop(contents.insert(name, fs::read(path).unwrap())),
            }
        }
    }
    contents
}
