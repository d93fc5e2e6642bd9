//! A hash over everything that happens, to tell whether two runs are the same.

use std::fmt;

use crate::cable::Stream;

/// The hash of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHash([u8; 32]);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash in the making.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
}

impl Trace {
    pub(crate) fn happened(&mut self, at: i64, what: &str, node: usize) {
        self.hasher.update(&at.to_be_bytes());
        self.hasher.update(what.as_bytes());
        self.hasher.update(&node.to_be_bytes());
    }

    pub(crate) fn delivered(&mut self, stream: Stream, bytes: &[u8]) {
        self.hasher.update(&[stream.index() as u8]);
        self.hasher.update(&bytes.len().to_be_bytes());
        self.hasher.update(bytes);
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(*self.hasher.finalize().as_bytes())
    }
}
