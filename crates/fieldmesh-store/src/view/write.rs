//! Changes to the view that are applied together.

use super::{KEY_SIZE_MAX, Tree, VALUE_SIZE_MAX, ViewError};
use crate::log::Place;

/// Puts and deletes in any trees; the last change of a key counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteSet {
    pub(crate) changes: std::collections::BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>,
    pub(crate) applied: Option<Place>,
    pub(crate) next: Next,
}

/// What comes behind a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Next {
    /// Nobody knows.
    #[default]
    Unknown,
    /// Another one, at once.
    More,
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

    /// Adds the changes of another set; where both change a key, those count.
    ///
    /// Takes time for the changes of both: [`Self::gather`] is for many small sets.
    pub fn merge(&mut self, mut other: Self) {
        self.changes.append(&mut other.changes);
        self.applied = other.applied.or(self.applied);
    }

    /// One set with the changes of many; where several change a key, those of the last one count.
    ///
    /// All are sorted at once, which takes less than looking for the place of each.
    pub fn gather(sets: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::new();
        let changes = sets.into_iter().flat_map(|set| {
            all.applied = set.applied.or(all.applied);
            set.changes
        });
        all.changes = changes.collect();
        all
    }

    /// Says that the view now contains the log up to this entry.
    pub fn set_applied(&mut self, place: Place) {
        self.applied = Some(place);
    }

    /// Says that more sets follow at once, as they do while a view is built: what costs least for
    /// all of them is chosen, and not what lets the next open be short.
    pub fn expect_more(&mut self) {
        self.next = Next::More;
    }

    /// What changes in one tree: keys in order, each with its new value, or none where it goes.
    pub fn changed(&self, tree: Tree) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let first = (tree, Vec::new());
        let changes = self.changes.range(first..).take_while(move |((its, _), _)| *its == tree);
        changes.map(|((_, key), value)| (key.as_slice(), value.as_deref()))
    }

    /// What becomes of a key: its new value, or none where it goes. Nothing where it stays.
    pub fn find(&self, tree: Tree, key: &[u8]) -> Option<Option<&[u8]>> {
        self.changes.get(&(tree, key.to_vec())).map(Option::as_deref)
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
