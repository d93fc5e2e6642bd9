//! How often signers drive out policy items.

use std::collections::BTreeMap;

use fieldmesh_model::Moment;

use crate::limits::ITEMS_DISPLACING_PER_HOUR_MAX;

const HOUR_MILLIS: i64 = 3_600_000;

/// The items of each signer, by public key, that drove out others since the hour began.
#[derive(Debug, Default)]
pub(super) struct Floods {
    since: Option<Moment>,
    counts: BTreeMap<[u8; 32], usize>,
    has_refused: bool,
}

impl Floods {
    /// Whether one more item of `signer` may drive out another; if so, it counts.
    pub(super) fn takes(&mut self, now: Moment, signer: &[u8; 32]) -> bool {
        let is_same_hour = |since: Moment| (0..HOUR_MILLIS).contains(&now.millis_since(since));
        if !self.since.is_some_and(is_same_hour) {
            self.since = Some(now);
            self.counts.clear();
        }
        let count = self.counts.entry(*signer).or_default();
        let takes = *count < ITEMS_DISPLACING_PER_HOUR_MAX;
        *count += usize::from(takes);
        self.has_refused |= !takes;
        takes
    }

    /// When what was refused may be asked for again.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.since.filter(|_| self.has_refused).map(|since| since.plus_millis(HOUR_MILLIS))
    }

    /// Whether that moment has come; it is told once.
    pub(super) fn is_over(&mut self, now: Moment) -> bool {
        let is_over = self.deadline().is_some_and(|deadline| deadline <= now);
        self.has_refused &= !is_over;
        is_over
    }
}
