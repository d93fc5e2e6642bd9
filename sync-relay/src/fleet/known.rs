//! What a relay knows of one device.

use fieldmesh::api::Dealing;
use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

use super::day_of;

/// How many attempts there have to be before a rate of them says anything.
pub(crate) const ATTEMPTS_MIN: u64 = 10;

/// What is known of one device; nothing where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// When it was last heard.
    pub(crate) last_contact: Option<Moment>,
    /// When it and the relay last held the same.
    pub(crate) last_in_step: Option<Moment>,
    /// Conversations that came to that, or operations that are stored.
    pub(crate) succeeded: u64,
    /// Conversations that ended before, or operations that were rejected.
    pub(crate) failed: u64,
    /// When and why the last conversation ended before.
    pub(crate) failure: Option<(Moment, String)>,
    /// How often a batch came from it that is not stored, or does not count.
    pub(crate) refused: u64,
    /// Bytes received and sent; of an app those of requests that name its device.
    pub(crate) bytes: Option<(u64, u64)>,
    /// The version of the protocol that both speak.
    pub(crate) protocol: Option<u16>,
    /// How far its clock is ahead, in milliseconds.
    pub(crate) clock_ahead: Option<i64>,
    /// How long after it was written the last of its work arrived.
    pub(crate) last_delay_seconds: Option<u64>,
    recent: Recent,
}

/// Attempts of a day and of the one before, in UTC: how many there were, and how many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Recent {
    day: i64,
    today: (u64, u64),
    before: (u64, u64),
}

impl Known {
    pub(super) fn add(&mut self, dealing: &Dealing, now: Moment) {
        self.last_contact = self.last_contact.max(dealing.last_contact);
        self.last_in_step = self.last_in_step.max(dealing.last_in_step);
        if dealing.failure.is_some() {
            self.failure.clone_from(&dealing.failure);
        }
        self.refused += dealing.refused;
        let (received, sent) = self.bytes.unwrap_or_default();
        self.bytes = Some((received + dealing.bytes_in, sent + dealing.bytes_out));
        self.protocol = dealing.protocol.or(self.protocol);
        self.clock_ahead = dealing.clock_ahead.or(self.clock_ahead);
        self.last_delay_seconds = dealing.last_delay_seconds.or(self.last_delay_seconds);
        self.count(dealing.agreed, dealing.failed, now);
    }

    pub(super) fn serve(&mut self, stored: u64, rejected: u64, now: Moment) {
        self.last_contact = self.last_contact.max(Some(now));
        self.count(stored, rejected, now);
    }

    fn count(&mut self, succeeded: u64, failed: u64, now: Moment) {
        self.succeeded += succeeded;
        self.failed += failed;
        self.recent = self.recent.on(day_of(now));
        self.recent.today.0 += succeeded + failed;
        self.recent.today.1 += failed;
    }

    /// Attempts of this day and the one before, and how many of them failed.
    pub(crate) fn recently(&self, now: Moment) -> (u64, u64) {
        let Recent { today, before, .. } = self.recent.on(day_of(now));
        (today.0 + before.0, today.1 + before.1)
    }

    /// Whether more than so many of a hundred recent attempts failed; of few nothing is said.
    pub(crate) fn is_failing(&self, percent: u64, now: Moment) -> bool {
        let (attempts, failed) = self.recently(now);
        attempts >= ATTEMPTS_MIN && failed * 100 > attempts * percent
    }

    /// Whether it was heard, and not for so long.
    pub(crate) fn is_silent(&self, hours: u64, now: Moment) -> bool {
        let millis = i64::try_from(hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX);
        self.last_contact.is_some_and(|heard| now.millis_since(heard) > millis)
    }
}

impl Recent {
    /// The same, as it is on another day; a clock that goes back changes nothing.
    const fn on(self, day: i64) -> Self {
        match day - self.day {
            ..=0 => self,
            1 => Self { day, today: (0, 0), before: self.today },
            _ => Self { day, today: (0, 0), before: (0, 0) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Moment {
        Moment::from_millis(hours * 3_600_000)
    }

    #[test]
    fn a_failure_is_recent_for_a_day_and_part_of_one() {
        let mut known = Known::default();
        known.serve(8, 2, at(23));
        assert!(known.is_failing(10, at(23)) && !known.is_failing(20, at(23)));
        assert!(known.is_failing(10, at(47)));
        assert!(!known.is_failing(10, at(48)));
        assert_eq!((known.succeeded, known.failed), (8, 2));
        known.serve(100, 0, at(25));
        assert_eq!(known.recently(at(30)), (110, 2));
        assert!(!known.is_failing(10, at(30)));
    }

    #[test]
    fn one_failure_of_few_attempts_says_nothing() {
        let mut known = Known::default();
        known.serve(0, ATTEMPTS_MIN - 1, at(1));
        assert!(!known.is_failing(10, at(1)));
        known.serve(0, 1, at(1));
        assert!(known.is_failing(10, at(1)));
    }

    #[test]
    fn who_was_never_heard_is_not_called_silent() {
        let mut known = Known::default();
        assert!(!known.is_silent(72, at(1_000)));
        known.serve(0, 0, at(0));
        assert!(!known.is_silent(72, at(72)) && known.is_silent(72, at(73)));
    }
}
