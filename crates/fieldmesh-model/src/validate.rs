//! Checks a record against its collection and brings it into its normal form.
//!
//! All faults are reported at once. The same code judges what a person enters on a device and
//! what a gateway takes in; what a peer merged is judged by it too, but never refused.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::schema::{Collection, Field, MergePolicy, Origin, Rule};
use crate::{Fields, Value};

mod nearest;
mod normal;
mod rule;
mod value;

use normal::{Finding, Reading, normalise};

pub use nearest::nearest;
pub use value::rounded;

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

    /// What the record of `collection` with this id holds under `key`, as far as it is known here.
    fn value(&self, collection: &str, id: &str, key: &str) -> Option<Value> {
        let _ = (collection, id, key);
        None
    }

    /// What the acting user's own record holds under `key`, as far as it is known here.
    fn of_caller(&self, key: &str) -> Option<Value> {
        let _ = key;
        None
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

/// What comes over a dialect and is taken in, with what this project would not have let pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken<T> {
    /// The fields or edits in normal form; what is listed below stands there as it was given.
    pub content: T,
    /// What breaks a rule that the source does not state.
    pub violations: Vec<Fault>,
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
    let (fields, findings) = judge_new(collection, fields, references);
    if findings.is_empty() { Ok(fields) } else { Err(faults(findings)) }
}

