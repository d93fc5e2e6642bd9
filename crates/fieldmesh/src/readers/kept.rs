//! A snapshot: what the view held of documents that were written since it was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use fieldmesh_model::DocumentId;

use crate::error::Error;
use crate::rows::{self, DocumentRow};

/// The most bytes of replaced rows that one snapshot keeps.
pub(crate) const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The replaced rows of one snapshot.
#[derive(Default)]
pub(crate) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    /// As they were; none where there was no such document.
    rows: BTreeMap<DocumentId, Option<Vec<u8>>>,
    bytes: usize,
    is_lost: bool,
    /// Whether records stood behind another one that moved since.
    behind: BTreeMap<DocumentId, bool>,
    /// Collections whose rows come to be read by another schema: nothing of them is kept.
    lost: BTreeSet<u16>,
}

impl Kept {
    /// Keeps the row of a document as it is before it is written for the first time.
    pub(super) fn keep(&self, id: DocumentId, row: Option<&[u8]>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.is_lost || state.rows.contains_key(&id) {
            return Ok(());
        }
        if let Some(bytes) = row.filter(|_| !state.lost.is_empty()) {
            let row: DocumentRow = rows::decode(bytes)?;
            if state.lost.contains(&row.scope.collection) {
                return Ok(());
            }
        }
        state.bytes += row.map_or(0, <[u8]>::len) + size_of::<DocumentId>();
        state.rows.insert(id, row.map(<[u8]>::to_vec));
        if state.bytes > KEPT_BYTES_MAX {
            *state = State { is_lost: true, ..State::default() };
        }
        Ok(())
    }

    /// Keeps whether a record stands behind another one before it moves for the first time.
    pub(super) fn keep_behind(&self, id: DocumentId, was: bool) {
        let mut state = self.lock();
        if !state.is_lost {
            state.behind.entry(id).or_insert(was);
            state.bytes += size_of::<DocumentId>();
        }
    }

    /// Whether a record stood behind another one, if it moved since. Ask after the view was read.
    pub(crate) fn was_behind(&self, id: &DocumentId) -> Result<Option<bool>, Error> {
        Ok(self.checked()?.behind.get(id).copied())
    }

    /// Whether any record moved since that stood behind another one.
    pub(crate) fn knows_behind(&self) -> Result<bool, Error> {
        Ok(self.checked()?.behind.values().any(|was| *was))
    }

    /// Fails if rows of a collection were written anew that are not kept. Ask after they were read.
    pub(crate) fn check(&self, number: u16) -> Result<(), Error> {
        match self.checked()?.lost.contains(&number) {
            true => Err(Error::SnapshotLost),
            false => Ok(()),
        }
    }

    /// What the document was, if it was written since. Ask after the view was read: what is not
    /// kept by then was read as it was.
    pub(crate) fn find(&self, id: &DocumentId) -> Result<Option<Option<Vec<u8>>>, Error> {
        Ok(self.checked()?.rows.get(id).cloned())
    }

    /// Whether the document was written since.
    pub(crate) fn has(&self, id: &DocumentId) -> Result<bool, Error> {
        Ok(self.checked()?.rows.contains_key(id))
    }

    /// The documents that were written since.
    pub(crate) fn ids(&self) -> Result<Vec<DocumentId>, Error> {
        Ok(self.checked()?.rows.keys().copied().collect())
    }

    pub(super) fn lose_collection(&self, number: u16) {
        self.lock().lost.insert(number);
    }

    pub(super) fn lose(&self) {
        *self.lock() = State { is_lost: true, ..State::default() };
    }

    fn checked(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.is_lost { Err(Error::SnapshotLost) } else { Ok(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_would_keep_too_much_says_so_and_keeps_nothing() {
        let kept = Kept::default();
        let id = |number: u8| DocumentId::from_bytes([number; 16]);
        kept.keep(id(1), Some(&[1])).unwrap();
        kept.keep(id(1), Some(&[2])).unwrap();
        assert_eq!(kept.find(&id(1)).unwrap(), Some(Some(vec![1])), "the first one is the oldest");
        assert_eq!(kept.find(&id(2)).unwrap(), None);
        kept.keep(id(2), Some(&vec![0; KEPT_BYTES_MAX])).unwrap();
        assert!(matches!(kept.find(&id(1)), Err(Error::SnapshotLost)));
        assert_eq!(kept.lock().rows.len(), 0);
    }
}
