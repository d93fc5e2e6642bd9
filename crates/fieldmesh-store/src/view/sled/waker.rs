//! Wakes who waits for sled after its disk has failed.
//!
//! Sled 0.34 keeps the error of a write in the background and wakes whoever waits for it, but not
//! where the write was left to a writer that was last out of a buffer (`exit_reservation` in its
//! `logger.rs`): a flush, or a read of a page that is not on the disk yet, then waits for ever, and
//! with it every batch that is applied to any database of the process. Whoever wants room in the log
//! finds the error and does wake them.
//!
//! One thread looks after all databases of the process, and ends with the last of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use sled::{Config, Db};

use super::guard;

/// How long somebody may wait for nothing.
const INTERVAL: Duration = Duration::from_secs(1);
/// What is asked to be made once nothing can be made any more.
const NEVER_MADE: &str = "awake";
/// The name of the thread.
const NAME: &str = "view waker";

static WATCHED: Mutex<Watched> =
    Mutex::new(Watched { next: 0, wakers: 0, is_running: false, databases: BTreeMap::new() });
static ENDED: Condvar = Condvar::new();

/// Every database of this process.
struct Watched {
    next: u64,
    /// How many want the thread, whether they have a database so far or not.
    wakers: usize,
    is_running: bool,
    databases: BTreeMap<u64, (Config, Db)>,
}

/// Looks after a database until it is dropped.
pub(super) struct Waker {
    number: u64,
}

impl Waker {
    /// Made before there is a database, so that none is opened that nobody could look after.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn new() -> io::Result<Self> {
        let mut watched = lock();
        if !watched.is_running {
            Builder::new().name(NAME.into()).spawn(watch)?;
            watched.is_running = true;
        }
        watched.wakers += 1;
        watched.next += 1;
        Ok(Self { number: watched.next })
    }

    /// Looks after `database`, which `config` has opened.
    pub(super) fn watch(&self, config: Config, database: Db) {
        lock().databases.insert(self.number, (config, database));
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        let mut watched = lock();
        let database = watched.databases.remove(&self.number);
        watched.wakers -= 1;
        if watched.wakers == 0 {
            ENDED.notify_all();
        }
        drop(watched);
        // Whoever opened it still has it, so nothing is closed by this.
        drop(database);
    }
}

fn watch() {
    let mut watched = lock();
    while watched.wakers > 0 {
        for (config, database) in watched.databases.values() {
            if config.global_error().is_err() {
                // Gives that error again, at once: nobody waits for this under the lock.
                let _ = guard::call(|| database.open_tree(NEVER_MADE));
            }
        }
        let waited = ENDED.wait_timeout(watched, INTERVAL);
        watched = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    watched.is_running = false;
}

fn lock() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::SledSource;
    use super::*;
    use crate::view::rows::RowsSource;

    #[test]
    fn one_thread_looks_after_all_databases() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = folder.path().join(name);
            SledSource::new(path, folder.path().join("aside"), 1 << 20).open().unwrap()
        };
        let opened = ["one", "two", "three"].map(open);
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: io::Result<std::fs::DirEntry>| {
            // A thread may end meanwhile.
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        };
        assert_eq!(tasks.map(name).filter(|name| name.trim() == NAME).count(), 1);
        drop(opened);
    }
}