/// The normal form that [`validate`] gives, whatever is wrong with it: what names a record can be read
/// in it where not all of the record is there.
pub fn normal_form(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> Fields {
    normalise(collection, fields, references, Reading::New).0
}

/// As [`validate`], for what comes over a dialect: only what its source states refuses.
///
/// # Errors
///
/// Every fault of the record that the source states, by field.
pub fn validate_stated(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> Result<Taken<Fields>, Vec<Fault>> {
    let (fields, findings) = judge_new(collection, fields, references);
    taken_in(fields, findings)
}

/// What is wrong with the fields of a record as merged, for views.
pub fn violations(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> Vec<Fault> {
    faults(normalise(collection, fields, references, Reading::Standing).1)
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
    let (edits, findings) = judge_edit(collection, current, edits, references);
    if findings.is_empty() { Ok(edits) } else { Err(faults(findings)) }
}

/// As [`validate_edit`], for what comes over a dialect: only what its source states refuses.
///
/// # Errors
///
/// Every fault that the edits would bring in and that the source states, by field.
pub fn validate_edit_stated(
    collection: &Collection,
    current: &Fields,
    edits: &[Edit],
    references: &dyn References,
) -> Result<Taken<Vec<Edit>>, Vec<Fault>> {
    let (edits, findings) = judge_edit(collection, current, edits, references);
    taken_in(edits, findings)
}

/// Whether a field may hold a value, whatever else a record holds.
pub(crate) fn check_alone(field: &Field, value: &Value) -> Result<(), String> {
    match value::check(field, value, &AnyReference) {
        Ok(_) => Ok(()),
        Err(value::Wrong::Kind(text) | value::Wrong::Bounds(text)) => Err(text),
    }
}

fn faults(findings: BTreeSet<Finding>) -> Vec<Fault> {
    findings.into_iter().map(|finding| finding.fault).collect()
}

fn taken_in<T>(content: T, findings: BTreeSet<Finding>) -> Result<Taken<T>, Vec<Fault>> {
    let (stated, proposed): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.origin == Origin::Source);
    let plain = |findings: Vec<Finding>| findings.into_iter().map(|one| one.fault).collect();
    if stated.is_empty() {
        Ok(Taken { content, violations: plain(proposed) })
    } else {
        Err(plain(stated))
    }
}

fn judge_new(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
) -> (Fields, BTreeSet<Finding>) {
    let (fields, mut findings) = normalise(collection, fields, references, Reading::New);
    findings.extend(taken(collection, &fields, references, |_| true));
    (fields, findings)
}

fn judge_edit(
    collection: &Collection,
    current: &Fields,
    edits: &[Edit],
    references: &dyn References,
) -> (Vec<Edit>, BTreeSet<Finding>) {
    let mut findings = BTreeSet::new();
    let mut wanted = current.clone();
    for edit in edits {
        edit.apply(&mut wanted);
    }
    let (before, old) = normalise(collection, current, references, Reading::Standing);
    let (after, new) = normalise(collection, &wanted, references, Reading::Edited(&before));
    let is_changed = |key: &str| match (before.get(key), after.get(key)) {
        (Some(old), Some(new)) => !old.is_same(new),
        (old, new) => old.is_some() != new.is_some(),
    };
    findings.extend(taken(collection, &after, references, is_changed));
    let touched: BTreeSet<_> = edits.iter().map(Edit::key).collect();
    findings.extend(
        new.into_iter()
            .filter(|one| touched.contains(one.fault.field.as_str()) || !old.contains(one)),
    );
    for key in touched {
        let fixed = collection.field(key).filter(|field| field.immutable);
        if let Some(field) = fixed.filter(|_| is_changed(key)) {
            let text = format!("{} cannot be changed; delete this and record anew", field.label);
            findings.insert(Finding::stated(key, text));
        }
    }
    for edit in edits.iter().filter(|edit| collection.is_derived(edit.key())) {
        let mut asked = current.clone();
        edit.apply(&mut asked);
        let (key, asked) = (edit.key(), asked.remove(edit.key()).unwrap_or(Value::Null));
        if !after.get(key).unwrap_or(&Value::Null).is_same(&asked) {
            let label = collection.field(key).map_or(key, |field| field.label.as_str());
            let text = format!("{label} follows from another field and cannot be set");
            findings.insert(Finding::proposed(key, text));
        }
    }
    (normal_edits(collection, edits, &before, &after), findings)
}

// The extended groups are part of the natural key, and with it of the record's id; duplicates of
// different people are two records.
fn taken(
    collection: &Collection,
    fields: &Fields,
    references: &dyn References,
    is_changed: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for unique in collection.unique.iter().filter(|unique| !unique.extended) {
        let values: Vec<_> = unique.fields.iter().filter_map(|key| fields.get(key)).collect();
        if values.len() == unique.fields.len()
            && unique.applies_to(fields)
            && unique.fields.iter().any(|key| is_changed(key))
            && references.is_taken(&collection.name, &unique.fields, &values)
        {
            let field = unique.fields.first().cloned().unwrap_or_default();
            findings.push(Finding::new(field, unique.message.clone(), unique.origin));
        }
    }
    findings
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
            Edit::Add { key, amount } if collection.policy(key) == MergePolicy::Sum => {
                Edit::Add { key: key.clone(), amount: amount.clone().canonical() }
            }
            Edit::Set { key, .. } | Edit::Clear { key } | Edit::Add { key, .. } => {
                match after.get(key) {
                    Some(value) => Edit::set(key, value.clone()),
                    None => Edit::clear(key),
                }
            }
            Edit::Append { key, item } => {
                Edit::Append { key: key.clone(), item: normal_item(collection, key, item) }
            }
            Edit::RemoveItem { key, item } => {
                Edit::RemoveItem { key: key.clone(), item: normal_item(collection, key, item) }
            }
        });
    }
    for (rule, _) in collection.all_rules() {
        let (Rule::Derive { field, .. } | Rule::Lookup { field, .. }) = rule else { continue };
        if let Some(value) = after.get(field)
            && before.get(field) != Some(value)
            && !touched.contains(field.as_str())
        {
            normal.push(Edit::set(field, value.clone()));
        }
    }
    normal
}

// An item that is none of its list is reported with the list as a whole.
fn normal_item(collection: &Collection, key: &str, item: &Value) -> Value {
    let list = Value::List(vec![item.clone()]);
    let normal = collection.field(key).map(|field| value::check(field, &list, &AnyReference));
    match normal {
        Some(Ok(Value::List(mut items))) if items.len() == 1 => items.remove(0),
        _ => item.clone(),
    }
}

#[cfg(test)]
mod tests;
