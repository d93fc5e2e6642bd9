//! The kinds of fields and the rules that several catalogues share.

use super::wells::{LIST_ITEM_MAX, LIST_ITEMS_MAX, NOTES_MAX};
use crate::schema::{Field, Form, Kind, Range, Rule, Stated};

/// Latitude and longitude, WGS 84.
pub(super) fn coordinates() -> [Field; 2] {
    let degrees = |key: &str, most: f64| {
        Field::new(key, Kind::Number { range: Range::between(-most, most), decimals: None })
            .unit("degrees")
            .stated(Stated::Kind)
    };
    [degrees("latitude", 90.0), degrees("longitude", 180.0)]
}

pub(super) fn both_or_neither() -> Rule {
    Rule::Together {
        fields: texts(&["latitude", "longitude"]),
        message: "Latitude and longitude must be given together".to_owned(),
    }
}

/// A field that no source has.
pub(super) fn proposed(key: &str, kind: Kind) -> Field {
    Field::new(key, kind).stated(Stated::Nothing)
}

/// A field whose kind a source states, and nothing else.
pub(super) fn plain(key: &str, kind: Kind) -> Field {
    Field::new(key, kind).stated(Stated::Kind)
}

pub(super) fn positive() -> Kind {
    Kind::Number { range: Range::at_least(0.0), decimals: None }
}

pub(super) fn list() -> Kind {
    Kind::TextList { items_max: LIST_ITEMS_MAX, item_max: LIST_ITEM_MAX, form: Form::Free }
}

pub(super) fn set() -> Kind {
    Kind::Set { items_max: LIST_ITEMS_MAX, item_max: LIST_ITEM_MAX, form: Form::Name }
}

pub(super) fn notes() -> Kind {
    Kind::Text { min: 0, max: NOTES_MAX, form: Form::Free }
}

pub(super) fn name(min: usize, max: usize) -> Kind {
    Kind::Text { min, max, form: Form::Name }
}

pub(super) fn reference(collection: &str) -> Kind {
    Kind::Reference { collection: collection.to_owned() }
}

pub(super) fn words(words: &[&str]) -> Kind {
    Kind::Enum(texts(words))
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().copied().map(str::to_owned).collect()
}
