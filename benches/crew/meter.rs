//! What a piece of work costs: processor time of the whole process, and time on the wall.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Started before a piece of work, read behind it.
pub(crate) struct Meter {
    wall: Instant,
    processor: Duration,
}

/// What a piece of work cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// The time that passed.
    pub(crate) wall: Duration,
    /// User and system time of all threads of this process: of both replicas, where two live in it.
    pub(crate) processor: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { processor: processor(), wall: Instant::now() }
    }

    pub(crate) fn cost(&self) -> Cost {
        Cost { wall: self.wall.elapsed(), processor: processor().saturating_sub(self.processor) }
    }
}

impl Cost {
    /// Microseconds of processor time for each of `count`.
    pub(crate) fn micros_per(&self, count: usize) -> f64 {
        per(self.processor, count)
    }

    /// How many of `count` were done in a second of the wall.
    pub(crate) fn rate(&self, count: usize) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }
}

/// Microseconds for each of `count`.
pub(crate) fn per(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// The value below which the share `part` of the values lies.
pub(crate) fn quantile(mut values: Vec<Duration>, part: f64) -> Duration {
    values.sort_unstable();
    let index = (values.len().saturating_sub(1)) as f64 * part;
    values.get(index.round() as usize).copied().unwrap_or_default()
}

/// The cost in the middle, by processor time.
pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_unstable_by_key(|cost| cost.processor);
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
