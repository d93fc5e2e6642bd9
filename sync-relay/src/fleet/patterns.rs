//! Patterns in what apps do that a person should look at, counted since the start.
//!
//! None of them says that anything is wrong: a tablet may change hands, and a person may get a new
//! phone. Only what comes to this relay is seen.

use std::collections::BTreeMap;

use fieldmesh_model::Moment;

use super::{APPS_MAX, day_of};

/// How many devices one person may bring in a day before it counts.
const NEW_A_DAY_MAX: u64 = 5;

/// What was noticed since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// How often a device came with another person than the last time.
    pub(crate) changed_hands: u64,
    /// Devices that a person brought on a day beyond [`NEW_A_DAY_MAX`].
    pub(crate) many_new: u64,
    /// Deletions that were stored.
    pub(crate) deleted: u64,
    /// Operations that whoever sent them may not do.
    pub(crate) forbidden: u64,
}

/// What is noticed, and what has to be remembered for it.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    noticed: Noticed,
    /// Who came with each device last.
    users: BTreeMap<String, String>,
    /// How many devices each person brought on the newest of his days.
    brought: BTreeMap<String, (i64, u64)>,
}

impl Patterns {
    /// Notes that a person came with a device, which is new where nobody has heard of it.
    pub(crate) fn come(&mut self, user: &str, device: &str, is_new: bool, now: Moment) {
        // Who invents names makes us forget, and shows by how many are new.
        if self.users.len() >= APPS_MAX && !self.users.contains_key(device) {
            self.users.clear();
        }
        let before = self.users.insert(device.to_owned(), user.to_owned());
        self.noticed.changed_hands += u64::from(before.is_some_and(|before| before != user));
        if !is_new {
            return;
        }
        let day = day_of(now);
        if self.brought.len() >= APPS_MAX && !self.brought.contains_key(user) {
            self.brought.clear();
        }
        let (last, count) = self.brought.entry(user.to_owned()).or_insert((day, 0));
        if *last != day {
            (*last, *count) = (day, 0);
        }
        *count += 1;
        self.noticed.many_new += u64::from(*count > NEW_A_DAY_MAX);
    }

    /// Notes what became of operations.
    pub(crate) fn act(&mut self, deleted: u64, forbidden: u64) {
        self.noticed.deleted += deleted;
        self.noticed.forbidden += forbidden;
    }

    /// What was noticed since the start.
    pub(crate) const fn noticed(&self) -> Noticed {
        self.noticed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_device_that_comes_with_somebody_else_has_changed_hands_each_time() {
        let mut patterns = Patterns::default();
        for user in ["ana", "ana", "ben", "ben", "ana"] {
            patterns.come(user, "tablet", false, Moment::ZERO);
        }
        patterns.come("ben", "phone", false, Moment::ZERO);
        assert_eq!(patterns.noticed(), Noticed { changed_hands: 2, ..Noticed::default() });
    }

    #[test]
    fn more_new_devices_of_a_person_on_a_day_than_a_person_has_are_counted() {
        let mut patterns = Patterns::default();
        let mut bring = |user: &str, number: u64, day: i64| {
            let now = Moment::from_millis(day * DAY);
            patterns.come(user, &format!("{user} {number}"), true, now);
            patterns.noticed().many_new
        };
        for number in 0..NEW_A_DAY_MAX {
            assert_eq!(bring("ana", number, 0) + bring("ben", number, 0), 0);
        }
        assert_eq!(bring("ana", 90, 1), 0);
        assert_eq!(bring("ben", 91, 0), 1);
        assert_eq!(bring("ben", 92, 0), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut patterns = Patterns::default();
        for number in 0..2 * APPS_MAX + 7 {
            patterns.come(&format!("user {number}"), &format!("{number}"), true, Moment::ZERO);
        }
        assert!(patterns.users.len() <= APPS_MAX && patterns.brought.len() <= APPS_MAX);
    }
}
