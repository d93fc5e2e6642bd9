//! The programs as people run them: real processes, real disks, real sockets.
//!
//! Goal: what a crew relies on holds for `fieldmesh` and `sync-relay` together, also when they are
//! killed, misused, cut off or short of space. Method: each test has a folder of its own with homes
//! in it, starts the debug programs, and looks only at what they print, at exit codes and, where a
//! test damages something, at files. Nothing waits for time to pass: what has to become true is
//! asked for until it is, or a deadline fails the test.
//!
//! The programs are built by `tests/run`; by hand:
//! `cargo build -p fieldmesh-cli -p sync-relay`.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod adoption;
mod app;
mod apps;
mod automatic;
mod bad_cables;
mod bad_input;
mod bulk;
mod clock;
mod convergence;
mod crew;
mod demo;
mod detour;
mod device;
mod evict;
mod import;
mod kill;
mod lan;
mod loopback;
mod namespaces;
mod newer;
mod no_udp;
mod notices;
mod older;
mod partial;
mod places;
#[allow(dead_code, reason = "the tests of destruction use the rest of it")]
mod process;
#[allow(dead_code, reason = "the tests of destruction use the rest of it")]
mod relay;
mod relay_backup;
mod relays;
mod restart;
mod revoke;
mod secret;
mod silent;
mod site;
mod small_disk;
