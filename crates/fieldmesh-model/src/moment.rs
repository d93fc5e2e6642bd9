//! A moment in time, in UTC milliseconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC milliseconds since 1970; earlier moments are negative.
///
/// Texts are RFC 3339; a moment prints as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time; write it like 2026-03-01T08:30:00Z")]
pub struct MomentError {
    /// What was given.
    pub text: String,
}

/// The greatest moment a header can carry: 2^48 - 1 milliseconds, in the year 10889.
const U48_MAX: u64 = (1 << 48) - 1;

/// 9999-12-31T23:59:59.999Z; later moments cannot be written in RFC 3339.
const TEXT_MAX: i64 = 253_402_300_799_999;
/// 0000-01-01T00:00:00.000Z.
const TEXT_MIN: i64 = -62_167_219_200_000;

impl Moment {
    /// 1970-01-01T00:00:00.000Z.
    pub const ZERO: Self = Self(0);

    /// A moment from milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment as headers and keys carry it: 48 bits, moments before 1970 as 0.
    pub fn to_u48(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).min(U48_MAX)
    }

    /// This moment and `millis` more; stays at the end of time instead of overflowing.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; negative if it is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The month as scopes carry it: 12 x year + month - 1 in UTC, at most 24 bits.
    pub fn month(self) -> u32 {
        let date = self.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date();
        let year = u32::try_from(date.year()).unwrap_or(0);
        12 * year + u32::try_from(date.month() - 1).unwrap_or(0)
    }

    /// Midnight UTC at the start of this moment's day.
    pub fn day_start(self) -> Self {
        Self(self.0 - self.0.rem_euclid(86_400_000))
    }

    fn timestamp(self) -> jiff::Timestamp {
        let millis = self.0.clamp(TEXT_MIN, TEXT_MAX - 86_400_000);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({self})")
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        text.trim()
            .parse::<jiff::Timestamp>()
            .map(|timestamp| Self(timestamp.as_millisecond()))
            .map_err(|_| MomentError { text: text.into() })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_any_offset_and_written_in_utc_milliseconds() {
        let moment: Moment = "2011-02-01T02:00:00.1239+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2011-02-01T00:00:00.123Z");
        assert_eq!(moment.month(), 12 * 2011 + 1);
        assert!("2011-02-31T00:00:00Z".parse::<Moment>().is_err());
        assert!("yesterday".parse::<Moment>().is_err());
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for millis in [i64::MIN, i64::MAX, -1, 0] {
            let moment = Moment::from_millis(millis);
            assert!(!moment.to_string().is_empty());
            assert!(moment.month() < 1 << 24);
            assert!(moment.to_u48() <= U48_MAX);
        }
    }
}
