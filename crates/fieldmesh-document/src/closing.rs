//! How conflicts of a record came to an end: who settled them, or wrote over them without a word.
//!
//! It is read from the changes alone. A change that replaces several concurrent values of a field
//! has ended the conflict between them; where somebody settled it the change says so, by the
//! conflict's id, and otherwise it may be by somebody who never saw that there was one.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, ObjectId};
use automerge::{AutomergeError, Change, ROOT, ReadDoc};
use fieldmesh_model::input::part_of;
use fieldmesh_model::schema::Collection;
use fieldmesh_model::validate::Fault;
use fieldmesh_model::{Moment, Value};
use uuid::Uuid;

use crate::breach::{Breach, is_breach_id};
use crate::conflict::{ConflictKind, ConflictValue, conflict_id, distinct};
use crate::document::{Document, Meta, by_hash, hashes};
use crate::guard::guard;
use crate::history::in_order;
use crate::merge::{Contest, merge};
use crate::view::ReadError;
use crate::{keys, scalar};

/// The most changes of a record that are looked at, the newest ones.
pub const CLOSINGS_LOOK_MAX: usize = 1_000;
/// The most fields that are looked up to find what these changes ended.
pub const CLOSINGS_FIELDS_MAX: usize = 256;
/// The most ends of conflicts of a record that are told, the newest ones.
pub const CLOSINGS_MAX: usize = 64;
/// The most deletions and restorings of which is looked at what they ended.
const DELETIONS_MAX: usize = 16;
/// The most changes that put broken rules right of which is looked at which these were.
const MENDINGS_MAX: usize = 16;

/// The end of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// The conflict, as it was listed while it was open.
    pub item: Uuid,
    /// What competed.
    pub kind: ConflictKind,
    /// The field; of a deleted and edited record it is `_deletedAt`.
    pub key: String,
    /// What there was to choose from; of a broken rule, what stood in the field.
    pub values: Vec<ConflictValue>,
    /// The rules that were broken.
    pub faults: Vec<Fault>,
    /// The change that ended it.
    pub hash: [u8; 32],
    /// When it was made, by its author's clock.
    pub at: Moment,
    /// What it left in the field.
    pub left: Value,
    /// Whether its author settled the conflict; otherwise he only wrote.
    pub is_settled: bool,
    /// Whether it ended as the record was deleted, and is there again once that is taken back.
    pub is_deletion: bool,
}

/// The ends of the newest conflicts of a record, the earliest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Closings {
    /// They, one for each change that ended a conflict.
    pub ended: Vec<Closing>,
    /// How many of the oldest changes were not looked at, or not in full.
    pub left_out: usize,
}

/// What was found so far, from the newest change on, and what it took: everybody can write any
/// number of fields, and every replica stops at the same place.
#[derive(Default)]
struct Search {
    ended: Vec<Closing>,
    fields: usize,
    deletions: usize,
    mendings: usize,
}

impl Search {
    fn is_over(&self) -> bool {
        self.fields >= CLOSINGS_FIELDS_MAX || self.ended.len() >= CLOSINGS_MAX
    }
}

/// What a change says by itself about conflicts.
#[derive(Default)]
struct Hints {
    settled: BTreeSet<Uuid>,
    /// The fields of which it replaces several values.
    keys: BTreeSet<String>,
    is_deletion: bool,
}

