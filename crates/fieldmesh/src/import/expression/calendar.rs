//! Months and days as files write them: `2011-01` and `2011-01-31`.

use fieldmesh_model::{Moment, Value};

use super::EvaluationError;
use super::evaluate::{excerpt, text};

/// A calendar date; the day is 1 where only a month was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
}

impl Date {
    /// Reads `YYYY-MM`, `YYYY-MM-DD` or an RFC 3339 time (its date in UTC); blank gives none.
    pub(super) fn read(value: &Value) -> Result<Option<Self>, EvaluationError> {
        let Some(text) = text(value)? else { return Ok(None) };
        let text = text.trim();
        let not_a_date = || EvaluationError::NotADate { text: excerpt(text) };
        let date = match text.len() {
            7 => format!("{text}-01"),
            10 => text.to_owned(),
            _ => text.parse::<Moment>().map_err(|_| not_a_date())?.to_string(),
        };
        Self::parse(&date).map(Some).ok_or_else(not_a_date)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (year, month, day) = (bytes.get(..4)?, bytes.get(5..7)?, bytes.get(8..10)?);
        if bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let date = Self {
            year: digits(year)?,
            month: u8::try_from(digits(month)?).ok()?,
            day: u8::try_from(digits(day)?).ok()?,
        };
        let in_range =
            (1..=12).contains(&date.month) && (1..=date.month_days()).contains(&date.day);
        in_range.then_some(date)
    }

    /// How many days the month of this date has.
    pub(super) fn month_days(self) -> u8 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// The first day of this date's month.
    pub(super) fn month_start(self) -> Self {
        Self { day: 1, ..self }
    }

    /// Midnight UTC at the start of this date.
    pub(super) fn midnight(self) -> Result<Moment, EvaluationError> {
        let text = format!("{:04}-{:02}-{:02}T00:00:00Z", self.year, self.month, self.day);
        text.parse().map_err(|_| EvaluationError::NotADate { text })
    }
}

fn digits(bytes: &[u8]) -> Option<u16> {
    bytes.iter().try_fold(0_u16, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0'))
    })
}
