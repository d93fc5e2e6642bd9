//! The conflicts of one record, the same on every replica, and their resolution.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{AutomergeError, ROOT, ReadDoc};
use fieldmesh_model::input::part_of;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Edit, Fields, Moment, Value};
use uuid::Uuid;

use crate::document::{Document, EditError, Meta, by_hash};
use crate::guard::guard;
use crate::merge::{Candidate, Contest, merge};
use crate::view::ReadError;
use crate::{ancestry, keys, scalar};

/// What competes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ConflictKind {
    /// Concurrent values of a field wait for a person.
    Field,
    /// Concurrent values of a field of which the policy chose one.
    SettledAutomatically,
    /// Concurrent edits of different fields, all of which are shown.
    MergedAutomatically,
    /// A record was deleted and, by somebody who did not know, edited.
    DeletedAndEdited,
    /// A field broke rules of its collection. It is told of what has ended alone; what is broken
    /// stands in [`crate::Breach`].
    RuleBroken,
}

/// One conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldConflict {
    /// Its id, made of the record, the key and the changes that compete.
    pub id: Uuid,
    /// What competes.
    pub kind: ConflictKind,
    /// The field; of a deleted and edited record it is `_deletedAt`, of different fields nothing.
    pub key: String,
    /// The label of the value that is shown meanwhile.
    pub shown: String,
    /// What there is to choose from, at least two.
    pub values: Vec<ConflictValue>,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictValue {
    /// A, B, C and so on, by time, actor and hash.
    pub label: String,
    /// The value; of a deleted and edited record the time of deletion, or null for an edit.
    pub value: Value,
    /// What an edit of a deleted record, or one side of several fields, wrote; empty otherwise.
    pub edits: Fields,
    /// The actor who wrote it.
    pub actor: Vec<u8>,
    /// When, by the author's clock.
    pub at: Moment,
    /// The change that wrote it.
    pub hash: [u8; 32],
}

/// A label that names no side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no value {label:?}; choose one of {choices}")]
pub struct LabelError {
    /// What was given.
    pub label: String,
    /// What there is.
    pub choices: String,
}

/// What resolves a conflict.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// Write this value over all others, with [`Document::resolve`].
    Write(Edit),
    /// Take the tombstone away, with [`Document::restore`].
    Restore,
    /// Write a tombstone that knows of the edits, with [`Document::delete`].
    Delete,
}

impl FieldConflict {
    /// Whether it waits for a person.
    pub fn is_open(&self) -> bool {
        match self.kind {
            ConflictKind::Field | ConflictKind::DeletedAndEdited => true,
            ConflictKind::SettledAutomatically
            | ConflictKind::MergedAutomatically
            | ConflictKind::RuleBroken => false,
        }
    }

    /// What taking the value with `label` comes to.
    ///
    /// # Errors
    ///
    /// There is no such label, or nothing to choose.
    pub fn take(&self, label: &str) -> Result<Resolution, LabelError> {
        let wanted = label.trim();
        let mut sides = self.values.iter().filter(|_| !self.key.is_empty());
        let side = sides.find(|side| side.label.eq_ignore_ascii_case(wanted));
        let Some(side) = side else {
            let choices: Vec<_> = self.values.iter().map(|side| side.label.as_str()).collect();
            return Err(LabelError { label: label.into(), choices: choices.join(", ") });
        };
        Ok(match (self.kind, &side.value) {
            (ConflictKind::DeletedAndEdited, Value::Null) => Resolution::Restore,
            (ConflictKind::DeletedAndEdited, _) => Resolution::Delete,
            (_, Value::Null) => Resolution::Write(Edit::clear(&self.key)),
            (_, value) => Resolution::Write(Edit::set(&self.key, value.clone())),
        })
    }
}