impl Document {
    /// How the conflicts of the record ended, as the last [`CLOSINGS_LOOK_MAX`] changes tell: no
    /// more than [`CLOSINGS_MAX`] of them, for which [`CLOSINGS_FIELDS_MAX`] fields are looked up.
    /// Behind them stand the broken rules of a record that is deleted.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn closings(&self, collection: &Collection) -> Result<Closings, ReadError> {
        if self.first.is_some() {
            return Ok(Closings::default());
        }
        guard(|| {
            let mut closings = self.read_closings(collection)?;
            closings.ended.extend(self.deleted_breaches(collection)?);
            Ok(closings)
        })?
    }

    /// The broken rules that nobody has to put right as the record is deleted.
    fn deleted_breaches(&self, collection: &Collection) -> Result<Vec<Closing>, ReadError> {
        let tombstones = self.tombstones();
        if tombstones.is_empty() {
            return Ok(Vec::new());
        }
        let metas = self.metas();
        let hashed = by_hash(&metas);
        let known = tombstones.iter().filter_map(|hash| hashed.get(hash));
        let latest = known.max_by_key(|meta| (meta.at, &meta.actor, meta.hash));
        let view = self.view(collection)?;
        let Some(latest) = latest.filter(|_| view.deleted.is_some()) else {
            return Ok(Vec::new());
        };
        let closing = |breach: Breach| Closing {
            item: breach.id,
            kind: ConflictKind::RuleBroken,
            key: breach.key,
            values: breach.values,
            faults: breach.faults,
            hash: latest.hash,
            at: latest.at,
            left: Value::Null,
            is_settled: false,
            is_deletion: true,
        };
        Ok(self.broken(collection, &view.fields)?.into_iter().map(closing).collect())
    }

    fn read_closings(&self, collection: &Collection) -> Result<Closings, ReadError> {
        let metas = self.metas();
        // Where nobody has seen two strands at once nobody has ended a conflict between them.
        if metas.iter().all(|meta| meta.deps.len() < 2) && !self.has_mended() {
            return Ok(Closings::default());
        }
        let (hashed, ordered) = (by_hash(&metas), in_order(&metas));
        let (older, newer) = ordered.split_at(ordered.len().saturating_sub(CLOSINGS_LOOK_MAX));
        let changes = self.changes_after(older);
        let mut left_out = ordered.len();
        let mut search = Search::default();
        // The document has to be made as it was before these, which takes as long as the record has
        // changes.
        if !older.is_empty() {
            (search.deletions, search.mendings) = (DELETIONS_MAX, MENDINGS_MAX);
        }
        for meta in newer.iter().rev() {
            let hints = changes.get(&meta.hash).map(hints).unwrap_or_default();
            if !self.search(collection, meta, &hints, &hashed, &mut search)? {
                break;
            }
            left_out -= 1;
        }
        search.ended.reverse();
        Ok(Closings { ended: search.ended, left_out })
    }

    /// Looks what a change ended; whether it came to an end with that.
    fn search(
        &self,
        collection: &Collection,
        meta: &Meta,
        hints: &Hints,
        hashed: &BTreeMap<[u8; 32], &Meta>,
        search: &mut Search,
    ) -> Result<bool, ReadError> {
        for key in hints.keys.iter().filter(|key| !collection.is_immutable(key)) {
            if search.is_over() {
                return Ok(false);
            }
            search.fields += 1;
            search.ended.extend(self.field_closing(collection, meta, key, hints, hashed)?);
        }
        if hints.settled.iter().any(is_breach_id) && search.mendings < MENDINGS_MAX {
            if search.is_over() {
                return Ok(false);
            }
            search.mendings += 1;
            for closing in self.breach_closings(collection, meta, &hints.settled, hashed)? {
                if search.is_over() {
                    return Ok(false);
                }
                search.fields += 1;
                search.ended.push(closing);
            }
        }
        if hints.is_deletion && search.deletions < DELETIONS_MAX {
            if search.is_over() {
                return Ok(false);
            }
            search.deletions += 1;
            if let Some(closing) = self.deletion_closing(collection, meta, hints)? {
                search.fields += closing.values.iter().map(|side| side.edits.len()).sum::<usize>();
                search.ended.push(closing);
            }
        }
        Ok(true)
    }

    /// All changes but these, which hold whatever they build on.
    fn changes_after(&self, older: &[&Meta]) -> BTreeMap<[u8; 32], Change> {
        let built_on: BTreeSet<_> = older.iter().flat_map(|meta| &meta.deps).collect();
        let heads = older.iter().filter(|meta| !built_on.contains(&meta.hash));
        let heads: Vec<_> = heads.map(|meta| meta.hash).collect();
        let changes = self.inner().get_changes(&hashes(&heads));
        changes.into_iter().map(|change| (change.hash().0, change)).collect()
    }

    fn field_closing(
        &self,
        collection: &Collection,
        meta: &Meta,
        key: &str,
        hints: &Hints,
        hashed: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Option<Closing>, AutomergeError> {
        let candidates = self.candidates_at(key, &hashes(&meta.deps), hashed)?;
        if merge(collection.policy(key), &candidates).1 != Contest::Open {
            return Ok(None);
        }
        let item = conflict_id(self.id, key, candidates.iter().map(|one| one.hash));
        let left = self.value_at(collection, key, &hashes(&[meta.hash]), hashed)?;
        Ok(Some(Closing {
            item,
            kind: ConflictKind::Field,
            key: key.to_owned(),
            values: distinct(candidates),
            faults: Vec::new(),
            hash: meta.hash,
            at: meta.at,
            left,
            is_settled: hints.settled.contains(&item),
            is_deletion: false,
        }))
    }

    fn deletion_closing(
        &self,
        collection: &Collection,
        meta: &Meta,
        hints: &Hints,
    ) -> Result<Option<Closing>, ReadError> {
        let before = Self::of(self.id, self.inner().fork_at(&hashes(&meta.deps))?);
        let known = before.metas();
        let Some(found) = before.deleted_and_edited(collection, &by_hash(&known))? else {
            return Ok(None);
        };
        Ok(Some(Closing {
            item: found.id,
            kind: found.kind,
            key: found.key,
            values: found.values,
            faults: Vec::new(),
            hash: meta.hash,
            at: meta.at,
            left: self.deletion_at(&meta.hash),
            is_settled: hints.settled.contains(&found.id),
            is_deletion: false,
        }))
    }

    /// The broken rules that a change says it has put right, as the record was before it.
    fn breach_closings(
        &self,
        collection: &Collection,
        meta: &Meta,
        settled: &BTreeSet<Uuid>,
        hashed: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<Closing>, ReadError> {
        if meta.deps.is_empty() {
            return Ok(Vec::new());
        }
        let before = Self::of(self.id, self.inner().fork_at(&hashes(&meta.deps))?);
        let mut found = before.breaches(collection, &before.view(collection)?)?;
        found.retain(|breach| settled.contains(&breach.id));
        let mut closings = Vec::with_capacity(found.len());
        for breach in found {
            let left = self.value_at(collection, &breach.key, &hashes(&[meta.hash]), hashed)?;
            closings.push(Closing {
                item: breach.id,
                kind: ConflictKind::RuleBroken,
                key: breach.key,
                values: breach.values,
                faults: breach.faults,
                hash: meta.hash,
                at: meta.at,
                left,
                is_settled: true,
                is_deletion: false,
            });
        }
        Ok(closings)
    }

    /// Whether anybody says that he has put right what broke a rule.
    fn has_mended(&self) -> bool {
        let mut settled = self.inner().map_range(ROOT, keys::all_settled());
        settled.any(|item| keys::settled_item(&item.key).is_some_and(|id| is_breach_id(&id)))
    }
}

impl Document {
    /// What a change that knows all deletions before it left of them: when, or nothing.
    fn deletion_at(&self, change: &[u8; 32]) -> Value {
        let found = self.inner().get_at(ROOT, keys::DELETED_AT, &hashes(&[*change]));
        match found {
            Ok(Some((automerge::Value::Scalar(value), _))) => {
                scalar::from_scalar(&value).as_moment().map_or(Value::Null, Value::Moment)
            }
            _ => Value::Null,
        }
    }
}

fn hints(change: &Change) -> Hints {
    let mut hints = Hints::default();
    for operation in change.decode().operations {
        let (ObjectId::Root, Key::Map(key)) = (&operation.obj, &operation.key) else { continue };
        if let Some(item) = keys::settled_item(key) {
            hints.settled.insert(item);
        } else if key.as_str() == keys::DELETED_AT {
            hints.is_deletion = true;
        } else if operation.pred.len() > 1 && !keys::is_system(key) && part_of(key).is_none() {
            hints.keys.insert(key.to_string());
        }
    }
    hints
}
