//! The acceptance checks with a small executor in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod clients;
mod conversations;
mod documented;
mod executor;
mod memory;

use executor::Executor;
use memory::Memory;

/// How often each client goes through bad weather.
const CASES: u32 = 100;

/// An executor with nothing in it; `user` is whoever asks.
fn begin(user: &str) -> Box<dyn Executor> {
    Box::new(Memory::new(user))
}
