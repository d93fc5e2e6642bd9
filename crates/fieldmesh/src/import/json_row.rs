//! One line of json: an object of scalars, lists of scalars and objects of the same.

use fieldmesh_model::limits::NESTING_DEPTH_MAX;
use fieldmesh_model::{Fields, Value};
use serde_json::Value as Json;

/// Why a line is no row.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonFault {
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("the line is no JSON: {0}")]
    NotJson(String),
    #[error("the line is no JSON object")]
    NotAnObject,
    #[error("the object is nested deeper than {NESTING_DEPTH_MAX}")]
    TooDeep,
    #[error("{0}: a list may hold texts, numbers and true or false only")]
    NestedList(String),
    #[error("{0} is given twice")]
    Twice(String),
}

/// Reads a line and flattens it: `{"data":{"oil":1}}` has the field `data.oil`.
pub(super) fn parse(line: &[u8]) -> Result<Fields, JsonFault> {
    let line = std::str::from_utf8(line).map_err(|_| JsonFault::NotUtf8)?;
    let json: Json = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let Json::Object(object) = json else { return Err(JsonFault::NotAnObject) };
    let mut fields = Fields::new();
    flatten("", object, 1, &mut fields)?;
    Ok(fields)
}

/// The parser counts lines within the row; only the character means something to a reader.
fn not_json(error: &serde_json::Error) -> JsonFault {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    JsonFault::NotJson(format!("{text} at character {}", error.column()))
}

fn flatten(
    prefix: &str,
    object: serde_json::Map<String, Json>,
    depth: usize,
    fields: &mut Fields,
) -> Result<(), JsonFault> {
    if depth > NESTING_DEPTH_MAX {
        return Err(JsonFault::TooDeep);
    }
    for (key, json) in object {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        let value = match json {
            Json::Object(inner) => {
                flatten(&key, inner, depth + 1, fields)?;
                continue;
            }
            Json::Array(items) => {
                let items: Option<Vec<Value>> = items.into_iter().map(scalar).collect();
                Value::List(items.ok_or_else(|| JsonFault::NestedList(key.clone()))?)
            }
            other => scalar(other).unwrap_or(Value::Null),
        };
        if fields.insert(key.clone(), value).is_some() {
            return Err(JsonFault::Twice(key));
        }
    }
    Ok(())
}

fn scalar(json: Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::Null),
        Json::Bool(bool) => Some(Value::Bool(bool)),
        Json::Number(number) => Some(match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().filter(|float| float.is_finite())?),
        }),
        Json::String(text) => Some(Value::Text(text)),
        Json::Array(_) | Json::Object(_) => None,
    }
}
