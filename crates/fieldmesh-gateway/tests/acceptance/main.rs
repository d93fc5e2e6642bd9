//! The acceptance checks with the real executor over a real node on a real disk.
//!
//! The conversations are those that `fieldmesh-dialect` plays with a small executor in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

#[path = "../../../fieldmesh-dialect/tests/acceptance/clients.rs"]
mod clients;
#[path = "../../../fieldmesh-dialect/tests/acceptance/conversations.rs"]
mod conversations;
#[path = "../../../fieldmesh-dialect/tests/acceptance/documented.rs"]
mod documented;
#[path = "../../../fieldmesh-dialect/tests/acceptance/executor.rs"]
mod executor;
mod real;

use executor::Executor;
use real::Real;

/// How often each client goes through bad weather: each time there is a home to make.
const CASES: u32 = 6;

/// An executor with nothing in it; `user` is whoever asks.
fn begin(_user: &str) -> Box<dyn Executor> {
    Box::new(Real::new())
}
