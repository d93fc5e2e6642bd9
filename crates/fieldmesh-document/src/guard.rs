//! Calls into Automerge that foreign bytes might make panic.
//!
//! The gate lets nothing pass that is known to, but one document must never take the process
//! down, so every such call ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Automerge gave up on a document with a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("automerge panicked on this document")]
pub struct Panicked;

/// Runs `call`; a panic inside becomes an error.
///
/// Whatever `call` was changing must be dropped after an error.
pub(crate) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
}
