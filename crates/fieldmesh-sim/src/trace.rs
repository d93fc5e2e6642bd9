//! What happens, as a hash to tell whether two runs are the same, and as a log for people.

use std::fmt;
use std::io::Write;

use crate::cable::Stream;

/// The hash of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHash([u8; 32]);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash in the making, and where the log goes.
#[derive(Default)]
pub(crate) struct Trace<'a> {
    hasher: blake3::Hasher,
    log: Option<&'a mut dyn Write>,
}

impl<'a> Trace<'a> {
    pub(crate) fn logged(log: Option<&'a mut dyn Write>) -> Self {
        Self { hasher: blake3::Hasher::new(), log }
    }

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

    /// Writes a line of the log; the words are made only where somebody reads them.
    pub(crate) fn say(&mut self, at: i64, node: usize, words: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        let (seconds, millis) = (at / 1_000, at % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        // A log that nobody can read any more does not matter to the run.
        let _ = writeln!(
            log,
            "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} node {node:<2} {}",
            words()
        );
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(*self.hasher.finalize().as_bytes())
    }
}
