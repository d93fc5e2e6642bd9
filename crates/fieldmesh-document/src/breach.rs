//! What a merged record breaks of the rules of its collection, the same on every replica.
//!
//! Only rules that the record alone can keep or break are looked at: whether another record is
//! there or holds the same values depends on what a replica has received so far. A breach is there
//! until the record keeps the rule; nothing of it is stored.

use std::collections::BTreeMap;

use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::validate::{AnyReference, Fault, violations};
use fieldmesh_model::{DocumentId, Edit, Fields};
use uuid::Uuid;

use crate::conflict::{ConflictValue, distinct};
use crate::document::{Document, by_hash};
use crate::guard::guard;
use crate::view::{ReadError, RecordView};

/// The most fields of a record that are listed with what is wrong with them; once these are
/// corrected the next ones are.
pub const BREACHES_MAX: usize = 64;
/// The most fields that a collection does not know and that are looked at one by one: what each of
/// them may mean is searched for, and anybody can write any number of them.
const UNKNOWN_MAX: usize = 16;

/// A field that breaks rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// Its id, made of the record, the field and the changes that wrote the field as it is.
    pub id: Uuid,
    /// The flat key; empty where it is the record as a whole.
    pub key: String,
    /// Everything that is wrong with it, at least one thing.
    pub faults: Vec<Fault>,
    /// The values that stand there; none where one is missing.
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
                Ok(Breach { id, key, faults, values: distinct(candidates) })
            };
            faults.into_iter().take(BREACHES_MAX).map(breach).collect()
        })?
    }
}

impl Document {
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
