//! A store in a real folder: locks, threads, passphrases.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;

use fieldmesh_store::{AppendError, DataKey, Entry, OpenError, Options, Store, WrappedKey};

use super::{Dice, key, replay};

fn options() -> Options {
    Options { reserve_bytes: 1024 * 1024, ..Options::default() }
}

#[test]
fn a_store_cannot_be_opened_twice() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path(), &key(), &options()).unwrap();
    let Err(OpenError::Locked { holder, .. }) = Store::open(folder.path(), &key(), &options())
    else {
        panic!("opened twice");
    };
    assert_eq!(holder, Some(std::process::id()));
    first.close().unwrap();
    let second = Store::open(folder.path(), &key(), &options()).unwrap();
    assert!(second.report().was_closed);
    assert!(matches!(first.append(vec![entry(1)]), Err(AppendError::Closed)));
}

#[test]
fn what_stands_in_place_of_a_file_or_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (home, kept) = (folder.path().join("home"), folder.path().join("kept"));
    let open = || Store::open(&home, &key(), &options());
    open().unwrap().close().unwrap();
    let assert_told = |path: &std::path::Path, words: &str| {
        let told = open().unwrap_err().to_string();
        assert!(told.starts_with(&format!("{} {words};", path.display())), "{told}");
    };
    for name in ["log", "view"] {
        let path = home.join(name);
        std::fs::rename(&path, &kept).unwrap();
        std::fs::write(&path, "no folder").unwrap();
        assert_told(&path, "is no folder");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&kept, &path).unwrap();
        open().unwrap().close().unwrap();
    }
    for name in ["store", "clean"] {
        let path = home.join(name);
        std::fs::rename(&path, &kept).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_told(&path, "is no file");
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&kept, &path).unwrap();
        open().unwrap().close().unwrap();
    }
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::write(&home, "no folder").unwrap();
    assert_told(&home, "is no folder");
}

#[test]
fn sixty_four_threads_append_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    let places = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let mut dice = Dice(thread);
                    (0..20)
                        .map(|serial| {
                            let entry = dice.entry(thread * 100 + serial);
                            (store.append(vec![entry.clone()]).unwrap()[0], entry)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (place, entry) in &places {
        assert_eq!(*store.read(*place).unwrap(), *entry);
    }
    let unique: BTreeSet<_> = places.iter().map(|(place, _)| *place).collect();
    assert_eq!(unique.len(), 64 * 20);
    drop(store);
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    assert_eq!(replay(&store).0.len(), 64 * 20);
    assert_eq!(store.end(), unique.last().copied());
}

#[test]
fn callbacks_answer_in_order_and_a_panic_in_one_hurts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    let (sender, receiver) = channel();
    for serial in 0..100 {
        let sender = sender.clone();
        store.append_with(vec![entry(serial)], move |result| {
            sender.send(result.unwrap()[0]).unwrap();
            assert_ne!(serial, 50, "a callback's own mistake");
        });
    }
    let places: Vec<_> = receiver.iter().take(100).collect();
    assert!(places.is_sorted());
    assert_eq!(store.append(vec![entry(1)]).unwrap().len(), 1);
}

#[test]
fn what_is_lined_up_is_written_in_its_order_whether_anybody_waits_for_it_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    let line_up = |serial| store.append_later(store.pack(entry(serial)).unwrap());
    let [first, second, third] = [1, 2, 3].map(line_up);
    let third = third.wait().unwrap()[0];
    let [first, second] = [first, second].map(|appending| appending.wait().unwrap()[0]);
    assert!(first < second && second < third);
    drop(line_up(4));
    let fifth = store.append(vec![entry(5)]).unwrap()[0];
    assert_eq!(
        replay(&store).0.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>(),
        [entry(1), entry(2), entry(3), entry(4), entry(5)]
    );
    // Nobody else appends any more, so the log's thread has to come to it.
    drop(line_up(6));
    while store.end() <= Some(fifth) {
        std::thread::yield_now();
    }
    let late = line_up(7);
    store.close().unwrap();
    assert_eq!(late.wait().unwrap().len(), 1, "it was lined up before the end");
    assert!(matches!(line_up(8).wait(), Err(AppendError::Closed)));
}

#[test]
fn sixty_four_threads_that_wait_write_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let store = &store;
            scope.spawn(move || {
                for serial in 0..20 {
                    let entry = entry(thread * 100 + serial);
                    let appending = store.append_later(store.pack(entry.clone()).unwrap());
                    let place = appending.wait().unwrap()[0];
                    assert_eq!(*store.read(place).unwrap(), entry);
                }
            });
        }
    });
    assert_eq!(replay(&store).0.len(), 64 * 20);
}

#[test]
fn a_profile_opens_with_its_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = DataKey::generate().unwrap();
    let wrapped = WrappedKey::by_passphrase(&fresh, "north paddock").unwrap().to_bytes();
    let store = Store::open(folder.path(), &fresh, &options()).unwrap();
    let place = store.append(vec![entry(7)]).unwrap()[0];
    drop(store);

    let wrapped = WrappedKey::from_bytes(&wrapped).unwrap();
    assert!(wrapped.open_with_passphrase("south paddock").is_err());
    let again = wrapped.open_with_passphrase("north paddock").unwrap();
    let store = Store::open(folder.path(), &again, &options()).unwrap();
    assert_eq!(*store.read(place).unwrap(), entry(7));
    drop(store);
    let other = Store::open(folder.path(), &key(), &options());
    assert!(matches!(other, Err(OpenError::WrongKey)));
}

/// Where the process that is killed finds its folder.
const FOLDER_VARIABLE: &str = "FIELDMESH_STORE_TEST_FOLDER";

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["folder::the_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER_VARIABLE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acks = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let last: Option<u64> = acks.by_ref().nth(3 + round * 17);
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = acks.last().or(last).unwrap();
        let store = Store::open(folder.path(), &key(), &options()).unwrap();
        assert!(!store.report().was_closed && !store.view_was_rebuilt());
        let (entries, _) = replay(&store);
        assert!(entries.len() as u64 >= acknowledged);
        assert!(entries.iter().zip(0..).all(|((_, found), serial)| *found == entry(serial)));
        assert!(store.view().applied().unwrap() <= store.end());
    }
    assert!(acknowledged > 100);
}

#[test]
#[ignore = "started by a_killed_process_loses_nothing_it_acknowledged"]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let store = Store::open(folder, &key(), &options()).unwrap();
    let mut serial = replay(&store).0.len() as u64;
    loop {
        let place = store.append(vec![entry(serial)]).unwrap()[0];
        serial += 1;
        println!("acknowledged {serial}");
        let mut set = fieldmesh_store::WriteSet::new();
        set.put(fieldmesh_store::Tree::Feed, place.to_bytes(), vec![1; 300]);
        set.set_applied(place);
        store.view().apply(set).unwrap();
    }
}

#[test]
fn nothing_readable_lies_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &key(), &options()).unwrap();
    let secret = b"ewe 4711 lame on the left hind leg";
    store.append(vec![Entry { kind: 1, bytes: secret.to_vec() }]).unwrap();
    let mut set = fieldmesh_store::WriteSet::new();
    set.put(fieldmesh_store::Tree::Document, b"id", secret.to_vec());
    store.view().apply(set).unwrap();
    drop(store);
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(12).any(|window| window == &secret[..12]);
            assert!(!found, "{}", path.display());
        }
    }
}

fn entry(serial: u64) -> Entry {
    Entry { kind: 3, bytes: serial.to_be_bytes().to_vec() }
}
