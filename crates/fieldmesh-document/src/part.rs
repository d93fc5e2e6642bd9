//! Values that are put together from parts: sums and sets.
//!
//! Each device keeps what it added to a sum, and each item of a set stands, under a key of its own
//! beside the field's. So nobody replaces what another adds at the same time: a list that takes
//! the place of two hides what is still being added to those, and an Automerge counter that two
//! devices begin apart becomes two, to both of which later additions add.

use std::collections::BTreeMap;

use automerge::{AutomergeError, ChangeHash, ROOT, ReadDoc, ValueRef};
use fieldmesh_model::input::{Part, part_of};
use fieldmesh_model::schema::{Collection, Kind, MergePolicy};
use fieldmesh_model::validate::rounded;
use fieldmesh_model::{Fields, Value};

use crate::document::{Document, Meta};
use crate::edit::{Transaction, read_list};
use crate::merge::{Candidate, as_set};
use crate::scalar;

/// The greatest share that counts: beyond it sums of whole numbers lose digits.
const SHARE_MAX: f64 = 9_007_199_254_740_992.0;

/// The key under which `actor` keeps what it added to the field `key`.
pub(crate) fn share_key(key: &str, actor: &[u8; 16]) -> String {
    part_key(key, Part::Share, *actor)
}

/// The key under which the set `key` keeps an item; it is null there once it is taken out.
pub(crate) fn item_key(key: &str, item: &Value) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/set-item/1");
    hasher.update(&[u8::from(item.as_text().is_some())]);
    hasher.update(item.to_cell().as_bytes());
    let mut digits = [0; 16];
    digits.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    part_key(key, Part::Item, digits)
}

fn part_key(key: &str, part: Part, digits: [u8; 16]) -> String {
    format!("{key}{}{:032x}", part.sign(), u128::from_be_bytes(digits))
}

/// The field that a key of the document is about.
pub(crate) fn field_of(key: &str) -> &str {
    part_of(key).map_or(key, |(field, _)| field)
}

/// Puts parts into the values that they are parts of, and sets in order.
///
/// What is no part of its field stays under its own key, where it is seen and changes nothing else.
pub(crate) fn finish(collection: &Collection, fields: &mut Fields) {
    let mut parts: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    // In the order of the keys, so that every replica rounds alike.
    for (own, value) in fields.extract_if(.., |own, value| is_part(collection, own, value)) {
        parts.entry(field_of(&own).to_owned()).or_default().push((own, value));
    }
    for (key, parts) in parts {
        let base = fields.remove(&key).unwrap_or(Value::Null);
        let whole = assemble(collection, &key, base, parts);
        if whole != Value::Null {
            fields.insert(key, whole);
        }
    }
    for field in collection.fields.iter().filter(|field| field.policy == MergePolicy::Union) {
        if let Some(value) = fields.remove(&field.key) {
            fields.insert(field.key.clone(), as_set(value));
        }
    }
}

/// Whether the value under the key `own` counts as a part of its field: anybody can write any key,
/// and no field may be changed by parts but a sum and a set, nor hold what nobody can take out.
///
/// A field that this device does not know may be either.
pub(crate) fn is_part(collection: &Collection, own: &str, value: &Value) -> bool {
    let Some((key, part)) = part_of(own) else { return false };
    let policy = collection.field(key).map(|field| field.policy);
    match part {
        Part::Share => {
            policy.is_none_or(|policy| policy == MergePolicy::Sum)
                && value.as_number().is_some_and(|share| share.abs() <= SHARE_MAX)
        }
        Part::Item => {
            policy.is_none_or(|policy| policy == MergePolicy::Union) && item_key(key, value) == own
        }
    }
}

fn assemble(collection: &Collection, key: &str, base: Value, parts: Vec<(String, Value)>) -> Value {
    let (mut shares, mut items) = (Vec::new(), Vec::new());
    for (own, value) in parts.into_iter().filter(|(own, value)| is_part(collection, own, value)) {
        match part_of(&own) {
            Some((_, Part::Share)) => shares.push(value),
            Some((_, Part::Item)) => items.push(value),
            None => {}
        }
    }
    let base = if shares.is_empty() { base } else { total(collection, key, base, &shares) };
    if items.is_empty() {
        return base;
    }
    match base {
        Value::List(more) => items.extend(more),
        Value::Null => {}
        single => items.push(single),
    }
    as_set(Value::List(items))
}

fn total(collection: &Collection, key: &str, base: Value, shares: &[Value]) -> Value {
    let start = if base == Value::Null { Value::Int(0) } else { base };
    let sum = shares.iter().fold(start, |sum, share| sum.plus(share).unwrap_or(sum));
    match (collection.field(key).map(|field| &field.kind), &sum) {
        (Some(Kind::Number { decimals: Some(decimals), .. }), Value::Float(number)) => {
            Value::from(rounded(*number, *decimals))
        }
        _ => sum,
    }
}

