//! What a shell counts, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
    failures: Mutex<BTreeMap<String, u64>>,
}

/// Of so many tenants failures are counted each by itself; a server has fewer.
const TENANTS_MAX: usize = 10_000;

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

    /// Answers of 5xx but 507 to requests whose token was of a tenant, by the tenant's id; without
    /// one those of tenants beyond the first ten thousand.
    pub fn failures(&self) -> Vec<(String, u64)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.iter().map(|(tenant, count)| (tenant.clone(), *count)).collect()
    }

    /// Counts the answer to a request whose token is of `tenant`.
    pub(crate) fn answered_to(&self, tenant: &str, status: u16) {
        if status < 500 || status == FULL {
            return;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = failures.get_mut(tenant) {
            *count += 1;
            return;
        }
        let is_room = failures.len() < TENANTS_MAX;
        let counted = if is_room { tenant } else { "" };
        *failures.entry(counted.to_owned()).or_default() += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_however_many_tenants_there_are() {
        let counts = Counts::default();
        for tenant in 0..TENANTS_MAX + 5 {
            counts.answered_to(&tenant.to_string(), 500);
        }
        let failures = counts.failures();
        assert_eq!(failures.len(), TENANTS_MAX + 1);
        assert_eq!(failures[0], (String::new(), 5));
        counts.answered_to("3", 500);
        assert!(counts.failures().contains(&("3".into(), 2)));
    }
}
