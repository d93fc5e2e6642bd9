//! The canonical bytes of the values that identify a record.

use uuid::Uuid;

use crate::schema::{Collection, Shared};
use crate::{Fields, Value, catalogue};

/// The canonical bytes of the natural key of a record, followed by `extension`.
///
/// Two records of a collection are the same one if these bytes are equal. `None` where the
/// collection has no natural key or a value is missing. The extension distinguishes records that
/// an import tells apart by columns that are no fields; it is empty otherwise.
pub fn natural_key(collection: &Collection, fields: &Fields, extension: &[u8]) -> Option<Vec<u8>> {
    if collection.natural_key.is_empty() {
        return None;
    }
    let mut bytes = encode(collection.natural_key.iter().map(|key| fields.get(key)))?;
    bytes.extend_from_slice(extension);
    Some(bytes)
}

/// The extension at the end of a natural key that [`natural_key`] made of `fields`.
pub fn extension<'a>(collection: &Collection, fields: &Fields, key: &'a [u8]) -> &'a [u8] {
    natural_key(collection, fields, &[])
        .and_then(|plain| key.strip_prefix(plain.as_slice()))
        .unwrap_or_default()
}

/// The canonical bytes under which duplicates of a record are found, one for each group of unique
/// fields of the collection of which all values are there, with the number of the group.
pub fn unique_keys(
    collection: &Collection,
    fields: &Fields,
    extension: &[u8],
) -> Vec<(usize, Vec<u8>)> {
    let group = |(number, unique): (usize, &crate::schema::Unique)| {
        if !unique.applies_to(fields) {
            return None;
        }
        let mut bytes = encode(unique.fields.iter().map(|key| fields.get(key)))?;
        if unique.extended {
            bytes.extend_from_slice(extension);
        }
        Some((number, bytes))
    };
    collection.unique.iter().enumerate().filter_map(group).collect()
}

/// The groups of unique fields of other collections whose records tell of the same thing as a record
/// with these fields does in the group `unique` of its own: each with the fields that such a record
/// holds.
pub fn shared_groups(
    collection: &Collection,
    unique: usize,
    fields: &Fields,
) -> Vec<(&'static Collection, usize, Fields)> {
    let is_about = |shared: &&Shared| {
        let (key, wanted) = &shared.when;
        fields.get(key).is_some_and(|value| value.is_same(wanted))
    };
    let group = collection.unique.get(unique).and_then(|group| group.shared.as_ref());
    let Some(shared) = group.filter(is_about) else { return Vec::new() };
    let held = |theirs: &Shared| {
        let values = shared.fields.iter().map(|key| fields.get(key).cloned());
        let held = theirs.fields.iter().cloned().zip(values);
        let held = held.map(|(key, value)| Some((key, value?)));
        held.chain([Some(theirs.when.clone())]).collect::<Option<Fields>>()
    };
    others_sharing(collection.number, shared.thing)
        .filter_map(|(other, number, theirs)| Some((other, number, held(theirs)?)))
        .collect()
}

/// The groups of unique fields that share what they tell of with this one, of all collections: by
/// number, with its own.
pub fn sharing(collection: &Collection, unique: usize) -> Vec<(u16, usize)> {
    let shared = collection.unique.get(unique).and_then(|group| group.shared.as_ref());
    let others = shared.map(|shared| others_sharing(collection.number, shared.thing));
    let others = others.into_iter().flatten().map(|(other, number, _)| (other.number, number));
    let mut all: Vec<(u16, usize)> = others.chain([(collection.number, unique)]).collect();
    all.sort_unstable();
    all
}

fn others_sharing(
    number: u16,
    thing: &'static str,
) -> impl Iterator<Item = (&'static Collection, usize, &'static Shared)> {
    let others = catalogue::collections().iter().filter(move |other| other.number != number);
    let groups = others.flat_map(|other| {
        let groups = other.unique.iter().enumerate();
        groups.filter_map(move |(group, it)| Some((other, group, it.shared.as_ref()?)))
    });
    groups.filter(move |(_, _, shared)| shared.thing == thing)
}

