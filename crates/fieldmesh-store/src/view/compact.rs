//! A view written anew beside itself: pages full, nothing dead, under another key.
//!
//! The database below keeps what was overwritten until half of a segment is dead, and fills the
//! rest with its own; a view that only ever grew takes several times what is in it.

use std::ops::Bound;

use fieldmesh_model::StoreId;

use super::apply::{content_of, pages_of};
use super::opened::{OpenView, damaged};
use super::page::{Cut, Packer, RowRef};
use super::rows::{RowBatch, RowRange, Rows, RowsError};
use super::seal::{self, PIECE_TREE, Sealer, page_key};
use super::tally::{self, Tally};
use super::{Direction, OWN_TREE, Row, ViewError};
use crate::key::DataKey;
use crate::random;

/// A view of less than this is never written anew for its size.
const DISK_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// What a view may take on the disk, in percent of its content; one written anew takes 150 to 190.
const DISK_PERCENT_MAX: u64 = 250;

/// Rows that are packed at a time.
const COPY_ROWS: usize = 4_096;

/// Whether a view wastes so much of the disk that it should be written anew.
pub fn is_wasteful(disk_bytes: u64, content_bytes: u64) -> bool {
    disk_bytes >= DISK_BYTES_MIN && disk_bytes > disk_bytes_max(content_bytes)
}

/// What a view with this content may take on the disk.
pub(crate) fn disk_bytes_max(content_bytes: u64) -> u64 {
    (content_bytes / 100).saturating_mul(DISK_PERCENT_MAX)
}

/// Writes everything in `view` to `fresh`, which is empty, and makes it durable there.
///
/// Gives the build of the new view.
pub(crate) fn copy(
    view: &OpenView,
    fresh: &dyn Rows,
    key: &DataKey,
    store: StoreId,
) -> Result<[u8; 16], ViewError> {
    let build = random::bytes()?;
    let mut copy = Copy {
        fresh,
        sealer: Sealer::new(key, build),
        tally: Tally::new(view.tally.applied),
        packer: Packer::new().map_err(RowsError::Io)?,
        next_key: page_key(&[]),
    };
    let mut range: RowRange =
        (Bound::Included(vec![OWN_TREE + 1]), Bound::Excluded(vec![PIECE_TREE]));
    let mut waiting: Vec<Row> = Vec::new();
    loop {
        let rows = view.contents(&range, Direction::Ascending, COPY_ROWS)?;
        let Some((last, _)) = rows.last() else { break };
        range.0 = Bound::Excluded(last.clone());
        for (key, content) in rows {
            let value = view.value(&key, &content)?.ok_or_else(damaged)?;
            waiting.push((key.clone(), copy.content(&key, &value)?));
        }
        let written = copy.write(&waiting, false)?;
        waiting.drain(..written);
    }
    copy.write(&waiting, true)?;
    copy.finish(store)?;
    Ok(build)
}

struct Copy<'a> {
    fresh: &'a dyn Rows,
    sealer: Sealer,
    tally: Tally,
    packer: Packer,
    /// Where the next page begins.
    next_key: Vec<u8>,
}

impl Copy<'_> {
    fn content(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ViewError> {
        let (content, pieces) = content_of(&self.sealer, key, value)?;
        if !pieces.is_empty() {
            self.put(pieces)?;
        }
        Ok(content)
    }

    /// Writes the pages of rows, but for the last one unless `is_last`; gives how many rows those
    /// are.
    fn write(&mut self, rows: &[Row], is_last: bool) -> Result<usize, ViewError> {
        let rows: Vec<RowRef<'_>> =
            rows.iter().map(|(key, content)| (&key[..], &content[..])).collect();
        let first = std::mem::take(&mut self.next_key);
        let mut pages = pages_of(&rows, first, Cut::Full, &mut self.packer, &self.sealer)?;
        let mut written = rows.len();
        if let Some((key, _)) = pages.pop_if(|_| !is_last) {
            written = rows.partition_point(|(row, _)| *row < &key[1..]);
            self.next_key = key;
        }
        self.put(pages)?;
        Ok(written)
    }

    /// Writes rows in the way that wastes least: sled splits a leaf and so writes it twice, and
    /// once more after ten changes, so it first gets the keys and then each value once.
    fn put(&mut self, rows: Vec<Row>) -> Result<(), ViewError> {
        let keys = rows.iter().map(|(key, _)| (key.clone(), Some(Vec::new())));
        self.fresh.write(keys.collect())?;
        for (key, stored) in &rows {
            self.tally.add(key, stored);
        }
        self.fresh.write(rows.into_iter().map(|(key, stored)| (key, Some(stored))).collect())?;
        Ok(())
    }

    fn finish(self, store: StoreId) -> Result<(), ViewError> {
        let mut batch = RowBatch::new();
        let head = seal::head(store, self.sealer.build());
        batch.insert(seal::HEAD_KEY.to_vec(), Some(head));
        batch.insert(tally::KEY.to_vec(), Some(self.tally.encode(&self.sealer)?));
        self.fresh.write(batch)?;
        self.fresh.flush()?;
        Ok(())
    }
}
