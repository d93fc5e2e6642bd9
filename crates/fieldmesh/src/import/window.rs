//! The part of a file that is being read: bounded, and inflated as far as it is needed.

use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::FileError;

/// How many bytes are read at a time.
const READ_SIZE: usize = 64 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A growing and shrinking view of the bytes that come next.
pub(super) struct Window {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
    line: u64,
    failure: Option<FileError>,
}

impl Window {
    /// Looks at the first bytes: a gzip file, of one member or several, is inflated.
    pub(super) fn open(source: impl Read + Send + 'static) -> Result<Self, FileError> {
        let mut source = BufReader::with_capacity(READ_SIZE, source);
        let mut magic = Vec::with_capacity(2);
        source.by_ref().take(2).read_to_end(&mut magic).map_err(FileError::Read)?;
        let zipped = magic == GZIP_MAGIC;
        let whole = std::io::Cursor::new(magic).chain(source);
        let source: Box<dyn Read + Send> =
            if zipped { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Ok(Self { source, buffer: Vec::new(), start: 0, at_end: false, line: 1, failure: None })
    }

    /// A window on nothing.
    pub(super) fn ended() -> Self {
        Self {
            source: Box::new(std::io::empty()),
            buffer: Vec::new(),
            start: 0,
            at_end: true,
            line: 1,
            failure: None,
        }
    }

    /// The bytes read and not yet taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Whether the file has no bytes beyond [`Window::bytes`].
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// The line on which the window begins, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Reads some more bytes.
    pub(super) fn grow(&mut self) -> Result<(), FileError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let before = self.buffer.len();
        let mut piece = self.source.by_ref().take(READ_SIZE as u64);
        let read = piece.read_to_end(&mut self.buffer);
        self.at_end = read.is_ok() && self.buffer.len() == before;
        // The rows before the damage are good, so they are handed out before the failure is.
        self.failure = read.err().map(FileError::from_read);
        Ok(())
    }

    /// Makes at least `count` bytes visible if the file has as many.
    pub(super) fn reach(&mut self, count: usize) -> Result<(), FileError> {
        while self.bytes().len() < count && !self.at_end {
            self.grow()?;
        }
        Ok(())
    }

    /// Drops the first `count` bytes.
    pub(super) fn take(&mut self, count: usize) {
        let count = count.min(self.bytes().len());
        let newlines = self.bytes()[..count].iter().filter(|byte| **byte == b'\n').count();
        self.line += newlines as u64;
        self.start += count;
    }

    /// The length of the first line with its line feed; none if it is longer than `limit`.
    pub(super) fn line_length(&mut self, limit: usize) -> Result<Option<usize>, FileError> {
        let mut searched = 0;
        loop {
            let bytes = self.bytes();
            if let Some(end) = find_newline(&bytes[searched..]) {
                let length = searched + end + 1;
                return Ok((length <= limit).then_some(length));
            }
            if bytes.len() > limit {
                return Ok(None);
            }
            if self.at_end {
                return Ok(Some(bytes.len()));
            }
            searched = bytes.len();
            self.grow()?;
        }
    }

    /// Drops everything up to and with the next line feed, however far it is.
    pub(super) fn skip_line(&mut self) -> Result<(), FileError> {
        loop {
            match find_newline(self.bytes()) {
                Some(end) => {
                    self.take(end + 1);
                    return Ok(());
                }
                None => self.take(self.bytes().len()),
            }
            if self.at_end {
                return Ok(());
            }
            self.grow()?;
        }
    }
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}
