//! The data keys of a store: the one that everything is written with and, while the store is
//! rekeyed, the one before.
//!
//! The key of index keys is a secret of its own from the first rekey on, so that rows that stand
//! under keyed hashes stay where they are.

use std::sync::{Arc, PoisonError, RwLock};

use fieldmesh_model::StoreId;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::key::{DataKey, KEY_LENGTH, KeyError};

const PURPOSE: &str = "fieldmesh/store keys/1";

/// The keys that open a store.
#[derive(Debug, Clone)]
pub struct DataKeys {
    current: DataKey,
    before: Option<DataKey>,
    index: Option<IndexKey>,
}

/// The key of index keys.
#[derive(Clone)]
struct IndexKey(Zeroizing<[u8; KEY_LENGTH]>);

impl std::fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

/// What is sealed with the current key; part of the format.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Beside {
    index: [u8; KEY_LENGTH],
    before: Option<[u8; KEY_LENGTH]>,
}

impl DataKeys {
    /// The key that everything is written with.
    pub fn current(&self) -> &DataKey {
        &self.current
    }

    /// The key that some of the store may still be written with; none unless a rekey is under way.
    pub fn before(&self) -> Option<&DataKey> {
        self.before.as_ref()
    }

    /// A new random key, with the current one as the one before.
    ///
    /// Write down what opens it, then call [`crate::Store::begin_rekey`].
    ///
    /// # Errors
    ///
    /// The system gives no randomness, or there is a key before this one still.
    pub fn rekeyed(&self) -> Result<Self, KeyError> {
        if self.before.is_some() {
            return Err(KeyError::RekeyUnderWay);
        }
        let index = Some(IndexKey(self.of_index()));
        Ok(Self { current: DataKey::generate()?, before: Some(self.current.clone()), index })
    }

    /// The same without the key before.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self { before: None, ..self.clone() }
    }

    /// What has to be kept beside the wrapped current key, sealed with it; `None` for a key that
    /// is the first of its store.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn seal_beside(&self) -> Result<Option<Vec<u8>>, KeyError> {
        let Some(index) = &self.index else { return Ok(None) };
        let before = self.before.as_ref().map(DataKey::to_bytes);
        let beside = Beside { index: *index.0, before };
        let bytes = postcard::to_stdvec(&beside)
            .map(Zeroizing::new)
            .expect("invariant: arrays of bytes always encode");
        self.current.seal(PURPOSE, &bytes).map(Some)
    }

    /// Opens what [`DataKeys::seal_beside`] made.
    ///
    /// # Errors
    ///
    /// [`KeyError::Damaged`].
    pub fn open_beside(current: DataKey, sealed: &[u8]) -> Result<Self, KeyError> {
        let bytes = current.unseal(PURPOSE, sealed).map(Zeroizing::new);
        let beside: Beside =
            bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()).ok_or(KeyError::Damaged)?;
        let before = beside.before.map(DataKey::from_bytes);
        Ok(Self { current, before, index: Some(IndexKey(Zeroizing::new(beside.index))) })
    }

    /// The key of index keys, the same in every build of a view.
    pub(crate) fn of_index(&self) -> Zeroizing<[u8; KEY_LENGTH]> {
        self.index.as_ref().map_or_else(|| self.current.of_index(), |index| index.0.clone())
    }

    /// The key that a part of the store names.
    pub(crate) fn named(&self, store: StoreId, check: [u8; 8]) -> Option<&DataKey> {
        std::iter::once(&self.current).chain(&self.before).find(|key| key.check(store) == check)
    }
}

/// The keys that an open store and its parts use; clones are the same keys.
#[derive(Debug, Clone)]
pub(crate) struct KeysInUse(Arc<RwLock<DataKeys>>);

impl KeysInUse {
    pub(crate) fn new(keys: DataKeys) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    pub(crate) fn all(&self) -> DataKeys {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn current(&self) -> DataKey {
        self.0.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    pub(crate) fn replace(&self, keys: DataKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl From<DataKey> for DataKeys {
    fn from(current: DataKey) -> Self {
        Self { current, before: None, index: None }
    }
}

impl From<&DataKey> for DataKeys {
    fn from(current: &DataKey) -> Self {
        current.clone().into()
    }
}

impl From<&Self> for DataKeys {
    fn from(keys: &Self) -> Self {
        keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_before_and_the_index_key_are_kept_by_the_new_key_alone() {
        let first = DataKeys::from(DataKey::from_bytes([7; 32]));
        assert_eq!(first.seal_beside().unwrap(), None);
        let rekeyed = first.rekeyed().unwrap();
        assert!(matches!(rekeyed.rekeyed(), Err(KeyError::RekeyUnderWay)));
        let sealed = rekeyed.seal_beside().unwrap().unwrap();

        let read = DataKeys::open_beside(rekeyed.current().clone(), &sealed).unwrap();
        assert_eq!(read.before().unwrap().to_bytes(), [7; 32]);
        assert_eq!(read.of_index(), first.of_index());
        let wrong = DataKeys::open_beside(first.current().clone(), &sealed);
        assert!(matches!(wrong, Err(KeyError::Damaged)));

        let settled = read.settled();
        let sealed = settled.seal_beside().unwrap().unwrap();
        let read = DataKeys::open_beside(settled.current().clone(), &sealed).unwrap();
        assert!(read.before().is_none());
        // The rows of the view stand under its hashes.
        assert_eq!(read.rekeyed().unwrap().of_index(), first.of_index());
    }
}
