//! What a store promises, tested on disks that crash, fail and rot.
//!
//! Everything goes through the public interface. The disk is in memory wherever it misbehaves;
//! sled always gets a real folder.

// A failed unwrap in a helper fails the test, as it should.
#![allow(clippy::unwrap_used)]

mod backup;
mod compaction;
mod crash;
mod damage;
mod fault;
mod folder;
mod formats;
mod leftover;
mod merge;
mod newer;
mod paged;
mod passing;
mod rekey;
mod rewrite;
mod rewrite_damage;
mod rotation;
mod view;
#[cfg(target_os = "linux")]
mod waiting;

use std::ops::ControlFlow;
use std::sync::Arc;

use fieldmesh_store::memory::MemoryFiles;
use fieldmesh_store::view::memory::MemoryRows;
use fieldmesh_store::{DataKey, Entry, OpenError, Options, Place, Replayed, Store};

/// The key of every store here.
fn key() -> DataKey {
    DataKey::from_bytes([42; 32])
}

/// Small segments, so that a test has several; no reserve, so that it has few writes.
fn options() -> Options {
    Options { reserve_bytes: 0, segment_size_max: 24_000, ..Options::default() }
}

fn try_open(files: &MemoryFiles, rows: &MemoryRows) -> Result<Store, OpenError> {
    Store::open_on(Arc::new(files.clone()), Arc::new(rows.clone()), &key(), &options())
}

fn open(files: &MemoryFiles, rows: &MemoryRows) -> Store {
    try_open(files, rows).unwrap()
}

fn replay(store: &Store) -> (Vec<(Place, Entry)>, Replayed) {
    let mut entries = Vec::new();
    let replayed = store
        .replay(None, |place, entry| {
            entries.push((place, entry));
            ControlFlow::Continue(())
        })
        .unwrap();
    (entries, replayed)
}

/// A repeatable source of arbitrary numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.0 >> 33) % bound
    }

    /// An entry nobody else has: small, compressible or incompressible.
    fn entry(&mut self, serial: u64) -> Entry {
        let length = match self.below(4) {
            0 => self.below(20),
            1 => self.below(400),
            2 => 600 + self.below(3_000),
            _ => 5_000 + self.below(9_000),
        };
        let is_random = self.below(2) == 0;
        let mut bytes = serial.to_be_bytes().to_vec();
        for index in 0..length {
            bytes.push(if is_random { self.below(256) as u8 } else { (index / 7) as u8 });
        }
        Entry { kind: self.below(5) as u8, bytes }
    }
}
