//! Calls into code that panics where it should report an error.
//!
//! Such a panic ends in an error of ours, so its message would only frighten whoever reads the
//! terminal: it goes to the log.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

thread_local! {
    /// Whether this thread is in a call whose panics are expected.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Does `work`; a panic in it on this thread is an error and is told in the log alone.
pub(super) fn call<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    // The hook cannot be changed while a panic is under way on this thread.
    if !thread::panicking() {
        HOOK.call_once(keep_quiet);
    }
    let outer = IS_CALLING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CALLING.set(outer);
    result
}

fn keep_quiet() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if IS_CALLING.get() {
            tracing::debug!(%panic, "a panic is turned into an error");
        } else {
            loud(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_one_outside_is_loud_again() {
        assert!(call(|| call(|| panic!("inner")).is_err()).unwrap());
        assert!(call::<()>(|| panic!("outer")).is_err());
        assert!(!IS_CALLING.get());
        assert_eq!(call(|| IS_CALLING.get()).ok(), Some(true));
    }
}
