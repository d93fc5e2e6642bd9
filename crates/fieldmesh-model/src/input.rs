//! Turns what people and programs write into fields and edits, and fields into nested JSON.

use std::borrow::Cow;

use serde_json::Map;

use crate::limits::NESTING_DEPTH_MAX;
use crate::{Fields, Value};

mod assignment;
mod when;

pub use assignment::{Assignment, AssignmentError, Clock};
pub use when::{WhenError, parse_day, parse_when};

/// Input that cannot be the fields of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The input is a list or a scalar.
    #[error("a record must be a JSON object")]
    NotAnObject,
    /// Objects stand too deep inside each other.
    #[error("{key:?} is nested deeper than {NESTING_DEPTH_MAX} levels")]
    TooDeep {
        /// The flat key so far.
        key: String,
    },
    /// A list holds lists or objects.
    #[error("{key:?} must be a list of texts, numbers, true or false")]
    NestedList {
        /// The flat key.
        key: String,
    },
    /// A number is too large for any kind of number.
    #[error("{key:?} is a number too large to keep")]
    NumberTooLarge {
        /// The flat key.
        key: String,
    },
    /// A key is empty or reserved.
    #[error("{key:?} cannot be the name of a field")]
    BadKey {
        /// The flat key.
        key: String,
    },
}

/// The longest flat key, in bytes.
pub const KEY_SIZE_MAX: usize = 256;

/// How many characters stand behind the key of a field in the key of a part of it.
pub const PART_SUFFIX: usize = 1 + 32;

/// What a key is a part of, where the value of a field is put together from several keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What one device added to a sum.
    Share,
    /// One item of a set.
    Item,
}

impl Part {
    /// The character between the key of the field and the digits of the part.
    pub const fn sign(self) -> char {
        match self {
            Self::Share => '+',
            Self::Item => '*',
        }
    }
}

/// The field of which `key` is a part, if it is one: the field's key, a sign and 32 hex digits.
///
/// No field has such a name, so that a part can be told from a field without its schema.
pub fn part_of(key: &str) -> Option<(&str, Part)> {
    let at = key.len().checked_sub(PART_SUFFIX).filter(|at| *at > 0)?;
    let (field, suffix) = key.split_at_checked(at)?;
    let part =
        [Part::Share, Part::Item].into_iter().find(|part| suffix.starts_with(part.sign()))?;
    let is_hex = suffix[1..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some((field, part))
}

/// Flattens a nested JSON object: `{"data": {"oilVolume": 5}}` gives `data.oilVolume`.
///
/// A dot inside a key is kept as `\.`. Empty objects leave nothing behind.
///
/// # Errors
///
/// Anything that has no place in flat fields; the text names the key.
pub fn flatten(json: &serde_json::Value) -> Result<Fields, InputError> {
    let serde_json::Value::Object(object) = json else { return Err(InputError::NotAnObject) };
    let mut fields = Fields::new();
    flatten_object(object, "", 1, &mut fields)?;
    Ok(fields)
}

fn flatten_object(
    object: &Map<String, serde_json::Value>,
    prefix: &str,
    depth: usize,
    fields: &mut Fields,
) -> Result<(), InputError> {
    for (name, value) in object {
        let escaped = escape(name);
        let key = if prefix.is_empty() { escaped } else { format!("{prefix}.{escaped}") };
        check_key(&key, name)?;
        match value {
            serde_json::Value::Object(_) if depth >= NESTING_DEPTH_MAX => {
                return Err(InputError::TooDeep { key });
            }
            serde_json::Value::Object(inner) => flatten_object(inner, &key, depth + 1, fields)?,
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| match item {
                    serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                        Err(InputError::NestedList { key: key.clone() })
                    }
                    scalar => from_scalar(&key, scalar),
                });
                let list = Value::List(items.collect::<Result<_, _>>()?);
                fields.insert(key, list);
            }
            scalar => {
                let value = from_scalar(&key, scalar)?;
                fields.insert(key, value);
            }
        }
    }
    Ok(())
}

/// The value of a JSON scalar or a list of scalars; `key` is for the error's text.
///
/// # Errors
///
/// Objects and nested lists have no place in one value.
pub fn value_from_json(key: &str, json: &serde_json::Value) -> Result<Value, InputError> {
    match json {
        serde_json::Value::Object(_) => Err(InputError::NestedList { key: key.to_owned() }),
        serde_json::Value::Array(items) => items
            .iter()
            .map(|item| match item {
                serde_json::Value::Array(_) => Err(InputError::NestedList { key: key.to_owned() }),
                scalar => value_from_json(key, scalar),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        scalar => from_scalar(key, scalar),
    }
}

fn from_scalar(key: &str, json: &serde_json::Value) -> Result<Value, InputError> {
    match json {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::Bool(flag) => Ok(Value::Bool(*flag)),
        serde_json::Value::String(text) => Ok(Value::Text(text.clone())),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_f64().filter(|float| float.is_finite()).map(Value::from))
            .ok_or_else(|| InputError::NumberTooLarge { key: key.to_owned() }),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Err(InputError::NestedList { key: key.to_owned() })
        }
    }
}

