//! A set of changes on its way into the view: kept with what was written last, or together with
//! that into the pages that have the keys.

use std::collections::BTreeMap;

use super::content::Content;
use super::opened::{OpenView, damaged, physical};
use super::page::{self, Cut, Page, RowRef, merge, separator};
use super::rows::{RowBatch, Rows, RowsError};
use super::seal::{Sealer, page_key, piece_keys, recent_key};
use super::tally::{self, Tally};
use super::write::Next;
use super::{Row, ViewError, WriteSet};

/// The largest value that lies in a page, so that the largest row always fits one.
const WHOLE_SIZE_MAX: usize = 2048;
/// Threads that write pages at the same time.
const CORES_MAX: usize = 4;
/// Fewer rows than this are not worth a thread.
const PART_ROWS_MIN: usize = 2_048;

/// A set that is packed and encrypted, and what the view is with it.
pub(super) struct Prepared {
    /// By physical keys.
    changes: BTreeMap<Vec<u8>, Vec<u8>>,
    batch: RowBatch,
    tally: Tally,
    /// Behind which number the changes lie outside the pages, if they do.
    kept: Option<u64>,
    /// The keys of the pages that are others from here on.
    rewritten: Vec<Vec<u8>>,
}

impl OpenView {
    /// What a set comes to on the disk and in memory; whoever reads goes on meanwhile.
    pub(super) fn prepare(&self, set: WriteSet) -> Result<Prepared, ViewError> {
        let mut draft = self.draft(self.tally.clone());
        let (applied, next) = (set.applied, set.next);
        let changes = draft.contents(set)?;
        for key in changes.keys() {
            if let Some(old) = self.recent.rows().get(key) {
                draft.remove_pieces(old)?;
            }
        }
        let is_folded = !self.recent.has_room(&changes, next);
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
        let kept = (!is_folded).then_some(end);
        Ok(Prepared { changes, batch, tally, kept, rewritten })
    }

    /// Writes what was prepared of this view since it was written last.
    pub(super) fn commit(&mut self, prepared: Prepared) -> Result<(), ViewError> {
        let Prepared { changes, batch, tally, kept, rewritten } = prepared;
        if let Some(filter) = &mut self.filter {
            changes.keys().for_each(|key| filter.add(key));
        }
        self.rows.write(batch)?;
        self.tally = tally;
        match kept {
            Some(end) => self.recent.add(changes, end),
            None => self.recent.clear(),
        }
        for key in rewritten {
            self.forget_page(&key);
        }
        Ok(())
    }

    /// Whether what is in no page is as little as when nobody expects more.
    pub(crate) fn is_settled(&self) -> bool {
        self.recent.has_room(&BTreeMap::new(), Next::Unknown)
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
        let parts = self.parts(&rows)?;
        let drafts: Vec<Draft<'_>> = parts.iter().map(|_| self.draft(Tally::default())).collect();
        let done = on_all_cores(parts.into_iter().zip(drafts), |(part, mut draft)| {
            (self.rewrite(part, &mut draft), draft)
        });
        let mut all = Vec::new();
        for (rewritten, of_part) in done {
            all.extend(rewritten?);
            draft.batch.extend(of_part.batch);
            draft.tally.merge(&of_part.tally);
        }
        Ok(all)
    }

