//! The gateway as apps and attackers see it.
//!
//! Goal: who may not, gets nothing, and who may, loses nothing. Method: real connections over
//! loopback to a shell with this gateway, accounts on a disk, and the small executor in memory of
//! the dialects behind two tenants.

mod attacks;
mod client;
#[expect(dead_code, reason = "the dialects' own tests look into it further")]
#[path = "../../../crates/fieldmesh-dialect/tests/acceptance/executor.rs"]
mod executor;
mod live;
#[path = "../../../crates/fieldmesh-dialect/tests/acceptance/memory.rs"]
mod memory;
mod passing;
mod passwords;
mod patience;
mod scene;
mod secure;
mod sessions;
