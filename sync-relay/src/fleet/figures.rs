//! The book in a few numbers that name nobody, for whoever watches over a relay.

use fieldmesh_model::Moment;

use super::{Backlog, Delays, Durations, Fleet, Known};

/// The silences by which devices are counted, in hours.
pub(crate) const SILENT_HOURS: [u64; 3] = [24, 72, 168];
/// The shares of failures by which devices are counted, in percent.
pub(crate) const FAILING_PERCENTS: [u64; 3] = [5, 10, 25];

/// How far a clock may be off before its device is counted.
const CLOCK_OFF_MILLIS: u64 = 24 * 3_600_000;

/// A fleet in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Devices, and devices of apps, that the relay has heard of.
    pub(crate) heard: [u64; 2],
    /// Those of both that have been silent for longer than each of [`SILENT_HOURS`].
    pub(crate) silent: [u64; SILENT_HOURS.len()],
    /// Those of both of whose recent attempts more than each of [`FAILING_PERCENTS`] failed.
    pub(crate) failing: [u64; FAILING_PERCENTS.len()],
    /// Devices whose clocks were off by more than [`CLOCK_OFF_MILLIS`] when they were heard last.
    pub(crate) clock_off: u64,
    /// Conversations that came into step, and those that did not.
    pub(crate) conversations: [u64; 2],
    /// Operations that wait in the journal, and for how many seconds the oldest does; nothing where
    /// no app writes.
    pub(crate) backlog: Option<(u64, u64)>,
    /// How late things came.
    pub(crate) delays: Delays,
    /// How long conflicts were open that apps settled.
    pub(crate) settlements: Delays,
    /// How long conversations took.
    pub(crate) durations: Durations,
}

impl Fleet {
    /// The fleet in numbers.
    pub(crate) fn figures(&self, now: Moment) -> Figures {
        let all = || self.devices.values().chain(self.apps.values());
        let count = |is_meant: &dyn Fn(&Known) -> bool| {
            all().filter(|known| is_meant(known)).count() as u64
        };
        Figures {
            heard: [self.devices.len() as u64, self.apps.len() as u64],
            silent: SILENT_HOURS.map(|hours| count(&|known| known.is_silent(hours, now))),
            failing: FAILING_PERCENTS.map(|percent| count(&|known| known.is_failing(percent, now))),
            clock_off: count(&|known| is_clock_off(known)),
            conversations: self.conversations,
            backlog: self.backlog.map(|backlog| (backlog.operations, backlog.waited(now))),
            delays: self.delays,
            settlements: self.settlements,
            durations: self.durations,
        }
    }
}

fn is_clock_off(known: &Known) -> bool {
    known.clock_ahead.is_some_and(|ahead| ahead.unsigned_abs() > CLOCK_OFF_MILLIS)
}

impl Backlog {
    /// For how many seconds the oldest operation has waited.
    fn waited(self, now: Moment) -> u64 {
        let millis = self.oldest.map_or(0, |oldest| now.millis_since(oldest));
        u64::try_from(millis / 1_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Served;
    use super::*;

    #[test]
    fn a_clock_that_is_a_day_off_either_way_counts_and_no_other() {
        let day = 24 * 3_600_000;
        let off = |clock_ahead| {
            let mut known = Known::default();
            known.clock_ahead = clock_ahead;
            known
        };
        assert!(is_clock_off(&off(Some(day + 1))) && is_clock_off(&off(Some(-day - 1))));
        assert!(!is_clock_off(&off(Some(day))) && !is_clock_off(&off(None)));
    }

    #[test]
    fn devices_are_counted_by_how_long_they_are_silent_and_how_much_fails() {
        let at = |hours: i64| Moment::from_millis(hours * 3_600_000);
        let mut fleet = Fleet::default();
        let served = |stored, rejected| Served { stored, rejected, written: Vec::new() };
        fleet.serve("old", &served(10, 0), at(0));
        fleet.serve("bad", &served(80, 20), at(99));
        fleet.serve("good", &served(96, 4), at(99));
        assert_eq!(fleet.figures(at(100)).backlog, None);
        fleet.wait(Backlog { operations: 3, oldest: Some(at(98)) });
        let figures = fleet.figures(at(100));
        assert_eq!((figures.heard, figures.silent), ([0, 3], [1, 1, 0]));
        assert_eq!(figures.failing, [1, 1, 0]);
        assert_eq!(figures.backlog, Some((3, 7_200)));
    }
}
