//! How what an app sent of a free record lies in the fields of that, and comes back as it was sent.
//!
//! Nobody knows what a member means, so it may be a number today and a list of objects tomorrow. A
//! dialect keeps what no field can hold as JSON text under the key with `{}` at the end; so are the
//! nulls and the empty lists of an app kept here, which clear a field. What stands under the plain
//! key counts before that, and what is written takes the place of what stood there in another shape.

use std::borrow::Cow;
use std::collections::BTreeSet;

use fieldmesh::gateway::Held;
use fieldmesh_model::catalogue::free::FREE_RECORD;
use fieldmesh_model::{Fields, Value};

/// What the keys of fields lie below that an app sent.
const BELOW: &str = "payload.";
/// The end of a key whose value is JSON as text.
const PACKED: &str = "{}";
/// The JSON of nothing.
const NULL: &str = "null";

/// Fields of an app as a free record has them.
pub(crate) fn below_payload(fields: &Fields) -> Fields {
    let mut below = Fields::new();
    for (key, field) in fields {
        let key = format!("{BELOW}{key}");
        if field.is_cleared() {
            let text = if *field == Value::Null { NULL } else { "[]" };
            below.insert(format!("{key}{PACKED}"), text.into());
            below.insert(key, Value::Null);
            continue;
        }
        if let Some(plain) = plain_of(&key) {
            below.entry(plain.to_owned()).or_insert(Value::Null);
        }
        below.insert(key, field.clone());
    }
    below
}

/// The fields of a record, or some of them, as its app knows them.
pub(crate) fn shown_fields(collection: u16, fields: &Fields) -> Cow<'_, Fields> {
    if collection != FREE_RECORD {
        return Cow::Borrowed(fields);
    }
    let mut shown = Fields::new();
    for (key, field) in fields {
        let Some(own) = key.strip_prefix(BELOW) else { continue };
        let Some(plain) = plain_of(key) else {
            shown.entry(own.to_owned()).or_insert_with(|| field.clone());
            continue;
        };
        if fields.get(plain).is_some_and(|plain| *plain != Value::Null) {
            continue;
        }
        let plain = plain[BELOW.len()..].to_owned();
        match field.as_text() {
            Some(NULL) => shown.insert(plain, Value::Null),
            _ => {
                shown.remove(&plain);
                shown.insert(own.to_owned(), field.clone())
            }
        };
    }
    Cow::Owned(shown)
}

/// The keys of fields as the app of a record knows them.
pub(crate) fn shown_keys(collection: u16, keys: &[String]) -> Vec<String> {
    if collection != FREE_RECORD {
        return keys.to_vec();
    }
    let shown = |key: &String| {
        let key = plain_of(key).unwrap_or(key);
        key.strip_prefix(BELOW).unwrap_or(key).to_owned()
    };
    keys.iter().map(shown).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A field that a record holds under the key by which its app knows it.
pub(crate) fn field<'a>(held: &'a Held, key: &str) -> Option<&'a Value> {
    match held.collection {
        FREE_RECORD => held.fields.get(&format!("{BELOW}{key}")),
        _ => held.fields.get(key),
    }
}

/// The fields of an edit with nulls for what they replace: what stands at their places in another
/// shape, as an object where there is to be a number.
pub(crate) fn replacing(fields: &Fields, held: &Fields) -> Fields {
    let mut all = fields.clone();
    let mut clear = |key: &String| {
        all.entry(key.clone()).or_insert(Value::Null);
    };
    let written =
        fields.iter().filter(|(key, field)| key.starts_with(BELOW) && !field.is_cleared());
    for (key, _) in written {
        // Members with odd names lie together, beside all others.
        let Some(plain) = plain_of(key).or((!key.ends_with(PACKED)).then_some(key)) else {
            continue;
        };
        let around = plain.match_indices('.').map(|(at, _)| &plain[..at]);
        for around in around.skip(1).chain([plain]) {
            for key in [around.to_owned(), format!("{around}{PACKED}")] {
                if held.contains_key(&key) {
                    clear(&key);
                }
            }
        }
        let inner = format!("{plain}.");
        let below = held.range(inner.clone()..).take_while(|(key, _)| key.starts_with(&inner));
        below.for_each(|(key, _)| clear(key));
    }
    all
}

/// Whether `field` says that there is nothing where `first` has nothing either: the first gateways
/// kept no nulls, and whoever sends such a record again says no more than he did.
pub(crate) fn is_nothing(key: &str, field: &Value, first: &Fields) -> bool {
    let is_absent = |plain| !first.contains_key(plain);
    field.as_text() == Some(NULL) && plain_of(key).is_some_and(is_absent)
}

/// The key that a value has which is no JSON text, for the key of one that is.
fn plain_of(key: &str) -> Option<&str> {
    key.strip_suffix(PACKED).filter(|plain| plain.len() > BELOW.len())
}
