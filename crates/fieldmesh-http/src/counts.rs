//! What a shell counts, for metrics; no label names a tenant or a person.

use std::sync::atomic::{AtomicU64, Ordering};

/// The status that says that nothing more can be stored.
const FULL: u16 = 507;

/// Counters that only go up, but for the streams that are open.
#[derive(Debug, Default)]
pub struct Counts {
    answered: [AtomicU64; 5],
    full: AtomicU64,
    refused_by_rate: AtomicU64,
    defects: AtomicU64,
    live: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Answers by the first digit of their status: 1xx to 5xx, without those that nothing more can
    /// be stored.
    pub answered: [u64; 5],
    /// Answers that nothing more can be stored: 507. A tenant at its quota is no fault of the server.
    pub full: u64,
    /// Requests of somebody who sent more than he may.
    pub refused_by_rate: u64,
    /// Panics of a handler: mistakes of ours, each with a line in the log.
    pub defects: u64,
    /// Live streams that are open.
    pub live: u64,
}

impl Counts {
    /// The counters now.
    pub fn measured(&self) -> Measured {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Measured {
            answered: [0, 1, 2, 3, 4].map(|class| read(&self.answered[class])),
            full: read(&self.full),
            refused_by_rate: read(&self.refused_by_rate),
            defects: read(&self.defects),
            live: read(&self.live),
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        if status == FULL {
            self.full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answered[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_by_rate(&self) {
        self.refused_by_rate.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn defect(&self) {
        self.defects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}