impl Document {
    /// The conflicts of the record, by key.
    ///
    /// A field is in conflict only with more than one *distinct* concurrent value.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn conflicts(&self, collection: &Collection) -> Result<Vec<FieldConflict>, ReadError> {
        // One change competes with nothing.
        if self.first.is_some() {
            return Ok(Vec::new());
        }
        guard(|| self.read_conflicts(collection))?
    }

    /// Writes the values that resolve conflicts as one change: an ordinary edit, which supersedes
    /// all concurrent values.
    ///
    /// Taking the value that is shown is written like any other, so that a different choice made
    /// elsewhere at the same time is seen as a new conflict.
    ///
    /// # Errors
    ///
    /// The edits cannot be written; the document is as before.
    pub fn resolve(
        &mut self,
        collection: &Collection,
        actor: [u8; 16],
        at: Moment,
        edits: &[Edit],
    ) -> Result<Option<Vec<u8>>, EditError> {
        self.resolve_for(collection, actor, at, edits, None)
    }

    /// As [`Self::resolve`], in the name of a user of the gateway that writes.
    ///
    /// # Errors
    ///
    /// The edits cannot be written; the document is as before.
    pub fn resolve_for(
        &mut self,
        collection: &Collection,
        actor: [u8; 16],
        at: Moment,
        edits: &[Edit],
        user: Option<&str>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let open = self.conflicts(collection).unwrap_or_default().into_iter();
        let is_settled = |one: &FieldConflict| edits.iter().any(|edit| edit.key() == one.key);
        self.settling(open.filter(is_settled).map(|one| one.id));
        self.mending(collection, edits);
        self.edit_for(collection, actor, at, edits, user)
    }

    /// Has the next deletion or restoring of the record say that it settles what was edited by
    /// somebody who did not know that it is deleted.
    pub fn settling_deletion(&mut self, collection: &Collection) {
        let open = self.conflicts(collection).unwrap_or_default().into_iter();
        let found = open.filter(|one| one.kind == ConflictKind::DeletedAndEdited);
        self.settling(found.map(|one| one.id));
    }

    fn read_conflicts(&self, collection: &Collection) -> Result<Vec<FieldConflict>, ReadError> {
        let metas = self.metas();
        if metas.len() < 2 {
            return Ok(Vec::new());
        }
        let hashed = by_hash(&metas);
        let mut conflicts = Vec::new();
        let contested: Vec<_> = self
            .inner()
            .map_range(ROOT, ..)
            .filter(|item| item.conflict)
            .map(|item| item.key.into_owned())
            .filter(|key| {
                !keys::is_system(key) && !collection.is_immutable(key) && part_of(key).is_none()
            })
            .collect();
        for key in contested {
            let candidates = self.candidates(&key, &hashed)?;
            let (shown, contest) = merge(collection.policy(&key), &candidates);
            let kind = match contest {
                Contest::None => continue,
                Contest::Settled => ConflictKind::SettledAutomatically,
                Contest::Open => ConflictKind::Field,
            };
            conflicts.push(self.field_conflict(key, kind, &shown, candidates));
        }
        conflicts.extend(self.deleted_and_edited(collection, &hashed)?);
        conflicts.extend(self.parallel(collection, &metas)?);
        Ok(conflicts)
    }

    fn field_conflict(
        &self,
        key: String,
        kind: ConflictKind,
        shown: &Value,
        candidates: Vec<Candidate>,
    ) -> FieldConflict {
        let id = conflict_id(self.id, &key, candidates.iter().map(|one| one.hash));
        let values = distinct(candidates);
        let shown = values.iter().find(|one| one.value.is_same(shown));
        let shown = shown.map(|one| one.label.clone()).unwrap_or_default();
        FieldConflict { id, kind, key, shown, values }
    }

    pub(crate) fn deleted_and_edited(
        &self,
        collection: &Collection,
        hashed: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Option<FieldConflict>, AutomergeError> {
        let edits = self.unaware_edits();
        if edits.is_empty() {
            return Ok(None);
        }
        let tombstones: BTreeSet<_> = self.tombstones().into_iter().collect();
        let latest = tombstones
            .iter()
            .filter_map(|hash| hashed.get(hash))
            .max_by_key(|meta| (meta.at, &meta.actor, meta.hash));
        let Some(latest) = latest else { return Ok(None) };
        let id =
            conflict_id(self.id, keys::DELETED_AT, tombstones.iter().chain(edits.keys()).copied());
        let deletion = Value::Moment(latest.at);
        let mut values =
            vec![side(0, deletion, Fields::new(), latest.actor.clone(), latest.at, latest.hash)];
        let mut metas: Vec<_> = edits.keys().filter_map(|hash| hashed.get(hash)).collect();
        metas.sort_by_key(|meta| (meta.at, &meta.actor, meta.hash));
        for meta in metas {
            let heads = crate::document::hashes(&[meta.hash]);
            let mut written = Fields::new();
            for key in edits.get(&meta.hash).into_iter().flatten() {
                written.insert(key.clone(), self.value_at(collection, key, &heads, hashed)?);
            }
            values.push(side(
                values.len(),
                Value::Null,
                written,
                meta.actor.clone(),
                meta.at,
                meta.hash,
            ));
        }
        let key = keys::DELETED_AT.to_owned();
        let kind = ConflictKind::DeletedAndEdited;
        Ok(Some(FieldConflict { id, kind, key, shown: label(0), values }))
    }

    /// The changes by which the record is deleted, if it is.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn deletions(&self) -> Result<Vec<[u8; 32]>, ReadError> {
        Ok(guard(|| self.tombstones())?)
    }

    /// The fields that somebody edited who did not know of a deletion, as they were to whoever
    /// deleted; null where one was not there.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn as_deleted(&self, collection: &Collection) -> Result<Fields, ReadError> {
        Ok(guard(|| self.read_as_deleted(collection))??)
    }

    fn read_as_deleted(&self, collection: &Collection) -> Result<Fields, AutomergeError> {
        let (metas, heads) = (self.metas(), crate::document::hashes(&self.tombstones()));
        let hashed = by_hash(&metas);
        let keys: BTreeSet<String> = self.unaware_edits().into_values().flatten().collect();
        let field = |key: String| {
            let value = self.value_at(collection, &key, &heads, &hashed)?;
            Ok((key, value))
        };
        keys.into_iter().map(field).collect()
    }

    /// The changes that wrote the tombstones in force.
    pub(crate) fn tombstones(&self) -> Vec<[u8; 32]> {
        let values = self.inner().get_all(ROOT, keys::DELETED_AT).unwrap_or_default();
        let of = |(value, id): (automerge::Value<'_>, automerge::ObjId)| match value {
            automerge::Value::Scalar(value)
                if scalar::from_scalar(&value).as_moment().is_some() =>
            {
                self.inner().hash_for_opid(&id).map(|hash| hash.0)
            }
            _ => None,
        };
        values.into_iter().filter_map(of).collect()
    }

    /// The changes that edit a deleted record without knowing, and what they touch.
    ///
    /// An edit that at least one of those who deleted had seen does not count.
    pub(crate) fn unaware_edits(&self) -> BTreeMap<[u8; 32], BTreeSet<String>> {
        let tombstones = self.tombstones();
        if tombstones.is_empty() {
            return BTreeMap::new();
        }
        let metas = self.metas();
        let hashed = by_hash(&metas);
        // Who deleted had seen what he builds on, and who builds on a tombstone has seen that.
        let mut aware = ancestry::closure(tombstones.iter().copied(), &hashed);
        let mut above: BTreeSet<_> = tombstones.into_iter().collect();
        for meta in &metas {
            if meta.deps.iter().any(|dep| above.contains(dep)) {
                above.insert(meta.hash);
            }
        }
        aware.append(&mut above);
        let unaware: BTreeSet<_> =
            metas.iter().map(|meta| meta.hash).filter(|hash| !aware.contains(hash)).collect();
        if unaware.is_empty() {
            return BTreeMap::new();
        }
        let mut touched = self.touched_keys();
        touched.retain(|hash, keys| unaware.contains(hash) && !keys.is_empty());
        touched
    }
}

