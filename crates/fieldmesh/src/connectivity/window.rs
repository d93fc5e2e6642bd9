//! The last answers of one relay, and the grade that follows from them.

use std::collections::VecDeque;

use crate::api::Grade;

/// How many answers count.
pub(super) const PROBES_COUNTED: usize = 5;
/// From this median on the way is poor.
pub(super) const ROUND_TRIP_POOR_MILLIS: u64 = 600;
/// Below this median it may be excellent.
pub(super) const ROUND_TRIP_EXCELLENT_MILLIS: u64 = 100;
/// From this loss on it is poor.
pub(super) const LOSS_POOR_PERCENT: usize = 10;
/// Below this rate it is poor.
pub(super) const RATE_POOR: u64 = 64_000;
/// From this rate on it may be excellent.
pub(super) const RATE_EXCELLENT: u64 = 1_000_000;

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The relay proved who it is and answered.
    Ok {
        /// How long the round trip took, where that could be told.
        millis: Option<u64>,
    },
    /// The relay proved who it is and answered something else than that all is well.
    Odd,
    /// No answer, or not from the relay.
    Lost,
}

/// The last answers of one relay.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    answers: VecDeque<Answer>,
}

impl Window {
    pub(super) fn add(&mut self, answer: Answer) {
        if self.answers.len() == PROBES_COUNTED {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// The grade of a way that is there; `rate` in bits a second, where it was measured.
    pub(super) fn grade(&self, rate: Option<u64>) -> Grade {
        let count = self.answers.len();
        let lost = self.answers.iter().filter(|answer| **answer == Answer::Lost).count();
        let median = self.median();
        let is_poor = median.is_some_and(|millis| millis >= ROUND_TRIP_POOR_MILLIS)
            || lost * 100 >= LOSS_POOR_PERCENT * count.max(1)
            || rate.is_some_and(|rate| rate < RATE_POOR);
        let is_excellent = median.is_some_and(|millis| millis < ROUND_TRIP_EXCELLENT_MILLIS)
            && lost == 0
            && rate.is_none_or(|rate| rate >= RATE_EXCELLENT);
        match (is_poor, is_excellent) {
            (true, _) => Grade::Poor,
            (false, true) => Grade::Excellent,
            (false, false) => Grade::Good,
        }
    }

    /// The median round trip; of an even number the longer of the two in the middle.
    fn median(&self) -> Option<u64> {
        let mut trips: Vec<u64> = self
            .answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Ok { millis } => *millis,
                Answer::Odd | Answer::Lost => None,
            })
            .collect();
        trips.sort_unstable();
        trips.get(trips.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(answers: &[Answer], rate: Option<u64>) -> Grade {
        let mut window = Window::default();
        answers.iter().for_each(|answer| window.add(*answer));
        window.grade(rate)
    }

    fn trips(millis: [u64; 5]) -> [Answer; 5] {
        millis.map(|millis| Answer::Ok { millis: Some(millis) })
    }

    #[test]
    fn cl_14_the_median_round_trip_decides_at_100_and_600_milliseconds() {
        for (millis, expected) in [
            (0, Grade::Excellent),
            (99, Grade::Excellent),
            (100, Grade::Good),
            (599, Grade::Good),
            (600, Grade::Poor),
        ] {
            assert_eq!(grade(&trips([millis; 5]), None), expected, "{millis}");
            let outliers = [0, 0, millis, 9_000, 9_000];
            assert_eq!(grade(&trips(outliers), None), expected, "{millis}");
        }
    }

    #[test]
    fn cl_14_one_lost_probe_of_five_is_poor_until_it_is_the_sixth_last() {
        let fast = Answer::Ok { millis: Some(5) };
        let mut answers = vec![Answer::Lost, fast, fast, fast, fast];
        assert_eq!(grade(&answers, None), Grade::Poor);
        answers.push(fast);
        assert_eq!(grade(&answers, None), Grade::Excellent);
    }

    #[test]
    fn cl_14_the_rate_decides_at_64_kilobits_and_one_megabit() {
        for (rate, expected) in [
            (63_999, Grade::Poor),
            (64_000, Grade::Good),
            (999_999, Grade::Good),
            (1_000_000, Grade::Excellent),
        ] {
            assert_eq!(grade(&trips([10; 5]), Some(rate)), expected, "{rate}");
        }
    }

    #[test]
    fn cl_14_what_nobody_measured_is_good() {
        assert_eq!(grade(&[], None), Grade::Good);
        assert_eq!(grade(&[Answer::Ok { millis: None }, Answer::Odd], None), Grade::Good);
    }
}
