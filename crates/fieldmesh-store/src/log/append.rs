//! Appends groups of entries durably, one segment after another.
//!
//! Used by one thread. Whatever fails ends the segment: a failed sync is never tried again on the
//! same handle, because the system may have dropped what it could not write and then say yes.

use std::io;
use std::sync::Arc;

use fieldmesh_model::StoreId;

use super::rewrite::{self, draft_name};
use super::segments::{Segment, Segments};
use super::{LOG_FOLDER, Place, segment_name};
use crate::amount;
use crate::files::{Files, WriteFile};
use crate::frame::{Form, FrameCipher, Packed, SegmentHead};
use crate::keys::KeysInUse;
use crate::random;
use crate::reserve;

/// Why entries were not appended.
///
/// Nothing of the group counts as stored. The store goes on: append again when the cause is gone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too little of the disk is free: ask the user to free some.
    #[error(
        "the disk has {} free and {} are needed; free some space",
        amount::free(*free_bytes),
        amount::needed(*needed_bytes)
    )]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What must be free for this append.
        needed_bytes: u64,
    },
    /// All is taken that the owner of the store grants it: ask the owner for more.
    #[error(
        "the quota is used up: {} of {} are taken; whoever set it can raise it",
        amount::needed(*taken_bytes),
        amount::needed(*bytes_max)
    )]
    QuotaUsed {
        /// What is taken.
        taken_bytes: u64,
        /// What is granted.
        bytes_max: u64,
    },
    /// The disk reports an error.
    #[error("the log cannot be written")]
    Io {
        /// The entries could not be removed again: they may be there at the next open. Do not
        /// reuse their place in a chain, begin a new epoch.
        may_survive: bool,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// One entry is too large.
    #[error("an entry has {size} bytes, limit is {}", crate::ENTRY_SIZE_MAX)]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Too much is waiting to be written; append less at a time.
    #[error("{queued_bytes} bytes wait to be written, limit is {}", crate::QUEUE_BYTES_MAX)]
    QueueFull {
        /// What waits.
        queued_bytes: usize,
    },
    /// The system gives no randomness for a new segment.
    #[error(transparent)]
    NoRandomness(#[from] random::NoRandomness),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Bounds of the log on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendLimits {
    pub(crate) segment_size_max: u64,
    pub(crate) free_bytes_min: u64,
}

/// How much of the disk an append has to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// What every append leaves.
    Ordinary,
    /// Less: what is written is needed to hand over what the disk holds already, or to drop it.
    HandOver,
}

/// What a crash may leave of entries that are appended with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Each is there or not by itself.
    Entry,
    /// All are there or none is.
    Group,
    /// As [`Whole::Entry`], and none is written where something lies behind this place by then.
    Behind(Option<Place>),
}

/// The part of the ordinary room that a hand-over leaves.
pub(crate) const HAND_OVER_SHARE: u64 = 8;

/// The one that writes the log.
pub(crate) struct Appender {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) keys: KeysInUse,
    pub(crate) store: StoreId,
    pub(crate) segments: Arc<Segments>,
    pub(crate) limits: AppendLimits,
    pub(crate) next_number: u64,
    pub(crate) next_sequence: u64,
    /// So many sequences before the next one were given to nobody; see [`SegmentHead::given_up`].
    pub(crate) given_up: u32,
    pub(crate) active: Option<Active>,
}

/// The segment being written.
pub(crate) struct Active {
    head: SegmentHead,
    cipher: FrameCipher,
    file: Box<dyn WriteFile>,
    /// Everything up to here is durable; 0 while the file is empty.
    length: u64,
}

