//! How often peers have this side look through everything that it holds.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, Moment};

use crate::limits::WALKED_PER_MINUTE_MAX;

const MINUTE_MILLIS: i64 = 60_000;

/// The batches that were looked at for each device since the minute began.
#[derive(Debug, Default)]
pub(super) struct Walks {
    since: Option<Moment>,
    walked: BTreeMap<DeviceId, usize>,
}

impl Walks {
    /// Whether so many batches may be looked at for `device`; if so, they count. The first time in
    /// a minute they may, however many there are.
    pub(super) fn takes(&mut self, now: Moment, device: DeviceId, batches: usize) -> bool {
        let is_same_minute = |since: Moment| (0..MINUTE_MILLIS).contains(&now.millis_since(since));
        if !self.since.is_some_and(is_same_minute) {
            self.since = Some(now);
            self.walked.clear();
        }
        let walked = self.walked.entry(device).or_default();
        let takes = *walked < WALKED_PER_MINUTE_MAX;
        *walked = walked.saturating_add(if takes { batches } else { 0 });
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_comes_again_and_again_does_not_keep_others_waiting() {
        let at = Moment::from_millis;
        let [one, other] = [1, 2].map(|byte| DeviceId::from_bytes([byte; 32]));
        let mut walks = Walks::default();
        let few = WALKED_PER_MINUTE_MAX / 100;
        let taken = (0..1_000).filter(|_| walks.takes(at(0), one, few)).count();
        assert_eq!(taken, 100);
        assert!(walks.takes(at(0), other, few));
        assert!(!walks.takes(at(MINUTE_MILLIS - 1), one, few));
        assert!(walks.takes(at(MINUTE_MILLIS), one, 10 * WALKED_PER_MINUTE_MAX), "however many");
        assert!(!walks.takes(at(MINUTE_MILLIS + 1), one, 1));
        assert!(walks.takes(at(-1), one, 1), "clocks are set back");
    }
}
