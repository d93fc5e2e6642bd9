//! Files that are left of segments which others have taken the place of, under another key.
//!
//! What is damaged in the others may be whole in them, and the key before is kept by nobody.

use std::io;
use std::sync::Arc;

use super::rewrite::{RewriteError, Rewriter, draft_name, remove};
use super::scan::{Frames, Step, Walk};
use super::segments::Segment;
use super::{LOG_FOLDER, segment_name};
use crate::files::ReadFile;
use crate::frame::{FrameCipher, SegmentHead};

/// Bytes that are collected before they are written.
const WRITE_LENGTH: usize = 1024 * 1024;

impl Rewriter<'_> {
    /// Writes the file of a segment that is left out anew with the key: every frame where it lay,
    /// and under the same id, by which it is known. What is damaged stays as it is. Gives the head
    /// that it has now.
    pub(crate) fn reseal(&self, left: &Segment) -> Result<SegmentHead, RewriteError> {
        let number = left.head.number;
        self.check_space(left.length)?;
        let head = SegmentHead { key_check: self.key.check(left.head.store), ..left.head.clone() };
        let draft = draft_name(number);
        remove(&**self.files, &draft)?;
        let copied = self.copy(left, &head, &draft);
        if copied.is_err()
            && let Err(error) = remove(&**self.files, &draft)
        {
            tracing::warn!(%error, draft, "unfinished segment left until the next open");
        }
        copied?;
        self.files.rename(&draft, &segment_name(number))?;
        self.files.sync_folder(LOG_FOLDER)?;
        Ok(head)
    }

    fn copy(&self, left: &Segment, head: &SegmentHead, draft: &str) -> Result<(), RewriteError> {
        let segment = head.number;
        let frames = self.segments.frames_left(left)?;
        let (file, before) = (Arc::clone(&frames.file), Arc::clone(&frames.cipher));
        let cipher = Arc::new(FrameCipher::new(self.key, head));
        let mut writing = self.files.create(draft)?;
        let (mut waiting, mut intact) = (head.encode(), 0);
        let mut walk = Walk::new(frames.clone());
        while let Some(step) = walk.next()? {
            if (self.stop)() {
                return Err(RewriteError::Closed);
            }
            let (offset, length) = match step {
                Step::Frame { offset, head } => {
                    let body = walk.body(offset, &head)?;
                    if before.seal_under(&cipher, &head, body, &mut waiting) {
                        intact += 1;
                        (offset, 0)
                    } else {
                        (offset, head.frame_length() as u64)
                    }
                }
                Step::Bad(bad) => (bad.offset, bad.length),
            };
            add(&*file, (offset, length), &mut waiting)?;
            if waiting.len() >= WRITE_LENGTH {
                writing.append(&waiting)?;
                waiting.clear();
            }
        }
        // What the disk does not give today it may give tomorrow.
        if walk.is_unreadable() {
            return Err(RewriteError::Unreadable { segment });
        }
        writing.append(&waiting)?;
        writing.sync()?;
        let copied = Frames { file: self.files.open(draft)?, cipher, ..frames };
        if count_intact(copied)? == intact { Ok(()) } else { Err(RewriteError::ReadBack) }
    }
}

/// Adds these bytes as they lie.
fn add(file: &dyn ReadFile, (offset, length): (u64, u64), waiting: &mut Vec<u8>) -> io::Result<()> {
    let from = waiting.len();
    waiting.resize(from + usize::try_from(length).unwrap_or(0), 0);
    let count = file.read_at(offset, &mut waiting[from..])?;
    waiting.truncate(from + count);
    Ok(())
}

/// How many frames can be decrypted.
fn count_intact(frames: Frames) -> io::Result<u64> {
    let (mut walk, mut intact) = (Walk::new(frames), 0);
    while let Some(step) = walk.next()? {
        if let Step::Frame { offset, head } = step {
            intact += u64::from(walk.is_intact(offset, &head)?);
        }
    }
    Ok(intact)
}
