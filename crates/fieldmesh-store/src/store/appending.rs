//! Appending entries: until they are durable, without waiting, or in two steps.

use super::Store;
use crate::frame::{ENTRY_SIZE_MAX, Packed};
use crate::log::append::{AppendError, Room, Whole};
use crate::log::{Entry, Place};
use crate::quota::Quota;
use crate::writer::Appending;

impl Store {
    /// Appends entries; returns when they are durable.
    ///
    /// Entries of many threads share one sync. Each entry is durable or not by itself: after a
    /// crash before the return any of them may be there.
    ///
    /// # Errors
    ///
    /// None of the entries counts as stored; the error says what to do. The store goes on.
    pub fn append(&self, entries: Vec<Entry>) -> Result<Vec<Place>, AppendError> {
        self.writer.append(entries, (Room::Ordinary, Whole::Entry))
    }

    /// As [`Store::append`] where `end` is the last durable entry; nothing is written where another
    /// one is by then, and no place is given. Whoever says what follows from all that is there says
    /// it before anybody says otherwise.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn append_behind(
        &self,
        end: Option<Place>,
        entries: Vec<Entry>,
    ) -> Result<Vec<Place>, AppendError> {
        self.writer.append(entries, (Room::Ordinary, Whole::Behind(end)))
    }

    /// Appends entries and calls `done` from the writing thread when they are durable.
    ///
    /// Compresses on the calling thread and does not wait otherwise; `done` must be quick.
    pub fn append_with(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(Result<Vec<Place>, AppendError>) + Send + 'static,
    ) {
        self.writer.append_with(entries, Room::Ordinary, Box::new(done));
    }

    /// As [`Store::append`], within the quota: for what people write.
    ///
    /// # Errors
    ///
    /// As [`Store::append`], or [`AppendError::QuotaUsed`].
    pub fn append_granted(&self, entries: Vec<Entry>) -> Result<Vec<Place>, AppendError> {
        self.quota.take(size_of(&entries))?;
        self.append(entries)
    }

    /// As [`Store::append_with`], within the quota: for what people write.
    pub fn append_granted_with(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(Result<Vec<Place>, AppendError>) + Send + 'static,
    ) {
        match self.quota.take(size_of(&entries)) {
            Ok(()) => self.append_with(entries, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Compresses an entry for [`Store::append_later`], where no lock is held so far.
    ///
    /// # Errors
    ///
    /// [`AppendError::TooLarge`].
    pub fn pack(&self, entry: Entry) -> Result<Packed, AppendError> {
        match entry.bytes.len() {
            size if size > ENTRY_SIZE_MAX => Err(AppendError::TooLarge { size }),
            _ => Ok(Packed::new(entry)),
        }
    }

    /// Lines an entry up; it is written when somebody waits for it, or does not wait any more.
    ///
    /// It counts in the quota and is never refused by it, as what is lined up behind may build on
    /// it: [`Quota::admit`] is asked before the first.
    pub fn append_later(&self, entry: Packed) -> Appending {
        self.quota.count(entry.frame_length() as u64);
        self.writer.append_later(vec![entry], Whole::Entry)
    }

    /// Lines entries up of which a crash leaves all or none; otherwise as [`Store::append_later`].
    ///
    /// Several cost a segment of their own, and are held in memory until they are durable.
    pub fn append_together(&self, entries: Vec<Packed>) -> Appending {
        self.quota.count(entries.iter().map(|entry| entry.frame_length() as u64).sum());
        self.writer.append_later(entries, Whole::Group)
    }

    /// What the owner grants this store of the disk.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}

fn size_of(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.bytes.len() as u64).sum()
}
