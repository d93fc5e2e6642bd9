//! When to say in the log that a tenant has more under way than it may: once a minute, with how
//! many requests that was.
//!
//! Time is an argument, in milliseconds of any steady clock.

use std::collections::HashMap;

/// How long after a line about a tenant the next one may come.
const INTERVAL: u64 = 60_000;
/// The most tenants that are told of within a minute; of further ones nothing is said.
const TENANTS_MAX: usize = 10_000;

/// What was refused, and when that was said last.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    tenants: HashMap<String, Refused>,
}

/// What is said of a tenant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// How many of its requests were refused.
    pub(crate) refused: u64,
    /// In how many seconds that was.
    pub(crate) seconds: u64,
}

#[derive(Debug)]
struct Refused {
    told: u64,
    since: u64,
}

impl Busy {
    /// Counts a request of `tenant` that is refused at `now`. Where it is time to say so, gives how
    /// many were refused since that was said before.
    pub(crate) fn refuse(&mut self, tenant: &str, now: u64) -> Option<Told> {
        let is_recent = |refused: &Refused| now.saturating_sub(refused.told) < INTERVAL;
        let Some(refused) = self.tenants.get_mut(tenant) else {
            if self.tenants.len() >= TENANTS_MAX {
                self.tenants.retain(|_, refused| is_recent(refused));
            }
            if self.tenants.len() >= TENANTS_MAX {
                return None;
            }
            self.tenants.insert(tenant.to_owned(), Refused { told: now, since: 0 });
            return Some(Told { refused: 1, seconds: 0 });
        };
        refused.since += 1;
        if is_recent(refused) {
            return None;
        }
        let seconds = now.saturating_sub(std::mem::replace(&mut refused.told, now)) / 1_000;
        Some(Told { refused: std::mem::take(&mut refused.since), seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_one_line_a_minute_of_each_busy_tenant_and_how_much_it_was() {
        let mut busy = Busy::default();
        let told = |refused, seconds| Some(Told { refused, seconds });
        assert_eq!(busy.refuse("acme", 5), told(1, 0));
        for now in 6..200 {
            assert_eq!(busy.refuse("acme", now), None);
        }
        assert_eq!(busy.refuse("other", 200), told(1, 0));
        assert_eq!(busy.refuse("acme", 60_004), None);
        assert_eq!(busy.refuse("acme", 60_005), told(196, 60));
        assert_eq!(busy.refuse("acme", 60_006), None);
        assert_eq!(busy.refuse("other", 361_000), told(1, 360));
    }

    #[test]
    fn a_crowd_of_tenants_takes_bounded_memory() {
        let mut busy = Busy::default();
        for tenant in 0..TENANTS_MAX + 5 {
            busy.refuse(&tenant.to_string(), 0);
        }
        assert_eq!(busy.tenants.len(), TENANTS_MAX);
        assert!(busy.refuse("acme", INTERVAL).is_some(), "a minute later there is room again");
        assert_eq!(busy.tenants.len(), 1);
    }
}
