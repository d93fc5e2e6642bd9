//! Runs the tries of a fault, two at a time, and says how to repeat what fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::numbers::Numbers;
use crate::tally::Tally;

/// Tries that run side by side.
const WORKERS: usize = 2;
/// Failures that are told; more are only counted.
const TOLD_MAX: usize = 60;

/// A fault with the scene it is tried on.
pub(crate) trait Fault: Sync {
    /// How many tries a round has.
    fn tries(&self) -> usize;

    /// Does one of them; the words of an error say what was lost.
    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String>;
}

/// A kind of damage that is tried.
pub(crate) struct Theme {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is called in the table.
    pub(crate) fault: &'static str,
    /// Makes the scene of a round; nothing where this machine cannot.
    pub(crate) prepare: fn(seed: u64) -> Option<Box<dyn Fault>>,
}

/// Which tries are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) from: u64,
    pub(crate) rounds: u64,
    /// A single try of the round.
    pub(crate) only: Option<usize>,
    /// How long rounds go on, in place of their number.
    pub(crate) time: Option<Duration>,
}

/// What came of all rounds of a theme; nothing where it was skipped.
pub(crate) fn run(theme: &Theme, wish: Wish) -> Option<(Tally, Vec<String>)> {
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let begin = Instant::now();
    let is_over = || wish.time.is_some_and(|time| begin.elapsed() > time);
    let rounds = if wish.time.is_some() { u64::MAX - wish.from } else { wish.rounds };
    for seed in (wish.from..wish.from + rounds).take_while(|_| !is_over()) {
        let fault = (theme.prepare)(seed)?;
        let attempts = wish.only.map_or(0..fault.tries(), |only| only..only + 1);
        let next = AtomicUsize::new(attempts.start);
        let done = Mutex::new((&mut tally, &mut failures));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let attempt = next.fetch_add(1, Ordering::Relaxed);
                        if attempt >= attempts.end || is_over() {
                            return;
                        }
                        let result = try_one(theme, &*fault, seed, attempt);
                        let mut done = done.lock().unwrap();
                        match result {
                            Ok(tally) => done.0.add(&tally),
                            Err(words) => {
                                done.0.add(&Tally { tried: 1, lost: 1, ..Tally::default() });
                                done.1.push(words);
                            }
                        }
                    }
                });
            }
        });
    }
    let untold = failures.len().saturating_sub(TOLD_MAX);
    failures.truncate(TOLD_MAX);
    if untold > 0 {
        failures.push(format!("{}: and {untold} more", theme.name));
    }
    Some((tally, failures))
}

fn try_one(theme: &Theme, fault: &dyn Fault, seed: u64, attempt: usize) -> Result<Tally, String> {
    let mut numbers = Numbers::of(seed, theme.name, attempt);
    let attempted = catch_unwind(AssertUnwindSafe(|| fault.attempt(attempt, &mut numbers)));
    let result = attempted.unwrap_or_else(|_| Err("the test itself failed, see above".into()));
    result.map_err(|words| {
        format!(
            "{}: {words}\n  repeat it: cargo destruction {} --from {seed} --try {attempt}",
            theme.name, theme.name
        )
    })
}
