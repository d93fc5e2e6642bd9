//! What people say about an item of the inbox: replicated with the record, and no edit of it.
//!
//! A comment stands in the record's document under a key of its own, so that nobody replaces what
//! another says at the same time. It touches no field, and a record is no newer for it.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{Change, ROOT, ReadDoc, ScalarValue};
use fieldmesh_model::Moment;
use uuid::Uuid;

use crate::decision::only_decides;
use crate::document::{Document, EditError, Meta, by_hash};
use crate::guard::{Panicked, guard};
use crate::history::in_order;
use crate::{ancestry, edit, keys};

/// The longest comment, in characters.
pub const COMMENT_MAX: usize = 2_000;
/// The most comments on the items of one record that are shown, and beyond which none is written.
pub const COMMENTS_MAX: usize = 500;

/// Something that somebody said about an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// The item.
    pub item: Uuid,
    /// What he said.
    pub text: String,
    /// The change that says it.
    pub hash: [u8; 32],
    /// When, by its author's clock.
    pub at: Moment,
}

impl Document {
    /// Says something about an item of the inbox; `None` where the same was just said.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn comment(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        item: &Uuid,
        text: &str,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/comment-key/1");
        hasher.update(&actor);
        hasher.update(&at.as_millis().to_be_bytes());
        hasher.update(text.as_bytes());
        let digits = hasher.finalize().to_hex();
        let key = keys::comment(item, &digits[..16]);
        self.change(actor, at, |transaction| {
            edit::say(transaction, &key, ScalarValue::Str(text.into()))
        })
    }

    /// What was said about the items of this record, by time: the first [`COMMENTS_MAX`] comments
    /// in the order of the changes, so that nothing written on top of them hides them.
    ///
    /// What was said first under a key stays said, whatever is put over it.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn comments(&self) -> Result<Vec<Comment>, Panicked> {
        guard(|| {
            if !self.has_comments() {
                return Vec::new();
            }
            let changes = self.inner().get_changes(&[]).into_iter();
            let mut said: BTreeMap<_, _> =
                changes.map(|change| (change.hash().0, comments_of(&change))).collect();
            let metas = self.metas();
            let ordered = in_order(&metas).into_iter();
            let all = ordered.flat_map(|meta| said.remove(&meta.hash).unwrap_or_default());
            let mut comments: Vec<_> = all.take(COMMENTS_MAX).collect();
            comments.sort_by_key(|one| (one.at, one.hash));
            comments
        })
    }

    /// The changes that do more than say something of the record.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn work(&self) -> Result<BTreeSet<[u8; 32]>, Panicked> {
        if let Some(first) = &self.first {
            return Ok(BTreeSet::from([first.hash()]));
        }
        guard(|| {
            let remarks = self.remarks();
            let hashes = self.metas().into_iter().map(|meta| meta.hash);
            hashes.filter(|hash| !remarks.contains(hash)).collect()
        })
    }

    fn has_comments(&self) -> bool {
        self.inner().map_range(ROOT, keys::comments()).next().is_some()
    }

    /// The changes that write one comment, or over one, that approve or refuse the record, or that
    /// keep it as it is where others are alike, and do nothing else. Call it inside [`guard`] only.
    pub(crate) fn remarks(&self) -> BTreeSet<[u8; 32]> {
        let mut remarks: BTreeSet<_> = self.said().into_keys().collect();
        if self.has_comments() || self.names_others() {
            let changes = self.inner().get_changes(&[]).into_iter();
            remarks.extend(changes.filter(is_remark).map(|change| change.hash().0));
        }
        remarks
    }

    /// The changes of the record's fields that no other builds on: what is said on top of them
    /// brings no two strands together. Call it inside [`guard`] only.
    pub(crate) fn strands(&self, metas: &[Meta]) -> Vec<[u8; 32]> {
        let heads: Vec<_> = self.inner().get_heads().into_iter().map(|head| head.0).collect();
        let remarks = self.remarks();
        if heads.iter().all(|head| !remarks.contains(head)) {
            return heads;
        }
        let hashed = by_hash(metas);
        let (mut ends, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), heads);
        while let Some(next) = open.pop() {
            // Remarks that build on several others are come to by many ways.
            if !seen.insert(next) {
                continue;
            }
            match hashed.get(&next) {
                Some(meta) if remarks.contains(&next) => open.extend(&meta.deps),
                _ => {
                    ends.insert(next);
                }
            }
        }
        let deps = ends.iter().filter_map(|end| hashed.get(end)).flat_map(|meta| &meta.deps);
        let below = ancestry::closure(deps.copied(), &hashed);
        ends.difference(&below).copied().collect()
    }
}

/// What a change says, under keys that were free.
fn comments_of(change: &Change) -> Vec<Comment> {
    let (hash, at) = (change.hash().0, Moment::from_millis(change.timestamp()));
    let comment = |operation: &Op| {
        let key = key_of(operation).filter(|_| operation.pred.is_empty())?;
        let item = keys::comment_item(key)?;
        let OpType::Put(ScalarValue::Str(text)) = &operation.action else { return None };
        Some(Comment { item, text: text.chars().take(COMMENT_MAX).collect(), hash, at })
    };
    change.decode().operations.iter().filter_map(comment).collect()
}

fn is_remark(change: &Change) -> bool {
    let says = |operation: &Op| key_of(operation).is_some_and(keys::is_comment);
    (change.len() == 1 && change.decode().operations.iter().all(says)) || only_decides(change)
}

/// The key of the record that an operation writes.
pub(crate) fn key_of(operation: &Op) -> Option<&str> {
    match (&operation.obj, &operation.key) {
        (ObjectId::Root, Key::Map(key)) => Some(key),
        _ => None,
    }
}
