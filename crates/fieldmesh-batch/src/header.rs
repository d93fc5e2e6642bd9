//! The fixed head of a batch: what is signed and hashed.
//!
//! All numbers are big-endian:
//!
//! ```text
//!   0  version        1        89  previous       32
//!   1  tenant        32       121  first           6   milliseconds since 1970
//!  33  scope          8       127  last            6   milliseconds since 1970
//!  41  author        32       133  priority        1
//!  73  epoch          8       134  change count    2
//!  81  sequence       8       136  raw length      4
//!                             140  Merkle root    32
//! ```

use fieldmesh_model::limits::{BATCH_CHANGES_MAX, BATCH_RAW_MAX, CHANGE_SIZE_MAX};
use fieldmesh_model::{BatchId, DeviceId, Epoch, Moment, Scope, TenantId};

/// Bytes in a header.
pub const HEADER_LENGTH: usize = 172;
/// The layout of header and body that this crate reads and writes.
pub const VERSION: u8 = 1;
/// Bytes in the key under which a batch stands in the set: scope 8, last change 6, id 32.
pub const KEY_LENGTH: usize = 46;

/// How soon a batch wants to travel, and flags; bits that are not known are kept and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(pub u8);

impl Priority {
    /// Travels in its turn.
    pub const NORMAL: Self = Self(0);
    /// Travels before everything else.
    pub const CRITICAL: Self = Self(1);

    /// Whether it travels before everything else.
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What a batch says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The layout.
    pub version: u8,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The part of the tenant's data that its changes belong to.
    pub scope: Scope,
    /// The device that signed it.
    pub author: DeviceId,
    /// The author's run; a new one opens new chains.
    pub epoch: Epoch,
    /// Position in the chain of author, epoch and scope, from 1.
    pub sequence: u64,
    /// The batch before it in the chain; zeros for the first one.
    pub previous: BatchId,
    /// The earliest change-time.
    pub first: Moment,
    /// The latest change-time.
    pub last: Moment,
    /// How soon it wants to travel.
    pub priority: Priority,
    /// The number of leaves.
    pub change_count: u16,
    /// The sum of the lengths of the changes when the batch was sealed.
    pub raw_length: u32,
    /// The Merkle root over the leaves.
    pub merkle_root: [u8; 32],
}

/// A header that no honest author writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Written by a later version.
    #[error("batch has version {version}, this program reads {VERSION}")]
    Version {
        /// The version in the header.
        version: u8,
    },
    /// A first batch names a previous one, or a later batch none.
    #[error("batch has sequence {sequence}, which contradicts its previous batch")]
    Chain {
        /// The sequence in the header.
        sequence: u64,
    },
    /// The first change is later than the last one.
    #[error("first change-time is later than the last")]
    Times,
    /// No change, or too many.
    #[error("batch has {count} changes, limit is {BATCH_CHANGES_MAX}")]
    Changes {
        /// The count in the header.
        count: usize,
    },
    /// Too many bytes for this number of changes.
    #[error("changes have {length} bytes, limit is {limit}")]
    Length {
        /// The length in the header.
        length: usize,
        /// The limit for this number of changes.
        limit: usize,
    },
}

impl Header {
    /// The id of the batch with these header bytes.
    pub fn id_of(bytes: &[u8; HEADER_LENGTH]) -> BatchId {
        BatchId::from_bytes(blake3::derive_key("fieldmesh/batch/1", bytes))
    }

