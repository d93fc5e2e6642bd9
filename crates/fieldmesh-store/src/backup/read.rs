//! Reads a backup; whatever is wrong with it is found before it is believed.

use std::io::{self, Read};

use fieldmesh_model::StoreId;

use super::{
    BACKUP_VERSION, BACKUP_WORDS_MAX, BackupId, BackupSummary, Blocks, CONTENT_MAX, Header, MAGIC,
    RestoreError, Sort, TAG_LENGTH, take_entry,
};
use crate::key::DataKey;
use crate::log::{Entry, Place};

/// The longest header: what the caller says, and a few numbers.
const HEADER_MAX: usize = BACKUP_WORDS_MAX + 256;
/// The longest sealed block: zstd makes what it cannot compress a little longer.
const SEALED_MAX: usize = CONTENT_MAX + CONTENT_MAX / 128 + 1024 + TAG_LENGTH;

/// A backup whose key is not known so far.
pub struct SealedBackup<R> {
    source: Source<R>,
    header: Header,
    preamble: Vec<u8>,
}

/// A backup that is being read.
pub struct BackupReader<R> {
    source: Source<R>,
    id: BackupId,
    store: StoreId,
    words: Vec<u8>,
    blocks: Blocks,
    hasher: blake3::Hasher,
    /// What is left of the block that was read last.
    content: Vec<u8>,
    at: usize,
    entries: u64,
    last: Option<Place>,
    /// The block after that, which shows whether one follows it.
    next: Block,
    summary: Option<BackupSummary>,
}

/// A block as it lies in the file.
struct Block {
    offset: u64,
    sealed: Vec<u8>,
}

/// A file and how far it was read.
struct Source<R> {
    file: R,
    offset: u64,
}

impl<R: Read> SealedBackup<R> {
    /// Reads the beginning of a backup.
    ///
    /// # Errors
    ///
    /// The file is no backup, of a newer version, or damaged in its first bytes.
    pub fn open(file: R) -> Result<Self, RestoreError> {
        let mut source = Source { file, offset: 0 };
        let mut preamble = source.take(MAGIC.len() + 2 + 4).map_err(|error| match error {
            RestoreError::CutShort { .. } => RestoreError::NotABackup,
            error => error,
        })?;
        let rest = preamble.strip_prefix(&MAGIC).ok_or(RestoreError::NotABackup)?;
        let (version, length) = rest.split_first_chunk::<2>().ok_or(RestoreError::NotABackup)?;
        let version = u16::from_be_bytes(*version);
        let length = <[u8; 4]>::try_from(length).map_err(|_| RestoreError::NotABackup)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let damaged = || RestoreError::Damaged { offset: 0, length: preamble_length(length) };
        if length > HEADER_MAX {
            return Err(damaged());
        }
        preamble.extend(source.take(length + 4)?);
        let (body, checksum) = preamble.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(damaged());
        }
        if version != BACKUP_VERSION {
            return Err(RestoreError::NewerVersion { version });
        }
        let header = &body[body.len() - length..];
        let header: Header = postcard::from_bytes(header).map_err(|_| damaged())?;
        Ok(Self { source, header, preamble })
    }

    /// What says how to get at the key; nothing vouches for it so far.
    pub fn opener(&self) -> &[u8] {
        &self.header.opener
    }

    /// Goes on with the key.
    ///
    /// # Errors
    ///
    /// The key is another one, or the first block is damaged.
    pub fn unlock(self, key: &DataKey) -> Result<BackupReader<R>, RestoreError> {
        let Self { mut source, header, preamble } = self;
        let Header { id, store, key_check, .. } = header;
        if key.check(store) != key_check {
            return Err(RestoreError::WrongKey);
        }
        let next = source.block()?.ok_or_else(|| source.cut_short())?;
        let mut reader = BackupReader {
            source,
            id,
            store,
            words: Vec::new(),
            blocks: Blocks::new(key, &id, &preamble),
            hasher: blake3::Hasher::new(),
            content: Vec::new(),
            at: 0,
            entries: 0,
            last: None,
            next,
            summary: None,
        };
        let (sort, words, block) = reader.step()?;
        if sort != Sort::Words || words.len() > BACKUP_WORDS_MAX {
            return Err(block.damaged());
        }
        reader.words = words;
        Ok(reader)
    }
}

fn preamble_length(header: usize) -> u64 {
    (MAGIC.len() + 2 + 4 + 4).saturating_add(header) as u64
}