    /// Cuts rows where pages begin, so that each part can be worked on by itself.
    fn parts<'a, 'b>(&self, rows: &'a [RowRef<'b>]) -> Result<Vec<&'a [RowRef<'b>]>, ViewError> {
        let mut parts = Vec::new();
        let mut rest = rows;
        for left in (2..=cores()).rev() {
            let middle = rest.len() / left;
            let Some((key, _)) = rest.get(middle).filter(|_| middle >= PART_ROWS_MIN) else {
                break;
            };
            let found = self.page_at(key)?;
            let (part, behind) =
                rest.split_at(rest.partition_point(|(key, _)| *key < &found.key[1..]));
            parts.extend(Some(part).filter(|part| !part.is_empty()));
            rest = behind;
        }
        parts.push(rest);
        Ok(parts)
    }

    /// Writes the pages that have these rows or would.
    fn rewrite(
        &self,
        mut rest: &[RowRef<'_>],
        draft: &mut Draft<'_>,
    ) -> Result<Vec<Vec<u8>>, ViewError> {
        let mut rewritten = Vec::new();
        while let Some((first, _)) = rest.first() {
            let found = self.page_at(first)?;
            let end = found.end.as_ref();
            let count =
                end.map_or(rest.len(), |end| rest.partition_point(|(key, _)| *key < &end[1..]));
            let (here, behind) = rest.split_at(count);
            if draft.rewrite(&found.key, &found.page, here)? {
                rewritten.push(found.key);
            }
            rest = behind;
        }
        Ok(rewritten)
    }

    fn draft(&self, tally: Tally) -> Draft<'_> {
        let batch = RowBatch::new();
        Draft { rows: &*self.rows, sealer: &self.sealer, batch, tally }
    }
}

/// What is written together, and the tally as it is afterwards.
struct Draft<'a> {
    rows: &'a dyn Rows,
    sealer: &'a Sealer,
    batch: RowBatch,
    tally: Tally,
}

impl Draft<'_> {
    /// The contents of a set, by physical keys; pieces of large values are written.
    fn contents(&mut self, set: WriteSet) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ViewError> {
        let content = |((tree, key), value): ((_, Vec<u8>), Option<Vec<u8>>)| {
            let key = physical(tree, &key);
            let content = match value {
                None => Content::Deleted.encode(),
                Some(value) => self.content(&key, &value)?,
            };
            Ok((key, content))
        };
        set.changes.into_iter().map(content).collect()
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
        for packed in page::pack(&rows, Cut::Full).map_err(RowsError::Io)? {
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
        for (key, stored) in pages_of(&rows, key.to_vec(), cut, self.sealer)? {
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
    key: Vec<u8>,
    cut: Cut,
    sealer: &Sealer,
) -> Result<Vec<Row>, ViewError> {
    let share = rows.len().div_ceil(cores());
    if share < PART_ROWS_MIN {
        return pack(rows, key, cut, sealer);
    }
    // The last page of each part may be less full than it could be, of some hundred.
    let starts = (0..rows.len()).step_by(share);
    let parts = starts.map(|start| &rows[start..rows.len().min(start + share)]);
    let mut pages = Vec::new();
    let mut first = Some(key);
    let mut before: Option<&[u8]> = None;
    let mut keyed = Vec::new();
    for part in parts {
        let key = first.take().or_else(|| Some(page_key(separator(before?, part.first()?.0))));
        before = part.last().map(|(key, _)| *key);
        keyed.extend(key.map(|key| (key, part)));
    }
    let one = |(key, part): (Vec<u8>, &[RowRef<'_>])| pack(part, key, cut, sealer);
    for part in on_all_cores(keyed.into_iter(), one) {
        pages.extend(part?);
    }
    Ok(pages)
}

fn pack(
    rows: &[RowRef<'_>],
    mut key: Vec<u8>,
    cut: Cut,
    sealer: &Sealer,
) -> Result<Vec<Row>, ViewError> {
    let mut pages = Vec::new();
    let mut count = 0;
    for packed in page::pack(rows, cut).map_err(RowsError::Io)? {
        let stored = sealer.seal(&key, &packed.bytes)?;
        pages.push((std::mem::take(&mut key), stored));
        count += packed.rows;
        if let Some((next, _)) = rows.get(count) {
            key = page_key(separator(rows[count - 1].0, next));
        }
    }
    Ok(pages)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX)
}

/// Does the same with each part at the same time; a single one is done here.
fn on_all_cores<Part: Send, Done: Send>(
    mut parts: impl ExactSizeIterator<Item = Part>,
    work: impl Fn(Part) -> Done + Sync,
) -> Vec<Done> {
    if parts.len() <= 1 {
        return parts.next().map(&work).into_iter().collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Done>| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    })
}