    /// The bytes that are signed and hashed.
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        let mut writer = Writer { rest: &mut bytes };
        writer.put(&[self.version]);
        writer.put(self.tenant.as_bytes());
        writer.put(&self.scope.to_bytes());
        writer.put(self.author.as_bytes());
        writer.put(&self.epoch.0.to_be_bytes());
        writer.put(&self.sequence.to_be_bytes());
        writer.put(self.previous.as_bytes());
        writer.put(&self.first.to_u48().to_be_bytes()[2..]);
        writer.put(&self.last.to_u48().to_be_bytes()[2..]);
        writer.put(&[self.priority.0]);
        writer.put(&self.change_count.to_be_bytes());
        writer.put(&self.raw_length.to_be_bytes());
        writer.put(&self.merkle_root);
        bytes
    }

    /// Reads header bytes and checks their form.
    ///
    /// # Errors
    ///
    /// Fails for a header that no honest author of this version writes.
    pub fn from_bytes(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, HeaderError> {
        let mut reader = Reader { rest: bytes };
        let header = Self {
            version: u8::from_be_bytes(reader.array()),
            tenant: TenantId::from_bytes(reader.array()),
            scope: Scope::from_bytes(reader.array()),
            author: DeviceId::from_bytes(reader.array()),
            epoch: Epoch(u64::from_be_bytes(reader.array())),
            sequence: u64::from_be_bytes(reader.array()),
            previous: BatchId::from_bytes(reader.array()),
            first: reader.moment(),
            last: reader.moment(),
            priority: Priority(u8::from_be_bytes(reader.array())),
            change_count: u16::from_be_bytes(reader.array()),
            raw_length: u32::from_be_bytes(reader.array()),
            merkle_root: reader.array(),
        };
        header.check()?;
        Ok(header)
    }

    /// The key of the batch `id` with this header: scope, last change-time, id.
    pub fn key_bytes(&self, id: &BatchId) -> [u8; KEY_LENGTH] {
        let mut key = [0; KEY_LENGTH];
        let mut writer = Writer { rest: &mut key };
        writer.put(&self.scope.to_bytes());
        writer.put(&self.last.to_u48().to_be_bytes()[2..]);
        writer.put(id.as_bytes());
        key
    }

    fn check(&self) -> Result<(), HeaderError> {
        if self.version != VERSION {
            return Err(HeaderError::Version { version: self.version });
        }
        check_chain(self.sequence, &self.previous)?;
        if self.first > self.last {
            return Err(HeaderError::Times);
        }
        let length = usize::try_from(self.raw_length).unwrap_or(usize::MAX);
        check_size(usize::from(self.change_count), length)
    }
}

/// Sequence 1 has no previous batch, every other one has, and 0 does not exist.
pub(crate) fn check_chain(sequence: u64, previous: &BatchId) -> Result<(), HeaderError> {
    let is_first = *previous == BatchId::default();
    if sequence == 0 || is_first != (sequence == 1) {
        return Err(HeaderError::Chain { sequence });
    }
    Ok(())
}

/// Several changes fit into a small batch; a single larger one travels alone.
pub(crate) fn check_size(count: usize, length: usize) -> Result<(), HeaderError> {
    if count == 0 || count > BATCH_CHANGES_MAX {
        return Err(HeaderError::Changes { count });
    }
    let limit = if count == 1 { CHANGE_SIZE_MAX } else { BATCH_RAW_MAX };
    if length > limit {
        return Err(HeaderError::Length { length, limit });
    }
    Ok(())
}

struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (place, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        self.rest = rest;
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) =
            self.rest.split_first_chunk().expect("invariant: the fields of a header fill it");
        self.rest = rest;
        *array
    }

    fn moment(&mut self) -> Moment {
        let millis = self.array::<6>().iter().fold(0, |sum, byte| (sum << 8) | i64::from(*byte));
        Moment::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offset, name and length of each field, as the table on top of this file has them.
    fn table() -> Vec<(usize, &'static str, usize)> {
        let lines = include_str!("header.rs").lines().map_while(|line| line.strip_prefix("//!"));
        let cells = lines.flat_map(|line| {
            let cells: Vec<_> =
                line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
            let fields = cells.chunks_exact(3).map(|field| (field[0], field[1], field[2]));
            fields.collect::<Vec<_>>()
        });
        let mut table: Vec<(usize, &str, usize)> = cells
            .map(|(offset, name, length)| (offset.parse().unwrap(), name, length.parse().unwrap()))
            .collect();
        table.sort_unstable();
        table
    }

    #[test]
    fn the_table_of_offsets_tells_where_each_field_is() {
        let header = Header {
            version: VERSION,
            tenant: TenantId::from_bytes([2; 32]),
            scope: Scope { collection: 0x0303, partition: 0x03_0303, month: 0x03_0303 },
            author: DeviceId::from_bytes([4; 32]),
            epoch: Epoch(u64::from_be_bytes([5; 8])),
            sequence: u64::from_be_bytes([6; 8]),
            previous: BatchId::from_bytes([7; 32]),
            first: Moment::from_millis(0x0808_0808_0808),
            last: Moment::from_millis(0x0909_0909_0909),
            priority: Priority(10),
            change_count: 0x0b0b,
            raw_length: 0x0c0c_0c0c,
            merkle_root: [13; 32],
        };
        let bytes = header.to_bytes();
        let mut end = 0;
        for (number, (offset, name, length)) in (1..).zip(table()) {
            assert_eq!(offset, end, "{name}");
            end += length;
            assert_eq!(bytes[offset..end], vec![number; length], "{name}");
        }
        assert_eq!(end, HEADER_LENGTH);
    }
}
