//! Writes a backup.

use std::io::Write;

use fieldmesh_model::StoreId;

use super::{
    BACKUP_VERSION, BACKUP_WORDS_MAX, BLOCK_SIZE, BackupError, BackupId, BackupSummary, Blocks,
    Header, MAGIC, Sort, put_entry,
};
use crate::key::DataKey;
use crate::log::{Entry, Place};
use crate::random;

/// Writes a backup; it is one once [`BackupWriter::finish`] is done.
pub struct BackupWriter<W> {
    out: W,
    id: BackupId,
    blocks: Blocks,
    content: Vec<u8>,
    hasher: blake3::Hasher,
    entries: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins the backup of a store. `opener` stands in the open and says how to get at the key;
    /// `words` are what the caller says of the whole, encrypted.
    ///
    /// # Errors
    ///
    /// Either of them is too long, or nothing can be written.
    pub fn begin(
        mut out: W,
        key: &DataKey,
        store: StoreId,
        opener: &[u8],
        words: &[u8],
    ) -> Result<Self, BackupError> {
        for said in [opener, words] {
            if said.len() > BACKUP_WORDS_MAX {
                return Err(BackupError::TooLong { size: said.len() });
            }
        }
        let id = random::bytes()?;
        let header = Header { id, store, key_check: key.check(store), opener: opener.to_vec() };
        let preamble = preamble(&header);
        out.write_all(&preamble)?;
        let blocks = Blocks::new(key, &id, &preamble);
        let hasher = blake3::Hasher::new();
        let mut writer = Self { out, id, blocks, content: Vec::new(), hasher, entries: 0 };
        writer.block(Sort::Words, words)?;
        Ok(writer)
    }

    /// What tells this backup from another.
    pub fn id(&self) -> BackupId {
        self.id
    }

    /// Adds an entry; they come in the order of their places.
    ///
    /// # Errors
    ///
    /// Nothing can be written.
    pub fn add(&mut self, place: Place, entry: &Entry) -> Result<(), BackupError> {
        put_entry(&mut self.content, place, entry);
        self.entries += 1;
        if self.content.len() >= BLOCK_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the backup, which covers the log up to `end` but for some `unreadable` entries, and
    /// gives back what it was written to.
    ///
    /// # Errors
    ///
    /// Nothing can be written.
    pub fn finish(
        mut self,
        end: Option<Place>,
        unreadable: u64,
    ) -> Result<(W, BackupSummary), BackupError> {
        self.flush()?;
        let digest = *self.hasher.finalize().as_bytes();
        let summary = BackupSummary { entries: self.entries, end, unreadable, digest };
        let content = postcard::to_stdvec(&summary)
            .expect("invariant: plain structs of bytes and integers always encode");
        self.block(Sort::Summary, &content)?;
        self.out.flush()?;
        Ok((self.out, summary))
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        if self.content.is_empty() {
            return Ok(());
        }
        self.hasher.update(&self.content);
        let content = std::mem::take(&mut self.content);
        self.block(Sort::Entries, &content)
    }

    fn block(&mut self, sort: Sort, content: &[u8]) -> Result<(), BackupError> {
        let sealed = self.blocks.seal(sort, content)?;
        let length = u32::try_from(sealed.len())
            .expect("invariant: a block has one entry more than BLOCK_SIZE at most");
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&sealed)?;
        Ok(())
    }
}

/// Everything before the first block.
fn preamble(header: &Header) -> Vec<u8> {
    let header = postcard::to_stdvec(header)
        .expect("invariant: plain structs of bytes and integers always encode");
    let length = u32::try_from(header.len())
        .expect("invariant: an opener has at most BACKUP_WORDS_MAX bytes");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(BACKUP_VERSION.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(header);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}
