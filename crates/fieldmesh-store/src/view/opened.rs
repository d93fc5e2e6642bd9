//! An opened view: what was written last over pages, both decrypted and decoded where they are
//! read.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::{Cached, PageCache};
use super::content::{self, Content};
use super::filter::Filter;
use super::page::{Page, RowRef, unpack};
use super::range::is_empty_range;
use super::recent::Recent;
use super::rows::{RowRange, Rows};
use super::seal::{PAGE_TREE, RECENT_TREE, Sealer, page_key, piece_keys};
use super::tally::{self, Tally};
use super::{Direction, OWN_TREE, Row, Tree, ViewError};
use crate::key::DataKey;

/// Rows read at once when all are verified.
const VERIFY_ROWS: usize = 256;

pub(crate) struct OpenView {
    pub(super) rows: Box<dyn Rows>,
    pub(super) sealer: Sealer,
    pub(super) tally: Tally,
    pub(super) recent: Recent,
    /// What it has, if it began empty in this process.
    pub(super) filter: Option<Filter>,
    pages: Mutex<PageCache>,
}

/// A page that is stored, or the empty one that will be.
pub(super) struct FoundPage {
    pub(super) key: Vec<u8>,
    pub(super) page: Arc<Page>,
    /// Where the next page begins; nothing if it is the last.
    pub(super) end: Option<Vec<u8>>,
}

/// The part of a range that one page has, and what is left of it.
struct Span {
    page: Arc<Page>,
    range: RowRange,
    rest: RowRange,
}

impl OpenView {
    /// The view in these rows, with what was written last.
    pub(super) fn read(
        rows: Box<dyn Rows>,
        sealer: Sealer,
        tally: Tally,
    ) -> Result<Self, ViewError> {
        let (recent, pages) = (Recent::default(), Mutex::default());
        let mut view = Self { rows, sealer, tally, recent, filter: None, pages };
        let mut range = in_tree(RECENT_TREE);
        let mut recent: Option<Recent> = None;
        loop {
            let found = view.rows.scan(&range, Direction::Ascending, VERIFY_ROWS)?;
            let Some((last, _)) = found.last() else { break };
            range.0 = Bound::Excluded(last.clone());
            for (key, stored) in found {
                let number = key.get(1..).and_then(|number| number.try_into().ok());
                let number = u64::from_be_bytes(number.ok_or_else(damaged)?);
                let page = view.decode(&key, stored)?;
                let changes =
                    page.rows().map(|(key, content)| (key.to_vec(), content.to_vec())).collect();
                let recent = recent.get_or_insert_with(|| Recent::starting_at(number));
                recent.add(changes, number + 1);
            }
        }
        view.recent = recent.unwrap_or_default();
        Ok(view)
    }

