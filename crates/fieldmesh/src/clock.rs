//! The device's clock and its randomness: the only place that reads either.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fieldmesh_model::Moment;

use crate::error::Error;

/// The time by this device's clock, right or wrong.
pub(crate) fn now() -> Moment {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Moment::from_millis(millis)
}

/// Fails where the clock stands before 1970: a device whose battery is empty may think so, and what is
/// stored counts time from there.
pub(crate) fn check() -> Result<(), Error> {
    check_at(now())
}

fn check_at(now: Moment) -> Result<(), Error> {
    if now >= Moment::ZERO {
        return Ok(());
    }
    let reason = format!(
        "the clock of this device is wrong, it says {}; nothing was opened or changed: set the \
         clock, then try again",
        minute(now)
    );
    Err(Error::Usage { reason })
}

/// A time that goes on steadily from the device's clock as it was at the start, whatever is done to
/// the clock since: for what waits and retries.
pub(crate) fn steady() -> Moment {
    static START: OnceLock<(Instant, Moment)> = OnceLock::new();
    let (start, moment) = START.get_or_init(|| (Instant::now(), now()));
    let millis = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
    moment.plus_millis(millis)
}

/// A moment as sentences have it: to the minute, in UTC.
pub(crate) fn minute(at: Moment) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.get(..5).unwrap_or(time)),
        None => text,
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// The time and the zone of this device, for words like `today`.
pub(crate) fn local() -> fieldmesh_model::input::Clock {
    let now = now();
    let offset = jiff::Timestamp::from_millisecond(now.as_millis())
        .map(|at| jiff::tz::TimeZone::system().to_offset(at).seconds() / 60)
        .unwrap_or(0);
    fieldmesh_model::input::Clock { now, offset_minutes: offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_is_named_before_anything_is_opened() {
        let refused = check_at(Moment::from_millis(-40 * 365 * 86_400_000)).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("it says 1930-") && told.contains("set the clock"), "{told}");
        assert!(check_at(Moment::ZERO).is_ok() && check().is_ok());
    }
}
