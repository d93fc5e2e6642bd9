//! Waiting for a state of other processes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::DemoError;

/// How long anything may take that takes a second on a good day.
pub(super) const STEP_TIME_MAX: Duration = Duration::from_secs(40);
/// How often the demo looks whether something has come about.
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// Looks until there is something to see.
///
/// # Errors
///
/// Looking fails, or `limit` passes first.
pub(super) async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(DemoError::TimedOut { what: what.into(), limit });
        }
        sleep(LOOK_INTERVAL).await;
    }
}
