//! What people say about an item of the inbox: replicated with the record, and no edit of it.
//!
//! A comment stands in the record's document under a key of its own, so that nobody replaces what
//! another says at the same time. It touches no field, and a record is no newer for it.

use std::collections::BTreeSet;

use automerge::{ObjId, ROOT, ReadDoc, ScalarValue, ValueRef};
use fieldmesh_model::Moment;
use uuid::Uuid;

use crate::document::{Document, EditError, Meta, by_hash};
use crate::guard::{Panicked, guard};
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

    /// What was said about the items of this record, by time; of no more than [`COMMENTS_MAX`]
    /// comments, by their keys.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn comments(&self) -> Result<Vec<Comment>, Panicked> {
        guard(|| {
            let metas = self.metas();
            let hashed = by_hash(&metas);
            let mut comments = Vec::new();
            for item in self.inner().map_range(ROOT, keys::comments()).take(COMMENTS_MAX) {
                let (Some(about), ValueRef::Scalar(value)) =
                    (keys::comment_item(&item.key), &item.value)
                else {
                    continue;
                };
                let ScalarValue::Str(text) = value.clone().into() else { continue };
                let hash = self.inner().hash_for_opid(&item.id()).map_or([0; 32], |hash| hash.0);
                let Some(meta) = hashed.get(&hash) else { continue };
                let text = text.chars().take(COMMENT_MAX).collect();
                comments.push(Comment { item: about, text, hash, at: meta.at });
            }
            comments.sort_by_key(|one| (one.at, one.hash));
            comments
        })
    }

    /// The changes that say something and do nothing else. Call it inside [`guard`] only.
    pub(crate) fn remarks(&self, metas: &[Meta]) -> BTreeSet<[u8; 32]> {
        let said: BTreeSet<(u64, Vec<u8>)> = self
            .inner()
            .map_range(ROOT, keys::comments())
            .filter_map(|item| match item.id() {
                ObjId::Id(counter, actor, _) => Some((counter, actor.to_bytes().to_vec())),
                ObjId::Root => None,
            })
            .collect();
        if said.is_empty() {
            return BTreeSet::new();
        }
        let is_remark = |meta: &&Meta| {
            meta.start_op == meta.max_op && said.contains(&(meta.start_op, meta.actor.clone()))
        };
        metas.iter().filter(is_remark).map(|meta| meta.hash).collect()
    }

    /// The changes of the record's fields that no other builds on: what is said on top of them
    /// brings no two strands together. Call it inside [`guard`] only.
    pub(crate) fn strands(&self, metas: &[Meta]) -> Vec<[u8; 32]> {
        let heads: Vec<_> = self.inner().get_heads().into_iter().map(|head| head.0).collect();
        let remarks = self.remarks(metas);
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
