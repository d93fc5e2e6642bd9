//! When to say in the log that a tenant has more under way than it may: once a minute, with how
//! many requests that was.
//!
//! Time is an argument, in milliseconds of any steady clock.

use std::collections::HashMap;

/// How long after a line about a tenant the next one may come.
const INTERVAL: u64 = 60_000;
/// The most tenants that are told apart; further ones share one line.
const TENANTS_MAX: usize = 10_000;

/// What was refused, and when that was said last.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    tenants: HashMap<String, Refused>,
}

#[derive(Debug)]
struct Refused {
    told: u64,
    since: u64,
}

impl Busy {
    /// Counts a request of `tenant` that is refused at `now`. Where it is time to say so, gives how
    /// many were refused since that was said before.
    pub(crate) fn refuse(&mut self, tenant: &str, now: u64) -> Option<u64> {
        let is_room = self.tenants.len() < TENANTS_MAX || self.tenants.contains_key(tenant);
        let counted = if is_room { tenant } else { "" };
        let Some(refused) = self.tenants.get_mut(counted) else {
            self.tenants.insert(counted.to_owned(), Refused { told: now, since: 0 });
            return Some(1);
        };
        refused.since += 1;
        if now.saturating_sub(refused.told) < INTERVAL {
            return None;
        }
        refused.told = now;
        Some(std::mem::take(&mut refused.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_one_line_a_minute_of_each_busy_tenant_and_how_much_it_was() {
        let mut busy = Busy::default();
        assert_eq!(busy.refuse("acme", 5), Some(1));
        for now in 6..200 {
            assert_eq!(busy.refuse("acme", now), None);
        }
        assert_eq!(busy.refuse("other", 200), Some(1));
        assert_eq!(busy.refuse("acme", 60_004), None);
        assert_eq!(busy.refuse("acme", 60_005), Some(196));
        assert_eq!(busy.refuse("acme", 60_006), None);
        assert_eq!(busy.refuse("other", 61_000), Some(1));
    }

    #[test]
    fn a_crowd_of_tenants_takes_bounded_memory() {
        let mut busy = Busy::default();
        for tenant in 0..TENANTS_MAX + 5 {
            busy.refuse(&tenant.to_string(), 0);
        }
        assert!(busy.tenants.len() <= TENANTS_MAX + 1);
    }
}
