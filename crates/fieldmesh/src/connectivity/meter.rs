//! How far a sync is, as a percentage that never falls.

use crate::api::SyncProgress;

/// Follows one sync.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    shown: SyncProgress,
}

impl Meter {
    /// Begins with what is known to wait.
    pub(super) fn new(pending: u64) -> Self {
        Self { shown: SyncProgress { percentage: 0, processed: 0, total: pending } }
    }

    /// Notes how many changes have been moved; gives what to show if that is news.
    pub(super) fn moved(&mut self, processed: u64) -> Option<SyncProgress> {
        let before = self.shown;
        self.shown.processed = before.processed.max(processed);
        self.shown.total = before.total.max(self.shown.processed);
        let share = self.shown.processed.saturating_mul(100) / self.shown.total.max(1);
        // More may come than is known, so only the end of the sync is 100.
        let share = u8::try_from(share.min(99)).unwrap_or(99);
        self.shown.percentage = before.percentage.max(share);
        (self.shown != before).then_some(self.shown)
    }

    /// Everything is done.
    pub(super) fn succeeded(&mut self) -> SyncProgress {
        self.shown.percentage = 100;
        self.shown.total = self.shown.processed;
        self.shown
    }

    pub(super) const fn shown(&self) -> SyncProgress {
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cl_24_the_percentage_never_falls_and_only_success_makes_it_100() {
        let mut meter = Meter::new(10);
        let percentages: Vec<Option<u8>> = [0, 3, 2, 3, 10, 400, 400]
            .map(|moved| meter.moved(moved).map(|shown| shown.percentage))
            .into();
        assert_eq!(percentages, [None, Some(30), None, None, Some(99), Some(99), None]);
        assert_eq!(meter.succeeded(), SyncProgress { percentage: 100, processed: 400, total: 400 });
    }

    #[test]
    fn cl_24_a_sync_with_nothing_to_move_ends_at_100_too() {
        let mut meter = Meter::new(0);
        assert_eq!(meter.moved(0), None);
        assert_eq!(meter.succeeded().percentage, 100);
    }
}
