//! The part of a tenant's data that a batch belongs to.

use serde::{Deserialize, Serialize};

use crate::Moment;

/// Collection, partition and month of a batch: the first eight bytes of its key, so that a filter
/// is a list of key prefixes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Scope {
    /// The number of the collection.
    pub collection: u16,
    /// The partition inside the collection, 24 bits; 0 where the collection declares none.
    pub partition: u32,
    /// The newest creation month in the batch, 24 bits; see [`Moment::month`].
    pub month: u32,
}

impl Scope {
    /// The scope of a record of `collection` in `partition` that was created at `at`.
    pub fn of(collection: u16, partition: u32, at: Moment) -> Self {
        Self { collection, partition, month: at.month() }
    }

    /// Eight big-endian bytes: collection 2, partition 3, month 3.
    pub fn to_bytes(self) -> [u8; 8] {
        let [_, p0, p1, p2] = self.partition.to_be_bytes();
        let [_, m0, m1, m2] = self.month.to_be_bytes();
        let [c0, c1] = self.collection.to_be_bytes();
        [c0, c1, p0, p1, p2, m0, m1, m2]
    }

    /// The scope that [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [c0, c1, p0, p1, p2, m0, m1, m2] = bytes;
        Self {
            collection: u16::from_be_bytes([c0, c1]),
            partition: u32::from_be_bytes([0, p0, p1, p2]),
            month: u32::from_be_bytes([0, m0, m1, m2]),
        }
    }
}
