//! How long to wait before trying again.

use std::time::Duration;

/// About how long to wait after the first failure.
pub const RETRY_DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait, whatever the number of failures.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// Failures in a row, and the wait that follows from them.
///
/// The wait doubles with each failure up to a cap and is spread at random over its upper half, so
/// that a fleet that lost its relay does not come back in one wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Counts a failure and says how long to wait; `random` is a number drawn by the caller.
    pub fn failed(&mut self, random: u64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let delay = RETRY_DELAY_FIRST.saturating_mul(1 << doublings).min(RETRY_DELAY_MAX);
        let half = u64::try_from(delay.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(half + random % (half + 1))
    }

    /// Forgets the failures: a connection came about, or there is news of the peer.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_never_leaves_its_upper_half() {
        for random in [0, 1, 12_345, u64::MAX / 3, u64::MAX] {
            let mut backoff = Backoff::new();
            let mut whole = RETRY_DELAY_FIRST;
            for _ in 0..40 {
                let delay = backoff.failed(random);
                assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
                whole = (whole * 2).min(RETRY_DELAY_MAX);
            }
        }
    }

    #[test]
    fn success_starts_it_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..9 {
            backoff.failed(7);
        }
        backoff.reset();
        assert!(backoff.failed(7) <= RETRY_DELAY_FIRST);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn a_fleet_does_not_come_back_in_one_wave() {
        let delays: std::collections::BTreeSet<Duration> =
            (0..1_000).map(|random| Backoff { failures: 5 }.failed(random * 7_919)).collect();
        assert!(delays.len() > 900);
    }
}