/// The whole value of a sum or a set as the author of a change sees it.
pub(crate) fn read(
    transaction: &Transaction<'_>,
    collection: &Collection,
    key: &str,
) -> Result<Value, AutomergeError> {
    let base = match transaction.get(ROOT, key)? {
        Some((automerge::Value::Scalar(value), _)) => scalar::from_scalar(&value),
        Some((automerge::Value::Object(_), id)) => Value::List(read_list(transaction, &id)),
        None => Value::Null,
    };
    let mut parts = Vec::new();
    for kind in [Part::Share, Part::Item] {
        let keys: Vec<_> =
            transaction.map_range(ROOT, range(key, kind)).map(|it| it.key.into_owned()).collect();
        for part in keys.iter().filter(|part| part_of(part) == Some((key, kind))) {
            parts.push((part.clone(), chosen(kind, transaction.get_all(ROOT, part)?)));
        }
    }
    Ok(assemble(collection, key, base, parts))
}

// Of concurrent values of an item the one that is there counts: whoever took the item out has not
// seen that it was put in again.
fn chosen(part: Part, values: Vec<(automerge::Value<'_>, automerge::ObjId)>) -> Value {
    let mut scalars = values.into_iter().filter_map(|(value, _)| match value {
        automerge::Value::Scalar(value) => Some(scalar::from_scalar(&value)),
        automerge::Value::Object(_) => None,
    });
    let found = match part {
        // Automerge's own choice stands last.
        Part::Share => scalars.last(),
        Part::Item => scalars.find(|value| *value != Value::Null),
    };
    found.unwrap_or(Value::Null)
}

// The character after the sign ends the keys that have it there.
fn range(key: &str, part: Part) -> std::ops::Range<String> {
    let after = char::from_u32(u32::from(part.sign()) + 1).unwrap_or(char::MAX);
    format!("{key}{}", part.sign())..format!("{key}{after}")
}

impl Document {
    /// The value of one part of a field, at earlier heads if there are any.
    pub(crate) fn part(
        &self,
        key: &str,
        heads: Option<&[ChangeHash]>,
    ) -> Result<Value, AutomergeError> {
        let Some((_, part)) = part_of(key) else { return Ok(Value::Null) };
        let values = match heads {
            Some(heads) => self.inner().get_all_at(ROOT, key, heads)?,
            None => self.inner().get_all(ROOT, key)?,
        };
        Ok(chosen(part, values))
    }

    /// What stands under the keys of the parts of a field, as far as it counts.
    pub(crate) fn part_candidates(
        &self,
        collection: &Collection,
        key: &str,
        metas: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<Candidate>, AutomergeError> {
        let mut found = Vec::new();
        for kind in [Part::Share, Part::Item] {
            let keys = self.inner().map_range(ROOT, range(key, kind));
            let keys: Vec<_> = keys.map(|item| item.key.into_owned()).collect();
            for own in keys.iter().filter(|own| part_of(own) == Some((key, kind))) {
                let value = self.part(own, None)?;
                let mut written = self.candidates(own, metas)?;
                written.retain(|one| one.value.is_same(&value) && is_part(collection, own, &value));
                found.extend(written.pop());
            }
        }
        Ok(found)
    }

    /// The value of a field of which `base` stands under its own key, with its parts at earlier
    /// heads.
    pub(crate) fn with_parts_at(
        &self,
        collection: &Collection,
        key: &str,
        base: Value,
        heads: &[ChangeHash],
    ) -> Result<Value, AutomergeError> {
        let mut parts = Vec::new();
        for kind in [Part::Share, Part::Item] {
            for item in self.inner().map_range_at(ROOT, range(key, kind), heads) {
                if part_of(&item.key) != Some((key, kind)) {
                    continue;
                }
                let value = match &item.value {
                    ValueRef::Scalar(value) if !item.conflict => scalar::from_scalar_ref(value),
                    _ => self.part(&item.key, Some(heads))?,
                };
                parts.push((item.key.to_string(), value));
            }
        }
        Ok(assemble(collection, key, base, parts))
    }
}

#[cfg(test)]
mod tests {
    use automerge::transaction::Transactable;
    use automerge::{AutoCommit, ScalarValue};

    use super::*;

    #[test]
    fn counters_that_two_devices_begin_apart_count_later_additions_twice() {
        let mut ours = AutoCommit::new();
        ours.put(ROOT, "name", "store").unwrap();
        let mut theirs = ours.fork();
        ours.put(ROOT, "stock", ScalarValue::counter(5)).unwrap();
        theirs.put(ROOT, "stock", ScalarValue::counter(7)).unwrap();
        ours.merge(&mut theirs).unwrap();
        ours.increment(ROOT, "stock", 1).unwrap();
        let counters = ours.get_all(ROOT, "stock").unwrap();
        let sum: i64 = counters.iter().filter_map(|(value, _)| value.as_i64()).sum();
        assert_eq!(sum, 5 + 7 + 2, "so sums here are made of shares, not of counters");
    }

    #[test]
    fn a_part_names_its_field_and_nothing_else_is_one() {
        let share = share_key("data.stock", &[0xab; 16]);
        assert_eq!(part_of(&share), Some(("data.stock", Part::Share)));
        let item = item_key("tags", &"nuts".into());
        assert_eq!(part_of(&item), Some(("tags", Part::Item)));
        assert_ne!(item_key("tags", &Value::Int(5)), item_key("tags", &"5".into()));
        for key in ["tags", "", &share[..share.len() - 1], &share["data.stock".len()..]] {
            assert_eq!(part_of(key), None, "{key}");
        }
        assert_eq!(part_of(&share.replace("ab", "AB")), None);
        assert_eq!(part_of(&format!("é{}", "0".repeat(32))), None);
    }
}
