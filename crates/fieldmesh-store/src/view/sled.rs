//! Rows in sled 0.34, with the precautions it needs.
//!
//! The only place that names sled. Its `flush` does not reach the disk, its files are not synced
//! when they are created, it panics on damaged files, its errors stick to a handle and may leave
//! others waiting, it takes threads for granted, and without its flusher thread it never collects
//! garbage; each of these is met below.

mod threads;
mod waker;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Batch, Config, Db};

use self::waker::Waker;
use super::guard;
use super::range::is_empty_range;
use super::rows::{RowBatch, RowRange, Rows, RowsError, RowsSource};
use super::{Direction, Row};
use crate::files::sync_real_folder;

/// How often sled flushes by itself; its garbage is collected only then.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// The memory sled may use for rows that are only written.
const BESIDE_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// What was set aside, in the quarantine.
const SET_ASIDE: &str = "view";
/// How often an open is tried while threads of the last handle still hold sled's lock.
const LOCK_TRIES_MAX: usize = 300;
const LOCK_TRY_INTERVAL: Duration = Duration::from_millis(10);

/// A sled database in a folder.
#[derive(Debug, Clone)]
pub struct SledSource {
    folder: PathBuf,
    quarantine: PathBuf,
    cache_bytes: u64,
}

impl SledSource {
    /// The database in `folder`; a damaged one is moved into the folder `quarantine`.
    pub fn new(folder: PathBuf, quarantine: PathBuf, cache_bytes: u64) -> Self {
        Self { folder, quarantine, cache_bytes }
    }

    /// Where the rows are written anew.
    fn beside(&self) -> PathBuf {
        self.folder.with_extension("new")
    }

    /// Where the rows wait while those beside take their place.
    fn replaced(&self) -> PathBuf {
        self.folder.with_extension("old")
    }

    /// Ends what a process left half done that ended while it put rows in place of others.
    fn settle(&self) -> io::Result<()> {
        let replaced = self.replaced();
        if replaced.is_dir() && !self.folder.is_dir() {
            fs::rename(&replaced, &self.folder)?;
            sync_parent(&self.folder)?;
        }
        remove_folder(&replaced)?;
        remove_folder(&self.beside())
    }

    fn open_folder(&self, folder: &Path, cache_bytes: u64) -> Result<Box<dyn Rows>, RowsError> {
        let is_new = !folder.is_dir();
        remove_empty_snapshots(folder).map_err(classify)?;
        let rows = open_database(folder, cache_bytes)?;
        if is_new {
            sync_new(folder).map_err(classify)?;
        }
        Ok(Box::new(rows))
    }
}

impl RowsSource for SledSource {
    fn open(&self) -> Result<Box<dyn Rows>, RowsError> {
        self.settle().map_err(RowsError::Io)?;
        self.open_folder(&self.folder, self.cache_bytes)
    }

    fn set_aside(&self) -> Result<(), RowsError> {
        set_aside(&self.folder, &self.quarantine).map_err(RowsError::Io)
    }

    fn discard(&self) -> Result<(), RowsError> {
        remove_folder(&self.folder).map_err(RowsError::Io)
    }

    fn forget_set_aside(&self) -> Result<(), RowsError> {
        remove_folder(&self.quarantine.join(SET_ASIDE)).map_err(RowsError::Io)
    }

    fn open_beside(&self) -> Result<Box<dyn Rows>, RowsError> {
        let beside = self.beside();
        remove_folder(&beside).map_err(RowsError::Io)?;
        self.open_folder(&beside, self.cache_bytes.min(BESIDE_CACHE_BYTES))
    }

    fn take_beside(&self) -> Result<(), RowsError> {
        let take = || {
            fs::rename(&self.folder, self.replaced())?;
            fs::rename(self.beside(), &self.folder)?;
            sync_parent(&self.folder)?;
            remove_folder(&self.replaced())
        };
        take().map_err(RowsError::Io)
    }

    fn disk_bytes(&self) -> Result<u64, RowsError> {
        folder_bytes(&self.folder).map_err(RowsError::Io)
    }
}

