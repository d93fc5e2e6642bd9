//! Rows in memory, for tests and the simulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::rows::{RowBatch, RowRange, Rows, RowsError, RowsSource};
use super::{Direction, Row};

/// Rows that outlive the store that opened them; clones are the same rows.
#[derive(Clone, Default)]
pub struct MemoryRows {
    shared: Arc<Mutex<Shared>>,
    beside: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    flushed: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power goes: rows return to the last flush. Drop the store first.
    pub fn crash(&self) {
        let mut shared = self.shared();
        shared.rows = shared.flushed.clone();
    }

    /// Loses everything, as if the files were deleted. Drop the store first.
    pub fn lose(&self) {
        *self.shared() = Shared::default();
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same with the maps exchanged.
    fn beside(&self) -> Self {
        Self { shared: Arc::clone(&self.beside), beside: Arc::clone(&self.shared) }
    }
}

impl RowsSource for MemoryRows {
    fn open(&self) -> Result<Box<dyn Rows>, RowsError> {
        Ok(Box::new(self.clone()))
    }

    fn set_aside(&self) -> Result<(), RowsError> {
        self.discard()
    }

    fn discard(&self) -> Result<(), RowsError> {
        self.lose();
        Ok(())
    }

    fn forget_set_aside(&self) -> Result<(), RowsError> {
        Ok(())
    }

    fn open_beside(&self) -> Result<Box<dyn Rows>, RowsError> {
        let beside = self.beside();
        beside.lose();
        Ok(Box::new(beside))
    }

    fn take_beside(&self) -> Result<(), RowsError> {
        // What is renamed on a disk is durable: a crash brings nothing else back.
        let flushed = std::mem::take(&mut *self.beside().shared()).flushed;
        *self.shared() = Shared { rows: flushed.clone(), flushed };
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, RowsError> {
        let shared = self.shared();
        Ok(shared.rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.shared().rows.get(key).cloned())
    }

    fn scan(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, RowsError> {
        if super::range::is_empty_range(range) {
            return Ok(Vec::new());
        }
        let shared = self.shared();
        let rows = shared.rows.range(range.clone());
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match direction {
            Direction::Ascending => rows.take(limit).map(copy).collect(),
            Direction::Descending => rows.rev().take(limit).map(copy).collect(),
        })
    }

    fn write(&self, batch: RowBatch) -> Result<(), RowsError> {
        let mut shared = self.shared();
        for (key, value) in batch {
            match value {
                Some(value) => shared.rows.insert(key, value),
                None => shared.rows.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), RowsError> {
        let mut shared = self.shared();
        shared.flushed = shared.rows.clone();
        Ok(())
    }
}
