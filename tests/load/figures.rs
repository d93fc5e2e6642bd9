//! What was done how often, what of it failed, and how long it took.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Failures that are told; more are only counted.
const TOLD_MAX: usize = 20;

/// What was done, from all threads.
#[derive(Default)]
pub(crate) struct Figures {
    kinds: Mutex<BTreeMap<&'static str, Kind>>,
    faults: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Kind {
    failed: usize,
    times: Vec<Duration>,
}

impl Figures {
    /// Does something and notes how that went.
    pub(crate) fn time<T>(
        &self,
        kind: &'static str,
        deed: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        let begin = Instant::now();
        let done = deed();
        let mut kinds = self.kinds.lock().unwrap();
        let figures = kinds.entry(kind).or_default();
        figures.times.push(begin.elapsed());
        match done {
            Ok(done) => Some(done),
            Err(words) => {
                figures.failed += 1;
                drop(kinds);
                self.fault(format!("{kind}: {words}"));
                None
            }
        }
    }

    /// Notes what is wrong.
    pub(crate) fn fault(&self, words: String) {
        self.faults.lock().unwrap().push(words);
    }

    /// What was wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.lock().unwrap().clone();
        let untold = faults.len().saturating_sub(TOLD_MAX);
        faults.truncate(TOLD_MAX);
        if untold > 0 {
            faults.push(format!("and {untold} more"));
        }
        faults
    }
}

impl Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| what | how many | failed | p50 | p99 |")?;
        writeln!(formatter, "|---|---|---|---|---|")?;
        for (kind, Kind { failed, times }) in self.kinds.lock().unwrap().iter() {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100].as_millis();
            let (count, half, most) = (times.len(), at(50), at(99));
            writeln!(formatter, "| {kind} | {count} | {failed} | {half} ms | {most} ms |")?;
        }
        Ok(())
    }
}
