//! Finding the one record that a person means: by id, by the end of an id, or by a name.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use fieldmesh_model::schema::{Collection, Kind};
use fieldmesh_model::validate::{Fault, References};
use fieldmesh_model::{DocumentId, Fields, Value};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::error::Error;
use crate::projection::{field_hash, is_indexed};
use crate::rows::{self, DocumentRow, RecordRow};
use crate::schema;

use super::Ledger;

/// The fewest characters of the end of an id that are taken for one.
const SUFFIX_LENGTH_MIN: usize = 4;
/// The letters of a whole id.
const ID_LENGTH: usize = 32;
/// How many candidates an ambiguous name shows.
const CANDIDATES_MAX: usize = 5;

impl Ledger {
    /// The record that `name` means, in any collection.
    pub(crate) fn resolve(&self, name: &str) -> Result<DocumentId, Error> {
        self.settle_soon("which record is meant cannot be told before")?;
        self.resolve_settled(name)
    }

    /// The same of what the view has.
    pub(super) fn resolve_settled(&self, name: &str) -> Result<DocumentId, Error> {
        let mut found = self.named_in(name, &schema::all(&self.policy()))?;
        if found.is_empty() {
            found = self.ending_in(name)?;
        }
        if found.is_empty() {
            self.check_not_purged(name)?;
        }
        self.only(name, &found)
    }

    /// The record of `collection` that `name` means; `None` if there is none.
    pub(super) fn resolve_in(
        &self,
        collection: &Collection,
        name: &str,
    ) -> Result<Option<DocumentId>, Error> {
        if let Ok(id) = name.parse::<DocumentId>() {
            return Ok(Some(id));
        }
        let mut found = self.named_in(name, &[collection])?;
        if found.is_empty() {
            found = self.ending_in(name)?;
            found.retain(|id| {
                let row = self.row(*id).ok().flatten();
                row.is_some_and(|row| row.scope.collection == collection.number)
            });
        }
        if found.is_empty() { Ok(None) } else { self.only(name, &found).map(Some) }
    }

