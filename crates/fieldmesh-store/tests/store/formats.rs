//! What a store of every format held is found in it, exactly.
//!
//! The files in `tests/fixtures` were written once; `write_the_fixtures` writes them anew where a
//! format gets a new version, and then the old ones stay beside the new ones.

use std::path::{Path, PathBuf};

use fieldmesh_model::StoreId;
use fieldmesh_store::backup::{BackupWriter, SealedBackup};
use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::view::rows::RowsSource as _;
use fieldmesh_store::{
    Direction, Entry, Fate, Form, KeyRange, Past, Place, Store, Tree, ViewCondition, WriteSet,
};

use super::{key, open, replay};

const BACKUP_OF: StoreId = StoreId::from_bytes([5; 16]);
/// Places whose entries were dropped when the first segment became blocks.
const DROPPED: [u64; 2] = [2, 5];
const LARGE: [u8; 9_000] = [9; 9_000];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The parts of a fixture: names with files, or keys with rows.
fn parts(name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let packed = std::fs::read(path(name)).unwrap();
    let bytes = zstd::bulk::decompress(&packed, 1 << 20).unwrap();
    let mut fields = Vec::new();
    let mut rest = &bytes[..];
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (field, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
        fields.push(field.to_vec());
        rest = next;
    }
    fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn write(name: &str, parts: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    let fields = parts.into_iter().flat_map(|(name, content)| [name, content]);
    let sized = |field: Vec<u8>| [&(field.len() as u32).to_be_bytes()[..], &field].concat();
    let bytes: Vec<u8> = fields.flat_map(sized).collect();
    std::fs::create_dir_all(path("")).unwrap();
    std::fs::write(path(name), zstd::bulk::compress(&bytes, 19).unwrap()).unwrap();
}

pub(super) fn files(name: &str) -> MemoryFiles {
    let files = MemoryFiles::new();
    for (name, content) in parts(name) {
        files.place(std::str::from_utf8(&name).unwrap(), content);
    }
    files
}

fn rows(name: &str) -> MemoryRows {
    let rows = MemoryRows::new();
    let below = rows.open().unwrap();
    let batch = parts(name).into_iter().map(|(key, value)| (key, Some(value)));
    below.write(batch.collect()).unwrap();
    below.flush().unwrap();
    rows
}

/// What was appended: small, repetitive and large enough to be compressed by itself.
fn entries() -> Vec<(Place, Entry)> {
    let bytes = |number: u8| match number {
        3 => LARGE.to_vec(),
        _ => format!("forty ewes at gate {number}").into_bytes(),
    };
    (0..9).map(|at| (Place(at.into()), Entry { kind: at % 5, bytes: bytes(at) })).collect()
}

/// What a view holds that was brought up to the end of these.
fn view_rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..300_u16).map(|at| (at.to_be_bytes().to_vec(), vec![at as u8; at.into()])).collect()
}

/// It holds what was put in, is whole, and takes more.
fn assert_whole(store: &Store, expected: &[(Place, Entry)]) {
    let report = store.report();
    assert!(report.was_closed && report.damage.is_empty());
    let (found, replayed) = replay(store);
    assert_eq!((found, replayed.bad_frames), (expected.to_vec(), vec![]));
    for (place, entry) in expected {
        assert_eq!(*store.read(*place).unwrap(), *entry);
    }
    assert_eq!(store.append(vec![Entry { kind: 7, bytes: vec![7] }]).unwrap(), [Place(9)]);
}

#[test]
fn a_log_of_version_1_holds_what_was_put_in_and_becomes_version_2() {
    let files = files("log-1.zst");
    let store = open(&files, &MemoryRows::new());
    assert_whole(&store, &entries());
    assert!(store.closed_segments().unwrap().iter().all(|it| it.form == Form::Frames));
    store.rewrite(1, Past::Named, |_, _| Fate::Keep).unwrap();
    let mut all = entries();
    all.push((Place(9), Entry { kind: 7, bytes: vec![7] }));
    assert_eq!(replay(&store).0, all);
    drop(store);
    let store = open(&files, &MemoryRows::new());
    assert_eq!(store.closed_segments().unwrap()[0].form, Form::Blocks);
    assert_eq!(replay(&store).0, all);
}

fn left() -> Vec<(Place, Entry)> {
    entries().into_iter().filter(|(place, _)| !DROPPED.contains(&place.0)).collect()
}

#[test]
fn a_log_of_version_2_holds_what_was_put_in() {
    let store = open(&files("log-2.zst"), &MemoryRows::new());
    assert_eq!(store.closed_segments().unwrap()[0].form, Form::Blocks);
    assert_whole(&store, &left());
}

#[test]
fn a_log_of_version_3_or_4_holds_what_was_put_in_and_is_version_4_once_it_is_written_anew() {
    for (name, version) in [("log-3.zst", 3), ("log-4.zst", 4), ("log-4-taken.zst", 4)] {
        let files = files(name);
        let written = || files.contents()["log/0000000000000003.log"][8..10].to_vec();
        assert_eq!(written(), [0, version]);
        let store = open(&files, &MemoryRows::new());
        let [one] = &store.closed_segments().unwrap()[..] else { panic!("three are one") };
        assert_eq!((one.form, one.first_number, one.places.clone()), (Form::Blocks, 1, 0..9));
        assert_whole(&store, &left());
        store.rewrite(3, Past::Named, |_, _| Fate::Keep).unwrap();
        assert_eq!(written(), [0, 4]);
        assert_eq!(replay(&store).0[..7], left());
    }
}

