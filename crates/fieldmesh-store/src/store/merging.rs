//! Several segments of the log made one.

use std::sync::PoisonError;

use super::Store;
use crate::log::rewrite::{Fate, Past, RewriteError, Rewritten};
use crate::log::{Entry, Place};

impl Store {
    /// As [`Store::rewrite`], of closed segments that follow each other and become one, which has
    /// the number of the last; says of each entry whether it goes.
    ///
    /// A crash at any moment leaves the old segments or the new one; the next open removes what is
    /// left of those that it has taken the place of, once it has found their entries in that. So
    /// none is replaced by another here.
    ///
    /// # Errors
    ///
    /// As [`Store::rewrite`]; [`RewriteError::NotNeighbours`] where a segment is missing between
    /// them, is damaged beyond its head, or is one of another store.
    pub fn merge(
        &self,
        segments: &[u64],
        mut is_dead: impl FnMut(Place, &Entry) -> bool,
    ) -> Result<Rewritten, RewriteError> {
        let mut decide = |place, entry: &Entry| match is_dead(place, entry) {
            true => Fate::Drop,
            false => Fate::Keep,
        };
        self.rewrite_unless(&|| false, segments, Past::Named, &mut decide)
    }

    /// Removes the files of segments that others have taken the place of and that could not be
    /// removed so far. Whoever says that something is gone for good asks for this first.
    ///
    /// # Errors
    ///
    /// The disk reports an error; some of them may be left.
    pub fn remove_merged(&self) -> Result<(), RewriteError> {
        let _rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.segments.remove_leftovers()?)
    }
}
