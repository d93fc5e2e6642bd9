//! What people have decided about records that were made for one thing, as each record tells it.
//!
//! It is read from the changes alone. Whoever settles such an item says in each of its records
//! which item that is and which records it is about. A change that puts a record behind another
//! one, or beside others, without naming an item is about those that it names.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Op, OpType};
use automerge::{AutomergeError, Change, ROOT, ReadDoc, ScalarValue, ScalarValueRef, ValueRef};
use fieldmesh_model::natural_key::{sharing, unique_keys};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DocumentId, Fields, Moment};
use uuid::Uuid;

use crate::closing::CLOSINGS_LOOK_MAX;
use crate::comment::key_of;
use crate::document::{Document, Meta};
use crate::guard::guard;
use crate::history::in_order;
use crate::keys;
use crate::part::field_of;
use crate::view::{ReadError, bytes};

/// The most decisions of a record that are told, the newest ones.
const DECISIONS_MAX: usize = 64;
/// The most items that one change names; of what names more the others say nothing.
pub(crate) const NAMED_MAX: usize = 8;
/// The most records of one item.
const MEMBERS_MAX: usize = 64;

/// Something that was decided about records that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The item of the inbox.
    pub item: Uuid,
    /// The group of unique fields that the records share.
    pub unique: usize,
    /// Whether the change names this item; otherwise the records may share other fields than those.
    pub is_named: bool,
    /// The records that it is about, this one among them.
    pub members: BTreeSet<DocumentId>,
    /// What it says of this one.
    pub outcome: Outcome,
    /// The fields that were written with it.
    pub written: BTreeSet<String>,
    /// The change that says it.
    pub hash: [u8; 32],
    /// When, by its author's clock.
    pub at: Moment,
}

/// What becomes of a record by a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It stays, and others are given up for it.
    Kept,
    /// It is given up for this one.
    GaveWay(DocumentId),
    /// It is meant beside the others.
    Apart,
}

/// What a change says of records that are alike.
#[derive(Default)]
struct Said {
    named: Vec<(Uuid, BTreeSet<DocumentId>)>,
    gave_way: Option<DocumentId>,
    apart: BTreeSet<DocumentId>,
    written: BTreeSet<String>,
}

impl Document {
    /// What was decided about this record and others that are alike, the earliest first; `fields`
    /// are those of the record.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn decisions(
        &self,
        collection: &Collection,
        fields: &Fields,
    ) -> Result<Vec<Decision>, ReadError> {
        if self.first.is_some() || collection.unique.is_empty() {
            return Ok(Vec::new());
        }
        Ok(guard(|| self.read_decisions(collection, fields))??)
    }

    fn read_decisions(
        &self,
        collection: &Collection,
        fields: &Fields,
    ) -> Result<Vec<Decision>, AutomergeError> {
        let is_said = self.inner().get(ROOT, keys::SUPERSEDED_BY)?.is_some()
            || self.inner().map_range(ROOT, keys::all_apart()).next().is_some()
            || self.names_others();
        if !is_said {
            return Ok(Vec::new());
        }
        let groups: Vec<usize> =
            unique_keys(collection, fields, &[]).into_iter().map(|(number, _)| number).collect();
        let changes = self.inner().get_changes(&[]).into_iter();
        let mut changes: BTreeMap<_, _> = changes.map(|change| (change.hash().0, change)).collect();
        let metas = self.metas();
        let (mut found, mut looked) = (Vec::new(), 0);
        for meta in in_order(&metas).into_iter().rev().take(CLOSINGS_LOOK_MAX) {
            let Some(said) = changes.remove(&meta.hash).map(|change| said(&change)) else {
                continue;
            };
            // Names cost as much where they say nothing of this record.
            looked += said.named.len();
            for (item, members) in said.about(self.id) {
                let called = |unique: &usize| match item {
                    // An item about records of several collections is called one of the first.
                    Some(_) => sharing(collection, *unique),
                    None => vec![(collection.number, *unique)],
                };
                let ids = groups.iter().flat_map(|unique| {
                    let called = called(unique).into_iter();
                    called.map(|(number, group)| (*unique, alike_id(number, group, &members)))
                });
                found.extend(said.decisions(meta, item, ids.collect(), &members));
            }
            if found.len().max(looked) >= DECISIONS_MAX {
                break;
            }
        }
        found.truncate(DECISIONS_MAX);
        found.reverse();
        Ok(found)
    }

    /// Whether any change names the records of an item. Call it inside [`guard`] only.
    pub(crate) fn names_others(&self) -> bool {
        let mut settled = self.inner().map_range(ROOT, keys::all_settled());
        settled.any(|item| {
            let value = item.value;
            matches!(value, ValueRef::Scalar(ScalarValueRef::Bytes(_)))
        })
    }
}

