//! Durations as people type them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// The longest duration that is accepted: ten years.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A duration with a unit: `90m`, `24h`, `7d`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is no duration; write it like 90m, 24h or 7d");
    let span: Span = text.trim().parse().map_err(|_| wanted())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wanted())?;
    let duration = Duration::try_from(signed).map_err(|_| wanted())?;
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(format!("{text} is not between a moment and ten years"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit() {
        for (text, seconds) in [("90m", 5_400), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "-1h", "0h", "9000y", "soon"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
