//! Which segments one that was made of several has taken the place of.
//!
//! Their numbers are in its head, and are not enough: in a copy of the home other segments lie under
//! the same numbers. The random id of a segment is that of no other one.

use crate::frame::SegmentHead;

/// So many bytes of an id tell it from every other.
const KEPT_LENGTH: usize = 8;
/// Nobody knows which segment it was: a program merged it that kept no ids.
const UNNAMED: [u8; KEPT_LENGTH] = [0; KEPT_LENGTH];
/// Which segment it was may be written down, and cannot be read.
const UNREADABLE: [u8; KEPT_LENGTH] = [0xff; KEPT_LENGTH];

/// What a file is to the segment whose place was taken under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kin {
    Same,
    /// Nobody has written down which one it was.
    Unnamed,
    /// It is the same one if something that it says is said there, and nothing contradicts that.
    Unreadable,
    /// Another one, from a copy of the home.
    Stranger,
}

/// The beginnings of the ids of segments that another one has taken the place of, in the order of
/// their numbers, which follow each other. Of those behind the end nothing can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Taken(Vec<[u8; KEPT_LENGTH]>);

impl Taken {
    /// So many segments of which a program that kept no ids made one.
    pub(crate) fn unnamed(count: u16) -> Self {
        Self(vec![UNNAMED; count.into()])
    }

    /// With so many segments, whatever can be read of them.
    pub(crate) fn with_length(mut self, count: u16) -> Self {
        self.0.resize(count.into(), UNREADABLE);
        self
    }

    /// Adds those that `before` has taken the place of, which come next.
    pub(crate) fn append(&mut self, before: &Self) {
        self.0.extend(&before.0);
    }

    /// Adds the segment that comes next.
    pub(crate) fn push(&mut self, head: &SegmentHead) {
        self.0.push(beginning(head));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `left` is to that whose place `merged` has taken under its number.
    pub(crate) fn kin(&self, merged: &SegmentHead, left: &SegmentHead) -> Kin {
        let at = left.number.checked_sub(merged.first_number());
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.0.get(at)).copied().unwrap_or(UNREADABLE) {
            known if known == beginning(left) => Kin::Same,
            UNNAMED => Kin::Unnamed,
            UNREADABLE => Kin::Unreadable,
            _ => Kin::Stranger,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Reads what [`Taken::encode`] wrote; `None` if it did not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (ids, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(ids.to_vec()))
    }

    /// The memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * KEPT_LENGTH
    }
}

fn beginning(head: &SegmentHead) -> [u8; KEPT_LENGTH] {
    *head.id.first_chunk().expect("invariant: an id has 16 bytes")
}