fn encode<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(80);
    for value in values {
        put(&mut bytes, value?);
    }
    Some(bytes)
}

// A kind, then a length where the kind does not fix it: no two lists of values give equal bytes.
fn put(bytes: &mut Vec<u8>, value: &Value) {
    let mut tagged = |kind: u8, rest: &[u8]| {
        bytes.push(kind);
        bytes.extend_from_slice(rest);
    };
    match value {
        Value::Null => tagged(0, &[]),
        Value::Bool(flag) => tagged(1, &[u8::from(*flag)]),
        Value::Int(number) => tagged(2, &number.to_be_bytes()),
        Value::Float(number) => match value.clone().canonical() {
            Value::Int(whole) => tagged(2, &whole.to_be_bytes()),
            _ => tagged(3, &number.to_be_bytes()),
        },
        Value::Moment(moment) => tagged(4, &moment.as_millis().to_be_bytes()),
        Value::Text(text) => match Uuid::parse_str(text) {
            Ok(id) => tagged(5, id.as_bytes()),
            Err(_) => {
                tagged(6, &length(text.len()));
                bytes.extend_from_slice(text.as_bytes());
            }
        },
        Value::List(items) => {
            tagged(7, &length(items.len()));
            for item in items {
                put(bytes, item);
            }
        }
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moment;
    use crate::catalogue::wells;

    #[test]
    fn a_key_depends_on_the_key_fields_and_the_extension_alone() {
        let collection = catalogue::numbered(wells::FIELD_ENTRY).unwrap();
        let mut fields = Fields::from([
            ("wellId".to_owned(), "67E55044-10b1-426f-9247-bb680e5fe0c8".into()),
            ("entryType".to_owned(), "PRODUCTION".into()),
            ("recordedAt".to_owned(), Moment::from_millis(5).into()),
            ("deviceId".to_owned(), "tablet 3".into()),
        ]);
        let key = natural_key(collection, &fields, b"").unwrap();
        fields.insert("notes".to_owned(), "x".into());
        fields.insert("wellId".to_owned(), "67e55044-10b1-426f-9247-bb680e5fe0c8".into());
        assert_eq!(natural_key(collection, &fields, b""), Some(key.clone()));
        let extended = natural_key(collection, &fields, b"lease 7").unwrap();
        assert_ne!(extended, key);
        assert_eq!(extension(collection, &fields, &extended), b"lease 7");
        assert_eq!(unique_keys(collection, &fields, b"lease 7").len(), 1);
        fields.remove("deviceId");
        assert_eq!(natural_key(collection, &fields, b""), None);
        let well = catalogue::numbered(wells::WELL).unwrap();
        assert_eq!(natural_key(well, &fields, b""), None);
    }

    #[test]
    fn production_that_is_logged_tells_of_the_same_as_an_entry_of_production() {
        let of = |number| catalogue::numbered(number).unwrap();
        let (entry, event) = (of(wells::FIELD_ENTRY), of(wells::FIELD_EVENT));
        let pairs = |pairs: &[(&str, Value)]| -> Fields {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
        };
        let (well, at) = (Value::from("alder"), Value::from(Moment::from_millis(5)));
        let produced = pairs(&[
            ("wellId", well.clone()),
            ("recordedAt", at.clone()),
            ("entryType", "PRODUCTION".into()),
        ]);
        let logged = pairs(&[
            ("payload.wellId", well),
            ("payload.recordedAt", at),
            ("type", "PRODUCTION_LOGGED".into()),
        ]);
        assert_eq!(shared_groups(entry, 0, &produced), [(event, 0, logged.clone())]);
        assert_eq!(shared_groups(event, 0, &logged), [(entry, 0, produced.clone())]);
        assert_eq!(sharing(event, 0), sharing(entry, 0));
        let inspected = Fields::from([("entryType".to_owned(), "INSPECTION".into())]);
        assert_eq!(
            shared_groups(entry, 0, &[produced, inspected].into_iter().flatten().collect()),
            []
        );
        let wells = of(wells::WELL);
        assert_eq!((shared_groups(wells, 0, &logged), sharing(wells, 0)), (vec![], vec![(1, 0)]));
    }
}
