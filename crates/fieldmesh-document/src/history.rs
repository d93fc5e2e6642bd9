//! Every change of a record: who, when, and the fields before and after.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{AutomergeError, Change, ChangeHash, ExpandedChange, ScalarValue};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{Moment, UserId, Value};

use crate::document::{Document, Meta, by_hash, hashes};
use crate::guard::guard;
use crate::merge::merge;
use crate::view::{ReadError, bytes};
use crate::{keys, part};

/// One change of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The change.
    pub hash: [u8; 32],
    /// The actor who made it.
    pub actor: Vec<u8>,
    /// Its number among the actor's changes.
    pub seq: u64,
    /// When it was made, by its author's clock.
    pub at: Moment,
    /// The changes that its author knew last.
    pub deps: Vec<[u8; 32]>,
    /// In whose name it was made, by the word of its author: to be believed of a gateway alone.
    pub made_for: Option<String>,
    /// What it changed, by key; deletion and restoring stand under `_deletedAt`.
    pub fields: Vec<FieldChange>,
}

/// What a change did to one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// The flat key.
    pub key: String,
    /// The value that its author saw.
    pub before: Value,
    /// The value that its author left.
    pub after: Value,
}

impl Document {
    /// Every change, dependencies first and otherwise by time; the same order on every replica.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn history(&self, collection: &Collection) -> Result<Vec<Revision>, ReadError> {
        guard(|| self.read_history(collection))?
    }

    fn read_history(&self, collection: &Collection) -> Result<Vec<Revision>, ReadError> {
        let metas = self.metas();
        let hashed = by_hash(&metas);
        let touched = self.touched_keys();
        let changes = self.inner().get_changes(&[]);
        let named = |change: &Change| Some((change.hash().0, made_for(&change.decode())?));
        let mut made_for: BTreeMap<[u8; 32], String> = changes.iter().filter_map(named).collect();
        let mut revisions = Vec::with_capacity(metas.len());
        for meta in in_order(&metas) {
            let (known, made) = (hashes(&meta.deps), hashes(&[meta.hash]));
            let mut fields = Vec::new();
            for key in touched.get(&meta.hash).into_iter().flatten() {
                let before = self.value_at(collection, key, &known, &hashed)?;
                let after = self.value_at(collection, key, &made, &hashed)?;
                fields.push(FieldChange { key: key.clone(), before, after });
            }
            revisions.push(Revision {
                hash: meta.hash,
                actor: meta.actor.clone(),
                seq: meta.seq,
                at: meta.at,
                deps: meta.deps.clone(),
                made_for: made_for.remove(&meta.hash),
                fields,
            });
        }
        Ok(revisions)
    }

    /// What a field showed at earlier heads; nothing at none.
    pub(crate) fn value_at(
        &self,
        collection: &Collection,
        key: &str,
        heads: &[ChangeHash],
        hashed: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Value, AutomergeError> {
        if heads.is_empty() {
            return Ok(Value::Null);
        }
        let candidates = self.candidates_at(key, heads, hashed)?;
        let value = merge(collection.policy(key), &candidates).0;
        self.with_parts_at(collection, key, value, heads)
    }

    /// The fields that each change writes, without those of the system but the tombstone.
    pub(crate) fn touched_keys(&self) -> BTreeMap<[u8; 32], BTreeSet<String>> {
        let mut owners = BTreeMap::new();
        let mut touched = BTreeMap::new();
        for change in self.inner().get_changes(&[]) {
            let keys = keys_of(&change, &mut owners);
            touched.insert(change.hash().0, keys);
        }
        touched
    }
}

/// The user in whose name a change says that it was made.
pub(crate) fn made_for(change: &ExpandedChange) -> Option<String> {
    let said = change.operations.iter().filter_map(|operation| {
        match (&operation.obj, &operation.key, &operation.action) {
            (ObjectId::Root, Key::Map(key), OpType::Put(value)) => Some((key.as_str(), value)),
            _ => None,
        }
    });
    let user = |(key, value): (&str, &ScalarValue)| match (key, value) {
        (keys::MADE_FOR | keys::EDITED_FOR, ScalarValue::Str(user)) => Some(user.to_string()),
        (keys::DELETED_BY, value) => bytes(value).map(|user| UserId::from_bytes(user).to_string()),
        _ => None,
    };
    said.filter_map(user).next()
}

/// The changes in the one order that does not depend on how they arrived: of those whose
/// dependencies are out already, the earliest, then the smallest by hash.
pub(crate) fn in_order(metas: &[Meta]) -> Vec<&Meta> {
    let hashed = by_hash(metas);
    let mut missing: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut dependents: BTreeMap<[u8; 32], Vec<&Meta>> = BTreeMap::new();
    for meta in metas {
        let known = meta.deps.iter().filter(|dep| hashed.contains_key(*dep));
        missing.insert(meta.hash, known.clone().count());
        known.for_each(|dep| dependents.entry(*dep).or_default().push(meta));
    }
    let is_ready = |meta: &&Meta| missing.get(&meta.hash) == Some(&0);
    let mut ready: BTreeMap<(Moment, [u8; 32]), &Meta> =
        metas.iter().filter(is_ready).map(|meta| ((meta.at, meta.hash), meta)).collect();
    let mut ordered = Vec::with_capacity(metas.len());
    while let Some((_, next)) = ready.pop_first() {
        ordered.push(next);
        for dependent in dependents.remove(&next.hash).unwrap_or_default() {
            let Some(count) = missing.get_mut(&dependent.hash) else { continue };
            *count -= 1;
            if *count == 0 {
                ready.insert((dependent.at, dependent.hash), dependent);
            }
        }
    }
    ordered
}

// `owners` remembers under which key an object was made.
pub(crate) fn keys_of(
    change: &Change,
    owners: &mut BTreeMap<(u64, Vec<u8>), String>,
) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let expanded = change.decode();
    for (operation, counter) in expanded.operations.iter().zip(expanded.start_op.get()..) {
        let key = match (&operation.obj, &operation.key) {
            (ObjectId::Root, Key::Map(key)) => Some(key.to_string()),
            (ObjectId::Root, Key::Seq(_)) => None,
            (ObjectId::Id(object), _) => owners.get(&place(object)).cloned(),
        };
        let Some(key) = key else { continue };
        if matches!(operation.action, OpType::Make(_)) {
            owners.insert((counter, expanded.actor_id.to_bytes().to_vec()), key.clone());
        }
        if !keys::is_system(&key) || key == keys::DELETED_AT {
            keys.insert(part::field_of(&key).to_owned());
        }
    }
    keys
}

fn place(id: &OpId) -> (u64, Vec<u8>) {
    (id.counter(), id.actor().to_bytes().to_vec())
}
