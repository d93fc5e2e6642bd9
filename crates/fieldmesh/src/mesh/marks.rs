//! How often something changed about what relays are proven to hold.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts, shared with whoever asks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    gained: AtomicU64,
    voided: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProofMarks {
    /// A relay signed for something.
    pub(crate) gained: u64,
    /// What had been proven may not be any more.
    pub(crate) voided: u64,
}

impl Marks {
    pub(super) fn read(&self) -> ProofMarks {
        ProofMarks {
            gained: self.gained.load(Ordering::Relaxed),
            voided: self.voided.load(Ordering::Relaxed),
        }
    }

    pub(super) fn gain(&self) {
        self.gained.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn void(&self) {
        self.voided.fetch_add(1, Ordering::Relaxed);
    }
}
