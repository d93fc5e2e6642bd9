//! A view that was begun anew: by an open, or because an error broke the one before.

use std::io;
use std::sync::atomic::Ordering;

use super::Store;
use crate::files::Files;
use crate::flag;
use crate::log::Place;
use crate::reserve;
use crate::view::{ViewCondition, ViewError};

impl Store {
    /// Whether the open began a new view although the log has entries: replay all of it.
    pub fn view_was_rebuilt(&self) -> bool {
        self.view_was_rebuilt
    }

    /// Whether the view was begun anew and its owner has not said since that this is no matter any
    /// more, be it by this open or before: what the log had lost by then, nobody knows.
    pub fn is_made_anew(&self) -> bool {
        self.is_anew.load(Ordering::Relaxed)
    }

    /// Says that whatever follows from [`Store::is_made_anew`] is durable.
    ///
    /// # Errors
    ///
    /// The next open says so once more.
    pub fn settle_anew(&self) -> io::Result<()> {
        flag::ANEW.settle(&*self.files)?;
        self.is_anew.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the view again after [`ViewError::Broken`]; then replay from
    /// [`crate::View::applied`].
    ///
    /// # Errors
    ///
    /// The view can neither be opened nor begun anew; try later.
    pub fn reopen_view(&self) -> Result<ViewCondition, ViewError> {
        reserve::release(&*self.files, self.free_bytes_min);
        let keys = self.keys.all();
        let belonging = self.belonging(&keys);
        let condition = self.view.reopen(&*self.rows, &belonging)?;
        if was_rebuilt(condition, belonging.log_end) {
            self.is_anew.store(true, Ordering::Relaxed);
            mark(&*self.files);
        }
        Ok(condition)
    }
}

/// Whether a view so found was begun anew although the log has entries.
pub(super) fn was_rebuilt(view: ViewCondition, log_end: Option<Place>) -> bool {
    match view {
        ViewCondition::Kept | ViewCondition::AheadOfLog => false,
        ViewCondition::Created => log_end.is_some(),
        ViewCondition::Damaged | ViewCondition::Foreign | ViewCondition::EarlierVersion => true,
    }
}

/// Whether an open has to say that the view was begun anew, which the next one does then as well.
///
/// One that has nothing of the log may have been begun by an open that could not say so.
pub(super) fn is_anew(
    files: &dyn Files,
    was_rebuilt: bool,
    (applied, log_end): (Option<Place>, Option<Place>),
) -> bool {
    if flag::ANEW.is_marked(files) {
        return true;
    }
    let is_anew = was_rebuilt || (applied.is_none() && log_end.is_some());
    if is_anew {
        mark(files);
    }
    is_anew
}

/// On a full disk the view is begun all the same: this process knows, and one that follows it does
/// unless the view has grown by then.
fn mark(files: &dyn Files) {
    if let Err(error) = flag::ANEW.mark(files) {
        tracing::warn!(%error, "that the view was begun anew could not be noted");
    }
}
