//! The threads that sled takes for granted.
//!
//! Without any for its pool sled 0.34 waits for ever while it opens a database, and where it gets
//! none for its flusher it panics, as it does on damaged files. A system that is short of threads
//! is no reason to throw good rows away.

use std::any::Any;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// What sled starts when the first database of a process is opened: its pool and a flusher.
const THREADS: usize = 8;

/// Whether this process was given as many threads once: its pool keeps them.
static WERE_GIVEN: Mutex<bool> = Mutex::new(false);

/// Fails if the system does not give the threads that sled starts.
pub(super) fn check() -> io::Result<()> {
    let mut were_given = WERE_GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !*were_given {
        start_at_once(THREADS)?;
        *were_given = true;
    }
    Ok(())
}

/// Starts threads that end once all have been started.
fn start_at_once(count: usize) -> io::Result<()> {
    let mut waiting = Vec::with_capacity(count);
    let mut result = Ok(());
    for _ in 0..count {
        let (end, is_ended) = channel::<()>();
        let wait = move || {
            let _ = is_ended.recv();
        };
        match Builder::new().name("view check".into()).spawn(wait) {
            Ok(thread) => waiting.push((end, thread)),
            Err(error) => {
                result = Err(refused(&error));
                break;
            }
        }
    }
    for (end, thread) in waiting {
        drop(end);
        let _ = thread.join();
    }
    result
}

/// The thread that the system refused, if that is what sled panicked at: an error of the system
/// stands in the text of the panic as it is debugged.
pub(super) fn refusal(panic: &(dyn Any + Send)) -> Option<io::Error> {
    let text = panic.downcast_ref::<String>()?;
    let code = text.split_once("Os { code: ")?.1.split_once(',')?.0.parse().ok()?;
    let error = io::Error::from_raw_os_error(code);
    // Of others a damaged file may be the cause.
    let is_shortage =
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory);
    is_shortage.then(|| refused(&error))
}

/// In words; the kind of a lock that is taken would have it tried again and again.
fn refused(error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the system gives no thread for the view ({error}); allow more threads or processes"
    ))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::guarded;
    use super::*;

    const EAGAIN: i32 = 11;
    const ENOENT: i32 = 2;

    #[test]
    fn a_panic_over_a_thread_that_was_not_given_throws_no_view_aside() {
        let panicked_at = |code: i32| {
            let error = || Err::<(), _>(io::Error::from_raw_os_error(code));
            guarded(|| {
                error().unwrap();
                Ok(())
            })
        };
        let refused = panicked_at(EAGAIN).unwrap_err();
        assert!(!refused.is_damage(), "{refused:?}");
        assert!(format!("{refused:?}").contains("gives no thread"), "{refused:?}");
        assert!(panicked_at(ENOENT).unwrap_err().is_damage());
    }

    #[test]
    fn as_many_threads_as_sled_starts_are_started_and_ended() {
        assert!(start_at_once(THREADS).is_ok() && check().is_ok() && check().is_ok());
    }
}