impl Appender {
    /// Appends a group and makes it durable.
    pub(crate) fn append(
        &mut self,
        group: &[Packed],
        room: Room,
    ) -> Result<Vec<Place>, AppendError> {
        let needed: u64 = group.iter().map(|packed| packed.frame_length() as u64).sum();
        self.check_space(needed, room)?;
        if self.active.as_ref().is_some_and(|a| a.length >= self.limits.segment_size_max) {
            self.active = None;
        }
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin_segment()?,
        };
        let (bytes, frames) = self.frames(&active, group);
        match self.write(&mut active, &bytes) {
            Ok(()) => {
                active.length += bytes.len() as u64;
                Ok(self.publish(active, &frames))
            }
            Err(error) => {
                let is_gone = self.abandon(active);
                Err(self.refuse(error, group.len(), is_gone))
            }
        }
    }

    /// Says that these frames are durable, and goes on behind them.
    fn publish(&mut self, active: Active, frames: &[(u64, u64)]) -> Vec<Place> {
        self.next_sequence += frames.len() as u64;
        self.given_up = 0;
        let segment = Segment { head: active.head.clone(), length: active.length };
        self.segments.publish(segment, frames);
        self.active = Some(active);
        frames.iter().map(|(sequence, _)| Place(*sequence)).collect()
    }

    /// Why so many entries were not appended; they are gone from the disk, or may not be.
    fn refuse(&mut self, error: io::Error, count: usize, is_gone: bool) -> AppendError {
        let may_survive = !is_gone;
        if may_survive {
            // Another entry with the place of one that survives would hide it.
            self.next_sequence += count as u64;
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.given_up = self.given_up.saturating_add(count);
        }
        tracing::error!(%error, may_survive, "log segment abandoned");
        AppendError::Io { may_survive, source: Arc::new(error) }
    }

    /// Appends a group of which a crash leaves all or nothing, and makes it durable: in a segment of
    /// its own, which gets its name when all of it is on the disk. Others may follow there.
    pub(crate) fn append_together(
        &mut self,
        group: &[Packed],
        room: Room,
    ) -> Result<Vec<Place>, AppendError> {
        let needed: u64 = group.iter().map(|packed| packed.frame_length() as u64).sum();
        self.check_space(needed, room)?;
        self.active = None;
        let mut active = self.begin_draft()?;
        let number = active.head.number;
        let (bytes, frames) = self.frames(&active, group);
        let written = active.file.append(&bytes).and_then(|()| active.file.sync());
        match written.and_then(|()| self.give_name(number)) {
            Ok(()) => {
                self.next_number = number.saturating_add(1);
                active.length = bytes.len() as u64;
                Ok(self.publish(active, &frames))
            }
            Err(error) => {
                drop(active);
                let is_gone = self.remove_draft(number).is_ok();
                if !is_gone && !self.is_free(number).unwrap_or(false) {
                    self.next_number = number.saturating_add(1);
                }
                Err(self.refuse(error, group.len(), is_gone))
            }
        }
    }

    /// Ends the segment being written if it has grown to `bytes_min`; says whether it did. The next
    /// append begins another one.
    pub(crate) fn end_segment(&mut self, bytes_min: u64) -> bool {
        // Without an entry there is no segment that anybody else knows of.
        let is_large = |active: &&Active| active.length >= bytes_min.max(1);
        // One that was given up after an error is still the one being written to all others.
        if self.active.is_some() && self.active.as_ref().filter(is_large).is_none() {
            return false;
        }
        self.active = None;
        self.segments.end_active()
    }

    fn check_space(&self, needed: u64, room: Room) -> Result<(), AppendError> {
        let free_bytes_min = match room {
            Room::Ordinary => self.limits.free_bytes_min,
            Room::HandOver => {
                reserve::release(&*self.files, self.limits.free_bytes_min);
                self.limits.free_bytes_min / HAND_OVER_SHARE
            }
        };
        // A system that cannot tell is taken at its word when it refuses the write itself.
        let Ok(free_bytes) = self.files.free_bytes() else { return Ok(()) };
        let needed_bytes = free_bytes_min.saturating_add(needed);
        if free_bytes < needed_bytes {
            return Err(AppendError::DiskFull { free_bytes, needed_bytes });
        }
        Ok(())
    }

    /// The head of the next segment, and the cipher of its frames.
    fn next_head(&self) -> Result<(SegmentHead, FrameCipher), AppendError> {
        let key = self.keys.current();
        let head = SegmentHead {
            form: Form::Frames,
            number: self.next_number,
            first_sequence: self.next_sequence,
            given_up: self.given_up,
            id: random::bytes()?,
            store: self.store,
            key_check: key.check(self.store),
            covered: 0,
            merged: 0,
            is_bound: false,
        };
        let cipher = FrameCipher::new(&key, &head);
        Ok((head, cipher))
    }

    /// A segment without a name: until it has one it does not count, and an open removes it.
    fn begin_draft(&mut self) -> Result<Active, AppendError> {
        let failed = |source| AppendError::Io { may_survive: false, source: Arc::new(source) };
        // Left by an attempt whose file could not be removed; nothing may take its place.
        while !self.is_free(self.next_number).map_err(failed)? {
            self.next_number += 1;
        }
        let (head, cipher) = self.next_head()?;
        let draft = draft_name(head.number);
        let file = rewrite::remove(&*self.files, &draft).and_then(|()| self.files.create(&draft));
        Ok(Active { head, cipher, file: file.map_err(failed)?, length: 0 })
    }

    /// Whether no segment has this number; a rename would take the place of one that has.
    fn is_free(&self, number: u64) -> io::Result<bool> {
        match self.files.open(&segment_name(number)) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn give_name(&self, number: u64) -> io::Result<()> {
        self.files.rename(&draft_name(number), &segment_name(number))?;
        self.files.sync_folder(LOG_FOLDER)
    }

    /// Removes a draft under whichever name it has by now.
    fn remove_draft(&self, number: u64) -> io::Result<()> {
        let draft = rewrite::remove(&*self.files, &draft_name(number));
        rewrite::remove(&*self.files, &segment_name(number)).and(draft)?;
        self.files.sync_folder(LOG_FOLDER)
    }

    fn begin_segment(&mut self) -> Result<Active, AppendError> {
        let (head, cipher) = self.next_head()?;
        let file = match self.files.create(&segment_name(head.number)) {
            Ok(file) => file,
            Err(error) => {
                // Left by an attempt whose file could not be removed again.
                if error.kind() == io::ErrorKind::AlreadyExists {
                    self.next_number += 1;
                }
                return Err(AppendError::Io { may_survive: false, source: Arc::new(error) });
            }
        };
        self.next_number += 1;
        Ok(Active { head, cipher, file, length: 0 })
    }

    /// The bytes to write, and the sequence and offset of each frame in them.
    fn frames(&self, active: &Active, group: &[Packed]) -> (Vec<u8>, Vec<(u64, u64)>) {
        let capacity: usize = group.iter().map(Packed::frame_length).sum();
        let mut bytes = if active.length == 0 { active.head.encode() } else { Vec::new() };
        bytes.reserve(capacity);
        let mut frames = Vec::with_capacity(group.len());
        for (packed, sequence) in group.iter().zip(self.next_sequence..) {
            frames.push((sequence, active.length + bytes.len() as u64));
            active.cipher.seal(sequence, packed, &mut bytes);
        }
        (bytes, frames)
    }

    fn write(&self, active: &mut Active, bytes: &[u8]) -> io::Result<()> {
        active.file.append(bytes)?;
        active.file.sync()?;
        if active.length == 0 {
            self.files.sync_folder(LOG_FOLDER)?;
        }
        Ok(())
    }

    /// Removes what a failed write may have left; says whether that is certain.
    fn abandon(&mut self, active: Active) -> bool {
        let name = segment_name(active.head.number);
        drop(active.file);
        if active.length > 0 {
            return self.files.truncate(&name, active.length).is_ok();
        }
        if self.files.remove(&name).is_err() {
            return false;
        }
        self.next_number = active.head.number;
        self.files.sync_folder(LOG_FOLDER).is_ok()
    }
}