impl<R: Read> BackupReader<R> {
    /// What tells this backup from another.
    pub fn id(&self) -> BackupId {
        self.id
    }

    /// The store that it is a backup of.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// What was said of the whole.
    pub fn words(&self) -> &[u8] {
        &self.words
    }

    /// The bytes of the file that are read.
    pub fn offset(&self) -> u64 {
        self.source.offset
    }

    /// The next entry, in the order of places; `None` once all were read and the end was found to
    /// be the right one.
    ///
    /// # Errors
    ///
    /// The file is damaged or not whole; nothing more can be read.
    pub fn next_entry(&mut self) -> Result<Option<(Place, Entry)>, RestoreError> {
        while self.at == self.content.len() {
            if self.summary.is_some() {
                return Ok(None);
            }
            let (sort, content, block) = self.step()?;
            match sort {
                Sort::Entries => {
                    self.hasher.update(&content);
                    (self.content, self.at) = (content, 0);
                }
                Sort::Summary => self.end(&content, &block)?,
                Sort::Words => return Err(block.damaged()),
            }
        }
        let length = (self.content.len() - self.at) as u64;
        let wrong = RestoreError::Damaged { offset: self.source.offset, length };
        let Some(((place, entry), rest)) = take_entry(&self.content[self.at..]) else {
            return Err(wrong);
        };
        if self.last >= Some(place) {
            return Err(wrong);
        }
        self.at = self.content.len() - rest.len();
        self.entries += 1;
        self.last = Some(place);
        Ok(Some((place, entry)))
    }

    /// What the last block says; `None` before everything was read.
    pub fn summary(&self) -> Option<&BackupSummary> {
        self.summary.as_ref()
    }

    /// Opens the block that was read last and reads the one after it.
    fn step(&mut self) -> Result<(Sort, Vec<u8>, Span), RestoreError> {
        let following = self.source.block()?;
        let is_last = following.is_none();
        let empty = Block { offset: self.source.offset, sealed: Vec::new() };
        let block = std::mem::replace(&mut self.next, following.unwrap_or(empty));
        let place = Span { offset: block.offset, length: block.sealed.len() as u64 };
        match self.blocks.open(is_last, block.sealed.clone()) {
            Some((sort, content)) => Ok((sort, content, place)),
            None if is_last && self.opens_in_the_middle(block.sealed) => {
                Err(self.source.cut_short())
            }
            None => Err(place.damaged()),
        }
    }

    /// Whether a block is right but for being the last one: then the file was cut behind it.
    fn opens_in_the_middle(&mut self, sealed: Vec<u8>) -> bool {
        self.blocks.next -= 1;
        self.blocks.open(false, sealed).is_some()
    }

    fn end(&mut self, content: &[u8], block: &Span) -> Result<(), RestoreError> {
        let summary: BackupSummary = postcard::from_bytes(content).map_err(|_| block.damaged())?;
        let is_whole = summary.entries == self.entries
            && summary.digest == *self.hasher.finalize().as_bytes()
            && summary.end >= self.last;
        if !is_whole {
            return Err(block.damaged());
        }
        self.summary = Some(summary);
        Ok(())
    }
}

/// Where a block lies.
struct Span {
    offset: u64,
    length: u64,
}

impl Span {
    fn damaged(&self) -> RestoreError {
        RestoreError::Damaged { offset: self.offset, length: self.length }
    }
}

impl<R: Read> Source<R> {
    /// The next block; `None` at the end of the file.
    fn block(&mut self) -> Result<Option<Block>, RestoreError> {
        let offset = self.offset;
        let mut length = [0; 4];
        match self.fill(&mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(self.cut_short()),
        }
        let length = u32::from_be_bytes(length);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > SEALED_MAX {
            return Err(RestoreError::Damaged { offset, length: 4 });
        }
        Ok(Some(Block { offset, sealed: self.take(size)? }))
    }

    /// Exactly so many bytes; no more is allocated than the file has.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = Vec::new();
        let taken = (&mut self.file).take(length as u64).read_to_end(&mut bytes)?;
        self.offset += taken as u64;
        if taken < length {
            return Err(self.cut_short());
        }
        Ok(bytes)
    }

    /// Reads until `buffer` is full or the file ends; gives how many bytes that were.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn cut_short(&self) -> RestoreError {
        RestoreError::CutShort { offset: self.offset }
    }
}
