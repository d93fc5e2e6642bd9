//! Wakes who waits for sled after its disk has failed.
//!
//! Sled 0.34 keeps the error of a write in the background and wakes whoever waits for it, but not
//! where the write was left to a writer that was last out of a buffer (`exit_reservation` in its
//! `logger.rs`): a flush, or a read of a page that is not on the disk yet, then waits for ever, and
//! with it every batch that is applied to any database of the process. Whoever wants room in the log
//! finds the error and does wake them.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use sled::{Config, Db};

use super::guard;

/// How long somebody may wait for nothing.
const INTERVAL: Duration = Duration::from_secs(1);
/// What is asked to be made once nothing can be made any more.
const NEVER_MADE: &str = "awake";

/// Looks after a database until it is dropped.
pub(super) struct Waker {
    /// `None` only while it is dropped.
    ends: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Waker {
    /// Looks after `database`, which `config` has opened.
    pub(super) fn new(config: Config, database: Db) -> io::Result<Self> {
        let (end, is_ended) = channel();
        let watch = move || {
            while is_ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if config.global_error().is_err() {
                    // Gives that error again.
                    let _ = guard::call(|| database.open_tree(NEVER_MADE));
                }
            }
        };
        let thread = Builder::new().name("view waker".into()).spawn(watch)?;
        Ok(Self { ends: Some((end, thread)) })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.ends.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}
