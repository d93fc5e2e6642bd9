//! An opened view: its values put together and encrypted, its rows counted.
//!
//! Also decides whether the rows found are this store's view or must be set aside.

use std::io;
use std::ops::Bound;

use fieldmesh_model::StoreId;

use super::rows::{RowBatch, RowRange, Rows, RowsError, RowsSource};
use super::seal::{self, Sealer, chunk_keys};
use super::tally::{self, Tally};
use super::{Direction, KeyRange, OWN_TREE, Row, Tree, ViewCondition, ViewError, WriteSet};
use crate::key::DataKey;
use crate::log::Place;
use crate::random;

/// Rows read at once when all are verified.
const VERIFY_ROWS: usize = 4_096;

/// What an opened view is checked against.
pub(crate) struct Belonging<'a> {
    pub(crate) key: &'a DataKey,
    pub(crate) store: StoreId,
    pub(crate) log_end: Option<Place>,
    /// The build that was closed in order; any other is verified row by row.
    pub(crate) trusted_build: Option<[u8; 16]>,
}

pub(crate) struct OpenView {
    pub(crate) rows: Box<dyn Rows>,
    pub(crate) sealer: Sealer,
    pub(crate) tally: Tally,
}

impl OpenView {
    pub(crate) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let key = physical(tree, key);
        let Some(stored) = self.rows.get(&key)? else { return Ok(None) };
        self.value(tree, &key, stored).map(Some)
    }

    pub(crate) fn scan(
        &self,
        tree: Tree,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, ViewError> {
        let rows = self.rows.scan(&range.in_tree(tree as u8), direction, limit)?;
        let mut plain = Vec::with_capacity(rows.len());
        for (key, stored) in rows {
            let value = self.value(tree, &key, stored)?;
            plain.push((key[1..].to_vec(), value));
        }
        Ok(plain)
    }

    /// The value in a stored row, its pieces put together.
    fn value(&self, tree: Tree, key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, ViewError> {
        let damaged = || ViewError::Damaged { tree: tree.as_str() };
        let Some(chunks) = chunk_keys(&stored) else {
            return self.sealer.open(key, stored).ok_or_else(damaged);
        };
        let mut whole = stored[..1].to_vec();
        for chunk in chunks {
            whole.extend(self.rows.get(&chunk)?.ok_or_else(damaged)?);
        }
        self.sealer.open_chunked(key, whole).ok_or_else(damaged)
    }

    pub(crate) fn apply(&mut self, set: WriteSet) -> Result<(), ViewError> {
        let mut tally = self.tally.clone();
        let mut batch = RowBatch::new();
        for ((tree, key), value) in set.changes {
            let key = physical(tree, &key);
            if let Some(old) = self.rows.get(&key)? {
                for chunk in chunk_keys(&old).into_iter().flatten() {
                    if let Some(old_chunk) = self.rows.get(&chunk)? {
                        tally.remove(&chunk, &old_chunk);
                    }
                    batch.insert(chunk, None);
                }
                tally.remove(&key, &old);
            }
            let Some(value) = value else {
                batch.insert(key, None);
                continue;
            };
            for (key, stored) in self.sealer.seal(&key, &value)? {
                tally.add(&key, &stored);
                batch.insert(key, Some(stored));
            }
        }
        if let Some(applied) = set.applied {
            tally.applied = Some(applied);
        }
        batch.insert(tally::KEY.to_vec(), Some(tally.encode(&self.sealer)?));
        self.rows.write(batch)?;
        self.tally = tally;
        Ok(())
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
        if tally.same_rows(&self.tally) { Ok(()) } else { Err(ViewError::Damaged { tree: "all" }) }
    }
}

/// The physical key of a caller's row.
fn physical(tree: Tree, key: &[u8]) -> Vec<u8> {
    [&[tree as u8], key].concat()
}

/// Opens what is there, or sets it aside and begins anew; before that, `unusable` is told why
/// and may refuse.
pub(crate) fn open_or_rebuild(
    source: &dyn RowsSource,
    belonging: &Belonging<'_>,
    unusable: &mut dyn FnMut(ViewCondition) -> io::Result<()>,
) -> Result<(OpenView, ViewCondition), ViewError> {
    let condition = match open_existing(source, belonging) {
        Ok(opened) => return Ok(opened),
        Err(Unusable::Set(condition)) => condition,
        Err(Unusable::Failed(error)) => return Err(error),
    };
    unusable(condition).map_err(RowsError::Io)?;
    tracing::warn!(?condition, "view set aside, a new one begins");
    source.set_aside()?;
    let rows = source.open()?;
    Ok((create(rows, belonging)?, condition))
}

/// Why a view is not opened as it is.
enum Unusable {
    /// It is no good: set it aside.
    Set(ViewCondition),
    /// Something else is wrong; the view may be good.
    Failed(ViewError),
}

impl From<ViewError> for Unusable {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Damaged { .. } => Self::Set(ViewCondition::Damaged),
            ViewError::Rows(error) if error.is_damage() => Self::Set(ViewCondition::Damaged),
            error => Self::Failed(error),
        }
    }
}

impl From<RowsError> for Unusable {
    fn from(error: RowsError) -> Self {
        ViewError::Rows(error).into()
    }
}

fn open_existing(
    source: &dyn RowsSource,
    belonging: &Belonging<'_>,
) -> Result<(OpenView, ViewCondition), Unusable> {
    let rows = source.open()?;
    let Some(head) = rows.get(seal::HEAD_KEY)? else {
        let everything = (Bound::Unbounded, Bound::Unbounded);
        if !rows.scan(&everything, Direction::Ascending, 1)?.is_empty() {
            return Err(Unusable::Set(ViewCondition::Damaged));
        }
        return Ok((create(rows, belonging)?, ViewCondition::Created));
    };
    if seal::is_of_other_version(&head, belonging.store) {
        return Err(Unusable::Set(ViewCondition::OtherVersion));
    }
    let Some(build) = seal::build_of(&head, belonging.store) else {
        return Err(Unusable::Set(ViewCondition::Foreign));
    };
    let sealer = Sealer::new(belonging.key, build);
    let tally = rows.get(tally::KEY)?.and_then(|stored| Tally::decode(&sealer, stored));
    let Some(tally) = tally else {
        return Err(Unusable::Set(ViewCondition::Foreign));
    };
    if tally.applied > belonging.log_end {
        return Err(Unusable::Set(ViewCondition::AheadOfLog));
    }
    let open = OpenView { rows, sealer, tally };
    if belonging.trusted_build != Some(build) {
        open.verify()?;
    }
    Ok((open, ViewCondition::Kept))
}

fn create(rows: Box<dyn Rows>, belonging: &Belonging<'_>) -> Result<OpenView, ViewError> {
    let build = random::bytes()?;
    let sealer = Sealer::new(belonging.key, build);
    let tally = Tally::default();
    let mut batch = RowBatch::new();
    batch.insert(seal::HEAD_KEY.to_vec(), Some(seal::head(belonging.store, build)));
    batch.insert(tally::KEY.to_vec(), Some(tally.encode(&sealer)?));
    rows.write(batch)?;
    rows.flush()?;
    Ok(OpenView { rows, sealer, tally })
}
