//! Several segments of the log made one.

use std::collections::BTreeMap;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use crate::flag;
use crate::log::rewrite::{Fate, Past, RewriteError, Rewritten};
use crate::log::segments::Kept;
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

    /// The files of the log that stay although another segment has taken their place, and why.
    /// What must be gone for good may lie in them.
    pub fn kept_leftovers(&self) -> BTreeMap<String, Kept> {
        self.segments.kept_leftovers()
    }

    /// Whether entries may be in the log again that were erased from it: an open has mended it from
    /// a file that was left of it, or [`Store::look_again`] was called before this open. Every open
    /// says so until [`Store::settle_returned`].
    pub fn has_returned(&self) -> bool {
        self.has_returned.load(Ordering::Relaxed)
    }

    /// Says that whatever had to be erased of what came back is erased, durably.
    ///
    /// # Errors
    ///
    /// The next open says once more that something came back.
    pub fn settle_returned(&self) -> io::Result<()> {
        flag::RETURNED.settle(&*self.files)?;
        self.has_returned.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Says that all is erased that can be read, and that some of the log could not be: the next
    /// open has something to look at again.
    ///
    /// # Errors
    ///
    /// It is not durable, and nothing else should be said.
    pub fn look_again(&self) -> io::Result<()> {
        flag::RETURNED.mark(&*self.files)?;
        self.has_returned.store(false, Ordering::Relaxed);
        Ok(())
    }
}