#[test]
fn a_view_of_an_earlier_version_gives_way_to_one_that_older_programs_leave_alone() {
    for earlier in
        ["view-2.zst", "view-3.zst", "view-4.zst", "view-5.zst", "view-6.zst", "view-7.zst"]
    {
        let disk = files("log-2.zst");
        let mark = |disk: &MemoryFiles| disk.contents()["store"][8..10].to_vec();
        assert_eq!(mark(&disk), [0, 1]);
        let rows = rows(earlier);
        let store = open(&disk, &rows);
        assert_eq!(store.report().view, ViewCondition::EarlierVersion);
        assert_eq!(store.view().applied().unwrap(), None);
        assert_eq!(mark(&disk), [0, 7]);
        assert_eq!(rows.open().unwrap().get(b"\0head").unwrap().unwrap()[0], 8);
    }
}

#[test]
fn a_view_of_version_8_holds_what_was_put_in() {
    let store = open(&files("log-2.zst"), &rows("view-8.zst"));
    assert_eq!(store.report().view, ViewCondition::Kept);
    assert_eq!(store.view().applied().unwrap(), Some(Place(8)));
    let all = KeyRange::all();
    let found = store.view().scan(Tree::Document, &all, Direction::Ascending, 999).unwrap();
    assert_eq!(found, view_rows());
    let large = store.view().get(Tree::Meta, b"large").unwrap();
    assert_eq!(large, Some(LARGE.to_vec()));
    store.view().verify().unwrap();
}

#[test]
fn the_notes_of_damage_hold_what_was_put_in() {
    let store = open(&files("damaged-1.zst"), &MemoryRows::new());
    let [line] = &store.report().damage[..] else { panic!("{:?}", store.report()) };
    assert!(line.starts_with("the last ") && line.contains("segment 1, byte 4"), "{line}");
    assert_eq!(replay(&store).0, entries()[..8]);
}

#[test]
fn a_backup_of_version_1_holds_what_was_put_in() {
    let bytes = std::fs::read(path("backup-1.bin")).unwrap();
    let sealed = SealedBackup::open(&bytes[..]).unwrap();
    assert_eq!(sealed.opener(), b"opener");
    let mut reader = sealed.unlock(&key()).unwrap();
    assert_eq!((reader.store(), reader.words()), (BACKUP_OF, &b"words"[..]));
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        found.push(entry);
    }
    assert_eq!(found, entries());
    let summary = reader.summary().unwrap();
    assert_eq!((summary.end, summary.unreadable), (Some(Place(8)), 3));
}

#[test]
#[ignore = "writes the fixtures of today's formats anew"]
fn write_the_fixtures() {
    let disk = MemoryFiles::new();
    let appended = entries().into_iter().map(|(_, entry)| entry);
    let store = open(&disk, &MemoryRows::new());
    store.append(appended.collect()).unwrap();
    store.close().unwrap();
    let contents = |disk: &MemoryFiles| {
        disk.contents().into_iter().map(|(name, content)| (name.into_bytes(), content))
    };
    write("log-1.zst", contents(&disk));

    // A tail that was torn, as it was noted and set aside by an open that then was killed.
    let torn = disk.fork();
    let name = "log/0000000000000001.log";
    let mut content = torn.contents()[name].clone();
    content.truncate(content.len() - 3);
    torn.place(name, content);
    drop(open(&torn, &MemoryRows::new()));
    write("damaged-1.zst", contents(&torn));

    let rows = MemoryRows::new();
    let store = open(&disk, &rows);
    let dropped = |place: Place| DROPPED.contains(&place.0);
    let fate = |place| if dropped(place) { Fate::Drop } else { Fate::Keep };
    store.rewrite(1, Past::Named, |place, _| fate(place)).unwrap();
    store.close().unwrap();
    write("log-2.zst", contents(&disk));

    let begun = BackupWriter::begin(Vec::new(), &key(), BACKUP_OF, b"opener", b"words");
    let mut writer = begun.unwrap();
    for (place, entry) in entries() {
        writer.add(place, &entry).unwrap();
    }
    let bytes = writer.finish(Some(Place(8)), 3).unwrap().0;
    std::fs::write(path("backup-1.bin"), bytes).unwrap();
}

#[test]
#[ignore = "writes the fixture of today's merged log anew"]
fn write_the_merged_log() {
    let disk = MemoryFiles::new();
    for part in entries().chunks(3) {
        let store = open(&disk, &MemoryRows::new());
        store.append(part.iter().map(|(_, entry)| entry.clone()).collect()).unwrap();
        store.close().unwrap();
    }
    let store = open(&disk, &MemoryRows::new());
    store.merge(&[1, 2, 3], |place, _| DROPPED.contains(&place.0)).unwrap();
    store.close().unwrap();
    let contents = disk.contents().into_iter();
    write("log-4-taken.zst", contents.map(|(name, content)| (name.into_bytes(), content)));
}

/// Of the log that lies there, so that older views of it stay beside this one.
#[test]
#[ignore = "writes the fixture of today's view anew"]
fn write_the_view() {
    let rows = MemoryRows::new();
    let store = open(&files("log-2.zst"), &rows);
    let mut set = WriteSet::new();
    for (key, value) in view_rows() {
        set.put(Tree::Document, key, value);
    }
    set.put(Tree::Meta, b"large", LARGE);
    set.set_applied(Place(8));
    store.view().apply(set).unwrap();
    store.close().unwrap();
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let below = rows.open().unwrap();
    write("view-8.zst", below.scan(&all, Direction::Ascending, usize::MAX).unwrap());
}