    pub(crate) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let key = physical(tree, key);
        if let Some(content) = self.recent.rows().get(&key) {
            return self.value(&key, content);
        }
        if self.filter.as_ref().is_some_and(|filter| !filter.may_have(&key)) {
            return Ok(None);
        }
        match self.page_at(&key)?.page.find(&key) {
            Some(content) => self.value(&key, content),
            None => Ok(None),
        }
    }

    pub(crate) fn scan(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, ViewError> {
        let mut plain = Vec::new();
        for (key, content) in self.contents(range, direction, limit)? {
            let value = self.value(&key, &content)?.ok_or_else(damaged)?;
            plain.push((key[1..].to_vec(), value));
        }
        Ok(plain)
    }

    /// The value that content stands for, its pieces put together.
    pub(super) fn value(&self, key: &[u8], content: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match Content::decode(content).ok_or_else(damaged)? {
            Content::Whole(value) => Ok(Some(value.to_vec())),
            Content::Deleted => Ok(None),
            Content::Pieces { id, count } => {
                let mut sealed = Vec::new();
                for piece in piece_keys(id, count) {
                    sealed.extend(self.rows.get(&piece)?.ok_or_else(damaged)?);
                }
                self.sealer.open(key, sealed).map(Some).ok_or_else(damaged)
            }
        }
    }

    /// At most `limit` keys of a range with their contents.
    pub(crate) fn contents(
        &self,
        range: &RowRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, ViewError> {
        let mut found = Vec::new();
        let mut rest = range.clone();
        while found.len() < limit && !is_empty_range(&rest) {
            let span = self.span(&rest, direction)?;
            let recent = self.recent.rows().range(span.range.clone());
            let recent = recent.map(|(key, content)| (&key[..], &content[..]));
            let rows = on_top(span.page.rows_in(&span.range), recent, direction);
            let live = rows.filter(|(_, content)| !content::is_deleted(content));
            let copied = live.map(|(key, content)| (key.to_vec(), content.to_vec()));
            found.extend(copied.take(limit - found.len()));
            rest = span.rest;
        }
        Ok(found)
    }

    /// The page at the side of the range where a scan begins.
    fn span(&self, range: &RowRange, direction: Direction) -> Result<Span, ViewError> {
        let (start, end) = range.clone();
        match direction {
            Direction::Ascending => {
                let first = bound_key(&start);
                let found = self.page_at(first.unwrap_or_default())?;
                let page = found.page;
                let next = found.end.map(|key| key[1..].to_vec());
                let behind = next.map(|next| (Bound::Included(next.clone()), next));
                let Some((rest, next)) = behind else {
                    return Ok(Span { page, range: (start, end), rest: nothing() });
                };
                let rest = (rest, end.clone());
                let end = if is_empty_range(&rest) { end } else { Bound::Excluded(next) };
                Ok(Span { page, range: (start, end), rest })
            }
            Direction::Descending => {
                let below = end.as_ref().map(|key| page_key(key));
                let FoundPage { key, page, .. } = self.page_below(below)?;
                let first = key[1..].to_vec();
                let rest = (start.clone(), Bound::Excluded(first.clone()));
                let start = if is_empty_range(&rest) { start } else { Bound::Included(first) };
                Ok(Span { page, range: (start, end), rest })
            }
        }
    }

    /// The page in which a key would be; where there is none so far, the one that will be the first.
    pub(super) fn page_at(&self, key: &[u8]) -> Result<FoundPage, ViewError> {
        self.page_below(Bound::Included(page_key(key)))
    }

    fn page_below(&self, end: Bound<Vec<u8>>) -> Result<FoundPage, ViewError> {
        let (start, all) = in_tree(PAGE_TREE);
        let end = if matches!(end, Bound::Unbounded) { all } else { end };
        let cached = self.pages.lock().unwrap_or_else(PoisonError::into_inner).last_below(&end);
        if let Some((key, Cached { page, end })) = cached {
            return Ok(FoundPage { key, page, end });
        }
        let found = self.rows.scan(&(start, end), Direction::Descending, 1)?;
        let (key, page) = match found.into_iter().next() {
            Some((key, stored)) => {
                let page = self.decode(&key, stored)?;
                (key, page)
            }
            // Remembered too: of a small view nothing else is asked.
            None => (page_key(&[]), Page::default()),
        };
        let (end, page) = (self.page_behind(&key)?, Arc::new(page));
        let cached = Cached { page: Arc::clone(&page), end: end.clone() };
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), cached);
        Ok(FoundPage { key, page, end })
    }

    /// Forgets a decoded page that is another one on the disk.
    pub(super) fn forget_page(&mut self, key: &[u8]) {
        self.pages.get_mut().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The key of the next page.
    fn page_behind(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let range = (Bound::Excluded(key.to_vec()), in_tree(PAGE_TREE).1);
        let found = self.rows.scan(&range, Direction::Ascending, 1)?;
        Ok(found.into_iter().next().map(|(key, _)| key))
    }

    fn decode(&self, key: &[u8], stored: Vec<u8>) -> Result<Page, ViewError> {
        let packed = self.sealer.open(key, stored).ok_or_else(damaged)?;
        unpack(&packed).ok_or_else(damaged)
    }

    /// Whether `key` is the one that this build is written with.
    pub(crate) fn is_under(&self, key: &DataKey) -> Result<bool, ViewError> {
        let sealer = Sealer::new(key, self.sealer.build());
        let stored = self.rows.get(tally::KEY)?.ok_or_else(damaged)?;
        Ok(Tally::decode(&sealer, stored).is_some())
    }

    pub(crate) fn verify(&self) -> Result<(), ViewError> {
        let mut tally = Tally::default();
        let mut range: RowRange = (Bound::Included(vec![OWN_TREE + 1]), Bound::Unbounded);
        loop {
            let rows = self.rows.scan(&range, Direction::Ascending, VERIFY_ROWS)?;
            for (key, stored) in &rows {
                tally.add(key, stored);
            }
            match rows.into_iter().last() {
                Some((key, _)) => range.0 = Bound::Excluded(key),
                None => break,
            }
        }
        if tally.same_rows(&self.tally) { Ok(()) } else { Err(damaged()) }
    }
}

pub(super) fn damaged() -> ViewError {
    ViewError::Damaged
}

/// The key of a caller's row.
pub(super) fn physical(tree: Tree, key: &[u8]) -> Vec<u8> {
    [&[tree as u8], key].concat()
}

/// Every key that begins with this byte.
fn in_tree(tree: u8) -> RowRange {
    (Bound::Included(vec![tree]), Bound::Excluded(vec![tree + 1]))
}

/// Rows of a page in one direction, each as it was written last; no more are read than are taken.
fn on_top<'a>(
    page: impl DoubleEndedIterator<Item = RowRef<'a>> + 'a,
    recent: impl DoubleEndedIterator<Item = RowRef<'a>> + 'a,
    direction: Direction,
) -> Box<dyn Iterator<Item = RowRef<'a>> + 'a> {
    match direction {
        Direction::Ascending => Box::new(merged(page, recent, |key, other| key.cmp(other))),
        Direction::Descending => {
            Box::new(merged(page.rev(), recent.rev(), |key, other| other.cmp(key)))
        }
    }
}

/// Rows of two kinds in one order; of two with one key the recent one.
fn merged<'a>(
    page: impl Iterator<Item = RowRef<'a>>,
    recent: impl Iterator<Item = RowRef<'a>>,
    order: impl Fn(&[u8], &[u8]) -> Ordering,
) -> impl Iterator<Item = RowRef<'a>> {
    let (mut page, mut recent) = (page.peekable(), recent.peekable());
    std::iter::from_fn(move || {
        let (Some((below, _)), Some((above, _))) = (page.peek(), recent.peek()) else {
            return recent.next().or_else(|| page.next());
        };
        match order(below, above) {
            Ordering::Less => page.next(),
            Ordering::Equal => page.next().and_then(|_| recent.next()),
            Ordering::Greater => recent.next(),
        }
    })
}

fn bound_key(bound: &Bound<Vec<u8>>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

fn nothing() -> RowRange {
    (Bound::Excluded(Vec::new()), Bound::Excluded(Vec::new()))
}
