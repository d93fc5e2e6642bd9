//! Times as people write them on a command line.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use crate::Moment;

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time; write 2026-03-01T08:30:00Z, 2026-03-01 08:30, 08:30, today or \
     yesterday 17:00"
)]
pub struct WhenError {
    /// What was given.
    pub text: String,
}

/// The midnight in UTC of a day written as `2026-03-01`.
pub fn parse_day(text: &str) -> Option<Moment> {
    to_moment(parse_date(text.trim())?.to_datetime(Time::midnight()), Offset::UTC)
}

/// The moment that a person in a zone `offset_minutes` east of UTC means by `text` at `now`.
///
/// Understood are RFC 3339 with an offset, `2026-03-01`, `2026-03-01 08:30`, `08:30`, `now`,
/// `today`, `yesterday` and `tomorrow`, the last three also with a time behind them. A day alone
/// is its midnight.
///
/// # Errors
///
/// The text is none of these.
pub fn parse_when(text: &str, now: Moment, offset_minutes: i32) -> Result<Moment, WhenError> {
    parse(text.trim(), now, offset_minutes).ok_or_else(|| WhenError { text: text.into() })
}

fn parse(text: &str, now: Moment, offset_minutes: i32) -> Option<Moment> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let offset = Offset::from_seconds(offset_minutes.checked_mul(60)?).ok()?;
    let today = offset.to_datetime(jiff::Timestamp::from_millisecond(now.as_millis()).ok()?).date();
    if text == "now" {
        return Some(now);
    }
    if let Some(time) = parse_time(text) {
        return to_moment(today.to_datetime(time), offset);
    }
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, parse_time(time.trim())?),
        None => (text, Time::midnight()),
    };
    let date = match day {
        "today" => today,
        "yesterday" => today.yesterday().ok()?,
        "tomorrow" => today.tomorrow().ok()?,
        day => parse_date(day)?,
    };
    to_moment(date.to_datetime(time), offset)
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

fn parse_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = parts.next().unwrap_or("00");
    let digits = |part: &str| part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some()
        || minute.len() != 2
        || ![hour, minute, second].into_iter().all(digits)
    {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, 0).ok()
}

fn to_moment(time: DateTime, offset: Offset) -> Option<Moment> {
    let timestamp = offset.to_timestamp(time).ok()?;
    Some(Moment::from_millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_zone_of_the_device() {
        let now: Moment = "2026-03-10T23:30:00Z".parse().unwrap();
        let east = 60;
        for (text, expected) in [
            ("2026-03-01T08:30:00+02:00", "2026-03-01T06:30:00.000Z"),
            ("2026-03-01", "2026-02-28T23:00:00.000Z"),
            ("2026-03-01 08:30", "2026-03-01T07:30:00.000Z"),
            // It is past midnight on the device.
            ("08:30", "2026-03-11T07:30:00.000Z"),
            ("today", "2026-03-10T23:00:00.000Z"),
            ("yesterday 17:00", "2026-03-10T16:00:00.000Z"),
            ("now", "2026-03-10T23:30:00.000Z"),
        ] {
            let moment = parse_when(text, now, east).map(|moment| moment.to_string());
            assert_eq!(moment.as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "25:00", "2026-02-30", "8", "noon", "2026-03-01 25:00", "26-3-1"] {
            assert!(parse_when(text, now, east).is_err(), "{text}");
        }
        assert!(parse_when("today", now, i32::MAX).is_err());
        assert_eq!(
            parse_day("2026-03-01").map(|day| day.to_string()).as_deref(),
            Some("2026-03-01T00:00:00.000Z")
        );
    }
}
