//! Schemas in few words.

use serde_json::{Map, Value as Json, json};

/// Matches a text that is more than white space.
const SOMETHING: &str = "\\S";

/// Schemas by their names.
pub(super) type Named = Vec<(&'static str, Json)>;

pub(super) fn text() -> Json {
    json!({ "type": "string" })
}

/// A text with something in it.
pub(super) fn filled() -> Json {
    json!({ "type": "string", "pattern": SOMETHING })
}

pub(super) fn time() -> Json {
    json!({ "type": "string", "format": "date-time" })
}

/// A time in milliseconds since 1970.
pub(super) fn millis() -> Json {
    json!({ "type": "integer", "format": "int64" })
}

pub(super) fn whole() -> Json {
    json!({ "type": "integer", "format": "int64" })
}

pub(super) fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn number() -> Json {
    json!({ "type": "number" })
}

pub(super) fn flag() -> Json {
    json!({ "type": "boolean" })
}

/// How much a page may hold.
pub(super) fn page_size() -> Json {
    json!({ "type": "integer", "minimum": 1, "maximum": 1000 })
}

/// What a client calls a record: a number stays a number.
pub(super) fn name() -> Json {
    json!({ "type": ["string", "integer"], "pattern": SOMETHING })
}

/// Whatever the app makes of it.
pub(super) fn any() -> Json {
    json!({})
}

/// An object whose members are the app's own.
pub(super) fn free() -> Json {
    json!({ "type": "object", "additionalProperties": true })
}

pub(super) fn words(words: &[&str]) -> Json {
    json!({ "type": "string", "enum": words })
}

pub(super) fn list(of: Json) -> Json {
    let mut schema = json!({ "type": "array" });
    schema["items"] = of;
    schema
}

/// The same, or null.
pub(super) fn maybe(mut schema: Json) -> Json {
    let mut types = match schema["type"].take() {
        Json::Array(types) => types,
        one => vec![one],
    };
    types.push("null".into());
    schema["type"] = types.into();
    schema
}

/// The schema of this name.
pub(super) fn of(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// One of these.
pub(super) fn one_of(schemas: &[Json]) -> Json {
    json!({ "oneOf": schemas })
}

/// An object of these members; those whose names end in a question mark may be missing.
pub(super) fn object(members: &[(&str, Json)]) -> Json {
    let needed: Vec<&str> =
        members.iter().map(|it| it.0).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<String, Json> = members
        .iter()
        .map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()))
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !needed.is_empty() {
        schema["required"] = needed.into();
    }
    schema
}

/// The same, with members of the app's own beside them.
pub(super) fn open(members: &[(&str, Json)]) -> Json {
    let mut schema = object(members);
    schema["additionalProperties"] = true.into();
    schema
}
