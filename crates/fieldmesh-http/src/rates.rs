//! How often somebody may come: so many times in any window of time, to the millisecond.
//!
//! Time is an argument, in milliseconds of any steady clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash};

/// The most names of whom one window keeps the times.
const KEYS_MAX: usize = 100_000;
/// Further names share so many places, so that a crowd of them shuts out few.
const SHARED: usize = 1_024;
/// How long after a search for names to forget none is made.
const SWEEP_INTERVAL: u64 = 1_000;

/// So many times in so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How often.
    pub count: u32,
    /// In any stretch of time as long as this, in milliseconds.
    pub millis: u64,
}

impl Rate {
    /// So many in any second.
    pub const fn a_second(count: u32) -> Self {
        Self { count, millis: 1_000 }
    }

    /// So many in any minute.
    pub const fn a_minute(count: u32) -> Self {
        Self { count, millis: 60_000 }
    }
}

/// When each of many came, as far back as that matters.
#[derive(Debug)]
pub struct Windows<K> {
    rate: Rate,
    times: HashMap<K, VecDeque<u64>>,
    /// The times of those who came while there were too many names, by a hash of the name that
    /// nobody else can compute; none until then.
    shared: Vec<VecDeque<u64>>,
    swept: u64,
}

impl<K: Hash + Eq> Windows<K> {
    /// Windows in which nobody has come so far.
    pub fn new(rate: Rate) -> Self {
        Self { rate, times: HashMap::new(), shared: Vec::new(), swept: 0 }
    }

    /// Counts that `key` comes at `now`. Who is refused is not counted, so that somebody who comes
    /// again too early does not wait for ever.
    ///
    /// # Errors
    ///
    /// The seconds, at least one, after which he may come.
    pub fn take(&mut self, key: K, now: u64) -> Result<(), u32> {
        self.make_room(now);
        let is_full = self.times.len() >= KEYS_MAX && !self.times.contains_key(&key);
        let times = match is_full {
            true => {
                self.shared.resize_with(SHARED, VecDeque::new);
                let place = self.times.hasher().hash_one(&key) % SHARED as u64;
                &mut self.shared[place as usize]
            }
            false => self.times.entry(key).or_default(),
        };
        let horizon = now.saturating_sub(self.rate.millis);
        while times.front().is_some_and(|time| *time <= horizon && now >= self.rate.millis) {
            times.pop_front();
        }
        if times.len() < self.rate.count as usize {
            times.push_back(now);
            return Ok(());
        }
        let free = times.front().map_or(now, |first| first + self.rate.millis);
        let seconds = free.saturating_sub(now).div_ceil(1_000).max(1);
        Err(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Forgets who has not come for as long as it matters, once there are many.
    fn make_room(&mut self, now: u64) {
        let is_due = now.saturating_sub(self.swept) >= SWEEP_INTERVAL || self.swept == 0;
        if self.times.len() < KEYS_MAX || !is_due {
            return;
        }
        self.swept = now;
        let millis = self.rate.millis;
        self.times.retain(|_, times| times.back().is_some_and(|last| last + millis > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_31st_in_any_minute_is_refused_wherever_the_minute_begins() {
        let mut windows = Windows::new(Rate::a_minute(30));
        for second in 0..30 {
            assert_eq!(windows.take("ann", 40_000 + second * 1_000), Ok(()), "{second}");
        }
        assert_eq!(windows.take("ann", 70_000), Err(30));
        assert_eq!(windows.take("ann", 99_999), Err(1));
        assert_eq!(windows.take("ben", 99_999), Ok(()));
        // The first is a minute ago; what was refused does not count.
        assert_eq!(windows.take("ann", 100_000), Ok(()));
        assert_eq!(windows.take("ann", 100_000), Err(1));
    }

    #[test]
    fn a_crowd_of_names_makes_nobody_free_and_takes_bounded_memory() {
        let mut windows = Windows::new(Rate::a_second(1));
        for key in 0..KEYS_MAX {
            assert_eq!(windows.take(key, 10_000), Ok(()));
        }
        // A small crowd leaves nearly everybody else his turn; a large one gets no more of them.
        let mut come = |names: std::ops::Range<usize>| {
            let names = names.map(|name| KEYS_MAX + name);
            names.filter(|name| windows.take(*name, 10_000).is_ok()).count()
        };
        assert!(come(0..100) > 80);
        assert!(come(100..200) > 60);
        come(200..20_000);
        assert_eq!(come(20_000..40_000), 0);
        assert_eq!(windows.take(5, 10_000), Err(1));
        assert_eq!(windows.times.len(), KEYS_MAX);
        assert_eq!(windows.take(KEYS_MAX + 1, 11_000), Ok(()));
        assert_eq!(windows.times.len(), 1);
    }
}
