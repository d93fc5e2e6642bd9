//! A set of changes on its way into the view: kept with what was written last, or together with
//! that into the pages that have the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::Content;
use super::opened::{FoundPage, OpenView, damaged, physical};
use super::page::{Cut, Packer, Page, RowRef, merge, separator};
use super::rows::{RowBatch, Rows, RowsError};
use super::seal::{Sealer, page_key, piece_keys, recent_key};
use super::tally::{self, Tally};
use super::{Row, ViewError, WriteSet};

/// The largest value that lies in a page, so that the largest row always fits one.
const WHOLE_SIZE_MAX: usize = 2048;

impl OpenView {
    pub(crate) fn apply(&mut self, set: WriteSet) -> Result<(), ViewError> {
        let mut draft = Draft {
            rows: &*self.rows,
            sealer: &self.sealer,
            batch: RowBatch::new(),
            tally: self.tally.clone(),
            packer: Packer::new().map_err(RowsError::Io)?,
        };
        let applied = set.applied;
        let changes = draft.contents(set)?;
        for key in changes.keys() {
            if let Some(old) = self.recent.rows().get(key) {
                draft.remove_pieces(old)?;
            }
        }
        let is_folded = !self.recent.has_room(&changes);
        let mut end = self.recent.numbers().end;
        let rewritten = if is_folded {
            self.fold(&changes, &mut draft)?
        } else {
            draft.keep(&changes, &mut end)?;
            Vec::new()
        };
        let Draft { mut batch, mut tally, .. } = draft;
        if applied.is_some() {
            tally.applied = applied;
        }
        batch.insert(tally::KEY.to_vec(), Some(tally.encode(&self.sealer)?));
        self.rows.write(batch)?;
        self.tally = tally;
        if is_folded {
            self.recent.clear();
        } else {
            self.recent.add(changes, end);
        }
        for key in rewritten {
            self.forget_page(&key);
        }
        Ok(())
    }

    /// Writes the pages of everything that is in none so far; gives the keys of the old ones.
    fn fold(
        &self,
        changes: &BTreeMap<Vec<u8>, Vec<u8>>,
        draft: &mut Draft<'_>,
    ) -> Result<Vec<Vec<u8>>, ViewError> {
        for number in self.recent.numbers() {
            draft.remove(recent_key(number))?;
        }
        let rows = self.recent.with(changes);
        let mut rewritten = Vec::new();
        let mut rest = &rows[..];
        while let Some((first, _)) = rest.first() {
            let found = self.page_at(first)?;
            let found =
                found.unwrap_or_else(|| FoundPage { key: page_key(&[]), page: Arc::default() });
            let next = self.page_behind(&found.key)?;
            let count =
                next.map_or(rest.len(), |next| rest.partition_point(|(key, _)| *key < &next[1..]));
            let (here, behind) = rest.split_at(count);
            if draft.rewrite(&found.key, &found.page, here)? {
                rewritten.push(found.key);
            }
            rest = behind;
        }
        Ok(rewritten)
    }
}

/// What is written together, and the tally as it is afterwards.
struct Draft<'a> {
    rows: &'a dyn Rows,
    sealer: &'a Sealer,
    batch: RowBatch,
    tally: Tally,
    packer: Packer,
}

impl Draft<'_> {
    /// The contents of a set, by physical keys; pieces of large values are written.
    fn contents(&mut self, set: WriteSet) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ViewError> {
        let mut contents = BTreeMap::new();
        for ((tree, key), value) in set.changes {
            let key = physical(tree, &key);
            let content = match value {
                None => Content::Deleted.encode(),
                Some(value) => self.content(&key, &value)?,
            };
            contents.insert(key, content);
        }
        Ok(contents)
    }

    fn content(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ViewError> {
        let (content, pieces) = content_of(self.sealer, key, value)?;
        for (key, stored) in pieces {
            self.put(key, stored);
        }
        Ok(content)
    }

    /// Writes changes as they are, under numbers from `end` on.
    fn keep(
        &mut self,
        changes: &BTreeMap<Vec<u8>, Vec<u8>>,
        end: &mut u64,
    ) -> Result<(), ViewError> {
        let rows: Vec<RowRef<'_>> =
            changes.iter().map(|(key, content)| (&key[..], &content[..])).collect();
        for packed in self.packer.pack(&rows, Cut::Full).map_err(RowsError::Io)? {
            let key = recent_key(*end);
            let stored = self.sealer.seal(&key, &packed.bytes)?;
            self.put(key, stored);
            *end += 1;
        }
        Ok(())
    }

    /// Writes a page with changes; says whether it is another page afterwards.
    fn rewrite(
        &mut self,
        key: &[u8],
        page: &Page,
        changes: &[RowRef<'_>],
    ) -> Result<bool, ViewError> {
        for (key, content) in changes {
            if let Some(old) = page.find(key).filter(|old| old != content) {
                self.remove_pieces(old)?;
            }
        }
        let mut rows: BTreeMap<&[u8], &[u8]> = page.rows().collect();
        let last = page.rows().next_back();
        let is_behind = last.is_none_or(|(last, _)| changes.iter().all(|(key, _)| *key > last));
        if !merge(&mut rows, changes) {
            return Ok(false);
        }
        self.remove(key.to_vec())?;
        let rows: Vec<RowRef<'_>> = rows.into_iter().collect();
        let cut = if is_behind { Cut::Full } else { Cut::Even };
        for (key, stored) in pages_of(&rows, key.to_vec(), cut, &mut self.packer, self.sealer)? {
            self.put(key, stored);
        }
        Ok(true)
    }

    fn put(&mut self, key: Vec<u8>, stored: Vec<u8>) {
        self.tally.add(&key, &stored);
        self.batch.insert(key, Some(stored));
    }

    /// Removes a row that is stored, if it is.
    fn remove(&mut self, key: Vec<u8>) -> Result<(), ViewError> {
        if let Some(old) = self.rows.get(&key)? {
            self.tally.remove(&key, &old);
            self.batch.insert(key, None);
        }
        Ok(())
    }

    fn remove_pieces(&mut self, content: &[u8]) -> Result<(), ViewError> {
        if let Content::Pieces { id, count } = Content::decode(content).ok_or_else(damaged)? {
            for piece in piece_keys(id, count) {
                self.remove(piece)?;
            }
        }
        Ok(())
    }
}

/// What stands for a value, and the pieces of a large one.
pub(super) fn content_of(
    sealer: &Sealer,
    key: &[u8],
    value: &[u8],
) -> Result<(Vec<u8>, Vec<Row>), ViewError> {
    if value.len() <= WHOLE_SIZE_MAX {
        return Ok((Content::Whole(value).encode(), Vec::new()));
    }
    let (content, pieces) = sealer.seal_pieces(key, value)?;
    Ok((content.encode(), pieces))
}

/// The pages of rows, the first under `key`.
pub(super) fn pages_of(
    rows: &[RowRef<'_>],
    mut key: Vec<u8>,
    cut: Cut,
    packer: &mut Packer,
    sealer: &Sealer,
) -> Result<Vec<Row>, ViewError> {
    let mut pages = Vec::new();
    let mut count = 0;
    for packed in packer.pack(rows, cut).map_err(RowsError::Io)? {
        let stored = sealer.seal(&key, &packed.bytes)?;
        pages.push((std::mem::take(&mut key), stored));
        count += packed.rows;
        if let Some((next, _)) = rows.get(count) {
            key = page_key(separator(rows[count - 1].0, next));
        }
    }
    Ok(pages)
}
