//! What passed between this device and each of the others since somebody asked last.
//!
//! Whoever keeps books of a fleet takes it out here now and then and adds it up: nothing of it is
//! on a disk, and nothing is told twice.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, Moment};

use crate::api::{DELAY_BOUNDS, DURATION_BOUNDS_MILLIS, Dealing, Dealings};

/// Devices of which something is kept; a tenant has fewer.
const DEVICES_MAX: usize = 4_096;
/// The longest reason that is kept, in characters.
const REASON_LENGTH_MAX: usize = 200;

/// What nobody has taken out so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    devices: BTreeMap<DeviceId, Dealing>,
    delays: [u64; DELAY_BOUNDS.len() + 1],
    delayed_seconds: u64,
    durations: [u64; DURATION_BOUNDS_MILLIS.len() + 1],
    duration_millis: u64,
}

impl Books {
    fn change(&mut self, device: DeviceId, change: impl FnOnce(&mut Dealing)) {
        if self.devices.len() < DEVICES_MAX || self.devices.contains_key(&device) {
            change(self.devices.entry(device).or_insert_with(|| Dealing::with(device)));
        }
    }

    /// A device introduced itself.
    pub(super) fn greeted(&mut self, device: DeviceId, skew: i64, version: u16, now: Moment) {
        self.change(device, |dealing| {
            dealing.last_contact = Some(now);
            dealing.clock_ahead = Some(skew);
            dealing.protocol = Some(version);
        });
    }

    /// Both held the same; where it is the first time in their conversation, that took so many
    /// milliseconds.
    pub(super) fn agreed(&mut self, device: DeviceId, first_after: Option<u64>, now: Moment) {
        if let Some(millis) = first_after {
            let is_longer = |bound: &&u64| millis > **bound;
            let bucket = DURATION_BOUNDS_MILLIS.iter().take_while(is_longer).count();
            self.durations[bucket] += 1;
            self.duration_millis = self.duration_millis.saturating_add(millis);
        }
        self.change(device, |dealing| {
            dealing.last_contact = Some(now);
            dealing.last_in_step = Some(now);
            dealing.agreed += u64::from(first_after.is_some());
        });
    }

    /// A conversation ended before both held the same.
    pub(super) fn failed(&mut self, device: DeviceId, reason: &str, now: Moment) {
        let reason: String = reason.chars().take(REASON_LENGTH_MAX).collect();
        self.change(device, |dealing| {
            dealing.failed += 1;
            dealing.failure = Some((now, reason));
        });
    }

    /// Something came from a device.
    pub(super) fn received(&mut self, device: DeviceId, bytes: usize, now: Moment) {
        self.change(device, |dealing| {
            dealing.last_contact = Some(now);
            dealing.bytes_in += bytes as u64;
        });
    }

    /// Something goes to a device.
    pub(super) fn sent(&mut self, device: DeviceId, bytes: usize) {
        self.change(device, |dealing| dealing.bytes_out += bytes as u64);
    }

    /// A batch of a device is not stored, or does not count.
    pub(super) fn refused(&mut self, device: DeviceId, batches: u64) {
        self.change(device, |dealing| dealing.refused += batches);
    }

    /// A batch is durable here whose newest change its author's clock puts at `written`. A clock
    /// that is ahead makes it no delay, not less than none.
    pub(super) fn arrived(&mut self, author: DeviceId, written: Moment, now: Moment) {
        let seconds = u64::try_from(now.millis_since(written) / 1_000).unwrap_or(0);
        let bucket = DELAY_BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        self.delays[bucket] += 1;
        self.delayed_seconds = self.delayed_seconds.saturating_add(seconds);
        self.change(author, |dealing| dealing.last_delay_seconds = Some(seconds));
    }

    /// Gives all of it, and is empty.
    pub(super) fn take(&mut self) -> Dealings {
        let Self { devices, delays, delayed_seconds, durations, duration_millis } =
            std::mem::take(self);
        let devices = devices.into_values().collect();
        Dealings { devices, delays, delayed_seconds, durations, duration_millis }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([7; 32]);

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn what_was_taken_out_is_not_told_again() {
        let mut books = Books::default();
        books.greeted(DEVICE, -40, 4, at(1));
        books.received(DEVICE, 70, at(2));
        books.agreed(DEVICE, Some(700), at(3));
        books.agreed(DEVICE, None, at(4));
        books.failed(DEVICE, "gone", at(5));
        let taken = books.take();
        let [dealing] = taken.devices.as_slice() else { panic!("{taken:?}") };
        assert_eq!((dealing.agreed, dealing.failed, dealing.bytes_in), (1, 1, 70));
        assert_eq!(dealing.last_in_step, Some(at(4)));
        assert_eq!(dealing.failure, Some((at(5), "gone".to_owned())));
        assert_eq!((taken.durations, taken.duration_millis), ([0, 0, 1, 0, 0, 0, 0, 0], 700));
        assert_eq!(books.take(), Dealings::default());
    }

    #[test]
    fn a_delay_counts_in_the_first_bucket_that_holds_it_and_a_fast_clock_makes_none() {
        let mut books = Books::default();
        books.arrived(DEVICE, at(100), at(40));
        books.arrived(DEVICE, at(0), at(DELAY_BOUNDS[0].try_into().unwrap()));
        books.arrived(DEVICE, at(0), at(1_000_000));
        let taken = books.take();
        assert_eq!((taken.delays[0], taken.delays[DELAY_BOUNDS.len()]), (2, 1));
        assert_eq!(taken.delayed_seconds, 1_000_000 + DELAY_BOUNDS[0]);
        assert_eq!(taken.devices[0].last_delay_seconds, Some(1_000_000));
    }
}