/// The values of candidates, each once.
pub(crate) fn distinct(candidates: Vec<Candidate>) -> Vec<ConflictValue> {
    let mut values: Vec<ConflictValue> = Vec::new();
    for one in candidates {
        // The earliest of those who wrote the same stands for it.
        if values.iter().all(|known| !known.value.is_same(&one.value)) {
            let (value, actor, at, hash) = (one.value, one.actor, one.at, one.hash);
            values.push(side(values.len(), value, Fields::new(), actor, at, hash));
        }
    }
    values
}

pub(crate) fn side(
    number: usize,
    value: Value,
    edits: Fields,
    actor: Vec<u8>,
    at: Moment,
    hash: [u8; 32],
) -> ConflictValue {
    ConflictValue { label: label(number), value, edits, actor, at, hash }
}

/// What a side of a conflict is called by its number: A to Z, then AA, AB and so on.
pub fn label(number: usize) -> String {
    let last = char::from(b'A' + u8::try_from(number % 26).unwrap_or(0));
    match number / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", label(more - 1)),
    }
}

pub(crate) fn conflict_id(
    document: DocumentId,
    key: &str,
    changes: impl Iterator<Item = [u8; 32]>,
) -> Uuid {
    let changes: BTreeSet<_> = changes.collect();
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/conflict-id/1");
    hasher.update(document.as_bytes());
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key.as_bytes());
    for change in changes {
        hasher.update(&change);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_go_on_after_the_alphabet() {
        assert_eq!([0, 25, 26, 27, 702].map(label), ["A", "Z", "AA", "AB", "AAA"]);
    }
}
