//! Goal: what a disk does not give for a moment is not written down as lost.
//! Method: reads of one file fail in turn while its segment is written anew.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fieldmesh_store::files::{Files, ReadFile, WriteFile};
use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{Fate, Past, Store};

use super::merge::{commands, logs, name};
use super::{key, open, options};

/// A disk of which some reads of one file fail.
struct Passing {
    files: MemoryFiles,
    name: String,
    reads: Arc<AtomicU64>,
    failing: Arc<Mutex<std::ops::Range<u64>>>,
}

struct PassingFile {
    file: Arc<dyn ReadFile>,
    reads: Arc<AtomicU64>,
    failing: Arc<Mutex<std::ops::Range<u64>>>,
}

impl ReadFile for PassingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.failing.lock().unwrap().contains(&read) {
            return Err(io::Error::other("the disk is busy"));
        }
        self.file.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Files for Passing {
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        self.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        let file = self.files.open(name)?;
        if name != self.name {
            return Ok(file);
        }
        let (reads, failing) = (Arc::clone(&self.reads), Arc::clone(&self.failing));
        Ok(Arc::new(PassingFile { file, reads, failing }))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.files.truncate(name, length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.files.sync(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.files.list(folder)
    }

    fn size_of_folder(&self, folder: &str) -> io::Result<u64> {
        self.files.size_of_folder(folder)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.files.create_folder(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        self.files.allocate(name, length)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.files.free_bytes()
    }
}

#[test]
fn a_segment_of_several_knows_them_after_a_disk_that_failed_for_a_moment() {
    let (source, _) = commands(4);
    let second = source.contents()[&name(2)].clone();
    let store = open(&source, &MemoryRows::new());
    // Of the second one nothing is left that says whose leftover its file would be.
    store.merge(&[1, 2, 3, 4], |place, _| (3..6).contains(&place.0)).unwrap();
    store.close().unwrap();
    for count in [1, 2, 3] {
        for at in 0.. {
            let (files, reads) = (source.fork(), Arc::<AtomicU64>::default());
            let failing = Arc::new(Mutex::new(0..0));
            let disk = Passing {
                files: files.clone(),
                name: name(4),
                reads: Arc::clone(&reads),
                failing: Arc::clone(&failing),
            };
            let rows = Arc::new(MemoryRows::new());
            let store = Store::open_on(Arc::new(disk), rows, &key(), &options()).unwrap();
            let first = reads.load(Ordering::Relaxed) + at;
            *failing.lock().unwrap() = first..first + count;
            // It may be refused; what it leaves is what counts.
            let _ = store.rewrite(4, Past::Named, |_, _| Fate::Keep);
            drop(store);
            let is_reached = reads.load(Ordering::Relaxed) > first;
            files.place(&name(2), second.clone());
            let store = open(&files, &MemoryRows::new());
            assert!(store.kept_leftovers().is_empty(), "read {at} of {count} failed");
            assert_eq!(logs(&files), [name(4)], "read {at} of {count} failed");
            if !is_reached {
                break;
            }
        }
    }
}