impl Said {
    fn outcome(&self) -> Option<Outcome> {
        match self.gave_way {
            Some(kept) => Some(Outcome::GaveWay(kept)),
            None if !self.apart.is_empty() => Some(Outcome::Apart),
            None => (!self.named.is_empty()).then_some(Outcome::Kept),
        }
    }

    /// The records that it is about, with the item if it names one.
    fn about(&self, id: DocumentId) -> Vec<(Option<Uuid>, BTreeSet<DocumentId>)> {
        if self.named.is_empty() {
            let others = match self.gave_way {
                Some(kept) => BTreeSet::from([kept]),
                None => self.apart.iter().copied().take(MEMBERS_MAX - 1).collect(),
            };
            return vec![(None, others.into_iter().chain([id]).collect())];
        }
        let named = self.named.iter().filter(|(_, members)| members.contains(&id));
        named.map(|(item, members)| (Some(*item), members.clone())).collect()
    }

    /// What it decides about the items with these ids, one for each group of unique fields; where
    /// it names one, about that alone.
    fn decisions(
        &self,
        meta: &Meta,
        item: Option<Uuid>,
        mut ids: Vec<(usize, Uuid)>,
        members: &BTreeSet<DocumentId>,
    ) -> Vec<Decision> {
        // Whoever names an item that these records never made says nothing.
        ids.retain(|(_, id)| item.is_none_or(|item| item == *id));
        let Some(outcome) = self.outcome() else { return Vec::new() };
        let decision = |(unique, id): (usize, Uuid)| Decision {
            item: id,
            unique,
            is_named: item.is_some(),
            members: members.clone(),
            outcome,
            written: self.written.clone(),
            hash: meta.hash,
            at: meta.at,
        };
        ids.into_iter().map(decision).collect()
    }
}

fn said(change: &Change) -> Said {
    let mut said = Said::default();
    for operation in change.decode().operations {
        let Some(key) = key_of(&operation) else { continue };
        if !keys::is_system(key) {
            said.written.insert(field_of(key).to_owned());
            continue;
        }
        let OpType::Put(value) = &operation.action else { continue };
        match (key, value) {
            (keys::SUPERSEDED_BY, value) => {
                said.gave_way = bytes(value).map(DocumentId::from_bytes);
            }
            (key, ScalarValue::Boolean(true)) => said.apart.extend(keys::apart_from(key)),
            (key, ScalarValue::Bytes(members)) if said.named.len() < NAMED_MAX => {
                let item = keys::settled_item(key);
                said.named.extend(item.and_then(|item| Some((item, members_of(members)?))));
            }
            _ => {}
        }
    }
    said
}

fn members_of(said: &[u8]) -> Option<BTreeSet<DocumentId>> {
    let (ids, rest) = said.as_chunks::<16>();
    let is_right = rest.is_empty() && (2..=MEMBERS_MAX).contains(&ids.len());
    is_right.then(|| ids.iter().copied().map(DocumentId::from_bytes).collect())
}

/// Whether a change names the records of items that it settles and does nothing else.
pub(crate) fn only_decides(change: &Change) -> bool {
    // Decoding costs, and a name that is written anew takes two operations.
    if change.len() > 2 * NAMED_MAX {
        return false;
    }
    let operations = change.decode().operations;
    let is_name = |operation: &Op| {
        key_of(operation).is_some_and(|key| keys::settled_item(key).is_some())
            && matches!(operation.action, OpType::Put(ScalarValue::Bytes(_) | ScalarValue::Null))
    };
    !operations.is_empty() && operations.iter().all(is_name)
}

/// The id of an item about these records of a collection, which share the values of a group of
/// unique fields: the same on every replica, whatever came first.
pub fn alike_id(collection: u16, unique: usize, members: &BTreeSet<DocumentId>) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/duplicate-id/1");
    hasher.update(&collection.to_be_bytes());
    hasher.update(&(unique as u64).to_be_bytes());
    for id in members {
        hasher.update(id.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
