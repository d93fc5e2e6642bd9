//! What a merged record breaks of the rules of its collection, the same on every replica.
//!
//! Only rules that the record alone can keep or break are looked at: whether another record is
//! there or holds the same values depends on what a replica has received so far. A breach is there
//! until the record keeps the rule; nothing of it is stored.

use std::collections::{BTreeMap, BTreeSet};

use automerge::AutomergeError;
use fieldmesh_model::schema::{Collection, Kind, MergePolicy, Rule};
use fieldmesh_model::validate::{AnyReference, Fault, violations};
use fieldmesh_model::{DocumentId, Edit, Fields, Value};
use uuid::Uuid;

use crate::conflict::{ConflictValue, distinct, side};
use crate::document::{Document, Meta, by_hash};
use crate::guard::guard;
use crate::merge::{Candidate, as_set};
use crate::view::{ReadError, RecordView};

/// The most fields of a record that are listed with what is wrong with them; once these are
/// corrected the next ones are.
pub const BREACHES_MAX: usize = 64;
/// The most fields that a collection does not know and that are looked at one by one: what each of
/// them may mean is searched for, and anybody can write any number of them.
const UNKNOWN_MAX: usize = 16;

/// The most of those who have put a value together that are named, the latest ones.
const SIDES_MAX: usize = 64;

/// A field that breaks rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// Its id, made of the record, the field and the changes that wrote the field as it is.
    pub id: Uuid,
    /// The flat key; empty where it is the record as a whole.
    pub key: String,
    /// Everything that is wrong with it, at least one thing.
    pub faults: Vec<Fault>,
    /// What stands there, and who put it there; none where a value is missing. What several have
    /// put together stands in the side of each, with what is its own among its edits. Behind them
    /// stand, with no value, those who wrote what else the rule looks at.
    pub values: Vec<ConflictValue>,
}

impl Document {
    /// The fields of the record that break rules of `collection`, by key; `view` is the record as
    /// it reads by the same collection.
    ///
    /// A deleted record breaks none, and neither does one of a collection that nobody has defined.
    ///
    /// # Errors
    ///
    /// The document cannot be read; that of gated changes always can.
    pub fn breaches(
        &self,
        collection: &Collection,
        view: &RecordView,
    ) -> Result<Vec<Breach>, ReadError> {
        match view.deleted {
            Some(_) => Ok(Vec::new()),
            None => self.broken(collection, &view.fields),
        }
    }

    /// As [`Self::breaches`], of a record with these fields, deleted or not.
    pub(crate) fn broken(
        &self,
        collection: &Collection,
        fields: &Fields,
    ) -> Result<Vec<Breach>, ReadError> {
        let faults = faults(collection, fields);
        if faults.is_empty() {
            return Ok(Vec::new());
        }
        guard(|| {
            let metas = self.metas();
            let hashed = by_hash(&metas);
            let breach = |(key, faults): (String, Vec<Fault>)| {
                let candidates = self.candidates(&key, &hashed)?;
                let id = breach_id(self.id(), &key, candidates.iter().map(|one| one.hash));
                let mut values = self.standing(collection, fields, (&key, candidates), &hashed)?;
                for other in looked_at(collection, fields, &key, &faults) {
                    let written = self.candidates(other, &hashed)?.pop();
                    let value = fields.get(other).cloned().unwrap_or(Value::Null);
                    let edits = Fields::from([(other.to_owned(), value)]);
                    values.extend(written.map(|it| by(values.len(), Value::Null, edits, &it)));
                }
                Ok(Breach { id, key, faults, values })
            };
            faults.into_iter().take(BREACHES_MAX).map(breach).collect()
        })?
    }
}

