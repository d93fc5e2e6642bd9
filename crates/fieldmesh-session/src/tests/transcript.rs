//! What happened at one side of a conversation, as a file holds it.

use super::ends::content;
use crate::Set;

/// A batch or item of these tests: its number and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thing(pub(super) u32, pub(super) u32);

impl Thing {
    pub(super) fn bytes(self) -> Vec<u8> {
        content(self.0, self.1 as usize)
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        Self(number(0), number(4))
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// This is held from the beginning.
    Holds(Set, Thing),
    /// What is held cannot be read.
    Lost(Thing),
    /// This batch is refused.
    Refuses(Thing),
    /// So many milliseconds have passed since the beginning.
    Time(i64),
    /// The connection is up.
    Start,
    /// Bytes of the peer's control stream.
    Control(Vec<u8>),
    /// Bytes of the peer's data stream.
    Data(Vec<u8>),
    /// Something new is pushed.
    New(Set, Thing),
    /// Something new is named.
    Named(Thing),
    /// The roots are to be compared.
    Check,
    /// Nothing is refused any more.
    Rejudged,
    /// Bytes of the own control stream.
    ControlSent(Vec<u8>),
    /// Bytes of the own data stream.
    DataSent(Vec<u8>),
}

/// The events of a file in order: for each its number, the length of what follows as four bytes,
/// and that.
pub(super) fn decode(mut file: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let [number, a, b, c, d, rest @ ..] = file {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        entries.push(Entry::of(*number, &rest[..length]));
        file = &rest[length..];
    }
    entries
}

impl Entry {
    fn of(number: u8, bytes: &[u8]) -> Self {
        match number {
            0 => Self::Holds(Set::Policy, Thing::decode(bytes)),
            1 => Self::Holds(Set::Data, Thing::decode(bytes)),
            2 => Self::Lost(Thing::decode(bytes)),
            3 => Self::Refuses(Thing::decode(bytes)),
            4 => Self::Time(i64::from_be_bytes(bytes.try_into().unwrap())),
            5 => Self::Start,
            6 => Self::Control(bytes.to_vec()),
            7 => Self::Data(bytes.to_vec()),
            8 => Self::New(Set::Policy, Thing::decode(bytes)),
            9 => Self::New(Set::Data, Thing::decode(bytes)),
            10 => Self::Named(Thing::decode(bytes)),
            11 => Self::Check,
            12 => Self::Rejudged,
            13 => Self::ControlSent(bytes.to_vec()),
            14 => Self::DataSent(bytes.to_vec()),
            other => panic!("event {other} is unknown"),
        }
    }
}
