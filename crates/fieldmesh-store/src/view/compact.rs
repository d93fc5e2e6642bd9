//! A view written anew beside itself: pages full, nothing dead, under another key.
//!
//! The database below keeps what was overwritten until half of a segment is dead, and fills the
//! rest with its own; a view that only ever grew takes several times what is in it.

use std::collections::VecDeque;
use std::ops::Bound;

use fieldmesh_model::StoreId;

use super::apply::{content_of, pages_of};
use super::opened::{OpenView, damaged};
use super::page::{Cut, RowRef};
use super::rows::{RowBatch, RowRange, Rows};
use super::seal::{self, PIECE_TREE, Sealer, page_key};
use super::tally::{self, Tally};
use super::{Direction, OWN_TREE, Row, ViewError};
use crate::key::DataKey;
use crate::random;

/// What a view may take on the disk before it is written anew for its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// A view of less than this stays as it is.
    bytes_min: u64,
    /// In percent of its content; one written anew takes some 110.
    percent_max: u64,
}

/// While the view is written to.
pub(crate) const BUSY: Allowance = Allowance { bytes_min: 8 * 1024 * 1024, percent_max: 250 };
/// While nobody writes; an empty view takes half of the smallest size.
pub(crate) const AT_REST: Allowance = Allowance { bytes_min: 1024 * 1024, percent_max: 200 };
/// Rows that are packed at a time.
const COPY_ROWS: usize = 4_096;
/// How many keys come before a value does: a leaf of more is split by the next one.
const KEYS_AHEAD: usize = 16;

/// Whether a view wastes so much of the disk that it should be written anew.
pub fn is_wasteful(disk_bytes: u64, content_bytes: u64) -> bool {
    BUSY.is_exceeded(disk_bytes, content_bytes)
}

impl Allowance {
    /// Whether a view with this content takes more.
    pub(crate) fn is_exceeded(self, disk_bytes: u64, content_bytes: u64) -> bool {
        let percent_max = (content_bytes / 100).saturating_mul(self.percent_max);
        disk_bytes >= self.bytes_min && disk_bytes > percent_max
    }
}

/// What a view with this content may take on the disk.
pub(crate) fn disk_bytes_max(content_bytes: u64) -> u64 {
    (content_bytes / 100).saturating_mul(BUSY.percent_max)
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
        pages: Trail::new(fresh),
        pieces: Trail::new(fresh),
        sealer: Sealer::new(key, build),
        tally: Tally::new(view.tally.applied),
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
    copy.finish(fresh, store)?;
    Ok(build)
}

struct Copy<'a> {
    pages: Trail<'a>,
    pieces: Trail<'a>,
    sealer: Sealer,
    tally: Tally,
    /// Where the next page begins.
    next_key: Vec<u8>,
}

impl Copy<'_> {
    fn content(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ViewError> {
        let (content, pieces) = content_of(&self.sealer, key, value)?;
        pieces.into_iter().try_for_each(|piece| self.pieces.put(piece, &mut self.tally))?;
        Ok(content)
    }

    /// Writes the pages of rows, but for the last one unless `is_last`; gives how many rows those
    /// are.
    fn write(&mut self, rows: &[Row], is_last: bool) -> Result<usize, ViewError> {
        let rows: Vec<RowRef<'_>> =
            rows.iter().map(|(key, content)| (&key[..], &content[..])).collect();
        let first = std::mem::take(&mut self.next_key);
        let mut pages = pages_of(&rows, first, Cut::Full, &self.sealer)?;
        let mut written = rows.len();
        if let Some((key, _)) = pages.pop_if(|_| !is_last) {
            written = rows.partition_point(|(row, _)| *row < &key[1..]);
            self.next_key = key;
        }
        pages.into_iter().try_for_each(|page| self.pages.put(page, &mut self.tally))?;
        Ok(written)
    }

    fn finish(mut self, fresh: &dyn Rows, store: StoreId) -> Result<(), ViewError> {
        self.pages.end()?;
        self.pieces.end()?;
        let mut batch = RowBatch::new();
        let head = seal::head(store, self.sealer.build());
        batch.insert(seal::HEAD_KEY.to_vec(), Some(head));
        batch.insert(tally::KEY.to_vec(), Some(self.tally.encode(&self.sealer)?));
        fresh.write(batch)?;
        fresh.flush()?;
        Ok(())
    }
}

/// Rows that are written in the way that wastes least, if they come in order.
///
/// Sled writes a leaf anew that has more than sixteen keys, in halves, and once it has changed ten
/// times. So keys go ahead, each by itself and without a value. Behind the last sixteen leaves have
/// nine keys and are split no more; each gets its values then, nine changes, and no value is
/// written twice.
struct Trail<'a> {
    fresh: &'a dyn Rows,
    waiting: VecDeque<Row>,
}

impl<'a> Trail<'a> {
    fn new(fresh: &'a dyn Rows) -> Self {
        Self { fresh, waiting: VecDeque::new() }
    }

    fn put(&mut self, (key, stored): Row, tally: &mut Tally) -> Result<(), ViewError> {
        tally.add(&key, &stored);
        self.write(key.clone(), Vec::new())?;
        self.waiting.push_back((key, stored));
        if self.waiting.len() > KEYS_AHEAD
            && let Some((key, stored)) = self.waiting.pop_front()
        {
            self.write(key, stored)?;
        }
        Ok(())
    }

    /// Writes what waits.
    fn end(&mut self) -> Result<(), ViewError> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().try_for_each(|(key, stored)| self.write(key, stored))
    }

    fn write(&self, key: Vec<u8>, stored: Vec<u8>) -> Result<(), ViewError> {
        Ok(self.fresh.write(RowBatch::from([(key, Some(stored))]))?)
    }
}
