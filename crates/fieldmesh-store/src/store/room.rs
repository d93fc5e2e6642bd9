//! Appends that leave less of the disk free than others do, because they lead to room.

use super::Store;
use crate::log::append::{AppendError, Room, Whole};
use crate::log::{Entry, Place};

impl Store {
    /// As [`Store::append_with`], for what hands over data that the disk holds already: it leaves
    /// an eighth of the room that other appends leave, and uses the reserve, so that a full disk
    /// can still be emptied into a peer.
    pub fn append_hand_over(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(Result<Vec<Place>, AppendError>) + Send + 'static,
    ) {
        self.writer.append_with(entries, Room::HandOver, Box::new(done));
    }

    /// As [`Store::append`], with the room of [`Store::append_hand_over`]: for what has to be said
    /// before anything can be dropped from the log.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn append_making_room(&self, entries: Vec<Entry>) -> Result<Vec<Place>, AppendError> {
        self.writer.append(entries, (Room::HandOver, Whole::Entry))
    }
}
