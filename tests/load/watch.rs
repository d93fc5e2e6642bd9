//! The memory and the open files of the relay, looked at all the time.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::resident::{Resident, megabytes};
use crate::size::Size;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The most memory of its own that a relay may have: without tenants, for each that is open, and for
/// each that is known.
const BASE_MAX: u64 = 128 << 20;
const OPEN_TENANT_MAX: u64 = 2 << 20;
const TENANT_MAX: u64 = 256 << 10;
/// The most files: without tenants, and for each that is open, as the relay itself counts on.
const FILES_BASE_MAX: usize = 320;
const FILES_OPEN_TENANT_MAX: usize = 80;
/// How much the memory may grow from the middle to the end, in percent and bytes beside that.
const GROWTH_PERCENT_MAX: u64 = 15;
const GROWTH_MAX: u64 = 8 << 20;
/// Growth is judged where there is so much time for it.
const GROWTH_TIME_MIN: Duration = Duration::from_secs(60);

/// One look.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    own: u64,
    files: usize,
}

/// A thread that looks.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    looking: JoinHandle<Vec<Look>>,
}

/// What was seen.
pub(crate) struct Watched(Vec<Look>);

impl Watch {
    /// Begins to look at a process.
    pub(crate) fn begin(process: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (process, over, begin) = (process.to_string(), Arc::clone(&is_over), Instant::now());
        let looking = std::thread::spawn(move || {
            let mut looks = Vec::new();
            while !over.load(Ordering::Relaxed) {
                looks.extend(look(&process, begin));
                std::thread::sleep(LOOK_EVERY);
            }
            looks.extend(look(&process, begin));
            looks
        });
        Self { is_over, looking }
    }

    /// Ends it.
    pub(crate) fn end(self) -> Watched {
        self.is_over.store(true, Ordering::Relaxed);
        Watched(self.looking.join().unwrap())
    }
}

fn look(process: &str, begin: Instant) -> Option<Look> {
    let own = Resident::of(process).ok()?.own;
    let files = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    Some(Look { at: begin.elapsed(), own, files })
}

impl Watched {
    /// What exceeds its bounds.
    pub(crate) fn judge(&self, size: Size) -> Vec<String> {
        let (tenants, open) = (size.tenants as u64, size.open_tenants_max() as u64);
        let own_max = BASE_MAX + OPEN_TENANT_MAX * open + TENANT_MAX * tenants;
        let files_max = FILES_BASE_MAX + FILES_OPEN_TENANT_MAX * size.open_tenants_max();
        let mut faults = Vec::new();
        let (own, files) = (self.most(0, 3).0, self.most(0, 3).1);
        if own > own_max {
            let (own, own_max) = (megabytes(own), megabytes(own_max));
            faults.push(format!("the relay had {own} MB, and {own_max} are its bound"));
        }
        if files > files_max {
            faults.push(format!("the relay had {files} files open, and {files_max} are its bound"));
        }
        let (middle, end) = (self.most(1, 2).0, self.most(2, 3).0);
        let is_long = self.0.last().is_some_and(|look| look.at >= GROWTH_TIME_MIN);
        if is_long && end > middle * (100 + GROWTH_PERCENT_MAX) / 100 + GROWTH_MAX {
            let (middle, end) = (megabytes(middle), megabytes(end));
            faults.push(format!("the relay's memory grew from {middle} to {end} MB"));
        }
        faults
    }

    /// For people: the most in each third of the time.
    pub(crate) fn told(&self) -> String {
        let thirds = [self.most(0, 1), self.most(1, 2), self.most(2, 3)];
        let [first, middle, last] =
            thirds.map(|(own, files)| format!("{} MB and {files} files", megabytes(own)));
        let time = self.0.last().map_or(0, |look| look.at.as_secs());
        format!("relay, the most in each third of {time} s: {first}; {middle}; {last}")
    }

    /// The most memory and files between two thirds of the time.
    fn most(&self, from: u32, to: u32) -> (u64, usize) {
        let whole = self.0.last().map_or(Duration::ZERO, |look| look.at);
        let part = self.0.iter().filter(|look| {
            let third = look.at * 3;
            (whole * from..=whole * to).contains(&third)
        });
        part.fold((0, 0), |(own, files), look| (own.max(look.own), files.max(look.files)))
    }
}
