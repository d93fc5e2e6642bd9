//! When a certificate is renewed, and when something that failed is tried again.

use std::time::Duration;

use fieldmesh_http::Validity;

/// How long after the first failure it is tried again; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(2 * 60);
/// The longest pause between two attempts: authorities count what fails.
const PAUSE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// How often a certificate is looked at, as clocks can be set and machines sleep.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// The part of a certificate's life that is left when it is renewed: a third.
const PART_LEFT: i64 = 3;

/// Whether a certificate is to be renewed at `now`, in seconds since 1970.
pub(super) fn is_due(validity: Validity, now: i64) -> bool {
    seconds_left(validity, now) <= 0
}

/// How long to leave a certificate alone that is not due.
pub(super) fn rest(validity: Validity, now: i64) -> Duration {
    let seconds = u64::try_from(seconds_left(validity, now)).unwrap_or_default();
    Duration::from_secs(seconds).clamp(Duration::from_secs(1), LOOK_EVERY)
}

/// How long to wait after this many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX)
}

/// The seconds until a certificate is due; none where its life makes no sense.
fn seconds_left(validity: Validity, now: i64) -> i64 {
    let life = validity.ends.saturating_sub(validity.begins);
    if life <= 0 {
        return 0;
    }
    validity.ends.saturating_sub(life / PART_LEFT).saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_while_a_third_of_its_life_is_left() {
        for days in [6, 90] {
            let validity = Validity { begins: 0, ends: days * DAY };
            let due = days * DAY * 2 / 3;
            assert!(!is_due(validity, due - 1) && is_due(validity, due), "{days}");
            assert_eq!(rest(validity, due - 60), Duration::from_secs(60));
            assert_eq!(rest(validity, 0), LOOK_EVERY);
            assert!(is_due(validity, days * DAY + 1));
        }
    }

    #[test]
    fn a_life_that_makes_no_sense_is_due_and_nothing_overflows() {
        for (begins, ends) in [(10, 5), (i64::MIN, i64::MIN), (i64::MIN, 0), (0, 0)] {
            let validity = Validity { begins, ends };
            assert!(is_due(validity, 1), "{validity:?}");
            assert_eq!(rest(validity, 1), Duration::from_secs(1));
        }
        assert_eq!(rest(Validity { begins: 0, ends: i64::MAX }, i64::MIN), LOOK_EVERY);
    }

    #[test]
    fn each_failure_doubles_the_pause_up_to_a_quarter_of_a_day() {
        let minutes = |failures| pause(failures).as_secs() / 60;
        assert_eq!([1, 2, 3, 7, 8, 9].map(minutes), [2, 4, 8, 128, 256, 360]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
        // An authority that is known to take five failures an hour is asked no sixth time.
        let tried = (1..).scan(0, |at, failures| {
            *at += minutes(failures);
            Some(*at)
        });
        assert_eq!(1 + tried.take_while(|at| *at < 60).count(), 5);
    }
}
