//! Streams of JSON lines: progress, and at last a report or a problem.

use fieldmesh::api::{Problem, Progress};
use serde::{Deserialize, Serialize};

use super::LINE_SIZE_MAX;

/// One line of an answer that takes a while.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line<T> {
    /// Something is going on.
    Progress(Progress),
    /// It failed; the last line.
    Problem {
        /// Why.
        problem: Problem,
    },
    /// It is done; the last line.
    Report {
        /// What came of it.
        report: T,
    },
}

/// A line longer than [`LINE_SIZE_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("a line is longer than {LINE_SIZE_MAX} bytes")]
pub(crate) struct LineTooLong;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    rest: Vec<u8>,
    searched: usize,
}

impl Cutter {
    /// Adds bytes; afterwards take what [`Cutter::next`] gives.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next whole line without its end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let found = self.rest[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(found) = found else {
            self.searched = self.rest.len();
            return if self.searched > LINE_SIZE_MAX { Err(LineTooLong) } else { Ok(None) };
        };
        let end = self.searched + found;
        let mut line: Vec<u8> = self.rest.drain(..=end).collect();
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }

    /// What follows the last whole line.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.rest
    }
}

/// A value as one line.
pub(crate) fn line<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use fieldmesh::api::{Class, ImportReport};

    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_split() {
        let text = b"one\n\ntwo\nrest";
        for size in 1..text.len() {
            let mut cutter = Cutter::default();
            let mut lines = Vec::new();
            for piece in text.chunks(size) {
                cutter.push(piece);
                while let Some(line) = cutter.next().unwrap() {
                    lines.push(line);
                }
            }
            assert_eq!(lines, [b"one".to_vec(), Vec::new(), b"two".to_vec()], "{size}");
            assert_eq!(cutter.into_rest(), b"rest");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut cutter = Cutter::default();
        cutter.push(&vec![b'x'; LINE_SIZE_MAX + 1]);
        assert!(cutter.next().is_err());
    }

    #[test]
    fn every_kind_of_line_survives() {
        let lines = [
            Line::Progress(Progress::Import { rows: 1, bytes: 2 }),
            Line::Progress(Progress::Note { text: "listening".into() }),
            Line::Problem {
                problem: Problem { class: Class::Invalid, detail: "no".into(), faults: Vec::new() },
            },
            Line::Report { report: ImportReport { rows: 3, ..ImportReport::default() } },
        ];
        for expected in lines {
            let bytes = line(&expected).unwrap();
            let back: Line<ImportReport> = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(back, expected);
        }
    }
}
