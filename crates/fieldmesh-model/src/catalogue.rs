//! The built-in collections.

use std::sync::LazyLock;

use crate::schema::Collection;

pub mod assets;
pub mod free;
pub mod health;
mod parts;
pub mod practice;
pub mod wells;

/// The numbers below are for built-in collections; those that tenants define lie above.
pub const BUILT_IN_END: u16 = 0x4000;

static COLLECTIONS: LazyLock<Vec<Collection>> = LazyLock::new(|| {
    [
        wells::collections(),
        assets::collections(),
        practice::collections(),
        health::collections(),
        free::collections(),
    ]
    .concat()
});

/// Every built-in collection, by number.
pub fn collections() -> &'static [Collection] {
    &COLLECTIONS
}

/// The built-in collection called `name`; plural and dashed forms are understood.
pub fn named(name: &str) -> Option<&'static Collection> {
    let wanted = name.trim().to_lowercase().replace('-', "_");
    let singular = match wanted.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => wanted.strip_suffix('s').unwrap_or(&wanted).to_owned(),
    };
    collections().iter().find(|known| known.name == wanted || known.name == singular)
}

/// The built-in collection with `number`.
pub fn numbered(number: u16) -> Option<&'static Collection> {
    collections().iter().find(|known| known.number == number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema::MergePolicy;

    #[test]
    fn names_and_numbers_are_taken_once_and_keys_name_fields() {
        let mut seen = BTreeSet::new();
        for collection in collections() {
            assert!(seen.insert(collection.number), "{} repeats its number", collection.name);
            let mut keys = BTreeSet::new();
            for field in &collection.fields {
                keys.insert(field.key.as_str());
            }
            let used = collection
                .natural_key
                .iter()
                .chain(collection.unique.iter().flat_map(|unique| &unique.fields))
                .chain(&collection.names)
                .chain(&collection.time_field)
                .chain(&collection.device_field);
            for key in used {
                assert!(keys.contains(key.as_str()), "{} has no {key}", collection.name);
            }
        }
    }

    #[test]
    fn a_collection_is_found_by_the_forms_people_write() {
        for name in ["field_entry", "field-entry", "field_entries", "Field_Entry"] {
            assert_eq!(named(name).map(|known| known.number), Some(wells::FIELD_ENTRY), "{name}");
        }
        assert_eq!(named("wells").map(|known| known.number), Some(wells::WELL));
        assert!(named("pump").is_none());
        assert_eq!(numbered(wells::USER).map(|known| known.name.as_str()), Some("user"));
    }

    #[test]
    fn measured_values_ask_a_person_and_notes_merge_as_text() {
        let entry = numbered(wells::FIELD_ENTRY).unwrap();
        assert_eq!(entry.policy("data.oilVolume"), MergePolicy::Review);
        assert_eq!(entry.policy("data.somethingNew"), MergePolicy::Review);
        assert_eq!(entry.policy("notes"), MergePolicy::Text);
        assert_eq!(entry.policy("latitude"), MergePolicy::Latest);
        assert_eq!(
            entry.field_named("oilVolume").map(|field| field.key.as_str()),
            Some("data.oilVolume")
        );
    }
}
