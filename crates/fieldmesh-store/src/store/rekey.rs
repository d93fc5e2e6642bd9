//! Writes everything in a store anew with another key, while it is used.
//!
//! From [`Store::begin_rekey`] on, whatever is written is written with the new key. What was there
//! before follows part by part in [`Store::rekey`]: the closed segments, files that are left of
//! others, the view, and what is in the quarantine. Each part says by itself which of the two keys
//! it needs, so that a crash at any moment leaves a store that both keys together open, and the next
//! run goes on.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use crate::files::Files;
use crate::keys::DataKeys;
use crate::log::quarantine::{self, QUARANTINE_FOLDER, ResealError};
use crate::log::rewrite::{Fate, Past, RewriteError};
use crate::log::segments::Segment;
use crate::log::{LOG_FOLDER, ReadError};
use crate::mark::StoreMark;
use crate::view::ViewError;
use crate::view::rows::RowsError;

/// Why part of a store is still written with the key before; both keys open it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// A segment of the log could not be written anew.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// A part was written with the key before while the others were written anew; try again.
    #[error("part of the store was written with the key before meanwhile")]
    Unfinished,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The view could not be written anew.
    #[error("the view cannot be written anew")]
    View(#[from] ViewError),
    /// The damaged view in the quarantine could not be removed.
    #[error("the damaged view that was set aside cannot be removed")]
    Rows(#[from] RowsError),
    /// What is in the quarantine could not be sealed anew.
    #[error("what is in the quarantine cannot be sealed anew")]
    Quarantine(#[from] ResealError),
    /// The disk reports an error.
    #[error("the disk reports an error")]
    Io(#[from] std::io::Error),
}

/// How far a rekey has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RekeyProgress {
    /// The parts of the store that are written with the new key.
    pub parts_done: u64,
    /// All its parts: segments and what is left of them, the view, what is in the quarantine.
    pub parts_total: u64,
}

/// The parts that are written with the key before.
struct Rest {
    segments: Vec<u64>,
    /// What is left of segments that others have taken the place of.
    left: Vec<Segment>,
    view: bool,
    aside: Vec<String>,
    total: u64,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.left.is_empty() && !self.view && self.aside.is_empty()
    }

    fn progress(&self) -> RekeyProgress {
        let files = self.segments.len() + self.left.len() + self.aside.len();
        let rest = files + usize::from(self.view);
        let parts_done = self.total.saturating_sub(rest as u64);
        RekeyProgress { parts_done, parts_total: self.total }
    }
}

impl Store {
    /// Writes with a new key from here on; what opens it, and the key before, is on disk already.
    pub fn begin_rekey(&self, keys: &DataKeys) {
        self.keys.replace(keys.clone());
        self.writer.end_segment(0);
    }

    /// How much of the store is written with the current key.
    ///
    /// # Errors
    ///
    /// The log, the view or the quarantine cannot be read.
    pub fn rekey_progress(&self) -> Result<RekeyProgress, RekeyError> {
        Ok(self.rest(&self.keys.all())?.progress())
    }

    /// Writes anew whatever is written with the key before, and tells after every part how far it
    /// has come.
    ///
    /// Reads and appends go on meanwhile. When this returns without an error, nothing in the store
    /// needs the key before: forget what opens it, then call [`Store::end_rekey`].
    ///
    /// # Errors
    ///
    /// What could be written anew is; of the rest, the first reason. Try again when the cause is
    /// gone; [`RewriteError::Closed`] says that `stop` said so, or that the store is being closed.
    pub fn rekey(
        &self,
        stop: impl Fn() -> bool,
        mut told: impl FnMut(RekeyProgress),
    ) -> Result<(), RekeyError> {
        let keys = self.keys.all();
        let mut failed: Option<RekeyError> = None;
        let rest = self.rest(&keys)?;
        told(rest.progress());
        if rest.segments.last().is_some_and(|last| self.segments.is_active(*last)) {
            self.writer.end_segment(0);
        }
        for segment in rest.segments {
            match self.rewrite_unless(&stop, &[segment], Past::Named, &mut |_, _| Fate::Keep) {
                // One that was merged meanwhile lies in another.
                Ok(_) | Err(RewriteError::NotFound { .. }) => told(self.rest(&keys)?.progress()),
                Err(RewriteError::Closed) => return Err(RewriteError::Closed.into()),
                Err(error) => {
                    failed.get_or_insert(error.into());
                }
            }
        }
        for left in rest.left {
            match self.reseal(&stop, &left) {
                Ok(()) => told(self.rest(&keys)?.progress()),
                Err(RewriteError::Closed) => return Err(RewriteError::Closed.into()),
                Err(error) => {
                    failed.get_or_insert(error.into());
                }
            }
        }
        if stop() || self.is_closing.load(Ordering::Relaxed) {
            return Err(RewriteError::Closed.into());
        }
        if rest.view {
            match self.compact_view() {
                Ok(()) => told(self.rest(&keys)?.progress()),
                Err(error) => {
                    failed.get_or_insert(error.into());
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.remove_merged()?;
        // Parts of segments may have been set aside on the way.
        self.rekey_quarantine(&keys)?;
        let key_check = keys.current().check(self.id);
        StoreMark { id: self.id, key_check }.write(&*self.files)?;
        // A crash must not bring anything back once nobody has the key for it.
        for folder in [LOG_FOLDER, QUARANTINE_FOLDER, ""] {
            sync_if_there(&*self.files, folder)?;
        }
        let rest = self.rest(&keys)?;
        told(rest.progress());
        // Somebody may have written a part with the key before while all others were written anew.
        if rest.is_empty() { Ok(()) } else { Err(RekeyError::Unfinished) }
    }

    /// Forgets the key before; what opened it is gone from the disk.
    pub fn end_rekey(&self) {
        self.keys.replace(self.keys.all().settled());
    }

    fn rest(&self, keys: &DataKeys) -> Result<Rest, RekeyError> {
        let mut segments = Vec::new();
        let numbers = self.segments.numbers_from(0);
        for number in &numbers {
            let (Some(head), Some(before)) = (self.segments.head(*number), keys.before()) else {
                continue;
            };
            if before.check(head.store) == head.key_check {
                segments.push(*number);
            }
        }
        let view = !self.view.is_under(keys.current())?;
        let left = keys.before().map_or_else(Vec::new, |key| self.segments.kept_under(key));
        let all_left = self.segments.kept_leftovers().len();
        let aside = quarantine::not_sealed_with(&*self.files, keys.current(), self.id)?;
        let all_aside = quarantine::copies(&*self.files)?.len();
        let total = (numbers.len() + all_left + 1 + all_aside) as u64;
        Ok(Rest { segments, left, view, aside, total })
    }

    /// Writes anew what is left of a segment that another one has taken the place of.
    fn reseal(&self, stop: &dyn Fn() -> bool, left: &Segment) -> Result<(), RewriteError> {
        let _rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = || self.is_closing.load(Ordering::Relaxed) || stop();
        if stop() {
            return Err(RewriteError::Closed);
        }
        let key = self.keys.current();
        let rewriter = self.rewriter(&key, &stop);
        self.segments.has_resealed(rewriter.reseal(left)?);
        Ok(())
    }

    fn rekey_quarantine(&self, keys: &DataKeys) -> Result<(), RekeyError> {
        self.rows.forget_set_aside()?;
        for name in quarantine::not_sealed_with(&*self.files, keys.current(), self.id)? {
            quarantine::reseal(&*self.files, &name, keys, self.id)?;
        }
        Ok(())
    }
}

/// A folder that nothing was ever put into needs no sync.
fn sync_if_there(files: &dyn Files, folder: &str) -> std::io::Result<()> {
    match files.sync_folder(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
