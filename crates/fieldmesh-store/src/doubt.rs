//! What opens have found the log to lack, kept on the disk until the store's owner has drawn the
//! consequences.
//!
//! ```text
//! uncertain   "fmdoubt1" | lines of text | CRC32
//! ```
//!
//! Opening repairs: it cuts a torn tail off and sets a view aside that has seen more than the log
//! holds. Whoever opens after a kill finds nothing wrong, so what was found is durable before any
//! of that happens.

use std::io;

use crate::files::{Files, read_whole, write_whole};
use crate::log::BadFrame;
use crate::log::Place;
use crate::log::open::TornTail;
use crate::mark::{checked, with_checksum};

pub(crate) const NAME: &str = "uncertain";
const MAGIC: [u8; 8] = *b"fmdoubt1";
/// Lines that are kept; an open that finds more has told enough.
const LINES_MAX: usize = 1_000;
/// No line is longer than a few hundred bytes.
const SIZE_MAX: u64 = 1024 * 1024;

/// What was found and not settled so far, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Doubt {
    lines: Vec<String>,
}

impl Doubt {
    /// What earlier opens found and nobody settled.
    pub(crate) fn read(files: &dyn Files) -> io::Result<Self> {
        let bytes = match read_whole(files, NAME, SIZE_MAX) {
            Ok(None) => return Ok(Self::default()),
            Ok(Some(bytes)) => bytes,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
            Err(error) => return Err(error),
        };
        let text = checked(&bytes, MAGIC).and_then(|text| std::str::from_utf8(text).ok());
        let lines = text.map_or_else(
            || vec!["an earlier open found damage; its note of it cannot be read".to_owned()],
            |text| text.lines().map(str::to_owned).collect(),
        );
        Ok(Self { lines })
    }

    /// Adds what was found; it is durable when this returns.
    ///
    /// On an error it is known here all the same and nothing may be repaired.
    pub(crate) fn add(
        &mut self,
        files: &dyn Files,
        found: impl IntoIterator<Item = String>,
    ) -> io::Result<()> {
        let before = self.lines.len();
        for line in found {
            if self.lines.len() < LINES_MAX && !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
        if self.lines.len() == before {
            return Ok(());
        }
        let body = [MAGIC.as_slice(), self.lines.join("\n").as_bytes()].concat();
        write_whole(files, NAME, &with_checksum(body))
    }

    /// Whether there is nothing in it but what was found so just now.
    pub(crate) fn is_within(&self, found: &[String]) -> bool {
        self.lines.iter().all(|line| found.contains(line))
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}

/// Forgets what was found, durably.
pub(crate) fn settle(files: &dyn Files) -> io::Result<()> {
    match files.remove(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    }
    files.sync_folder("")
}

/// What an open says of a log, in words.
pub(crate) fn of_log(bad_frames: &[BadFrame], missing: &[u64]) -> Vec<String> {
    bad_frames.iter().map(of_bad_frame).chain(of_missing_segments(missing)).collect()
}

pub(crate) fn of_bad_frame(bad: &BadFrame) -> String {
    format!(
        "a frame of the log at segment {}, byte {} is damaged ({:?}, {} bytes)",
        bad.segment, bad.offset, bad.damage, bad.length
    )
}

pub(crate) fn of_torn_tail(tail: &TornTail) -> String {
    let kept = tail.kept_as.as_deref().map_or_else(
        || "where it is".to_owned(),
        |file| format!("as {file} in the store's folder"),
    );
    format!(
        "the last {} bytes of the log (segment {}, byte {}) could not be read and are kept {kept}",
        tail.length, tail.segment, tail.offset
    )
}

/// One line for those that follow each other: a file may have held several.
pub(crate) fn of_missing_segments(missing: &[u64]) -> impl Iterator<Item = String> {
    let rows = missing.chunk_by(|before, next| before.checked_add(1) == Some(*next));
    rows.filter_map(|row| match row {
        [] => None,
        [segment] => Some(format!("segment {segment} of the log is missing")),
        [first, .., last] => Some(format!("segments {first} to {last} of the log are missing")),
    })
}

/// The same log found a second time behind a view that has seen more is another loss, so the line
/// says how much that was.
pub(crate) fn of_view_ahead(log_end: Option<Place>, seen: Option<Place>) -> String {
    let at = |place: Option<Place>| {
        place.map_or_else(|| "its beginning".to_owned(), |place| format!("entry {place}"))
    };
    format!("the log ends at {}, and the view had seen it up to {}", at(log_end), at(seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFiles;

    #[test]
    fn the_format_of_the_note_is_fixed() {
        let files = MemoryFiles::new();
        Doubt::default().add(&files, ["a".to_owned(), "b".to_owned()]).unwrap();
        let bytes = files.contents()[NAME].clone();
        assert_eq!(bytes[..bytes.len() - 4], *b"fmdoubt1a\nb");
        assert_eq!(Doubt::read(&files).unwrap().into_lines(), ["a", "b"]);
        settle(&files).unwrap();
        assert_eq!(Doubt::read(&files).unwrap(), Doubt::default());
    }

    #[test]
    fn segments_that_are_missing_in_a_row_take_one_line() {
        let lines: Vec<String> = of_missing_segments(&[1, 2, 3, 5]).collect();
        let expected =
            ["segments 1 to 3 of the log are missing", "segment 5 of the log is missing"];
        assert_eq!(lines, expected);
        assert_eq!(of_missing_segments(&[]).count(), 0);
    }

    #[test]
    fn a_note_that_cannot_be_read_is_still_a_doubt() {
        for damaged in [Vec::new(), b"fmdoubt1a".to_vec(), vec![7; 3 * 1024 * 1024]] {
            let files = MemoryFiles::new();
            files.place(NAME, damaged);
            assert_eq!(Doubt::read(&files).unwrap().into_lines().len(), 1);
        }
    }
}
