//! The key of one item of the set.

use std::fmt;

/// Bytes in a key: scope 8, time 6, id 32.
pub const KEY_LENGTH: usize = 46;

/// Half bytes in a key; the trie branches on one at a time.
pub(crate) const NIBBLES: usize = 2 * KEY_LENGTH;

/// The greatest time a key holds: 48 bits of milliseconds.
const MILLIS_MAX: u64 = (1 << 48) - 1;

/// Scope, time of the last change and id of one item; keys order as their bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; KEY_LENGTH]);

impl Key {
    /// The key of the item `id` in `scope` that was last changed at `millis` since 1970.
    ///
    /// Times beyond 48 bits count as the greatest one.
    pub fn new(scope: [u8; 8], millis: u64, id: [u8; 32]) -> Self {
        let mut bytes = [0; KEY_LENGTH];
        bytes[..8].copy_from_slice(&scope);
        bytes[8..14].copy_from_slice(&millis.min(MILLIS_MAX).to_be_bytes()[2..]);
        bytes[14..].copy_from_slice(&id);
        Self(bytes)
    }

    /// The key that [`Self::as_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes that order and hash this key.
    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// The first eight bytes.
    pub fn scope(&self) -> [u8; 8] {
        let mut scope = [0; 8];
        scope.copy_from_slice(&self.0[..8]);
        scope
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        self.0[8..14].iter().fold(0, |millis, byte| (millis << 8) | u64::from(*byte))
    }

    /// The last 32 bytes.
    pub fn id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        id.copy_from_slice(&self.0[14..]);
        id
    }

    /// The half byte at `index`, counted from the front.
    pub(crate) const fn nibble(&self, index: usize) -> usize {
        nibble_of(&self.0, index)
    }

    /// How many half bytes this key and `other` share from the front.
    pub(crate) fn shared(&self, other: &Self) -> usize {
        shared_nibbles(&self.0, &other.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(")?;
        for byte in &self.0[..16] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "..)")
    }
}

/// The half byte at `index` of `bytes`.
pub(crate) const fn nibble_of(bytes: &[u8; KEY_LENGTH], index: usize) -> usize {
    let byte = bytes[index / 2];
    (if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 }) as usize
}

/// How many half bytes the two have in common from the front.
pub(crate) fn shared_nibbles(one: &[u8; KEY_LENGTH], other: &[u8; KEY_LENGTH]) -> usize {
    match one.iter().zip(other).position(|(a, b)| a != b) {
        None => NIBBLES,
        Some(at) if one[at] >> 4 == other[at] >> 4 => 2 * at + 1,
        Some(at) => 2 * at,
    }
}
