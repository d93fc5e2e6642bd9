//! What was written side by side, and what each author had seen when he wrote.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{AutomergeError, ObjId, ROOT, ReadDoc};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{Fields, Moment, Value};

use crate::conflict::{ConflictKind, FieldConflict, conflict_id, label, side};
use crate::document::{Document, Meta, by_hash, hashes};
use crate::guard::guard;
use crate::history::keys_of;
use crate::keys;
use crate::view::ReadError;

/// The most strands that are told apart, and the most sides of which is said what they had seen.
pub const STRANDS_MAX: usize = 64;

/// What the author of a change had seen of the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// Which of the other sides he had seen, by their places.
    pub sides: Vec<usize>,
    /// The changes of the record that were made beside his: he had not seen them, and they do not
    /// build on his.
    pub unseen: u64,
    /// The time of the newest of these, by the clock of its author.
    pub unseen_last: Option<Moment>,
}

impl Document {
    /// The strands in which different fields were written by people who did not know of each
    /// other, while nobody has written on top of all of them.
    pub(crate) fn parallel(
        &self,
        collection: &Collection,
        metas: &[Meta],
    ) -> Result<Option<FieldConflict>, AutomergeError> {
        let hashed = &by_hash(metas);
        let heads = hashes(&self.strands(metas));
        if heads.len() < 2 || !self.tombstones().is_empty() {
            return Ok(None);
        }
        let mut owners = self.owners()?;
        let mut strands = Vec::new();
        for head in heads.iter().take(STRANDS_MAX) {
            let others: Vec<_> = heads.iter().filter(|other| *other != head).copied().collect();
            let mut touched = BTreeSet::new();
            for change in self.inner().get_changes(&others) {
                touched.append(&mut keys_of(&change, &mut owners));
            }
            touched.remove(keys::DELETED_AT);
            if let Some(meta) = hashed.get(&head.0).filter(|_| !touched.is_empty()) {
                strands.push((*meta, touched));
            }
        }
        let writers = |key: &String| strands.iter().filter(|it| it.1.contains(key)).count();
        let is_apart = strands.iter().any(|(_, keys)| keys.iter().any(|key| writers(key) == 1));
        if strands.len() < 2 || !is_apart {
            return Ok(None);
        }
        strands.sort_by_key(|(meta, _)| (meta.at, &meta.actor, meta.hash));
        let id = conflict_id(self.id, "", strands.iter().map(|(meta, _)| meta.hash));
        let mut values = Vec::with_capacity(strands.len());
        for (number, (meta, touched)) in strands.iter().enumerate() {
            let mut written = Fields::new();
            for key in touched {
                let value = self.value_at(collection, key, &hashes(&[meta.hash]), hashed)?;
                written.insert(key.clone(), value);
            }
            let (actor, at, hash) = (meta.actor.clone(), meta.at, meta.hash);
            values.push(side(number, Value::Null, written, actor, at, hash));
        }
        let kind = ConflictKind::MergedAutomatically;
        Ok(Some(FieldConflict { id, kind, key: String::new(), shown: label(0), values }))
    }

    /// The fields of the objects that stand in the record, by the operations that made them.
    fn owners(&self) -> Result<BTreeMap<(u64, Vec<u8>), String>, AutomergeError> {
        let mut owners = BTreeMap::new();
        for item in self.inner().map_range(ROOT, ..) {
            for (value, id) in self.inner().get_all(ROOT, item.key.as_ref())? {
                if let (automerge::Value::Object(_), ObjId::Id(counter, actor, _)) = (value, id) {
                    owners.insert((counter, actor.to_bytes().to_vec()), item.key.to_string());
                }
            }
        }
        Ok(owners)
    }

    /// What the authors of some changes had seen, each of the others and of the whole record; of
    /// the first [`STRANDS_MAX`] of them.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn sights(&self, sides: &[[u8; 32]]) -> Result<Vec<Sight>, ReadError> {
        Ok(guard(|| sights(&self.metas(), &sides[..sides.len().min(STRANDS_MAX)]))?)
    }
}

// Every side is a bit: one walk along the changes and one back, however many sides there are.
fn sights(metas: &[Meta], sides: &[[u8; 32]]) -> Vec<Sight> {
    let index: BTreeMap<_, _> =
        metas.iter().enumerate().map(|(index, meta)| (meta.hash, index)).collect();
    let own = |hash: &[u8; 32]| {
        let bits = sides.iter().enumerate().filter(|(_, side)| *side == hash);
        bits.fold(0_u64, |bits, (number, _)| bits | 1 << number)
    };
    // Which sides a change builds on, and which build on it; each builds on itself.
    let mut below: Vec<u64> = metas.iter().map(|meta| own(&meta.hash)).collect();
    let mut above = below.clone();
    let deps = |meta: &Meta| -> Vec<usize> {
        meta.deps.iter().filter_map(|dep| index.get(dep).copied()).collect()
    };
    for (at, meta) in metas.iter().enumerate() {
        below[at] = deps(meta).into_iter().fold(below[at], |bits, dep| bits | below[dep]);
    }
    for (at, meta) in metas.iter().enumerate().rev() {
        for dep in deps(meta) {
            above[dep] |= above[at];
        }
    }
    let mut sights = vec![Sight::default(); sides.len()];
    for (at, meta) in metas.iter().enumerate() {
        let known = below[at] | above[at];
        for (number, sight) in sights.iter_mut().enumerate() {
            if known & 1 << number == 0 {
                sight.unseen += 1;
                sight.unseen_last = sight.unseen_last.max(Some(meta.at));
            }
        }
    }
    for (number, sight) in sights.iter_mut().enumerate() {
        let others = sides.iter().enumerate().filter(|(other, _)| *other != number);
        let seen = others
            .filter(|(_, side)| index.get(*side).is_some_and(|at| above[*at] & 1 << number != 0));
        sight.sides = seen.map(|(other, _)| other).collect();
    }
    sights
}
