//! Events of the field: readings, inspections, production, photos, notes and repairs.
//!
//! A payload belongs to the type of its event. Types share keys (`payload.unit`) with rules of
//! their own, and an event of a type that is not listed keeps its payload as it is.

use super::{FIELD_EVENT, NOTES_MAX, PRODUCED};
use crate::Value;
use crate::catalogue::parts::{
    name, notes, plain, positive, proposed, reference, set, texts, words,
};
use crate::schema::{
    Collection, Field, Form, Kind, MergePolicy, Origin, Range, Rule, Shared, Unique, Variants, Who,
};

const READING: &str = "WELL_READING_RECORDED";
const INSPECTED: &str = "EQUIPMENT_INSPECTED";
const LOGGED: &str = "PRODUCTION_LOGGED";
const PHOTO: &str = "PHOTO_ATTACHED";
const NOTES: &str = "NOTES_ADDED";
const REPAIRED: &str = "EQUIPMENT_REPAIRED";

pub(super) fn field_event() -> Collection {
    let types = Kind::Word {
        known: texts(&[READING, INSPECTED, LOGGED, PHOTO, NOTES, REPAIRED]),
        max: 128,
    };
    let mut fields = vec![
        Field::new("type", types).required().immutable(),
        Field::new("timestamp", Kind::Moment).required().immutable(),
        plain("deviceId", name(1, 128)).label("Device").required().immutable(),
        plain("userId", name(1, 128)).label("User").required().immutable(),
    ];
    fields.extend(reading());
    fields.extend(inspected());
    fields.extend(logged());
    fields.extend(photo());
    fields.extend(notes_added());
    fields.extend(repaired());
    Collection {
        name: "field_event".to_owned(),
        version: 1,
        fields,
        // A reading and a production of one moment are two facts, so the rule is about one type.
        unique: vec![Unique {
            fields: texts(&["payload.wellId", "payload.recordedAt"]),
            extended: true,
            message: "Production data already exists for this well and timestamp".to_owned(),
            when: Some(("type".to_owned(), LOGGED.into())),
            origin: Origin::Source,
            shared: Some(Shared {
                thing: PRODUCED,
                fields: texts(&["payload.wellId", "payload.recordedAt"]),
                when: ("type".to_owned(), LOGGED.into()),
            }),
        }],
        time_field: Some("timestamp".to_owned()),
        device_field: Some("deviceId".to_owned()),
        user_field: Some("userId".to_owned()),
        variants: Some(Variants { field: "type".to_owned(), prefix: "payload".to_owned() }),
        open: texts(&["payload"]),
        rules: vec![Rule::DefaultFrom {
            field: "payload.recordedAt".to_owned(),
            from: "timestamp".to_owned(),
            when: vec![("type".to_owned(), LOGGED.into())],
        }],
        proposed: vec![Rule::RangeWhen {
            field: "payload.value".to_owned(),
            range: Range::at_least(0.0),
            when: ["PRODUCTION", "PRESSURE"]
                .map(|kind| ("payload.readingType".to_owned(), Value::from(kind)))
                .to_vec(),
            message: "Value cannot be negative for PRODUCTION and PRESSURE readings".to_owned(),
        }],
        resolve_by: vec![Who::Manager],
        ..Collection::unknown(FIELD_EVENT)
    }
}

/// A field of a payload that the source states.
fn stated(variant: &str, key: &str, kind: Kind) -> Field {
    plain(&format!("payload.{key}"), kind).variant(variant).policy(MergePolicy::Review)
}

/// A field of a payload that the source leaves open.
fn own(variant: &str, key: &str, kind: Kind) -> Field {
    proposed(&format!("payload.{key}"), kind).variant(variant).policy(MergePolicy::Review)
}

fn well(variant: &str, field: fn(&str, &str, Kind) -> Field) -> Field {
    field(variant, "wellId", reference("well")).label("Well").required().immutable()
}

fn when(variant: &str, key: &str, field: fn(&str, &str, Kind) -> Field) -> Field {
    field(variant, key, Kind::Moment).required().immutable()
}

fn reading() -> Vec<Field> {
    let number = Kind::Number { range: Range::default(), decimals: None };
    vec![
        well(READING, stated),
        stated(READING, "readingType", words(&["PRODUCTION", "PRESSURE", "TEMPERATURE"]))
            .required(),
        stated(READING, "value", number).required(),
        stated(READING, "unit", name(1, 32)).required(),
        when(READING, "recordedAt", stated),
    ]
}

fn inspected() -> Vec<Field> {
    vec![
        well(INSPECTED, stated),
        stated(INSPECTED, "equipmentId", name(1, 128)).label("Equipment").required(),
        stated(INSPECTED, "inspectionType", words(&["ROUTINE", "SAFETY", "REPAIR"])).required(),
        stated(INSPECTED, "status", words(&["PASS", "FAIL", "NEEDS_ATTENTION"])).required(),
        // The source wants it, and lets it be empty. A record reads the same with an empty text and
        // with none, so no rule can want it here; the form of the app's contract does.
        stated(INSPECTED, "notes", notes()).policy(MergePolicy::Text),
        when(INSPECTED, "inspectedAt", stated),
    ]
}

fn logged() -> Vec<Field> {
    vec![
        well(LOGGED, stated),
        stated(LOGGED, "volume", positive()).required(),
        stated(LOGGED, "unit", name(1, 32)).required().default("barrels"),
        when(LOGGED, "recordedAt", stated),
    ]
}

fn photo() -> Vec<Field> {
    let hash = Kind::Text { min: 64, max: 64, form: Form::Sha256 };
    vec![
        well(PHOTO, own),
        own(PHOTO, "photoId", hash).label("Photo").required(),
        own(PHOTO, "contentType", name(1, 128)).required(),
        own(PHOTO, "size", Kind::Integer { range: Range::at_least(0.0) }).unit("bytes").required(),
        own(PHOTO, "caption", notes()),
        when(PHOTO, "takenAt", own),
    ]
}

fn notes_added() -> Vec<Field> {
    let text = Kind::Text { min: 1, max: NOTES_MAX, form: Form::Free };
    vec![
        well(NOTES, own),
        own(NOTES, "text", text).required().policy(MergePolicy::Text),
        when(NOTES, "addedAt", own),
        own(NOTES, "relatedEventId", reference("field_event")).label("Related event"),
    ]
}

fn repaired() -> Vec<Field> {
    vec![
        well(REPAIRED, own),
        own(REPAIRED, "equipmentId", name(1, 128)).label("Equipment").required(),
        own(REPAIRED, "description", notes()).required(),
        own(REPAIRED, "partsReplaced", set()).policy(MergePolicy::Union),
        when(REPAIRED, "repairedAt", own),
        own(REPAIRED, "downtime", positive()).unit("hours"),
    ]
}
