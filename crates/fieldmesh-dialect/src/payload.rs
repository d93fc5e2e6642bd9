//! Free JSON of a client as flat fields, and back.
//!
//! The fields of a record are flat and hold scalars and lists of scalars. Whatever else a client
//! sends in a free part is kept as well: as JSON text, under its key with `{}` at the end. So every
//! payload comes back as it was sent, though its known fields merge one by one.

use fieldmesh_model::input::{PART_SUFFIX, part_of};
use fieldmesh_model::limits::NESTING_DEPTH_MAX;
use fieldmesh_model::{Fields, Value};
use serde_json::{Map, Value as Json};

/// The end of a key whose value is JSON as text.
const PACKED: &str = "{}";
/// The longest flat key; what lies deeper is packed. A record of a type that no collection is made
/// for is kept below a key of its own, for which there is room.
const KEY_SIZE_MAX: usize = fieldmesh_model::input::KEY_SIZE_MAX - PACKED.len() - "payload.".len();

/// The most bytes of keys that nested objects of one payload may bring. Beyond them an object stays
/// JSON text: short members under a long path would grow many times over as flat fields.
const NESTED_KEYS_MAX: usize = 32 * 1024;

/// Adds the members of `object` to `fields`, under `prefix` where there is one.
pub(crate) fn pack(object: &Map<String, Json>, prefix: &str, fields: &mut Fields) {
    Packer { fields, keys_left: NESTED_KEYS_MAX }.put_members(object, prefix, 1);
}

struct Packer<'a> {
    fields: &'a mut Fields,
    keys_left: usize,
}

impl Packer<'_> {
    fn put_members(&mut self, object: &Map<String, Json>, prefix: &str, depth: usize) {
        for (name, json) in object {
            let key = join(prefix, name);
            if is_plain_key(&key, name) {
                self.put(key, json, depth);
            } else {
                // A name that no field can have: the object around it is kept whole.
                keep_odd(prefix, name, json, self.fields);
            }
        }
    }

    fn put(&mut self, key: String, json: &Json, depth: usize) {
        let (key, value) = match json {
            Json::Object(inner) if depth < NESTING_DEPTH_MAX && self.opens(inner, &key) => {
                return self.put_members(inner, &key, depth + 1);
            }
            Json::Object(_) => (packed(&key), Value::Text(json.to_string())),
            Json::Array(items) => match items.iter().map(scalar).collect() {
                Some(list) => (key, Value::List(list)),
                None => (packed(&key), Value::Text(json.to_string())),
            },
            other => (key, scalar(other).unwrap_or(Value::Null)),
        };
        let (key, value) = match is_part(&key) {
            true => (packed(&key), Value::Text(json.to_string())),
            false => (key, value),
        };
        self.fields.insert(key, value);
    }

    // Objects without members would leave nothing behind, and long keys have no place.
    fn opens(&mut self, inner: &Map<String, Json>, key: &str) -> bool {
        let size: usize = inner.keys().map(|name| key.len() + 1 + name.len()).sum();
        let is_plain = |name: &String| is_plain_key(&join(key, name), name);
        if inner.is_empty() || size > self.keys_left || !inner.keys().all(is_plain) {
            return false;
        }
        self.keys_left -= size;
        true
    }
}

/// Whether the store would take a field of this key for a part of another one: what a device added
/// to a sum, or an item of a set.
fn is_part(key: &str) -> bool {
    // It may come to lie below another key.
    key.len() >= PART_SUFFIX && part_of(&format!(".{key}")).is_some()
}

fn is_plain_key(key: &str, name: &str) -> bool {
    !name.is_empty()
        && key.len() <= KEY_SIZE_MAX
        && !name.ends_with(PACKED)
        && !name.chars().any(char::is_control)
}

// Only members of the outermost object come here, because others are packed with theirs.
fn keep_odd(prefix: &str, name: &str, json: &Json, fields: &mut Fields) {
    let key = packed(prefix);
    let mut odd = match fields.get(&key).and_then(Value::as_text).map(serde_json::from_str) {
        Some(Ok(Json::Object(odd))) => odd,
        _ => Map::new(),
    };
    odd.insert(name.to_owned(), json.clone());
    fields.insert(key, Value::Text(Json::Object(odd).to_string()));
}

fn packed(key: &str) -> String {
    format!("{key}{PACKED}")
}

/// The value of a scalar; numbers beyond 64 bits are taken as floats.
pub(crate) fn scalar(json: &Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::Null),
        Json::Bool(flag) => Some(Value::Bool(*flag)),
        Json::Number(number) => Some(match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => number.as_f64().map_or(Value::Null, Value::from),
        }),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// The fields as the nested JSON that [`pack`] was given.
