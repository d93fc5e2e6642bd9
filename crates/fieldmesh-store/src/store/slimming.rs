//! The view written anew, so that it takes no more of the disk than it needs.

use super::Store;
use crate::view::ViewError;
use crate::view::compact::{self, Allowance};

impl Store {
    /// Writes the view anew beside itself, without what is dead in it, and puts that in its place.
    ///
    /// Reads go on meanwhile; [`View::apply`](crate::View::apply) waits.
    ///
    /// # Errors
    ///
    /// The view is as it was, or has to be opened again.
    pub fn compact_view(&self) -> Result<(), ViewError> {
        self.view.compact(&*self.rows, &self.belonging(&self.keys.all()))
    }

    /// As [`Store::compact_view`], if the view takes far more of the disk than what is in it and
    /// the disk has room for both; says whether it did.
    ///
    /// # Errors
    ///
    /// As [`Store::compact_view`].
    pub fn compact_wasteful_view(&self) -> Result<bool, ViewError> {
        self.compact_view_above(compact::BUSY)
    }

    /// As [`Store::compact_wasteful_view`], with less patience: worth it while nobody writes.
    ///
    /// # Errors
    ///
    /// As [`Store::compact_view`].
    pub fn compact_idle_view(&self) -> Result<bool, ViewError> {
        self.compact_view_above(compact::AT_REST)
    }

    fn compact_view_above(&self, allowance: Allowance) -> Result<bool, ViewError> {
        let (disk_bytes, content_bytes) = (self.rows.disk_bytes()?, self.view.content_bytes()?);
        if !allowance.is_exceeded(disk_bytes, content_bytes) {
            return Ok(false);
        }
        let needed = compact::disk_bytes_max(content_bytes);
        let has_room = self
            .files
            .free_bytes()
            .is_ok_and(|free| free.saturating_sub(self.free_bytes_min) >= needed);
        if has_room {
            self.compact_view()?;
        }
        Ok(has_room)
    }
}