    fn only(&self, name: &str, found: &BTreeSet<DocumentId>) -> Result<DocumentId, Error> {
        let mut ids = found.iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(*id),
            (None, _) => Err(match name.parse::<DocumentId>() {
                Ok(id) => self.no_record(id),
                Err(_) => Error::NotFound { kind: "record", name: name.into() },
            }),
            (Some(_), Some(_)) => Err(Error::Ambiguous {
                name: name.into(),
                candidates: found
                    .iter()
                    .take(CANDIDATES_MAX)
                    .map(|id| self.describe(*id))
                    .collect(),
            }),
        }
    }

    fn describe(&self, id: DocumentId) -> String {
        let policy = self.policy();
        match self.row_by(&policy, id) {
            Ok(Some(DocumentRow { record: Some(record), scope, .. })) => {
                let schema = schema::numbered(&policy, scope.collection);
                match record_name(&schema, &record) {
                    Some(name) => format!("{id} ({} {name})", schema.name),
                    None => format!("{id} ({})", schema.name),
                }
            }
            _ => id.to_string(),
        }
    }

    /// Records whose id or name is exactly `name`.
    fn named_in(
        &self,
        name: &str,
        collections: &[impl Borrow<Collection>],
    ) -> Result<BTreeSet<DocumentId>, Error> {
        if let Ok(id) = name.parse::<DocumentId>() {
            return Ok(self.row(id)?.map(|_| id).into_iter().collect());
        }
        let wanted = Value::Text(name.trim().to_owned());
        let mut found = BTreeSet::new();
        for collection in collections.iter().map(Borrow::borrow) {
            for key in &collection.names {
                found.extend(self.holding(collection, key, &wanted)?);
            }
        }
        Ok(found)
    }

    /// Records of `collection` that hold all of these values in indexed fields and are not deleted.
    pub(super) fn holding_all<'v>(
        &self,
        collection: &Collection,
        values: impl IntoIterator<Item = (&'v str, &'v Value)>,
    ) -> Result<BTreeSet<DocumentId>, Error> {
        let mut held: Option<BTreeSet<DocumentId>> = None;
        for (key, value) in values {
            let found = BTreeSet::from_iter(self.holding(collection, key, value)?);
            held = Some(match held {
                Some(before) => before.intersection(&found).copied().collect(),
                None => found,
            });
        }
        Ok(held.unwrap_or_default())
    }

    /// The deleted record of `collection` that is called `name`, if there is one.
    pub(super) fn deleted_named(
        &self,
        collection: &Collection,
        name: &str,
    ) -> Result<Option<DocumentId>, Error> {
        let wanted = Value::Text(name.trim().to_owned());
        let mut found = BTreeSet::new();
        for key in &collection.names {
            found.extend(self.held(collection, key, &wanted, |record| record.deleted)?);
        }
        if found.is_empty() { Ok(None) } else { self.only(name, &found).map(Some) }
    }

    /// Records of `collection` that hold `value` in the indexed field `key` and are not deleted.
    pub(super) fn holding(
        &self,
        collection: &Collection,
        key: &str,
        value: &Value,
    ) -> Result<Vec<DocumentId>, Error> {
        self.held(collection, key, value, |record| !record.deleted)
    }

    /// The same of those that are wanted.
    fn held(
        &self,
        collection: &Collection,
        key: &str,
        value: &Value,
        is_wanted: impl Fn(&RecordRow) -> bool,
    ) -> Result<Vec<DocumentId>, Error> {
        let number = collection.number;
        let hash = field_hash(&self.store, number, key, value);
        self.steadily(number, |policy| {
            // Whoever asks may have read another schema than the rows stand under.
            let prefix = match is_indexed(&schema::numbered(policy, number), key) {
                true => rows::value_prefix(hash),
                false => rows::time_prefix(number),
            };
            let is_same = |held: &Value| {
                let items = held.as_list().unwrap_or_default();
                let mut values = items.iter().chain([held]);
                values.any(|value| field_hash(&self.store, number, key, value) == hash)
            };
            let mut found = Vec::new();
            let range = KeyRange::prefix(&prefix);
            for indexed in rows::keys(self.view(), Tree::Index, range, Direction::Ascending) {
                let Some(id) = rows::indexed_id(&indexed?) else { continue };
                let Some(record) = self.row(id)?.and_then(|row| row.record) else { continue };
                // An earlier program may have left keys that this one does not know of.
                if is_wanted(&record) && record.fields.get(key).is_some_and(is_same) {
                    found.push(id);
                }
            }
            Ok(found)
        })
    }

    /// Records whose id ends in `text`.
    fn ending_in(&self, text: &str) -> Result<BTreeSet<DocumentId>, Error> {
        let Some(ending) = Ending::of(text) else { return Ok(BTreeSet::new()) };
        let mut found = BTreeSet::new();
        for key in rows::keys(self.view(), Tree::Document, KeyRange::all(), Direction::Ascending) {
            let Some(id) = rows::indexed_id(&key?) else { continue };
            if ending.fits(&id) {
                found.insert(id);
            }
        }
        Ok(found)
    }

    /// Fails if `text` is the id of exactly one record that was purged, or the end of it.
    fn check_not_purged(&self, text: &str) -> Result<(), Error> {
        let Some(ending) = Ending::of(text) else { return Ok(()) };
        let policy = self.policy();
        let mut purged = policy.purged_documents().filter(|id| ending.fits(id));
        match (purged.next(), purged.next()) {
            (Some(id), None) => Err(self.no_record(id)),
            _ => Ok(()),
        }
    }

    /// Replaces names by ids in the fields of `schema` that refer to other records.
    pub(super) fn resolve_references(
        &self,
        schema: &Collection,
        fields: &mut Fields,
    ) -> Result<(), Error> {
        fields.iter_mut().try_for_each(|(key, value)| self.resolve_reference(schema, key, value))
    }

    /// Replaces a name by an id where the field `key` refers to another record.
    pub(super) fn resolve_reference(
        &self,
        schema: &Collection,
        key: &str,
        value: &mut Value,
    ) -> Result<(), Error> {
        let Some(Kind::Reference { collection }) = schema.field(key).map(|field| &field.kind)
        else {
            return Ok(());
        };
        let target = schema::referred(&self.policy(), schema.number, collection);
        let (Some(target), Value::Text(text)) = (target, &*value) else { return Ok(()) };
        if let Some(id) = self.resolve_in(&target, text)? {
            *value = Value::Text(id.to_string());
        }
        Ok(())
    }
}