pub(crate) fn unpack(fields: &Fields) -> Map<String, Json> {
    let mut packed = Vec::new();
    let plain = fields.iter().filter(|(key, value)| {
        let found = key.strip_suffix(PACKED).zip(value.as_text());
        let read = found.and_then(|(key, text)| Some((key, serde_json::from_str(text).ok()?)));
        let is_plain = read.is_none();
        packed.extend(read);
        is_plain
    });
    let Json::Object(mut root) = fieldmesh_model::input::nest(plain) else { return Map::new() };
    for (key, json) in packed {
        insert(&mut root, key, json);
    }
    root
}

// Nests a null under the key with the model's own rules, then puts the JSON in its place.
fn insert(root: &mut Map<String, Json>, key: &str, json: Json) {
    if key.is_empty() {
        merge(root, json);
        return;
    }
    let place = fieldmesh_model::input::nest(&Fields::from([(key.to_owned(), Value::Null)]));
    merge(root, fill(place, &json));
}

fn fill(place: Json, json: &Json) -> Json {
    match place {
        Json::Object(inner) => {
            Json::Object(inner.into_iter().map(|(key, value)| (key, fill(value, json))).collect())
        }
        _ => json.clone(),
    }
}

fn merge(into: &mut Map<String, Json>, from: Json) {
    let Json::Object(from) = from else { return };
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(inner)), value @ Json::Object(_)) => merge(inner, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('.', "\\.");
    match (prefix.is_empty(), name.starts_with('_')) {
        // Keys of the store itself begin with an underscore.
        (true, true) => format!("\\{escaped}"),
        (true, false) => escaped,
        (false, _) => format!("{prefix}.{escaped}"),
    }
}

/// Flat fields as JSON with flat keys, for transcripts and outcomes in tests.
pub(crate) mod plain {
    use fieldmesh_model::Fields;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value as Json};

    pub(crate) fn serialize<S: Serializer>(fields: &Fields, to: S) -> Result<S::Ok, S::Error> {
        let object: Map<String, Json> =
            fields.iter().map(|(key, value)| (key.clone(), value.to_json())).collect();
        object.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fields, D::Error> {
        let object = Map::<String, Json>::deserialize(from)?;
        let value = |(key, json): (String, Json)| {
            let value = fieldmesh_model::input::value_from_json(&key, &json);
            value.map(|value| (key, value)).map_err(serde::de::Error::custom)
        };
        object.into_iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn back(json: &Json) -> Json {
        let mut fields = Fields::new();
        pack(json.as_object().unwrap(), "", &mut fields);
        Json::Object(unpack(&fields))
    }

    #[test]
    fn known_fields_stay_flat_and_all_others_come_back() {
        let input = json!({
            "name": "Pump", "data": {"oilVolume": 82.3, "odd.key": 1, "deep": {"x": null}},
            "parts": [{"n": 1}, [2]], "_own": 1, "a{}": true, "": 2, "empty": {},
            "inner": {"": 1, "b": 2}, "stock+0123456789abcdef0123456789abcdef": 3,
            "+0123456789abcdef0123456789abcdef": [4],
            "of": {"tags*0123456789abcdef0123456789abcdef": "x"}
        });
        let mut fields = Fields::new();
        pack(input.as_object().unwrap(), "", &mut fields);
        assert_eq!(fields["data.oilVolume"], Value::Float(82.3));
        assert_eq!(fields["parts{}"], Value::Text("[{\"n\":1},[2]]".to_owned()));
        assert!(fields.keys().all(|key| !key.starts_with('_') && !is_part(key)), "{fields:?}");
        assert_eq!(back(&input), input);
    }

    #[test]
    fn a_payload_does_not_grow_many_times_over() {
        let many: Map<String, Json> = (0..50_000).map(|n| (n.to_string(), Json::from(1))).collect();
        let deep = (0..8).fold(Json::Object(many), |json, _| json!({ "a long name of it": json }));
        let mut fields = Fields::new();
        pack(deep.as_object().unwrap(), "", &mut fields);
        assert_eq!(fields.len(), 1);
        assert_eq!(Json::Object(unpack(&fields)), deep);
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            "[a-c.\\\\_{}]{0,4}".prop_map(Json::from),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-c.\\\\_{}]{0,3}", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_comes_back(json in any_json()) {
            let input = json!({ "payload": json });
            prop_assert_eq!(back(&input), input);
        }
    }
}
