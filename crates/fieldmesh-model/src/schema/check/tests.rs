//! Contradictions in schemas, one at a time.

use super::*;
use crate::catalogue;
use crate::schema::{Rule, Unique, Variants, tenant_number};

fn field(key: &str, kind: Kind) -> Field {
    Field::new(key, kind)
}

fn text(min: usize, max: usize) -> Kind {
    Kind::Text { min, max, form: Form::Name }
}

fn whole(min: f64, max: f64) -> Kind {
    Kind::Integer { range: Range::between(min, max) }
}

fn round() -> Collection {
    Collection {
        name: "round".to_owned(),
        version: 1,
        fields: vec![
            field("tag", text(1, 32)).required().immutable(),
            field("state", Kind::Enum(vec!["ON".to_owned(), "OFF".to_owned()])),
            field("count", whole(0.0, 9.0)),
        ],
        natural_key: vec!["tag".to_owned()],
        names: vec!["tag".to_owned()],
        ..Collection::unknown(tenant_number("round"))
    }
}

fn faults(collection: &Collection) -> Vec<(String, String)> {
    let faults = check(collection, catalogue::collections());
    faults.into_iter().map(|fault| (fault.field, fault.message)).collect()
}

#[test]
fn the_built_in_collections_make_sense() {
    for collection in catalogue::collections() {
        assert_eq!(check(collection, catalogue::collections()), [], "{}", collection.name);
    }
    assert_eq!(faults(&round()), []);
}

/// A change of a good schema, the place that is named then, and a part of what is said.
type Case = (fn(&mut Collection), &'static str, &'static str);

fn assert_told(cases: &[Case]) {
    for (change, place, part_of_text) in cases {
        let mut changed = round();
        change(&mut changed);
        let found = faults(&changed);
        let is_told = found.iter().any(|(at, text)| at == place && text.contains(part_of_text));
        assert!(is_told, "{place}, {part_of_text}: {found:?}");
    }
}

#[test]
fn a_name_a_version_and_people_are_needed() {
    assert_told(&[
        (|it| it.name = "Pump round".to_owned(), "name", "small letter"),
        (|it| it.name = "well".to_owned(), "name", "choose another name"),
        (|it| it.name = "collection_20000".to_owned(), "name", "choose another name"),
        (|it| it.version = 0, "version", "begin with 1"),
        (|it| it.create_by.clear(), "create", "nobody may"),
        (|it| it.approve_by = vec![Who::Admin, Who::Crew], "approve", "nothing would ever wait"),
    ]);
}

#[test]
fn what_contradicts_in_and_about_fields_is_told_with_a_way_out() {
    assert_told(&[
        (
            |it| it.fields[2] = it.fields[2].clone().default(12),
            "field count, default",
            "between 0 and 9",
        ),
        (|it| it.fields[0].immutable = false, "natural_key", "immutable = true"),
        (|it| it.fields[0].required = false, "natural_key", "required = true"),
        (|it| it.natural_key = vec!["pump".to_owned()], "natural_key", "no field \"pump\""),
        (|it| it.names = vec!["pump".to_owned()], "names", "no field \"pump\""),
        (|it| it.time_field = Some("tag".to_owned()), "time", "kind = \"moment\""),
        (|it| it.device_field = Some("count".to_owned()), "device", "kind = \"text\""),
        (|it| it.fields[1].policy = MergePolicy::Sum, "field state, policy", "for numbers"),
        (|it| it.fields[1].policy = MergePolicy::Max, "field state, policy", "for numbers and"),
        (|it| it.fields[2].policy = MergePolicy::Union, "field count, policy", "for sets"),
        (|it| it.fields[0].policy = MergePolicy::Text, "field tag, policy", "form = \"free\""),
        (|it| it.fields.push(field("_x", Kind::Bool)), "field _x", "reserved"),
        (|it| it.fields.push(field("a..b", Kind::Bool)), "field a..b", "empty parts"),
        (|it| it.fields.push(field("count", Kind::Bool)), "field count", "twice"),
        (|it| it.fields.push(field("count.all", Kind::Bool)), "field count", "cannot hold"),
        (|it| it.fields[2].kind = whole(9.0, 0.0), "field count, max", "nothing lies"),
        (|it| it.fields[0].kind = text(9, 3), "field tag, min", "swap them"),
        (|it| it.fields[1].kind = Kind::Enum(Vec::new()), "field state, words", "at least one"),
        (
            |it| it.fields[2].kind = Kind::Reference { collection: "pump".to_owned() },
            "field count, collection",
            "no collection \"pump\"",
        ),
    ]);
}

#[test]
fn what_contradicts_in_rules_and_keys_is_told_with_a_way_out() {
    assert_told(&[
        (
            |it| it.critical = Some(("state".to_owned(), "BROKEN".into())),
            "critical",
            "must be ON or OFF",
        ),
        (|it| it.fields[2].variant = Some("X".to_owned()), "field count, variant", "variants ="),
        (
            |it| {
                it.fields[2].variant = Some("X".to_owned());
                let prefix = "data".to_owned();
                it.variants = Some(Variants { field: "state".to_owned(), prefix });
            },
            "field count, variant",
            "none of ON, OFF",
        ),
        (
            |it| {
                let fields = vec!["pump".to_owned()];
                let message = String::new();
                it.unique.push(Unique {
                    fields,
                    extended: false,
                    message,
                    when: None,
                    origin: Default::default(),
                    shared: None,
                });
            },
            "unique 1",
            "no field \"pump\"",
        ),
        (
            |it| {
                it.rules.push(Rule::Lookup {
                    field: "state".to_owned(),
                    through: "tag".to_owned(),
                    from: "name".to_owned(),
                    message: String::new(),
                });
            },
            "rule 1",
            "kind = \"reference\"",
        ),
    ]);
}

#[test]
fn all_contradictions_are_told_at_once() {
    let mut changed = round();
    changed.version = 0;
    changed.natural_key = vec!["pump".to_owned()];
    changed.fields[1].policy = MergePolicy::Sum;
    assert_eq!(faults(&changed).len(), 3);
}
