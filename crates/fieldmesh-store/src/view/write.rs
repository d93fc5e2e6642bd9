//! Changes to the view that are applied together.

use super::{KEY_SIZE_MAX, Tree, VALUE_SIZE_MAX, ViewError};
use crate::log::Place;

/// Puts and deletes in any trees; the last change of a key counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteSet {
    pub(crate) changes: std::collections::BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>,
    pub(crate) applied: Option<Place>,
}

impl WriteSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value.
    pub fn put(&mut self, tree: Tree, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert((tree, key.into()), Some(value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, tree: Tree, key: impl Into<Vec<u8>>) {
        self.changes.insert((tree, key.into()), None);
    }

    /// Says that the view now contains the log up to this entry.
    pub fn set_applied(&mut self, place: Place) {
        self.applied = Some(place);
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.applied.is_none()
    }

    pub(crate) fn check(&self) -> Result<(), ViewError> {
        for ((_, key), value) in &self.changes {
            if key.len() > KEY_SIZE_MAX {
                return Err(ViewError::KeyTooLarge { size: key.len() });
            }
            if let Some(value) = value.as_ref().filter(|value| value.len() > VALUE_SIZE_MAX) {
                return Err(ViewError::ValueTooLarge { size: value.len() });
            }
        }
        Ok(())
    }
}
