//! Times and durations as people type them, in the zone of the device.

use std::time::Duration;

use fieldmesh_model::Moment;
use fieldmesh_model::input::parse_when;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// The longest duration that is accepted: ten years.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A moment from `08:30`, `yesterday 17:00`, a date or RFC 3339.
pub(super) fn when(text: &str) -> Result<Moment, String> {
    moment(text, Timestamp::now(), &TimeZone::system())
}

fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Moment, String> {
    let now_moment = Moment::from_millis(now.as_millisecond());
    let parse = |at: Timestamp| {
        let minutes = zone.to_offset(at).seconds() / 60;
        parse_when(text, now_moment, minutes).map_err(|error| error.to_string())
    };
    // The offset that counts is the one of the day that is meant, which a change of clocks may
    // separate from today.
    let guess = parse(now)?;
    match Timestamp::from_millisecond(guess.as_millis()) {
        Ok(meant) => parse(meant),
        Err(_) => Ok(guess),
    }
}

/// A duration with a unit: `90m`, `24h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is no duration; write it like 90m, 24h or 7d");
    let span: Span = text.trim().parse().map_err(|_| wanted())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wanted())?;
    bounded(Duration::try_from(signed).map_err(|_| wanted())?, text)
}

/// A duration in seconds, or with a unit.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<f64>() {
        Ok(number) => {
            let duration = Duration::try_from_secs_f64(number);
            bounded(duration.map_err(|_| format!("{text} is no number of seconds"))?, text)
        }
        Err(_) => duration(text).map_err(|_| format!("{text:?} is no number of seconds")),
    }
}

fn bounded(duration: Duration, text: &str) -> Result<Duration, String> {
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(format!("{text} is not between a moment and ten years"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_and_seconds_do_not() {
        for (text, expected) in
            [("90m", 5_400), ("24h", 86_400), ("7d", 604_800), ("1d 12h", 129_600)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "24", "-1h", "0h", "9000y", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "-1", "nan", "inf", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_zone_of_the_day_that_is_meant_counts() {
        // Summer time began on 2026-03-29 at 01:00 UTC, so 28 March was still at +01:00.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now: Timestamp = "2026-03-29T12:00:00Z".parse().unwrap();
        let at = moment("yesterday 17:00", now, &zone).unwrap();
        assert_eq!(at.to_string(), "2026-03-28T16:00:00.000Z");
        let at = moment("08:30", now, &zone).unwrap();
        assert_eq!(at.to_string(), "2026-03-29T06:30:00.000Z");
        assert!(moment("2026-02-31", now, &zone).is_err());
    }
}