impl Document {
    /// The sides of what stands in a field; `candidates` stand under its own key.
    fn standing(
        &self,
        collection: &Collection,
        fields: &Fields,
        (key, mut candidates): (&str, Vec<Candidate>),
        hashed: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<ConflictValue>, AutomergeError> {
        let present = fields.get(key).cloned().unwrap_or(Value::Null);
        match collection.policy(key) {
            MergePolicy::Max | MergePolicy::Min => {
                candidates.retain(|one| one.value.is_same(&present));
                return Ok(distinct(candidates));
            }
            MergePolicy::Sum | MergePolicy::Union => {}
            _ => return Ok(distinct(candidates)),
        }
        candidates.extend(self.part_candidates(collection, key, hashed)?);
        let mut own: BTreeMap<_, (Vec<Value>, Candidate)> = BTreeMap::new();
        for one in candidates {
            let (values, _) =
                own.entry((one.at, one.hash)).or_insert_with(|| (Vec::new(), one.clone()));
            values.push(one.value);
        }
        let latest = own.into_values().rev().take(SIDES_MAX).collect::<Vec<_>>().into_iter().rev();
        let side = |(number, (mut values, one)): (usize, (Vec<Value>, Candidate))| {
            let value = match values.len() {
                1 => values.remove(0),
                _ => as_set(Value::List(values)),
            };
            let mut edits = Fields::new();
            if !value.is_same(&present) {
                edits.insert(key.to_owned(), value);
            }
            by(number, present.clone(), edits, &one)
        };
        Ok(latest.enumerate().map(side).collect())
    }

    /// Has the next change say which broken rules it puts right by these edits: those of a field
    /// with which nothing is wrong after them.
    pub fn mending(&mut self, collection: &Collection, edits: &[Edit]) {
        let Ok(view) = self.view(collection) else { return };
        let found = self.breaches(collection, &view).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        let mut after = view.fields;
        edits.iter().for_each(|edit| edit.apply(&mut after));
        let left = faults(collection, &after);
        let mended = found.into_iter().filter(|breach| !left.contains_key(&breach.key));
        self.settling(mended.map(|breach| breach.id));
    }
}

/// A side that somebody wrote.
fn by(number: usize, value: Value, edits: Fields, one: &Candidate) -> ConflictValue {
    side(number, value, edits, one.actor.clone(), one.at, one.hash)
}

/// The other fields with values for which the rules that `key` breaks do not let it stand.
fn looked_at<'a>(
    collection: &'a Collection,
    fields: &Fields,
    key: &str,
    faults: &[Fault],
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let is_said = |message: &String| faults.iter().any(|fault| fault.message == *message);
    for (rule, _) in collection.all_rules() {
        match rule {
            Rule::RangeWhen { field, when, message, .. } if field == key && is_said(message) => {
                let holds = |(key, wanted): &&(String, Value)| {
                    fields.get(key).is_some_and(|value| value.is_same(wanted))
                };
                found.extend(when.iter().filter(holds).map(|(key, _)| key.as_str()));
            }
            Rule::NotBeforeDayOf { field, earlier, message }
                if field == key && is_said(message) =>
            {
                found.insert(earlier.as_str());
            }
            _ => {}
        }
    }
    found.remove(key);
    found
}

/// What is wrong with the fields of a record, by field.
pub fn faults(collection: &Collection, fields: &Fields) -> BTreeMap<String, Vec<Fault>> {
    // Of a collection that nobody has defined no rule is known.
    if collection.version == 0 {
        return BTreeMap::new();
    }
    let is_unknown = |key: &str| collection.field(key).is_none() && !collection.is_open(key);
    let unknown = || fields.keys().filter(|key| is_unknown(key));
    let last = unknown().nth(UNKNOWN_MAX);
    let found = match last {
        None => violations(collection, fields, &AnyReference),
        Some(last) => {
            let is_left = |key: &String| key < last || !is_unknown(key);
            let some = fields.iter().filter(|(key, _)| is_left(key));
            let some = some.map(|(key, value)| (key.clone(), value.clone())).collect();
            let more = unknown().count() - UNKNOWN_MAX;
            let text = format!("The record has {more} more fields that are not known");
            let mut found = violations(collection, &some, &AnyReference);
            found.push(Fault::new("", text));
            found
        }
    };
    // Apps call records by names of their own, so what a reference leads to takes other records.
    let is_reference = |key: &str| {
        let kind = collection.field(key).map(|field| &field.kind);
        matches!(kind, Some(Kind::Reference { .. })) && fields.contains_key(key)
    };
    let mut faults: BTreeMap<String, Vec<Fault>> = BTreeMap::new();
    for fault in found.into_iter().filter(|fault| !is_reference(&fault.field)) {
        faults.entry(fault.field.clone()).or_default().push(fault);
    }
    faults
}

/// Whether an item of the inbox with this id is a breach: those of conflicts have another version,
/// so that a list of either passes over the other without a look at the records.
pub fn is_breach_id(id: &Uuid) -> bool {
    id.get_version_num() == BREACH_VERSION
}

/// The version of a UUID that is made of a hash of names.
const BREACH_VERSION: usize = 5;

fn breach_id(document: DocumentId, key: &str, changes: impl Iterator<Item = [u8; 32]>) -> Uuid {
    let mut changes: Vec<_> = changes.collect();
    changes.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/breach-id/1");
    hasher.update(document.as_bytes());
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key.as_bytes());
    changes.iter().for_each(|change| {
        hasher.update(change);
    });
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}
