//! Addresses that devices had before: where to try when nobody announces anything.
//!
//! A pure book that the owner stores; it knows no clock and dials nobody.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, Moment};
use serde::{Deserialize, Serialize};

/// The largest number of devices remembered; the one not reached for longest is forgotten.
pub const DEVICES_MAX: usize = 1_024;
/// The largest number of addresses remembered of one device.
pub const ADDRESSES_PER_DEVICE_MAX: usize = 8;
/// The longest address remembered, in bytes.
pub const ADDRESS_SIZE_MAX: usize = 260;

/// The addresses of devices, with what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remembered {
    devices: BTreeMap<DeviceId, Vec<Known>>,
}

/// One address of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `host:port`, as [`crate::address::resolve`] reads it.
    pub address: String,
    /// When it last worked.
    pub last_success: Option<Moment>,
    /// When it last failed, since it worked.
    pub last_failure: Option<Moment>,
}

impl Remembered {
    /// A connection to `device` at `address` came about at `now`.
    pub fn succeeded(&mut self, device: DeviceId, address: &str, now: Moment) {
        if let Some(known) = self.entry(device, address) {
            known.last_success = Some(now);
            known.last_failure = None;
        }
    }

    /// Nobody, or another device, answered at `address` at `now`.
    pub fn failed(&mut self, device: DeviceId, address: &str, now: Moment) {
        let known = self.devices.get_mut(&device).into_iter().flatten();
        for known in known.filter(|known| known.address == address) {
            known.last_failure = Some(now);
        }
    }

    /// `device` is said to be at `address`.
    pub fn heard(&mut self, device: DeviceId, address: &str) {
        self.entry(device, address);
    }

    /// The addresses of `device`, the most promising first.
    pub fn addresses(&self, device: &DeviceId) -> &[Known] {
        self.devices.get(device).map_or(&[], Vec::as_slice)
    }

    /// Every device with an address, in the order of device ids.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceId, &[Known])> {
        self.devices.iter().map(|(device, known)| (device, known.as_slice()))
    }

    /// Forgets a device, as when it is no member any more; whether it was known.
    pub fn forget(&mut self, device: &DeviceId) -> bool {
        self.devices.remove(device).is_some()
    }

    fn entry(&mut self, device: DeviceId, address: &str) -> Option<&mut Known> {
        if address.len() > ADDRESS_SIZE_MAX {
            return None;
        }
        if !self.devices.contains_key(&device) && self.devices.len() >= DEVICES_MAX {
            self.forget_stalest();
        }
        let known = self.devices.entry(device).or_default();
        let mut entry = match known.iter().position(|known| known.address == address) {
            Some(at) => known.remove(at),
            None => Known { address: address.into(), last_success: None, last_failure: None },
        };
        // News stands in front: it is tried first and dropped last.
        entry.last_failure = None;
        known.insert(0, entry);
        known.truncate(ADDRESSES_PER_DEVICE_MAX);
        known.first_mut()
    }

    fn forget_stalest(&mut self) {
        let reached = |known: &[Known]| known.iter().filter_map(|k| k.last_success).max();
        let stalest = self.devices.iter().min_by_key(|(_, known)| reached(known));
        if let Some(device) = stalest.map(|(device, _)| *device) {
            self.devices.remove(&device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u16) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn order(book: &Remembered, device: DeviceId) -> Vec<&str> {
        book.addresses(&device).iter().map(|known| known.address.as_str()).collect()
    }

    #[test]
    fn the_address_that_worked_last_is_tried_first() {
        let mut book = Remembered::default();
        book.succeeded(device(1), "a:1", at(1));
        book.succeeded(device(1), "b:1", at(2));
        book.succeeded(device(1), "a:1", at(3));
        book.failed(device(1), "a:1", at(4));
        book.failed(device(1), "never heard of:1", at(4));
        assert_eq!(order(&book, device(1)), ["a:1", "b:1"]);
        let first = &book.addresses(&device(1))[0];
        assert_eq!((first.last_success, first.last_failure), (Some(at(3)), Some(at(4))));
    }

    #[test]
    fn the_book_stays_small_and_keeps_who_was_reached_last() {
        let mut book = Remembered::default();
        for number in 0..2_000 {
            book.succeeded(device(number), "a:1", at(i64::from(number)));
        }
        for port in 0..100 {
            book.heard(device(1_999), &format!("a:{port}"));
        }
        book.heard(device(1_999), &"x".repeat(10_000));
        assert_eq!(book.devices().count(), DEVICES_MAX);
        assert_eq!(order(&book, device(1_999)).len(), ADDRESSES_PER_DEVICE_MAX);
        assert!(book.addresses(&device(0)).is_empty());
        assert!(book.forget(&device(1_999)) && !book.forget(&device(1_999)));
    }
}
