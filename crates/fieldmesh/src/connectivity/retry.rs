//! How often one address has failed and when it is tried again.

use std::time::Duration;

/// The wait after the first failure.
pub(crate) const DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(300);
/// After so many failures in a row the user is told; it is tried on at the longest wait.
pub(crate) const ATTEMPTS_MAX: u32 = 10;

/// The failures of one address since it last answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    attempts: u32,
}

impl Retry {
    /// Counts a failure and says how long to wait: anything up to the doubled wait of before, so
    /// that a fleet does not come back in one wave. `random` is drawn by the caller.
    pub(crate) fn failed(&mut self, random: u64) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.wait(random)
    }

    /// How long to wait after the failure that was counted last, where that shows only later.
    pub(crate) fn wait(self, random: u64) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(ATTEMPTS_MAX);
        let most = DELAY_FIRST.saturating_mul(1 << doublings).min(DELAY_MAX);
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % (millis + 1))
    }

    /// Forgets the failures: it answered, the network came back, or somebody asked.
    pub(crate) const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Failures in a row.
    pub(crate) const fn attempts(self) -> u32 {
        self.attempts
    }

    /// Whether the last failure was the one that the user is to know of.
    pub(crate) const fn is_just_exhausted(self) -> bool {
        self.attempts == ATTEMPTS_MAX
    }

    /// Whether so many failed that the user is to know.
    pub(crate) const fn is_exhausted(self) -> bool {
        self.attempts >= ATTEMPTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cl_27_nf_20_waits_double_from_one_second_to_five_minutes() {
        let mut retry = Retry::default();
        let most: Vec<u64> = (0..12)
            .map(|_| {
                let mut longest = retry;
                retry.failed(0);
                // The number that is its own remainder gives the whole wait.
                (0..=300)
                    .rev()
                    .find(|seconds| longest.clone().failed(seconds * 1_000).as_secs() == *seconds)
                    .inspect(|_| longest.reset())
                    .unwrap()
            })
            .collect();
        assert_eq!(most, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn cl_27_nf_20_jitter_is_full() {
        let mut retry = Retry::default();
        for _ in 0..40 {
            assert_eq!(retry.clone().failed(0), Duration::ZERO);
            assert!(retry.failed(u64::MAX / 3) <= DELAY_MAX);
        }
    }

    #[test]
    fn cl_27_nf_20_the_tenth_failure_is_told_and_success_starts_anew() {
        let mut retry = Retry::default();
        for _ in 0..9 {
            retry.failed(7);
        }
        assert!(!retry.is_exhausted());
        retry.failed(7);
        assert!(retry.is_exhausted());
        assert_eq!(retry.attempts(), 10);
        retry.reset();
        assert!(!retry.is_exhausted());
        assert!(retry.failed(1_000) <= DELAY_FIRST);
    }
}
