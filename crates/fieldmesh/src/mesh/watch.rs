//! What was noticed about peers that a person may have to act on.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{BatchId, DeviceId, Moment};
use fieldmesh_store::Place;

/// Devices of which something is kept; a tenant has fewer.
const DEVICES_MAX: usize = 4_096;

/// What was noticed about peers since the mesh was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// How each peer introduced itself last.
    pub(crate) greetings: BTreeMap<DeviceId, Greeted>,
    /// Relays that did not give what they acknowledged: how many batches, and one of them.
    pub(crate) withheld: BTreeMap<DeviceId, (u64, BatchId)>,
    /// Devices that lack what they acknowledged, or forgot that they did.
    pub(crate) doubted: BTreeSet<DeviceId>,
    /// When each device held the same as this one last, and up to where the log was read for that.
    pub(crate) agreed: BTreeMap<DeviceId, (Moment, Place)>,
}

/// How a peer introduced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeted {
    /// How far its clock is ahead of this one's.
    pub(crate) skew_millis: i64,
    /// The version of the protocol that both speak.
    pub(crate) version: u16,
}

impl Watch {
    pub(super) fn greeted(&mut self, device: DeviceId, skew_millis: i64, version: u16) {
        if self.greetings.len() < DEVICES_MAX || self.greetings.contains_key(&device) {
            self.greetings.insert(device, Greeted { skew_millis, version });
        }
    }

    pub(super) fn agreed(&mut self, device: DeviceId, at: Moment, end: Option<Place>) {
        let Some(end) = end else { return };
        if self.agreed.len() < DEVICES_MAX || self.agreed.contains_key(&device) {
            self.agreed.insert(device, (at, end));
        }
    }

    pub(super) fn doubted(&mut self, device: DeviceId) {
        if self.doubted.len() < DEVICES_MAX {
            self.doubted.insert(device);
        }
    }

    pub(super) fn withheld(&mut self, relay: DeviceId, batch: BatchId) {
        if self.withheld.len() < DEVICES_MAX || self.withheld.contains_key(&relay) {
            let (count, last) = self.withheld.entry(relay).or_insert((0, batch));
            *count += 1;
            *last = batch;
        }
    }
}