fn open_database(folder: &Path, cache_bytes: u64) -> Result<SledRows, RowsError> {
    threads::check().map_err(RowsError::Io)?;
    let waker = Waker::new().map_err(RowsError::Io)?;
    let config = Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        .flush_every_ms(u64::try_from(FLUSH_INTERVAL.as_millis()).ok());
    let mut tries = 0;
    let database = loop {
        match guarded(|| config.open()) {
            Err(RowsError::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && tries < LOCK_TRIES_MAX =>
            {
                tries += 1;
                std::thread::sleep(LOCK_TRY_INTERVAL);
            }
            result => break result?,
        }
    };
    waker.watch(config, database.clone());
    Ok(SledRows { database: Some(database), waker: Some(waker), folder: folder.to_owned() })
}

struct SledRows {
    /// `None` only while it is dropped.
    database: Option<Db>,
    /// As `database`.
    waker: Option<Waker>,
    folder: PathBuf,
}

impl SledRows {
    fn run<T>(&self, work: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T, RowsError> {
        match &self.database {
            Some(database) => guarded(|| work(database)),
            None => Err(RowsError::Damaged),
        }
    }
}

impl Rows for SledRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.run(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, RowsError> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        self.run(|database| {
            let rows = database.range::<Vec<u8>, _>(range.clone());
            let copy = |row: sled::Result<(sled::IVec, sled::IVec)>| {
                row.map(|(key, value)| (key.to_vec(), value.to_vec()))
            };
            match direction {
                Direction::Ascending => rows.take(limit).map(copy).collect(),
                Direction::Descending => rows.rev().take(limit).map(copy).collect(),
            }
        })
    }

    fn write(&self, mut batch: RowBatch) -> Result<(), RowsError> {
        // One row needs no note in sled's log of what belongs together.
        if batch.len() == 1
            && let Some((key, value)) = batch.pop_first()
        {
            return self.run(|database| {
                let write = match value {
                    Some(value) => database.insert(key, value),
                    None => database.remove(key),
                };
                write.map(drop)
            });
        }
        let mut writes = Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.run(|database| database.apply_batch(writes))
    }

    fn flush(&self) -> Result<(), RowsError> {
        self.run(|database| database.flush())?;
        // Sled only starts the writing of its pages, so a handle of our own finishes it.
        let file = File::options().append(true).open(self.folder.join("db")).map_err(classify)?;
        file.sync_data().map_err(classify)
    }
}

impl Drop for SledRows {
    fn drop(&mut self) {
        // Sled flushes as well, but nobody looks after that.
        let _ = self.run(|database| database.flush());
        drop(self.waker.take());
        let database = self.database.take();
        if guard::call(|| drop(database)).is_err() {
            tracing::error!("sled panicked while it was closed");
        }
    }
}

fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, RowsError> {
    match guard::call(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(classify(error)),
        Ok(Err(error)) => {
            tracing::error!(%error, "sled reports an error");
            Err(RowsError::Damaged)
        }
        Err(panic) => Err(threads::refusal(&*panic).map_or(RowsError::Panicked, RowsError::Io)),
    }
}

/// Tells what the system refuses from what damaged files cause.
fn classify(error: io::Error) -> RowsError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    // Sled wraps its lock error in a text.
    if error.to_string().contains("could not acquire lock") {
        return RowsError::Io(io::Error::new(io::ErrorKind::WouldBlock, error));
    }
    match error.kind() {
        InvalidData | InvalidInput | UnexpectedEof => RowsError::Damaged,
        Other if error.raw_os_error().is_none() => RowsError::Damaged,
        _ => RowsError::Io(error),
    }
}

/// An empty snapshot, left by a power cut, prevents every open; without it nothing is lost.
fn remove_empty_snapshots(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let is_snapshot = entry.file_name().as_encoded_bytes().starts_with(b"snap.");
        if is_snapshot && entry.metadata()?.len() == 0 {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a new database's files and folders durable, which sled never does.
fn sync_new(folder: &Path) -> io::Result<()> {
    for name in ["conf", "db"] {
        File::options().append(true).open(folder.join(name))?.sync_all()?;
    }
    let blobs = folder.join("blobs");
    if blobs.is_dir() {
        sync_real_folder(&blobs)?;
    }
    sync_real_folder(folder)?;
    sync_parent(folder)
}

/// Keeps only the last: the rows are derived, so the copy serves nothing but a look at it.
fn set_aside(folder: &Path, quarantine: &Path) -> io::Result<()> {
    let kept = quarantine.join(SET_ASIDE);
    remove_folder(&kept)?;
    fs::create_dir_all(quarantine)?;
    match fs::rename(folder, &kept) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, "damaged view removed instead of kept");
            remove_folder(folder)?;
        }
    }
    sync_parent(folder)
}

fn sync_parent(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), sync_real_folder)
}

/// The bytes of all files in a folder.
fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() { folder_bytes(&entry.path())? } else { found.len() };
    }
    Ok(bytes)
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
