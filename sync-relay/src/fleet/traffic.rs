//! How much the devices of apps sent and received over HTTP, day by day.

use fieldmesh_dialect::command::TrafficQuery;
use fieldmesh_dialect::outcome::Traffic;
use fieldmesh_http::Passed;
use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

use super::{DAY_MILLIS, Fleet, day_of};

/// Days that are kept, whether or not anything passed on them.
const DAYS_MAX: i64 = 8;
/// Buckets of latencies, each with twice the bound of the one before; the first ends at 1 ms.
const BUCKETS: usize = 17;
/// The shares of requests whose latency is told, in percent.
const SHARES: [u64; 3] = [50, 95, 99];

/// What passed between the relay and one device, by day; the newest day is the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Days(Vec<Day>);

/// One day, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    /// Which, from 1970 on.
    number: i64,
    bytes_in: u64,
    bytes_out: u64,
    attempts: u64,
    successes: u64,
    latencies: [u32; BUCKETS],
}

impl Fleet {
    /// Adds a request of an app's device, and its answer.
    pub(crate) fn pass(&mut self, app: &str, passed: &Passed, now: Moment) {
        let Some(known) = self.known_app(app) else { return };
        known.last_contact = known.last_contact.max(Some(now));
        let (received, sent) = known.bytes.unwrap_or_default();
        known.bytes = Some((received + passed.bytes_in, sent + passed.bytes_out));
        self.traffic.entry(app.to_owned()).or_default().add(passed, day_of(now));
        self.forget_apps_beyond();
    }

    /// What passed with each device of an app on the days that `query` touches.
    pub(crate) fn traffic(&self, query: &TrafficQuery, now: Moment) -> Vec<Traffic> {
        let days = self.traffic.iter();
        days.filter_map(|(app, days)| days.told(app, query, now)).collect()
    }
}

impl Days {
    fn add(&mut self, passed: &Passed, number: i64) {
        // A clock that goes back adds to the day that was the newest.
        if self.0.last().is_none_or(|last| last.number < number) {
            self.0.retain(|day| number.saturating_sub(day.number) < DAYS_MAX);
            self.0.push(Day { number, ..Day::default() });
        }
        let Some(day) = self.0.last_mut() else { return };
        day.bytes_in += passed.bytes_in;
        day.bytes_out += passed.bytes_out;
        day.attempts += 1;
        day.successes += u64::from(passed.is_success);
        let bucket = (0..BUCKETS - 1).take_while(|bucket| passed.millis > 1 << bucket).count();
        day.latencies[bucket] = day.latencies[bucket].saturating_add(1);
    }

    /// The days that `query` touches, as one; nothing where nothing passed on them.
    fn told(&self, app: &str, query: &TrafficQuery, now: Moment) -> Option<Traffic> {
        let first = query.from.map_or(i64::MIN, day_of);
        // The day that begins with the end is not meant.
        let last = query.to.map_or(i64::MAX, |to| day_of(to.plus_millis(-1)));
        let mut meant = self.0.iter().filter(|day| (first..=last).contains(&day.number));
        let mut sum = *meant.next()?;
        let (from, mut until) = (sum.number, sum.number);
        for day in meant {
            sum.bytes_in += day.bytes_in;
            sum.bytes_out += day.bytes_out;
            sum.attempts += day.attempts;
            sum.successes += day.successes;
            for (count, more) in sum.latencies.iter_mut().zip(day.latencies) {
                *count = count.saturating_add(more);
            }
            until = day.number;
        }
        Some(Traffic {
            device: app.to_owned(),
            from: Moment::from_millis(from * DAY_MILLIS),
            to: Moment::from_millis((until + 1) * DAY_MILLIS).min(now),
            bytes_in: sum.bytes_in,
            bytes_out: sum.bytes_out,
            attempts: sum.attempts,
            successes: sum.successes,
            latency_ms: SHARES.map(|share| f64::from(sum.latency_below(share))),
        })
    }
}

impl Day {
    /// The bound of the bucket below which so many of a hundred requests stayed.
    fn latency_below(&self, share: u64) -> u32 {
        let all: u64 = self.latencies.iter().map(|count| u64::from(*count)).sum();
        let mut below = 0;
        for (bucket, count) in (0..).zip(self.latencies) {
            below += u64::from(count);
            if below * 100 >= all * share {
                return 1 << bucket;
            }
        }
        1 << (BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn passed(millis: u64, is_success: bool) -> Passed {
        Passed { bytes_in: 100, bytes_out: 2_000, millis, is_success }
    }

    #[test]
    fn a_day_is_told_apart_from_the_others_and_old_ones_are_forgotten() {
        let at = |hours: i64| Moment::from_millis(hours * HOUR);
        let mut fleet = Fleet::default();
        fleet.pass("T1", &passed(3, true), at(1));
        for _ in 0..98 {
            fleet.pass("T1", &passed(3, true), at(25));
        }
        fleet.pass("T1", &passed(700, false), at(26));
        fleet.pass("T1", &passed(90_000, false), at(27));
        let of_day = TrafficQuery { from: Some(at(25)), to: None };
        let told = fleet.traffic(&of_day, at(30));
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((told.attempts, told.successes), (100, 98));
        assert_eq!((told.bytes_in, told.bytes_out), (10_000, 200_000));
        assert_eq!((told.from, told.to), (at(24), at(30)));
        assert_eq!(told.latency_ms, [4.0, 4.0, 1_024.0]);
        let all = TrafficQuery { from: None, to: None };
        assert_eq!(fleet.traffic(&all, at(30))[0].attempts, 101);
        let before = TrafficQuery { from: None, to: Some(at(24)) };
        assert_eq!(fleet.traffic(&before, at(30))[0].attempts, 1);
        let beyond = Moment::from_millis(24 * HOUR + 1);
        let touched = TrafficQuery { from: None, to: Some(beyond) };
        assert_eq!(fleet.traffic(&touched, at(30))[0].attempts, 101);
        fleet.pass("T1", &passed(1, true), at(24 * 9));
        assert!(fleet.traffic(&before, at(24 * 9)).is_empty());
        assert_eq!(fleet.app("T1").unwrap().bytes, Some((10_200, 204_000)));
    }
}
