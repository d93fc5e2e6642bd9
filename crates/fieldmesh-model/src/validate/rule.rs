//! The rules about several fields, and those about other records.

use std::collections::BTreeSet;

use super::References;
use super::normal::{Finding, Reading, belongs, is_given};
use crate::schema::{Collection, Kind, Origin, Rule};
use crate::{Fields, Value};

pub(super) fn check(
    collection: &Collection,
    variant: Option<&str>,
    rule: &Rule,
    origin: Origin,
    fields: &mut Fields,
    references: &dyn References,
    findings: &mut BTreeSet<Finding>,
) {
    let mut find = |key: &str, message: &str| {
        findings.insert(Finding::new(key, message, origin));
    };
    match rule {
        Rule::Together { fields: keys, message } => {
            let missing: Vec<_> = keys.iter().filter(|key| !fields.contains_key(*key)).collect();
            if let Some(first) = missing.first().filter(|_| missing.len() < keys.len()) {
                find(first, message);
            }
        }
        Rule::NotBeforeDayOf { field, earlier, message } => {
            let moment = |key: &str| fields.get(key).and_then(Value::as_moment);
            if let (Some(later), Some(earlier)) = (moment(field), moment(earlier))
                && later < earlier.day_start()
            {
                find(field, message);
            }
        }
        Rule::AnyKnown { prefix, message } => {
            let Some(variant) = variant else { return };
            if !collection.fields.iter().any(|field| is_given(field, prefix, variant, fields)) {
                find(prefix, message);
            }
        }
        Rule::Derive { field, value, when } => {
            if any_holds(when, fields) {
                fields.insert(field.clone(), value.clone());
            }
        }
        Rule::RangeWhen { field, range, when, message } => {
            let number = fields.get(field).and_then(Value::as_number);
            if number.is_some_and(|number| !range.contains(number)) && any_holds(when, fields) {
                find(field, message);
            }
        }
        Rule::Target { field, key, one_of, none_of, message } => {
            let Some(held) = referred(collection, fields, field, key, references) else { return };
            let is_in = |list: &[Value]| list.iter().any(|value| value.is_same(&held));
            if is_in(none_of) || !(one_of.is_empty() || is_in(one_of)) {
                find(field, message);
            }
        }
        Rule::OfCaller { field, key, message } => {
            let (Some(value), Some(Value::List(own))) =
                (fields.get(field), references.of_caller(key))
            else {
                return;
            };
            if !own.iter().any(|one| one.is_same(value)) {
                find(field, message);
            }
        }
        Rule::DefaultFrom { .. } | Rule::Lookup { .. } | Rule::Unknown(_) => {}
    }
}

/// Gives fields that follow from other records their values.
pub(super) fn look_up(
    collection: &Collection,
    fields: &mut Fields,
    references: &dyn References,
    reading: Reading<'_>,
    findings: &mut BTreeSet<Finding>,
) {
    for (rule, origin) in collection.all_rules() {
        let Rule::Lookup { field, through, from, message } = rule else { continue };
        let before = match reading {
            Reading::Standing => continue,
            Reading::New => None,
            Reading::Edited(before) => Some(before),
        };
        let is_same = |before: &&Fields| match (before.get(through), fields.get(through)) {
            (Some(old), Some(new)) => old.is_same(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if let Some(before) = before.filter(is_same) {
            // Nobody sets it by hand; it stays what it was when the reference was written.
            match before.get(field).cloned() {
                Some(value) => fields.insert(field.clone(), value),
                None => fields.remove(field),
            };
            continue;
        }
        let is_good =
            fields.contains_key(through) && findings.iter().all(|one| one.fault.field != *through);
        match referred(collection, fields, through, from, references).filter(|_| is_good) {
            Some(value) => {
                fields.insert(field.clone(), value);
            }
            None => {
                fields.remove(field);
                // A reference that leads nowhere is a fault of its own.
                let (key, origin) = if is_good { (field, origin) } else { continue };
                findings.insert(Finding::new(key, message, origin));
            }
        }
    }
}

/// Gives fields that have no value that of the field from which they take it.
pub(super) fn copy_defaults(collection: &Collection, variant: Option<&str>, fields: &mut Fields) {
    for (rule, _) in collection.all_rules() {
        let Rule::DefaultFrom { field, from, when } = rule else { continue };
        let mut own = collection.fields.iter().filter(|one| one.key == *field);
        let is_due = own.any(|one| belongs(one, variant))
            && !fields.contains_key(field)
            && (when.is_empty() || any_holds(when, fields));
        if let Some(value) = fields.get(from).cloned().filter(|_| is_due) {
            fields.insert(field.clone(), value);
        }
    }
}

/// What the record that a reference leads to holds under `key`.
fn referred(
    collection: &Collection,
    fields: &Fields,
    reference: &str,
    key: &str,
    references: &dyn References,
) -> Option<Value> {
    let Kind::Reference { collection: target } = &collection.field(reference)?.kind else {
        return None;
    };
    references.value(target, fields.get(reference)?.as_text()?, key)
}

fn any_holds(when: &[(String, Value)], fields: &Fields) -> bool {
    when.iter().any(|(key, wanted)| fields.get(key).is_some_and(|value| value.is_same(wanted)))
}
