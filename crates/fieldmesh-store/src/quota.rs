//! How much of the disk the owner of a store grants it, whatever is free.
//!
//! What people write is taken within it; what only says how things stand is written beside it, so
//! that a store that may take no more can still be read, governed and emptied. The owner measures
//! what is taken, as files of its own may lie beside the store, and says so now and then; between
//! two measurements each append counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::append::AppendError;

/// No quota at all.
const UNLIMITED: u64 = u64::MAX;

/// The quota of a store; unlimited at first.
#[derive(Debug)]
pub struct Quota {
    bytes_max: AtomicU64,
    taken_bytes: AtomicU64,
    refusals: AtomicU64,
    /// The largest size that was refused; 0 once there is room for it.
    refused_bytes: AtomicU64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            bytes_max: AtomicU64::new(UNLIMITED),
            taken_bytes: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            refused_bytes: AtomicU64::new(0),
        }
    }
}

impl Quota {
    /// Grants so many bytes from here on; everything where that is `None`.
    pub fn grant(&self, bytes_max: Option<u64>) {
        self.bytes_max.store(bytes_max.unwrap_or(UNLIMITED), Ordering::Relaxed);
        self.forget_what_fits();
    }

    /// Says how much is taken.
    pub fn measured(&self, taken_bytes: u64) {
        self.taken_bytes.store(taken_bytes, Ordering::Relaxed);
        self.forget_what_fits();
    }

    /// How often something was refused since the store was opened.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Whether something that was refused would be refused again, though smaller things may fit.
    pub fn is_used_up(&self) -> bool {
        let refused = self.refused_bytes.load(Ordering::Relaxed);
        let taken = self.taken_bytes.load(Ordering::Relaxed);
        refused > 0 && taken.saturating_add(refused) > self.bytes_max.load(Ordering::Relaxed)
    }

    /// Counts bytes that are about to be written.
    ///
    /// # Errors
    ///
    /// [`AppendError::QuotaUsed`], and nothing was counted.
    pub fn take(&self, bytes: u64) -> Result<(), AppendError> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let with = |taken: u64| Some(taken.saturating_add(bytes)).filter(|sum| *sum <= bytes_max);
        match self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.refuse(bytes)),
        }
    }

    /// Counts bytes no longer that were taken: what they were taken for is gone, or was not written.
    pub fn give_back(&self, bytes: u64) {
        let without = |taken: u64| Some(taken.saturating_sub(bytes));
        // It gives a difference for every number.
        let _ = self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without);
        self.forget_what_fits();
    }

    /// Fails where nothing is left: asked once for what is then taken as a whole, however large.
    ///
    /// # Errors
    ///
    /// [`AppendError::QuotaUsed`].
    pub fn admit(&self) -> Result<(), AppendError> {
        let taken = self.taken_bytes.load(Ordering::Relaxed);
        match taken < self.bytes_max.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(self.refuse(1)),
        }
    }

    /// Counts bytes that are written in any case.
    pub(crate) fn count(&self, bytes: u64) {
        let with = |taken: u64| Some(taken.saturating_add(bytes));
        // It gives a sum for every number.
        let _ = self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
    }

    fn refuse(&self, bytes: u64) -> AppendError {
        self.refused_bytes.fetch_max(bytes, Ordering::Relaxed);
        self.refusals.fetch_add(1, Ordering::Relaxed);
        AppendError::QuotaUsed {
            taken_bytes: self.taken_bytes.load(Ordering::Relaxed),
            bytes_max: self.bytes_max.load(Ordering::Relaxed),
        }
    }

    fn forget_what_fits(&self) {
        if !self.is_used_up() {
            self.refused_bytes.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counts_for_nothing_until_more_is_granted() {
        let quota = Quota::default();
        quota.take(u64::MAX / 2).unwrap();
        quota.measured(60);
        quota.grant(Some(100));
        quota.take(40).unwrap();
        let refused = quota.take(1).unwrap_err();
        assert!(matches!(refused, AppendError::QuotaUsed { taken_bytes: 100, bytes_max: 100 }));
        assert_eq!((quota.refusals(), quota.is_used_up()), (1, true));
        quota.measured(90);
        assert!(!quota.is_used_up());
        quota.take(10).unwrap();
        assert!(quota.take(10).is_err());
        quota.grant(None);
        quota.take(10).unwrap();
        assert_eq!(quota.refusals(), 2);
    }

    #[test]
    fn a_small_thing_that_fits_does_not_hide_that_a_large_one_waits() {
        let quota = Quota::default();
        quota.grant(Some(100));
        assert!(quota.take(200).is_err());
        quota.take(10).unwrap();
        assert!(quota.is_used_up());
        quota.measured(20);
        assert!(quota.is_used_up());
        quota.grant(Some(300));
        assert!(!quota.is_used_up());
        quota.grant(Some(100));
        assert!(!quota.is_used_up());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_is_never_more_than_was_taken() {
        let quota = Quota::default();
        quota.grant(Some(100));
        quota.take(80).unwrap();
        assert!(quota.take(30).is_err());
        quota.give_back(10);
        assert!(!quota.is_used_up());
        quota.take(30).unwrap();
        quota.give_back(1_000);
        quota.take(100).unwrap();
    }

    #[test]
    fn what_is_admitted_is_counted_and_never_refused() {
        let quota = Quota::default();
        quota.grant(Some(100));
        quota.admit().unwrap();
        quota.count(500);
        assert!(matches!(quota.admit(), Err(AppendError::QuotaUsed { taken_bytes: 500, .. })));
        assert!(quota.is_used_up());
    }
}
