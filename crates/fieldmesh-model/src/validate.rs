//! Checks a record against its collection and brings it into its normal form.
//!
//! All faults are reported at once. The same code judges what a person enters on a device and
//! what a gateway takes in; what a peer merged is judged by it too, but never refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::limits::RECORD_SIZE_MAX;
use crate::schema::{Collection, Field, Rule, is_under};
use crate::{Fields, Value, input};

mod nearest;
mod value;

pub use nearest::nearest;

/// One thing that is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// The flat key of the field, empty where it is the record as a whole.
    pub field: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Fault {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// What a check has to know about other records.
pub trait References {
    /// Whether `collection` has a record with this id (a UUID in lower case).
    fn exists(&self, collection: &str, id: &str) -> bool;

    /// Whether another record of `collection` holds these values in its unique `fields`.
    fn is_taken(&self, collection: &str, fields: &[String], values: &[&Value]) -> bool {
        let _ = (collection, fields, values);
        false
    }
}

/// Takes every reference for good: for views, which judge a record alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyReference;

impl References for AnyReference {
    fn exists(&self, _collection: &str, _id: &str) -> bool {
        true
    }
}

/// Checks the fields of a new record and returns them in normal form.
///
/// Normal form: names trimmed, moments parsed, whole floats as whole numbers, amounts rounded,
/// defaults and derived values filled in, cleared fields left out.
///
/// # Errors
///
/// Every fault of the record, by field.
pub fn validate(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> Result<Fields, Vec<Fault>> {
    let (fields, mut faults) = normalise(collection, fields, references);
    faults.extend(taken(collection, &fields, references, |_| true));
    if faults.is_empty() { Ok(fields) } else { Err(faults.into_iter().collect()) }
}

/// What is wrong with the fields of a record as merged, for views.
pub fn violations(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> Vec<Fault> {
    normalise(collection, fields, references).1.into_iter().collect()
}

/// Checks `edits` of a record that holds `current` and returns them in normal form.
///
/// Faults that the record has already do not stop an edit of something else.
///
/// # Errors
///
/// Every fault that the edits would bring in, by field.
pub fn validate_edit(
    collection: &Collection,
    current: &Fields,
    edits: &[Edit],
    references: &dyn References,
) -> Result<Vec<Edit>, Vec<Fault>> {
    let mut faults = BTreeSet::new();
    let mut wanted = current.clone();
    for edit in edits {
        edit.apply(&mut wanted);
    }
    let (before, old_faults) = normalise(collection, current, references);
    let (after, new_faults) = normalise(collection, &wanted, references);
    let is_changed = |key: &str| match (before.get(key), after.get(key)) {
        (Some(old), Some(new)) => !old.is_same(new),
        (old, new) => old.is_some() != new.is_some(),
    };
    faults.extend(taken(collection, &after, references, is_changed));
    let touched: BTreeSet<_> = edits.iter().map(Edit::key).collect();
    faults.extend(
        new_faults
            .into_iter()
            .filter(|fault| touched.contains(fault.field.as_str()) || !old_faults.contains(fault)),
    );
    for key in touched {
        let fixed = collection.field(key).filter(|field| field.immutable);
        if let Some(field) = fixed.filter(|_| is_changed(key)) {
            let text = format!("{} cannot be changed; delete this and record anew", field.label);
            faults.insert(Fault::new(key, text));
        }
    }
    if !faults.is_empty() {
        return Err(faults.into_iter().collect());
    }
    Ok(normal_edits(collection, edits, &before, &after))
}

// The extended groups are part of the natural key, and with it of the record's id; duplicates of
// different people are two records.
fn taken(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
    is_changed: impl Fn(&str) -> bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for unique in collection.unique.iter().filter(|unique| !unique.extended) {
        let values: Vec<_> = unique.fields.iter().filter_map(|key| fields.get(key)).collect();
        if values.len() == unique.fields.len()
            && unique.fields.iter().any(|key| is_changed(key))
            && references.is_taken(&collection.name, &unique.fields, &values)
        {
            let field = unique.fields.first().cloned().unwrap_or_default();
            faults.push(Fault::new(field, unique.message.clone()));
        }
    }
    faults
}

// Values come from the normal form; derived fields that change become edits of their own.
fn normal_edits(
    collection: &Collection,
    edits: &[Edit],
    before: &Fields,
    after: &Fields,
) -> Vec<Edit> {
    let mut normal = Vec::with_capacity(edits.len() + 1);
    let mut touched = BTreeSet::new();
    for edit in edits {
        touched.insert(edit.key());
        normal.push(match edit {
            Edit::Set { key, .. } | Edit::Clear { key } => match after.get(key) {
                Some(value) => Edit::set(key, value.clone()),
                None => Edit::clear(key),
            },
            Edit::Append { .. } | Edit::RemoveItem { .. } => edit.clone(),
        });
    }
    for rule in &collection.rules {
        let Rule::Derive { field, .. } = rule else { continue };
        if let Some(value) = after.get(field)
            && before.get(field) != Some(value)
            && !touched.contains(field.as_str())
        {
            normal.push(Edit::set(field, value.clone()));
        }
    }
    normal
}

fn normalise(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> (Fields, BTreeSet<Fault>) {
    let mut faults = BTreeSet::new();
    let mut normal = Fields::new();
    let known: BTreeMap<_, _> =
        collection.fields.iter().map(|field| (field.key.as_str(), field)).collect();
    for (key, value) in fields {
        if value.is_cleared() {
            continue;
        }
        let checked = match known.get(key.as_str()) {
            Some(field) => value::check(field, value, references),
            None => check_unknown(collection, key, value),
        };
        match checked {
            Ok(value) if value.is_cleared() => {}
            Ok(value) => {
                normal.insert(key.clone(), value);
            }
            Err(message) => {
                faults.insert(Fault::new(key, message));
                // Kept as given, so that it does not count as missing below.
                normal.insert(key.clone(), value.clone());
            }
        }
    }
    for field in &collection.fields {
        match (&field.default, normal.contains_key(&field.key)) {
            (Some(value), false) => {
                normal.insert(field.key.clone(), value.clone());
            }
            (None, false) if field.required => {
                faults.insert(Fault::new(&field.key, value::missing(field)));
            }
            _ => {}
        }
    }
    check_variants(collection, &known, &normal, &mut faults);
    for rule in &collection.rules {
        check_rule(collection, rule, &mut normal, &mut faults);
    }
    if size_of(&normal) > RECORD_SIZE_MAX {
        let text = format!("Record is larger than {} KiB", RECORD_SIZE_MAX / 1024);
        faults.insert(Fault::new("", text));
    }
    (normal, faults)
}

fn check_unknown(collection: &Collection, key: &str, value: &Value) -> Result<Value, String> {
    if collection.version == 0 || collection.is_open(key) {
        return value::check_free(key, value);
    }
    let names = collection.fields.iter().map(|field| field.key.as_str());
    match nearest(key, names).as_slice() {
        [] => Err(format!("Unknown field {key:?}")),
        near => Err(format!("Unknown field {key:?}, did you mean {}?", near.join(" or "))),
    }
}

fn check_variants(
    collection: &Collection,
    known: &BTreeMap<&str, &Field>,
    fields: &Fields,
    faults: &mut BTreeSet<Fault>,
) {
    let Some(variant) = variant_of(collection, fields) else { return };
    for key in fields.keys() {
        if let Some(field) = known.get(key.as_str()).filter(|field| !field.belongs_to(variant)) {
            let name = short(&field.key);
            faults.insert(Fault::new(key, format!("{name} is not allowed for {variant} entries")));
        }
    }
}

// The kind of entry, if it is one that the collection knows.
fn variant_of<'a>(collection: &Collection, fields: &'a Fields) -> Option<&'a str> {
    let variants = collection.variants.as_ref()?;
    let variant = fields.get(&variants.field)?.as_text()?;
    let is_known = |field: &Field| field.variant.as_deref() == Some(variant);
    collection.fields.iter().any(is_known).then_some(variant)
}

fn check_rule(
    collection: &Collection,
    rule: &Rule,
    fields: &mut Fields,
    faults: &mut BTreeSet<Fault>,
) {
    match rule {
        Rule::Together { fields: keys, message } => {
            let missing: Vec<_> = keys.iter().filter(|key| !fields.contains_key(*key)).collect();
            if let Some(first) = missing.first().filter(|_| missing.len() < keys.len()) {
                faults.insert(Fault::new(*first, message));
            }
        }
        Rule::NotBeforeDayOf { field, earlier, message } => {
            let moment = |key: &str| fields.get(key).and_then(Value::as_moment);
            if let (Some(later), Some(earlier)) = (moment(field), moment(earlier))
                && later < earlier.day_start()
            {
                faults.insert(Fault::new(field, message));
            }
        }
        Rule::AnyKnown { prefix, message } => {
            let Some(variant) = variant_of(collection, fields) else { return };
            let is_known = |field: &Field| {
                is_under(&field.key, prefix)
                    && field.belongs_to(variant)
                    && fields.contains_key(&field.key)
            };
            if !collection.fields.iter().any(is_known) {
                faults.insert(Fault::new(prefix, message));
            }
        }
        Rule::Derive { field, value, when } => {
            let holds = |(key, wanted): &(String, Value)| {
                fields.get(key).is_some_and(|value| value.is_same(wanted))
            };
            if when.iter().any(holds) {
                fields.insert(field.clone(), value.clone());
            }
        }
    }
}

/// The last part of a flat key.
fn short(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

fn size_of(fields: &Fields) -> usize {
    let raw: usize = fields.iter().map(|(key, value)| key.len() + raw_size(value)).sum();
    // JSON needs at most six bytes for one, and some for punctuation and numbers.
    if raw.saturating_mul(6) + fields.len() * 8 <= RECORD_SIZE_MAX {
        return raw;
    }
    serde_json::to_vec(&input::nest(fields)).map_or(raw, |bytes| bytes.len())
}

fn raw_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Moment(_) => 32,
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(|item| raw_size(item) + 3).sum(),
    }
}

#[cfg(test)]
mod tests;