/// The end of an id as people give it.
pub(super) struct Ending(String);

impl Ending {
    /// None if the text can be none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let letters = text.trim().chars().filter(|letter| *letter != '-');
        let ending: String = letters.flat_map(char::to_lowercase).collect();
        let is_hex = ending.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_long = (SUFFIX_LENGTH_MIN..=ID_LENGTH).contains(&ending.len());
        (is_hex && is_long).then_some(Self(ending))
    }

    pub(super) fn fits(&self, id: &DocumentId) -> bool {
        id.uuid().simple().to_string().ends_with(&self.0)
    }
}

/// What people call a record: the best of its naming fields.
pub(super) fn record_name(schema: &Collection, record: &RecordRow) -> Option<String> {
    let names = schema.names.iter().rev();
    names.filter_map(|key| record.fields.get(key)).map(Value::to_cell).find(|name| !name.is_empty())
}

/// Answers the questions of a validation from the view.
pub(super) struct ViewReferences<'a> {
    pub(super) ledger: &'a Ledger,
    /// The number of the collection that refers.
    pub(super) of: u16,
    /// The record that is being changed: it does not stand in its own way.
    pub(super) except: Option<DocumentId>,
    /// Why a question could not be answered.
    failed: RefCell<Option<Error>>,
}

impl<'a> ViewReferences<'a> {
    pub(super) fn new(ledger: &'a Ledger, of: &Collection, except: Option<DocumentId>) -> Self {
        Self { ledger, of: of.number, except, failed: RefCell::default() }
    }

    /// What a validation came to that asked here: nothing, where a question had no answer.
    pub(super) fn judge<T>(&self, result: Result<T, Vec<Fault>>) -> Result<T, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => result.map_err(|faults| Error::Invalid { faults }),
        }
    }

    fn named(&self, collection: &str) -> Option<Arc<Collection>> {
        schema::referred(&self.ledger.policy(), self.of, collection)
    }

    fn row(&self, id: DocumentId) -> Option<DocumentRow> {
        self.answer(self.ledger.row_by(&self.ledger.policy(), id)).flatten()
    }

    fn answer<T>(&self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| *self.failed.borrow_mut() = Some(error)).ok()
    }
}

impl References for ViewReferences<'_> {
    fn exists(&self, collection: &str, id: &str) -> bool {
        let Some(collection) = self.named(collection) else { return false };
        let Ok(id) = id.parse::<DocumentId>() else { return false };
        self.row(id).is_some_and(|row| {
            row.scope.collection == collection.number
                && row.record.is_some_and(|record| !record.deleted)
        })
    }

    fn value(&self, collection: &str, id: &str, key: &str) -> Option<Value> {
        let collection = self.named(collection)?;
        let row = self.row(id.parse().ok()?)?;
        if row.scope.collection != collection.number {
            return None;
        }
        row.record?.fields.remove(key)
    }

    fn is_taken(&self, collection: &str, fields: &[String], values: &[&Value]) -> bool {
        let Some(collection) = self.named(collection) else { return false };
        let values = fields.iter().map(String::as_str).zip(values.iter().copied());
        let held = self.answer(self.ledger.holding_all(&collection, values));
        held.unwrap_or_default().into_iter().any(|id| Some(id) != self.except)
    }
}

#[cfg(test)]
mod tests;