fn check_key(key: &str, name: &str) -> Result<(), InputError> {
    let is_bad = name.is_empty()
        || key.starts_with('_')
        || key.len() > KEY_SIZE_MAX
        || name.chars().any(char::is_control);
    if is_bad {
        return Err(InputError::BadKey { key: key.chars().take(KEY_SIZE_MAX).collect() });
    }
    Ok(())
}

/// Nests flat fields again: the inverse of [`flatten`].
///
/// Where a key is both a value and a prefix of others, which concurrent edits can bring about,
/// the longer keys stay flat beside it, so that nothing is hidden.
pub fn nest<'a>(fields: impl IntoIterator<Item = (&'a String, &'a Value)>) -> serde_json::Value {
    let fields = fields.into_iter().map(|(key, value)| (Cow::Borrowed(&key[..]), value.to_json()));
    serde_json::Value::Object(nested(fields))
}

/// The same of fields that nobody needs afterwards.
pub fn into_nested(fields: Fields) -> Map<String, serde_json::Value> {
    nested(fields.into_iter().map(|(key, value)| (Cow::Owned(key), value.into_json())))
}

fn nested<'a>(
    fields: impl Iterator<Item = (Cow<'a, str>, serde_json::Value)>,
) -> Map<String, serde_json::Value> {
    let mut root = Map::new();
    for (key, value) in fields {
        if key.contains('\\') {
            let mut parts = split(&key);
            let Some(last) = parts.pop() else { continue };
            insert_parts(&mut root, &parts, last, value);
        } else {
            insert(&mut root, key, value);
        }
    }
    root
}

/// Inserts under a key in which every dot parts two names.
fn insert(
    object: &mut Map<String, serde_json::Value>,
    key: Cow<'_, str>,
    value: serde_json::Value,
) {
    let Some((first, rest)) = key.split_once('.') else {
        object.insert(key.into_owned(), value);
        return;
    };
    match object.get_mut(first) {
        Some(serde_json::Value::Object(inner)) => insert(inner, Cow::Borrowed(rest), value),
        Some(_) => {
            object.insert(key.into_owned(), value);
        }
        None => {
            let mut inner = Map::new();
            insert(&mut inner, Cow::Borrowed(rest), value);
            object.insert(first.to_owned(), inner.into());
        }
    }
}

fn insert_parts(
    object: &mut Map<String, serde_json::Value>,
    path: &[String],
    last: String,
    value: serde_json::Value,
) {
    let Some((first, rest)) = path.split_first() else {
        object.insert(last, value);
        return;
    };
    let entry = object.entry(first.clone()).or_insert_with(|| Map::new().into());
    if let serde_json::Value::Object(inner) = entry {
        insert_parts(inner, rest, last, value);
    } else {
        let mut name = path.join(".");
        name.push('.');
        name.push_str(&last);
        object.insert(name, value);
    }
}

fn escape(name: &str) -> String {
    if name.contains(['.', '\\']) {
        name.replace('\\', "\\\\").replace('.', "\\.")
    } else {
        name.to_owned()
    }
}

fn split(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = key.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        match (character, escaped) {
            ('.', _) => parts.push(String::new()),
            (_, Some(kept)) | (kept, None) => {
                if let Some(part) = parts.last_mut() {
                    part.push(kept);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_input_survives_flattening() {
        let input = json!({
            "wellId": "w", "data": {"oilVolume": 82.3, "odd.key": 1, "deep": {"x": null}},
            "photos": ["a", "b"]
        });
        let fields = flatten(&input).unwrap();
        assert_eq!(fields["data.oilVolume"], Value::Float(82.3));
        assert_eq!(fields["data.odd\\.key"], Value::Int(1));
        assert_eq!(nest(&fields), input);
        assert_eq!(json!(into_nested(fields)), input);
    }

    #[test]
    fn input_that_has_no_place_in_flat_fields_is_refused() {
        let mut deep = json!(1);
        for _ in 0..NESTING_DEPTH_MAX + 1 {
            deep = json!({ "a": deep });
        }
        assert!(matches!(flatten(&deep), Err(InputError::TooDeep { .. })));
        assert!(matches!(flatten(&json!({"a": [[1]]})), Err(InputError::NestedList { .. })));
        assert!(matches!(flatten(&json!({"_id": 1})), Err(InputError::BadKey { .. })));
        assert!(matches!(flatten(&json!({"": 1})), Err(InputError::BadKey { .. })));
        assert_eq!(flatten(&json!([1])), Err(InputError::NotAnObject));
    }

    #[test]
    fn a_key_that_is_value_and_prefix_hides_nothing() {
        let fields = Fields::from([
            ("data.x".to_owned(), Value::Int(1)),
            ("data.x.y".to_owned(), Value::Int(2)),
            ("data.x.y\\.z".to_owned(), Value::Int(3)),
            ("data.x\\y.z".to_owned(), "kept".into()),
        ]);
        let nested = json!({"data": {"x": 1, "x.y": 2, "x.y.z": 3, "xy": {"z": "kept"}}});
        assert_eq!(nest(&fields), nested);
        assert_eq!(json!(into_nested(fields)), nested);
    }
}
